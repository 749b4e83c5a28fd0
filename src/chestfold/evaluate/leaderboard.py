"""The leaderboard: one row per result, from files alone."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chestfold.core.config import Experiment, did_you_mean
from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder, RunFolder, run_folders
from chestfold.evaluate.bootstrap import UNDEFINED, Score
from chestfold.evaluate.claims import Comparison, in_words
from chestfold.evaluate.marks import Mark, marks_of, warning_of
from chestfold.evaluate.metrics import BOARD, METRICS, metric_name
from chestfold.evaluate.paired import against_parent
from chestfold.evaluate.results import Result, ResultRecord, all_results, published_results

GAIN = "AUC against parent"
HEADER = (
    "result",
    "AUC",
    "AUC, shifted",
    *(METRICS[name].title for name in BOARD if name != "auc"),
    "F1 tuned",
    GAIN,
    "test AUC",
    "in lungs",
    "minutes",
    "what",
)
OF_FOLDS = "AUC of folds"
"""Of the terminal: mean and deviation of the folds' own AUCs."""
PARENT = "parent"
FALSE = "p false"
"""Of the terminal: the probability that a claim in the direction of the gain is false."""


@dataclass(frozen=True)
class Row:
    """A line of the board. `comparison`: with the parent in AUC, on the images that both have.

    `in_lungs`: share of the heat maps inside the lungs, where `chestfold explain` was run and lungs are known.
    """

    result: Result
    what: str
    scores: dict[str, Score | None]
    corrupted: Score | None
    tuned_f1: Score | None
    comparison: Comparison | None
    test_auc: Score | None
    in_lungs: Score | None

    @property
    def competition(self) -> Score:
        """The figure that the board is sorted by: the competition's metric, AUC where none is declared."""
        score = self.result.competition_score
        assert score is not None
        return score

    @property
    def gain(self) -> Score | None:
        """In AUC over the parent."""
        return self.comparison.gain if self.comparison else None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What must be read beside the figures."""
        return marks_of(self.result.record)

    @property
    def order(self) -> float:
        """What the board is sorted by, the best first."""
        return -self.result.record.competition_metric.worth(self.competition.value)


@dataclass(frozen=True)
class Selection:
    """Which results the board shows; empty: all. `top`: so many of each table."""

    names: Sequence[str] = ()
    data: str = ""
    own: bool = False
    top: int | None = None

    def has(self, result: Result) -> bool:
        """Whether `result` is shown. `own`: it is in runs/, not a published one."""
        if self.names and result.name not in self.names:
            return False
        if self.data and result.record.data != self.data:
            return False
        return not (self.own and result.is_published)

    def require_known(self, results: Sequence[Result]) -> None:
        """Raise `InputError` where a result or a data set has no result."""
        known = [result.name for result in results]
        unfinished_names = {run.name for run in run_folders()}
        for name in self.names:
            if name not in known and name in unfinished_names:
                raise InputError(f"{name} is not finished: run its experiment again, it trains the missing folds")
            if name not in known:
                raise InputError(f"no result {name!r} in runs/ or exps/results/{did_you_mean(name, known)}")
        data = {result.record.data for result in results}
        if self.data and self.data not in data:
            raise InputError(f"no result on the data set {self.data!r}; there are some on {', '.join(sorted(data))}")


def rows_by_folds(results: Iterable[Result], has: Callable[[Result], bool] = lambda _: True) -> dict[str, list[Row]]:
    """Title -> rows, the best first; only results on the same images and folds share a table. No debug runs.

    Args:
        results: all of them, because a row is compared with its parent.
        has: which of them get a row.
    """
    by_name = {result.name: result for result in results}
    tables: dict[str, list[Row]] = {}
    for result in by_name.values():
        if has(result) and not result.is_debug:
            title = f"{table_title(result.record)}. {warning_of(result.record)}".removesuffix(". ")
            tables.setdefault(title, []).append(_row(result, by_name))
    return {title: sorted(_completed(rows), key=lambda row: row.order) for title, rows in sorted(tables.items())}


def table_title(record: ResultRecord) -> str:
    """Of the table that a result belongs to: its images and folds, and what it is sorted by where that is not AUC."""
    folds = record.folds
    title = f"{record.data} (folds/{folds.file}.csv {folds.sha256[:8]}, {folds})"
    if metric_name(record.metric) == "auc":
        return title
    return f"{title}, sorted by {record.competition_metric.title}"


def _completed(rows: list[Row]) -> list[Row]:
    """The rows of a table, each with every metric that one of them has: those of hooks are scored for some only."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    return [replace(row, scores=dict.fromkeys(names) | row.scores) for row in rows]


def _row(result: Result, by_name: dict[str, Result]) -> Row:
    attention = result.attention()
    return Row(
        result=result,
        what=describe(result.record),
        scores=dict.fromkeys(BOARD) | result.record.scores.at_half,
        corrupted=result.score("corrupted", "auc"),
        tuned_f1=result.score("cross_fitted", "f1"),
        comparison=against_parent(result, by_name.get(result.record.parent)),
        test_auc=result.score("test", "auc"),
        in_lungs=attention.figure("predicted", "in_lungs") if attention else None,
    )


