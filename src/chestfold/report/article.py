"""RESULTS.md, an article made from published results alone: for each question a sentence, a table and a picture.

The questions are those of the sources (published_baselines.toml) and a few of our own (article.toml). No figure is
written by hand: a sentence has places such as `{exp010-lite0 - exp009-lite0}`, which are filled from the results.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from chestfold.core.files import published_dir
from chestfold.evaluate import figures, leaderboard, synthetic_gain
from chestfold.evaluate.leaderboard import Row
from chestfold.evaluate.metrics import METRICS, metric_name
from chestfold.evaluate.paired import compare
from chestfold.evaluate.published_baselines import Line, SourceTable, describe_run, results_of, source_tables
from chestfold.evaluate.results import NotRun, Result, ResultRecord
from chestfold.report import shortcuts
from chestfold.report.commands import command
from chestfold.report.export import markdown_table

ABOUT = (
    "Made by `chestfold publish` from `exps/results/`; not edited by hand. Figures are out-of-fold, at threshold 0.5 "
    "(of more than two classes: the most probable one); in brackets 95 % intervals over patients. *AUC, shifted*: "
    "the mean AUC of the same images under eight corruptions of acquisition. A difference is given with its interval, "
    "both on the same patients. `chestfold board` and `chestfold report` show every figure with its interval."
)
FIGURES = ("auc", "recall", "f1", "accuracy")
PICTURES = "figures"
"""The folder of the pictures, in exps/results/."""
PLACE = re.compile(r"\{([^{}]+)\}")

Results = Mapping[str, Result]


def own_questions() -> tuple[SourceTable, ...]:
    """The questions of article.toml."""
    text = files("chestfold.report").joinpath("article.toml").read_text(encoding="utf-8")
    return tuple(SourceTable.model_validate(table) for table in tomllib.loads(text)["tables"])


def write_article(path: Path, results: Results, stopped: Mapping[str, NotRun]) -> str:
    """The text of RESULTS.md; its pictures are drawn into exps/results/figures/.

    Args:
        path: RESULTS.md, from which the pictures are linked.
        results: the published ones by name.
        stopped: what could not be run.
    """
    parts = ["# Results", ABOUT]
    for question in (*own_questions(), *source_tables()):
        parts += _chapter(question, results, stopped, path)
    parts += _synthetic(results)
    parts += shortcuts.chapters(results)
    parts += ["## All results", "Each with the command that makes it again, minutes of training and the date."]
    for title, rows in leaderboard.rows_by_folds(results.values()).items():
        parts += [f"### {title}", _all_results(rows)]
    return "\n\n".join(parts) + "\n"


def _chapter(question: SourceTable, results: Results, stopped: Mapping[str, NotRun], path: Path) -> list[str]:
    """A question's parts; none where none of its experiments was tried."""
    ran = [(line, _shown(line, question, results)) for line in question.lines]
    rows: list[list[str]] = []
    for line, found in ran:
        rows += _rows(line, found)
    missing = [line for line, found in ran if not found]
    if len(missing) == len(ran) and not any(line.experiment in stopped for line in missing):
        return []
    parts = [f"## {question.title}"]
    if len(missing) < len(ran):
        parts += [filled(question.says, results)] if question.says else []
        parts += [
            markdown_table(["what", "run", *map(_title, FIGURES), "minutes"], rows),
            _picture(question, ran, path),
        ]
    if missing:
        parts.append(f"Not run here: {', '.join(_missing(line, stopped) for line in missing)}.")
    parts.append(f"*What this does not say.* {question.note}")
    return parts


def _shown(line: Line, question: SourceTable, results: Results) -> list[Result]:
    """The results of a line: those of all folds, where there is one of these."""
    if not question.variants:
        return [results[line.experiment]] if line.experiment in results else []
    found = results_of(line, results)
    whole = [result for result in found if not result.record.folds.missing]
    return whole or found


def _title(metric: str) -> str:
    return METRICS[metric].title


def _rows(line: Line, found: Sequence[Result]) -> list[list[str]]:
    """The rows of one line: theirs, where there is one, and ours."""
    rows = []
    if line.theirs:
        theirs = [f"{line.theirs[figure]:.3f}" if figure in line.theirs else "-" for figure in FIGURES]
        rows.append([line.what, "the source", *theirs, "-"])
    for result in found:
        auc = leaderboard.format_score(result.score("at_half", "auc"))
        others = [_value(result, figure) for figure in FIGURES[1:]]
        run = f"{result.name}: {_conditions(result.record)}"
        rows.append([line.what, run, auc, *others, f"{result.record.minutes:.0f}"])
    return rows


