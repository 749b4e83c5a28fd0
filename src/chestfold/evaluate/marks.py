"""What must be read beside a score: how many images of what, what guessing would reach, and what a run never calls.

All of it comes from scores.json, but for the patients of older results, which are read from their predictions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chestfold.core.console import plural
from chestfold.data.catalogue import catalogue
from chestfold.evaluate.results import Result, ResultRecord

ROUNDING = 0.0005
"""Of a figure that is shown with three decimals."""


@dataclass(frozen=True)
class Mark:
    """A remark on a result. `never`: it never calls a class; `base_rate`: guessing is as often right; `folds_differ`:
    its folds together have a lower AUC than each by itself."""

    kind: Literal["never", "base_rate", "folds_differ"]
    text: str


@dataclass(frozen=True)
class BaseRate:
    """The share of images, 0 to 1, for which it is right to call everything `answer`."""

    answer: str
    share: float


@dataclass(frozen=True)
class Facts:
    """What the results of one table are of. `counts`: class or label -> images that have it.

    `base`: of exclusive classes.
    """

    images: int
    patients: int
    counts: dict[str, int]
    positive: str
    base: BaseRate | None
    warning: str

    def sentence(self) -> str:
        """`5232 images, 3669 patients, 3883 PNEUMONIA; calling everything PNEUMONIA is right in 74.2 %`."""
        who = plural(self.patients, "patient") if self.patients < self.images else "each counted as its own patient"
        named = [self.positive] if len(self.counts) == 2 and self.positive else list(self.counts)
        parts = [plural(self.images, "image"), who]
        parts += [f"{self.counts[name]} {name}" for name in named]
        text = ", ".join(parts)
        if self.base is None:
            return text
        return f"{text}; calling everything {self.base.answer} is right in {self.base.share:.1%}".replace("%", " %")


def facts_of(result: Result) -> Facts:
    """Of the images that a result predicts out of fold: those of every result in its table."""
    record = result.record
    counts = class_counts(record)
    return Facts(result.images, result.patients, counts, record.positive, base_rate(record), warning_of(record))


def best_without_lungs(results: Iterable[Result], data: str) -> Result | None:
    """The best result on a data set of a network that saw no lungs; None where no such run was made."""
    found = [result for result in results if _saw_no_lungs(result.record, data) and result.competition_score]
    return max(found, key=_worth, default=None)


def _saw_no_lungs(record: ResultRecord, data: str) -> bool:
    return record.data == data and record.settings.get("frame") == "lungs_black"


def _worth(result: Result) -> float:
    score = result.competition_score
    assert score is not None
    return result.record.competition_metric.worth(score.value)


def without_lungs(result: Result) -> str:
    """What is reached by a result of a network that saw no lungs, as a line above its data set's results."""
    title = result.record.competition_metric.title
    return f"what is told without the lungs (the middle black): {title} {result.competition_score} by {result.name}"


def class_counts(record: ResultRecord) -> dict[str, int]:
    """Class or label -> images that have it."""
    matrix = record.scores.confusion
    if record.create_task().sums_to_one:
        return {name: sum(row) for name, row in zip(record.classes, matrix, strict=True)}
    return {name: missed + hits for name, (_, _, missed, hits) in zip(record.classes, matrix, strict=True)}


def base_rate(record: ResultRecord) -> BaseRate | None:
    """The most frequent of exclusive classes; None of labels, which have no common answer."""
    counts = class_counts(record)
    if not record.create_task().sums_to_one or not sum(counts.values()):
        return None
    most = max(counts, key=lambda name: counts[name])
    return BaseRate(most, counts[most] / sum(counts.values()))


def warning_of(record: ResultRecord) -> str:
    """What the data set says that must be read beside its scores; an older record may not have kept it."""
    if record.warning or record.data not in catalogue():
        return record.warning
    return catalogue()[record.data].warning


def marks_of(record: ResultRecord) -> tuple[Mark, ...]:
    """What must be read beside the figures of a result, the gravest first."""
    if not record.scores.confusion:
        return ()
    found = [_never(record), _no_better_than_guessing(record), _folds_differ(record)]
    return tuple(mark for mark in found if mark)


def never_called(record: ResultRecord) -> list[str]:
    """The classes or labels that are there, and never predicted."""
    matrix = np.array(record.scores.confusion)
    if record.create_task().sums_to_one:
        called = matrix.sum(axis=0)
    else:
        called = matrix[:, 1] + matrix[:, 3]
    counts = class_counts(record)
    return [name for name, times in zip(record.classes, called, strict=True) if not times and counts[name]]


def _never(record: ResultRecord) -> Mark | None:
    names = never_called(record)
    return Mark("never", f"never predicts {', '.join(names)}") if names else None


def _no_better_than_guessing(record: ResultRecord) -> Mark | None:
    base, accuracy = base_rate(record), record.scores.at_half.get("accuracy")
    if base is None or accuracy is None or accuracy.value > base.share + ROUNDING:
        return None
    relation = "below" if accuracy.value < base.share - ROUNDING else "="
    return Mark("base_rate", f"accuracy {relation} base rate {base.share:.3f}")


def _folds_differ(record: ResultRecord) -> Mark | None:
    """Where the folds' own AUCs are better than that of all images, by more than the draws give and the eye can see."""
    gap, of_folds = record.scores.folds_minus_pooled, record.scores.per_fold_auc
    if gap is None or of_folds is None or not (gap.low > 0 and gap.value >= ROUNDING):
        return None
    mean = f"mean of folds {np.mean(of_folds):.3f}"
    return Mark("folds_differ", f"the folds' probabilities are on different scales: {mean}")