def describe(record: ResultRecord) -> str:
    """What a result is: its members, its parent and what was changed, or the file that it was imported from."""
    if record.kind == "imported":
        return f"imported from {record.source}"
    if record.kind == "calibrated":
        return f"{record.members[0]}, calibrated"
    if record.kind == "ensemble":
        return f"{record.method} of {' + '.join(record.members)}"
    if not record.parent:
        return f"{record.setting('backbone')} {record.setting('image_size')} px"
    changes = ", ".join(f"{name} {format_value(new)}" for name, (_, new) in record.changed.items())
    return f"{record.parent} but {changes}"


def format_value(value: Any) -> str:
    """A setting's value in a table."""
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


@dataclass(frozen=True)
class OfFolds:
    """Mean and standard deviation of the folds' own AUCs."""

    value: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.deviation:.4f}"


Value = Score | OfFolds | float | str | None
"""What a column holds; None: there is no such figure."""


def texts_of(row: Row) -> dict[str, str]:
    """Column -> text of a row: of the page and RESULTS.md; see `values_of`."""
    return {column: format_cell(column, value) for column, value in values_of(row).items()}


def format_cell(column: str, value: Value) -> str:
    """What a column holds, as text; a figure that is not defined is `-`."""
    if value is None:
        return UNDEFINED
    if isinstance(value, Score) and column == GAIN:
        return value.format_gain()
    if isinstance(value, float):
        return in_words(value) if column == FALSE else f"{value:.1f}"
    return str(value)


def values_of(row: Row) -> dict[str, Value]:
    """Column -> what it holds.

    Those of `HEADER`, behind the name the competition's metric, where that is another than AUC, and at the end the
    metrics of hooks.
    """
    record = row.result.record
    values = dict(zip(HEADER, _values(row), strict=True))
    for name, score in row.scores.items():
        if name not in (*BOARD, metric_name(record.metric)):
            values[METRICS[name].title if name in METRICS else name] = score
    title = competition_column(record)
    if not title:
        return values
    return {HEADER[0]: values.pop(HEADER[0]), title: row.competition, **values}


def competition_column(record: ResultRecord) -> str:
    """Title of the column of the competition's metric; empty where that is AUC, which has its column."""
    if metric_name(record.metric) == "auc":
        return ""
    return f"{record.competition_metric.title} (competition)"


def _values(row: Row) -> list[Value]:
    of_metrics = [row.scores[name] for name in BOARD if name != "auc"]
    return [
        row.result.name,
        row.scores["auc"],
        row.corrupted,
        *of_metrics,
        row.tuned_f1,
        row.gain,
        row.test_auc,
        row.in_lungs,
        row.result.record.minutes,
        row.what,
    ]


def terminal_values(row: Row) -> dict[str, Value]:
    """`values_of`, with the columns that the terminal has besides: the folds' own AUCs, the parent and the claim."""
    folds = row.result.record.scores.per_fold_auc or []
    spread = None
    if len(folds) > 1 and not any(map(math.isnan, folds)):
        spread = OfFolds(statistics.mean(folds), statistics.stdev(folds))
    false = row.comparison.p_false if row.comparison else None
    return values_of(row) | {OF_FOLDS: spread, PARENT: _parent(row), FALSE: false}


def _parent(row: Row) -> str | None:
    """Its name, and the folds of the comparison where these are not all of the result's."""
    record, comparison = row.result.record, row.comparison
    if comparison is None or comparison.folds == record.folds.trained:
        return record.parent or None
    return f"{record.parent}, on fold {', '.join(map(str, comparison.folds))}"


def format_score(score: Score | None) -> str:
    """Value and interval; four decimals, because good AUCs differ in the third."""
    return str(score) if score else "-"


def format_point(score: Score | None) -> str:
    """A value without its interval."""
    return str(score).split(" ")[0] if score else "-"


def displaced() -> list[str]:
    """A line for each run in runs/ that hides a published result with more folds."""
    published, lines = published_results(), []
    for result in all_results():
        other = published.get(result.name)
        if other and not result.is_published and len(result.record.folds.trained) < len(other.record.folds.trained):
            held = f"{result.record.folds} of runs/ in the place of the published {other.record.folds}"
            lines.append(f"{result.name}: shown is {held}")
    return lines


def unfinished_runs() -> Iterator[RunFolder]:
    """Those with folds that are begun and not collected."""
    for run in run_folders():
        finished = all(fold.manifest_path.exists() for fold in run.begun_folds())
        if not (finished and (run.path / "scores.json").exists()):
            yield run


def unfinished() -> list[str]:
    """A line for each run with folds that are begun and not collected: how far each of its folds is."""
    return [f"not collected yet: {run.name}: {_states(run.begun_folds())}" for run in unfinished_runs()]


def _states(folds: Sequence[FoldFolder]) -> str:
    return ", ".join(f"{fold.path.name} {_state(fold)}" for fold in folds)


def _state(fold: FoldFolder) -> str:
    if fold.manifest_path.exists():
        return f"finished (best epoch {fold.manifest().best_epoch})"
    return f"{len(fold.history())} of {plural(epochs_of(fold), 'epoch')}"


def epochs_of(fold: FoldFolder) -> int:
    """How many epochs a fold is to be trained."""
    return fold.config().settings.get("epochs", Experiment.epochs)
