"""The tables of the texts that this project grew out of, with our measured figures beside theirs.

Theirs are facts copied from the texts (published_baselines.toml); ours come from results alone: a result belongs to the
line of its experiment, `exp010`, and so do the variants of that experiment, `exp010-mobilenetv2`.
"""

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from chestfold.core.console import plural
from chestfold.core.records import Record
from chestfold.evaluate.leaderboard import format_score, format_value
from chestfold.evaluate.results import NotRun, Result, ResultRecord

FIGURES = ("auc", "precision", "recall", "f1", "accuracy")
HEADER = ("what", "whose", "run", "AUC", "precision", "recall", "F1", "accuracy")


class Line(Record):
    """A line of a source's table: what was done, their figures, and the experiment that does it here."""

    what: str
    experiment: str
    theirs: dict[str, float] = {}


class SourceTable(Record):
    """A table of a source. `says`: the answer, with places that RESULTS.md fills; `note`: what a reader must know to
    compare; `variants`: whether those of an experiment are on its line too."""

    title: str
    variants: bool = True
    says: str = ""
    note: str
    lines: tuple[Line, ...]


@cache
def source_tables() -> tuple[SourceTable, ...]:
    """All tables, as they are written in published_baselines.toml."""
    text = files("chestfold.evaluate").joinpath("published_baselines.toml").read_text(encoding="utf-8")
    return tuple(SourceTable.model_validate(table) for table in tomllib.loads(text)["tables"])


def filled_tables(
    results: Mapping[str, Result], stopped: Mapping[str, NotRun]
) -> list[tuple[SourceTable, list[list[str]]]]:
    """All tables, each with its texts in the order of `HEADER`; `stopped`: what could not be run."""
    return [(table, lines_of(table, results, stopped)) for table in source_tables()]


def lines_of(table: SourceTable, results: Mapping[str, Result], stopped: Mapping[str, NotRun]) -> list[list[str]]:
    """The texts of one table."""
    texts: list[list[str]] = []
    for line in table.lines:
        texts += _lines(line, results, stopped)
    return texts


def _lines(line: Line, results: Mapping[str, Result], stopped: Mapping[str, NotRun]) -> Iterator[list[str]]:
    nothing = ["-"] * len(FIGURES)
    if line.theirs:
        yield [line.what, "source", "-", *(_format_theirs(line, figure) for figure in FIGURES)]
    found = results_of(line, results)
    if line.experiment in stopped and line.experiment not in results:
        yield [line.what, line.experiment, f"not run: {stopped[line.experiment].why}", *nothing]
    elif not found:
        yield [line.what, line.experiment, "not run", *nothing]
    for result in found:
        scores = [format_score(result.score("at_half", figure)) for figure in FIGURES]
        yield [line.what, result.name, describe_run(result.record), *scores]


def results_of(line: Line, results: Mapping[str, Result]) -> list[Result]:
    """The results of a line: that of its experiment, and of variants of it that are recipes too, by name."""
    named = [results[name] for name in sorted(results) if _belongs(name, line.experiment)]
    return [result for result in named if not result.record.measures_the_data]


def _format_theirs(line: Line, figure: str) -> str:
    return f"{line.theirs[figure]:.4g}" if figure in line.theirs else "-"


def _belongs(name: str, experiment: str) -> bool:
    variant = name.startswith((f"{experiment}-", f"{experiment}@"))
    return (name == experiment or variant) and not name.endswith("-debug")


def describe_run(record: ResultRecord) -> str:
    """How a result was trained, on which folds, and whether it is its experiment as written."""
    words = [describe_settings(record), str(record.folds)]
    if not _is_variant(record):
        words.append("as written")
    return ", ".join(words)


def describe_settings(record: ResultRecord) -> str:
    """At which size and for how many epochs a result was trained, and how a variant differs."""
    words = [f"{record.setting('image_size')} px", plural(record.setting("epochs"), "epoch")]
    if "@" in record.name:
        words.append(f"data {record.data}")
    if _is_variant(record):
        for name, (_, new) in record.changed.items():
            if name not in UNSAID:
                words.append(_describe_change(name, new))
    return ", ".join(words)


UNSAID = ("image_size", "epochs", "monitor")
"""What is said anyway, or does not make another network."""


def _describe_change(name: str, value: Any) -> str:
    """A setting of a variant, in few words."""
    if name == "backbone":
        return str(value)
    if name == "pretrained" and not value:
        return "from scratch"
    return f"{name} {format_value(value)}"


def _is_variant(record: ResultRecord) -> bool:
    return record.name.startswith(f"{record.parent}-")
