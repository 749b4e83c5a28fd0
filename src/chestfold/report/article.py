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
from chestfold.evaluate.metrics import METRICS
from chestfold.evaluate.paired import compare
from chestfold.evaluate.published_baselines import Line, SourceTable, describe_settings, results_of, source_tables
from chestfold.evaluate.results import NotRun, Result, ResultRecord
from chestfold.report import all_results, shortcuts
from chestfold.report.export import markdown_table

ABOUT = (
    "Made by `chestfold publish` from `exps/results/`. Figures are out-of-fold, at threshold 0.5 "
    "(of more than two classes: the most probable one); in brackets 95 % intervals over patients. *AUC, shifted*: "
    "the mean AUC of the same images under eight corruptions of acquisition. Differences are of the same patients. "
    "All folds, where nothing else is said. `chestfold board` has every interval."
)
FIGURES = ("auc", "recall", "f1", "accuracy")
PICTURES = "figures"
"""The folder of the pictures, in exps/results/."""
SYNTHETIC_ABOUT = (
    "Training with synthetic images against the same without them, or with the positive class over-sampled instead. "
    "*share*: of the real positive images. *synthetic*: images in a fold, and how many real ones they were made from."
)
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
    parts += all_results.chapter(results)
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
            markdown_table(["what", "run", *map(_title, FIGURES)], rows),
            _picture(question, ran, path),
        ]
    if missing:
        parts.append(f"Not run here: {', '.join(_missing(line, stopped) for line in missing)}.")
    if len(missing) < len(ran):
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
        rows.append([line.what, "the source", *theirs])
    for result in found:
        auc = leaderboard.format_score(result.score("at_half", "auc"))
        others = [_value(result, figure) for figure in FIGURES[1:]]
        run = f"{result.name}: {_conditions(result.record)}"
        rows.append([line.what, run, auc, *others])
    return rows


def _conditions(record: ResultRecord) -> str:
    if record.kind != "experiment":
        return leaderboard.describe(record)
    if record.folds.missing:
        return f"{describe_settings(record)}, {record.folds}"
    return describe_settings(record)


def _value(result: Result, metric: str, kind: str = "at_half") -> str:
    """A figure without its interval."""
    return leaderboard.format_point(result.score(kind, metric))


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
    return f"![AUC, 95 % interval]({picture.relative_to(path.parent).as_posix()})"


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
    return [f"## {synthetic_gain.TITLE}", SYNTHETIC_ABOUT, markdown_table(shown, rows)]