def _conditions(record: ResultRecord) -> str:
    return describe_run(record) if record.kind == "experiment" else leaderboard.describe(record)


def _value(result: Result, metric: str, kind: str = "at_half") -> str:
    """A figure without its interval."""
    score = result.score(kind, metric)
    return str(score).split(" ")[0] if score else "-"


def _missing(line: Line, stopped: Mapping[str, NotRun]) -> str:
    why = stopped[line.experiment].why if line.experiment in stopped else "not tried"
    return f"{line.what} ({line.experiment}: {why})"


def _picture(question: SourceTable, ran: Sequence[tuple[Line, list[Result]]], path: Path) -> str:
    """Draw the AUCs of a question with their intervals, theirs beside ours; the link to it."""
    rows = []
    for line, found in ran:
        for result in found:
            label = f"{line.what}\n{result.name}"
            rows.append(figures.Interval(label, result.score("at_half", "auc"), line.theirs.get("auc")))
    name = re.sub(r"\W+", "-", question.title.lower()).strip("-")
    picture = published_dir() / PICTURES / f"{name}.png"
    figures.intervals(picture, "AUC", rows)
    return f"![AUC with its interval]({picture.relative_to(path.parent).as_posix()})"


def filled(sentence: str, results: Results) -> str:
    """A sentence with its places filled.

    `{name.auc}`: a figure; `{name.corrupted.auc}`: one under corruptions; `{ours - theirs}`: what ours gains in AUC, in
    words. Where a result is not published, the sentence says which one.
    """
    names = [name for place in PLACE.findall(sentence) for name in _names(place)]
    for name in names:
        if name not in results:
            return f"Open: {name} is not published."
    return PLACE.sub(partial(_fill, results), sentence)


def _names(place: str) -> list[str]:
    """The results that a place needs."""
    ours, _, theirs = place.partition(" - ")
    return [ours, theirs] if theirs else [place.split(".")[0]]


def _fill(results: Results, match: re.Match[str]) -> str:
    place = match[1]
    ours, _, theirs = place.partition(" - ")
    if theirs:
        comparison = compare(results[ours], results[theirs])
        return f"{comparison.gain.format_gain()} ({comparison.verdict})"
    name, *kind, metric = place.split(".")
    return _value(results[name], metric, *kind)


def _synthetic(results: Results) -> list[str]:
    """What synthetic images gained, where there are such results."""
    pairs = synthetic_gain.pairs(list(results.values()))
    if not pairs:
        return []
    shown = ("share", "with", "without", "AUC gained", "recall gained at specificity 0.95", "synthetic")
    places = [synthetic_gain.HEADER.index(name) for name in shown]
    rows = []
    for pair in pairs:
        cells = synthetic_gain.cells(pair)
        rows.append([cells[place] for place in places])
    return [f"## {synthetic_gain.TITLE}", synthetic_gain.NOTE, markdown_table(shown, rows)]


def _all_results(rows: Sequence[Row]) -> str:
    """A table with what makes each result again."""
    first = rows[0].result.record
    metric = metric_name(first.metric)
    header = ["result", _title("auc"), "AUC, shifted", "minutes", "date", "command"]
    if metric != "auc":
        header.insert(1, first.competition_metric.title)
    cells = []
    for row in rows:
        result, record = row.result, row.result.record
        figures_of_row = [leaderboard.format_score(row.scores["auc"]), _value(result, "auc", "corrupted")]
        if metric != "auc":
            figures_of_row.insert(0, leaderboard.format_score(row.competition))
        cells.append([result.name, *figures_of_row, f"{record.minutes:.0f}", record.date, f"`{command(record)}`"])
    return f"{markdown_table(header, cells)}\n\nOn {_machines(rows)}."


def _machines(rows: Sequence[Row]) -> str:
    """The processors that trained, with their threads; older records count "1 threads"."""
    names = {row.result.record.machine.replace(" 1 threads", " 1 thread") for row in rows}
    return "; ".join(sorted(names))
