"""Two results on the images that both have: what one gains over the other, and whether to believe it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.task import Labels, Task
from chestfold.evaluate import claims, intervals, predictions, thresholds
from chestfold.evaluate.bootstrap import Score, drawn
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.metrics import METRICS, Evaluation, Metric, Predicted, difference, find_metric
from chestfold.evaluate.remembered import remembered
from chestfold.evaluate.results import Result, known_result


def common_folds(ours: Result, theirs: Result) -> tuple[int, ...]:
    """The folds that both hold; none where they are of different fold files."""
    if ours.record.folds.sha256 != theirs.record.folds.sha256:
        return ()
    return tuple(sorted(set(ours.record.folds.trained) & set(theirs.record.folds.trained)))


def require_common_folds(ours: Result, theirs: Result) -> tuple[int, ...]:
    """The folds that both hold.

    Raises:
        InputError: there are none; says what to train.
    """
    found = common_folds(ours, theirs)
    if found:
        return found
    a, b = ours.record.folds, theirs.record.folds
    if a.sha256 != b.sha256:
        raise InputError(
            f"{ours.name} is of folds/{a.file}.csv ({a.sha256[:8]}, data set {ours.record.data}) and {theirs.name} of "
            f"folds/{b.file}.csv ({b.sha256[:8]}, {theirs.record.data}): no image is predicted by both under the same "
            f"split; compare runs of one fold file, or train one again with --data and --folds of the other"
        )
    raise InputError(
        f"{ours.name} holds {a} and {theirs.name} {b}: they have no image in common; train "
        f"fold {b.trained[0]} of {ours.name} (--fold {b.trained[0]})"
    )


@dataclass(frozen=True)
class Paired:
    """Predictions of the same images, row by row.

    `metric`: the competition's. `table`: id, group, fold, label (N rows, sorted by id); `ours`, `theirs`: probabilities
    (N, K).
    """

    task: Task
    metric: Metric
    folds: tuple[int, ...]
    table: pd.DataFrame
    ours: np.ndarray
    theirs: np.ndarray

    @cached_property
    def labels(self) -> Labels:
        """The truth, as the task has it."""
        return self.task.labels(self.table["label"].tolist())

    @property
    def groups(self) -> np.ndarray:
        """Patients (N,)."""
        return self.table["group"].to_numpy()

    @property
    def patients(self) -> int:
        """How many different ones."""
        return self.table["group"].nunique()

    @cached_property
    def at_half(self) -> tuple[Predicted, Predicted]:
        """Both, decided at 0.5."""
        return Predicted(self.task, self.labels, self.ours), Predicted(self.task, self.labels, self.theirs)

    @property
    def can_be_tuned(self) -> bool:
        """Whether thresholds can be chosen on other folds."""
        return thresholds.have_thresholds(self.task) and len(self.folds) > 1

    @cached_property
    def tuned(self) -> tuple[Predicted, Predicted]:
        """Both, each decided at thresholds that were chosen on the other folds, as in scores.json."""
        folds = self.table["fold"].to_numpy()
        found = []
        for probs in (self.ours, self.theirs):
            chosen = thresholds.cross_fitted_thresholds(self.task, self.labels, probs, folds, self.metric)
            threshold = thresholds.as_given(self.task, chosen)
            found.append(Predicted(self.task, self.labels, probs, threshold))
        return found[0], found[1]


def pair(ours: Result, theirs: Result) -> Paired:
    """The predictions of two results for the images that both have.

    Raises:
        InputError: there are no such images.
    """
    folds = require_common_folds(ours, theirs)
    table, other = ours.oof()[0], theirs.oof()[0]
    table = table[table["fold"].isin(folds)].reset_index(drop=True)
    other = other[other["fold"].isin(folds)]
    other = predictions.aligned(other, table["id"], predictions.class_columns(table))
    record, probs = ours.record, predictions.probabilities(table)
    return Paired(
        task=record.create_task(),
        metric=record.competition_metric,
        folds=folds,
        table=table[predictions.KEYS],
        ours=probs,
        theirs=predictions.probabilities(other),
    )


@dataclass(frozen=True)
class Gain:
    """What ours gains in a metric, and the probability that the claim in its direction is false."""

    score: Score
    p_false: float


def gain_of(paired: Paired, metric: Metric, sides: tuple[Predicted, Predicted]) -> Gain:
    """The gain in a metric of two predictions of the same rows (`Paired.at_half` or `tuned`), by a paired bootstrap."""
    gains = gains_of(paired, {"it": metric}, sides)
    return gains["it"]


def gains_of(paired: Paired, metrics: Mapping[str, Metric], sides: tuple[Predicted, Predicted]) -> dict[str, Gain]:
    """Metric by name -> what ours gains; all are drawn with the same patients."""
    scored = paired.task.scored_classes

    def gains(weights: np.ndarray) -> np.ndarray:
        ours, theirs = (Evaluation(side, weights, scored) for side in sides)
        found = [m.sign * (m.values(ours) - m.values(theirs)) for m in metrics.values()]
        return np.stack(found, axis=-1)

    point, draws = drawn(gains, paired.groups)
    found = {}
    for n, (name, metric) in enumerate(metrics.items()):
        gain = difference(metric, point[n], draws[:, n], sides, paired.groups)
        p_false = _by_agreement(metric, sides, paired.groups)
        found[name] = Gain(intervals.of_difference(gain), claims.false_by_error(gain) if p_false is None else p_false)
    return found


def _by_agreement(metric: Metric, sides: tuple[Predicted, Predicted], groups: np.ndarray) -> float | None:
    """By the counts of right answers, where the metric is the share of them among the rows of exclusive classes."""
    ours, theirs = sides
    rows = _rows_of_share(metric, ours)
    if rows is None:
        return None
    right = [(side.decided == side.truth).all(axis=1)[rows] for side in (ours, theirs)]
    return claims.false_by_agreement(right[0], right[1], groups[rows])


def _rows_of_share(metric: Metric, predicted: Predicted) -> np.ndarray | None:
    """Which rows, bool (N,), a metric is the share of right answers in; None where it is no such share."""
    task = predicted.task
    if not task.sums_to_one:
        return None
    if metric is METRICS["accuracy"]:
        return np.ones(len(predicted.probs), bool)
    if len(task.classes) > 2:
        return None
    if metric is METRICS["recall"]:
        return predicted.truth[:, task.positive_number] == 1
    return predicted.absent[:, task.positive_number] if metric is METRICS["specificity"] else None


def compare(ours: Result, theirs: Result, metric: str = "auc") -> Comparison:
    """What `ours` gains over `theirs` in a metric, on the images that both have.

    A run of fold 0 is so compared with one of five folds on the images of fold 0: `folds` says so.

    Raises:
        InputError: they have no image in common.
    """
    paired = pair(ours, theirs)
    gain = gain_of(paired, find_metric(metric, ours.record.metric_weights), paired.at_half)
    return Comparison(
        other=theirs.name,
        sha256=theirs.record.files["oof.parquet"] or "",
        folds=paired.folds,
        images=len(paired.table),
        patients=paired.patients,
        metric=metric,
        gain=gain.score,
        p_false=gain.p_false,
    )


def against_parent(result: Result, parent: Result | None) -> Comparison | None:
    """A result against its parent, as it was kept if the parent is still the same; None where they share no image."""
    if parent is None or not common_folds(result, parent):
        return None
    kept = result.record.against
    is_current = kept and (kept.other, kept.sha256) == (parent.name, parent.record.files["oof.parquet"])
    return kept if is_current else remembered(Comparison, result, parent, lambda: compare(result, parent))


def keep_comparison(result: Result) -> Result:
    """Write the comparison with the parent into scores.json, so that it need not be drawn again; returns the result."""
    against = against_parent(result, known_result(result.record.parent))
    if against == result.record.against:
        return result
    return result.rewritten(against=against)


def scope(paired_folds: tuple[int, ...], images: int, ours: Result, theirs: Result) -> str:
    """On which images two results are compared, in words; says where one of them holds more folds."""
    held = {ours.record.folds.trained, theirs.record.folds.trained}
    numbers = ", ".join(map(str, paired_folds))
    title = f"fold {numbers}" if len(paired_folds) == 1 else f"folds {numbers}"
    if held == {paired_folds}:
        return f"{plural(images, 'image')} of {ours.record.folds}"
    return (
        f"the {plural(images, 'image')} of {title} that both have ({ours.name}: {ours.record.folds}, "
        f"{theirs.name}: {theirs.record.folds})"
    )
