"""Published results: the small files of a finished run under exps/results/, and RESULTS.md made from them."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from chestfold.core.errors import InputError
from chestfold.core.files import atomic_path, project_dir, published_dir, runs_dir, sha256_file, write_text
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.attention import ATTENTION
from chestfold.evaluate.leaderboard import Row
from chestfold.evaluate.paired import keep_comparison
from chestfold.evaluate.results import FILES, NOT_RUN, Result, ResultRecord, find_result, not_run, published_results

ABOUT = (
    "Made by `chestfold publish` from `exps/results/`; not edited by hand. Out-of-fold figures at threshold 0.5 "
    "(for more than two classes: the most probable one), 95 % intervals by bootstrap over patients. *F1 tuned*: "
    "at a threshold chosen on the other folds. *AUC against parent*: both on the same bootstrapped patients. "
    "*test AUC* only where the data set publishes its test labels. *AUC, shifted*: the mean AUC of the same images "
    "under eight corruptions of acquisition (contrast, brightness, blur, zoom, two strengths each), from one view. "
    "*ECE*, *Brier* and *log loss*: the lower the better. "
    "*in lungs*: share of the Grad-CAM maps inside the lungs, where lungs are known."
)


def publish(name: str, overwrite: bool = False) -> Path:
    """Copy a result's scores and predictions to exps/results/NAME and write RESULTS.md again.

    Raises:
        InputError: not finished, a debug run, or another result is published under this name.
    """
    if (runs_dir() / name / NOT_RUN).exists():
        return _publish_not_run(name)
    if not (runs_dir() / name / "scores.json").exists():
        raise InputError(f"{runs_dir() / name} holds no finished run; train all folds of {name} first")
    result = find_result(name)
    if result.is_debug:
        raise InputError(f"{name} is a debug run; its scores mean nothing and are not published")
    result.oof()  # proves the hash
    result = keep_comparison(result)
    target = published_dir() / name
    if not overwrite and _holds_another(target, result):
        raise InputError(f"{target} holds another result of this name; add --overwrite to replace it")
    for file in (*FILES, ATTENTION):
        if (result.folder / file).exists():
            _copy(result.folder / file, target / file)
    (target / NOT_RUN).unlink(missing_ok=True)
    write_results_page()
    return target


def _publish_not_run(name: str) -> Path:
    """Publish that an experiment could not be run, and why."""
    target = published_dir() / name
    if (target / "scores.json").exists():
        raise InputError(f"{target} holds a result of {name}; it is not replaced by a run that was not possible here")
    _copy(runs_dir() / name / NOT_RUN, target / NOT_RUN)
    write_results_page()
    return target


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _holds_another(target: Path, result: Result) -> bool:
    """False where a publication was interrupted before its first file."""
    path = target / "oof.parquet"
    return path.exists() and sha256_file(path) != result.record.files["oof.parquet"]


def write_results_page() -> Path:
    """RESULTS.md from exps/results/ alone."""
    published = published_results()
    results = list(published.values())
    parts = ["# Results", ABOUT]
    for title, rows in leaderboard.rows_by_folds(results).items():
        texts = [leaderboard.texts_of(row) for row in rows]
        table = markdown_table(list(texts[0]), [list(row.values()) for row in texts])
        parts += [f"## {title}", table, "\n".join(map(_origin, rows))]
    pairs = synthetic_gain.pairs(results)
    if pairs:
        table = markdown_table(synthetic_gain.HEADER, map(synthetic_gain.cells, pairs))
        parts += [f"# {synthetic_gain.TITLE}", synthetic_gain.NOTE, table]
    parts.append("# The sources' tables")
    for source, lines in published_baselines.filled_tables(published, not_run(published_dir())):
        parts += [f"## {source.title}", source.note, markdown_table(published_baselines.HEADER, lines)]
    path = project_dir() / "RESULTS.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; `|` in a cell becomes `/`."""
    lines = []
    for row in [header, ["---"] * len(header), *rows]:
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    return "\n".join(lines)


def _origin(row: Row) -> str:
    """The command that made a result, on which machine and when."""
    record = row.result.record
    commands = {
        "ensemble": "chestfold ensemble",
        "imported": "chestfold import",
        "calibrated": "chestfold calibrate",
    }
    how = command(record) if record.kind == "experiment" else commands[record.kind]
    commit = f", commit {record.commit[:10]}" if record.commit else ""
    return f"- {row.result.name}: `{how}`, {record.folds}, {record.machine}, {record.date}{commit}"


def command(record: ResultRecord) -> str:
    """The command that trained a run: its file, and the options that its name and its changes tell."""
    name, _, data = record.name.partition("@")
    stem, _, tag = name.partition("-")
    words = [f"python exps/{stem}.py"]
    if data:
        words.append(f"--data {data}")
    if tag:
        words.append(f"--tag {tag}")
        for setting, (_, new) in record.changed.items():
            if setting != "data":
                words.append(f"--{setting.replace('_', '-')} {_argument(new)}")
    if record.folds.missing:
        words.append(f"--fold {_argument(record.folds.trained)}")
    return " ".join(words)


def _argument(value: Any) -> str:
    """A setting as it is typed."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
