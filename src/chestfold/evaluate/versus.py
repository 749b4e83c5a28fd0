"""One result against another in all that differs: settings, figures, images that changed sides, parts of the data."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chestfold.core.config import difference
from chestfold.core.errors import InputError
from chestfold.evaluate import subgroups
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS, TITLES, Metric, is_metric, metric_name, value_of
from chestfold.evaluate.paired import Gain, Paired, gains_of, pair, scope
from chestfold.evaluate.results import Result, known_result
from chestfold.evaluate.subgroups import BySubgroup, SubgroupScores

FIGURES = ("auc", "recall", "specificity", "accuracy", "brier", "log_loss")
TUNED = ("recall", "specificity", "accuracy")
"""Those that are shown at thresholds of the other folds too."""
TUNED_SUFFIX = ", tuned"
OF_TRUTH = "P(truth)"
SHOWN = 10
"""Images that changed sides."""
Side = Literal["ours", "theirs", "neither"]


@dataclass(frozen=True)
class Figure:
    """A metric of both, and what ours gains. `p_false`: the probability that the claim in its direction is false."""

    name: str
    title: str
    ours: float
    theirs: float
    gain: Score
    p_false: float


@dataclass(frozen=True)
class Change:
    """An image of which the two say different things. `ours`, `theirs`: the probabilities, and in words what is said.

    A probability is that of the positive of two classes; else of the truth, of labels the lowest one of those known.
    """

    image_id: str
    truth: str
    ours: float
    theirs: float
    ours_says: str
    theirs_says: str
    right: Side


@dataclass(frozen=True)
class Sides:
    """Images of which the two say different things: how many only one is right about, and the most changed ones."""

    only_ours: int
    only_theirs: int
    neither: int
    most_changed: list[Change]


@dataclass(frozen=True)
class Part:
    """The images of one part of the data, by both."""

    title: str
    value: str
    ours: SubgroupScores
    theirs: SubgroupScores


@dataclass(frozen=True)
class Versus:
    """`ours` against `theirs`. `settings`: name -> value of ours and of theirs; `notes`: what must be known."""

    ours: str
    theirs: str
    scope: str
    images: int
    patients: int
    folds: tuple[int, ...]
    probability: str
    settings: dict[str, tuple[Any, Any]]
    figures: list[Figure]
    sides: Sides
    parts: list[Part]
    notes: list[str]


def versus(ours: Result, theirs: Result) -> Versus:
    """All that differs between two results, on the images that both have.

    Raises:
        InputError: they are the same, one is of a debug run, or they have no image in common.
    """
    if ours.name == theirs.name:
        raise InputError(f"{ours.name} is compared with another result; name two different ones")
    for result in (ours, theirs):
        if result.is_debug:
            raise InputError(f"{result.name} is a debug run: its scores mean nothing; train {result.name[:-6]} instead")
    paired = pair(ours, theirs)
    notes = _notes(ours, theirs)
    parts = _parts(ours, theirs, paired, notes)
    return Versus(
        ours=ours.name,
        theirs=theirs.name,
        scope=scope(paired.folds, len(paired.table), ours, theirs),
        images=len(paired.table),
        patients=paired.patients,
        folds=paired.folds,
        probability=_probability(paired),
        settings=difference(_settings(ours), _settings(theirs)),
        figures=_figures(ours, paired),
        sides=_sides(paired),
        parts=parts,
        notes=notes,
    )


def _notes(ours: Result, theirs: Result) -> list[str]:
    """What must be known before a difference is read."""
    notes = []
    a, b = ours.record, theirs.record
    if a.data != b.data:
        notes.append(f"the images have the same ids and folds, but are of two data sets: {a.data} and {b.data}")
    if not is_metric(a.metric):
        notes.append(f"{a.metric}, the competition's metric, is one of hooks and not compared")
    return notes


def _settings(result: Result) -> dict[str, Any]:
    """What made a result: an experiment's settings, where the record is older with their defaults; else its members."""
    record = result.record
    if record.kind == "experiment":
        return record.all_settings
    if record.kind == "ensemble":
        return {"kind": record.kind, "method": record.method, "members": list(record.members)}
    if record.kind == "calibrated":
        source = known_result(record.members[0])
        return (_settings(source) if source else {"members": list(record.members)}) | {"calibrated": True}
    return {"kind": record.kind, "source": record.source}


def _figures(ours: Result, paired: Paired) -> list[Figure]:
    at_half = {name: METRICS[name] for name in FIGURES}
    competition = metric_name(ours.record.metric)
    if competition not in at_half and is_metric(competition):
        at_half[competition] = ours.record.competition_metric
    gains = gains_of(paired, at_half, paired.at_half)
    found = [_figure(name, "", metric, gains[name], paired.at_half) for name, metric in at_half.items()]
    if paired.can_be_tuned:
        tuned = {name: METRICS[name] for name in TUNED}
        gains = gains_of(paired, tuned, paired.tuned)
        found += [_figure(name, TUNED_SUFFIX, metric, gains[name], paired.tuned) for name, metric in tuned.items()]
    return found


def _figure(name: str, kind: str, metric: Metric, gain: Gain, sides: tuple[Any, Any]) -> Figure:
    ours, theirs = (value_of(metric, side) for side in sides)
    return Figure(name + kind, TITLES.get(name, metric.title) + kind, ours, theirs, gain.score, gain.p_false)


def _probability(paired: Paired) -> str:
    """What the probabilities of changed images are of."""
    task = paired.task
    return f"P({task.positive})" if task.sums_to_one and len(task.classes) == 2 else OF_TRUTH


def _sides(paired: Paired) -> Sides:
    """Decided at 0.5, or the most probable of several classes."""
    ours, theirs = paired.at_half
    differs = (ours.decided != theirs.decided).any(axis=1)
    ours_right, theirs_right = ((side.decided == side.truth).all(axis=1) for side in (ours, theirs))
    only_ours, only_theirs = differs & ours_right & ~theirs_right, differs & theirs_right & ~ours_right
    change = np.abs(_of_truth(paired, paired.ours) - _of_truth(paired, paired.theirs))
    rows = np.flatnonzero(differs)
    rows = rows[np.argsort(-change[rows], kind="stable")][:SHOWN]
    sides: list[Side] = ["ours" if only_ours[row] else "theirs" if only_theirs[row] else "neither" for row in rows]
    return Sides(
        only_ours=int(only_ours.sum()),
        only_theirs=int(only_theirs.sum()),
        neither=int((differs & ~only_ours & ~only_theirs).sum()),
        most_changed=[_change(paired, int(row), side) for row, side in zip(rows, sides, strict=True)],
    )


def _of_truth(paired: Paired, probs: np.ndarray) -> np.ndarray:
    return paired.task.of_truth(probs, paired.labels)


def _change(paired: Paired, row: int, side: Side) -> Change:
    image = paired.table.iloc[row]
    task, shown = paired.task, []
    for probs in (paired.ours, paired.theirs):
        if _probability(paired) == OF_TRUTH:
            shown.append(float(_of_truth(paired, probs)[row]))
        else:
            shown.append(float(probs[row, task.positive_number]))
    ours, theirs = shown
    said, other_said = task.name_of(paired.ours[row]), task.name_of(paired.theirs[row])
    return Change(str(image["id"]), str(image["label"]), ours, theirs, said, other_said, side)


def _parts(ours: Result, theirs: Result, paired: Paired, notes: list[str]) -> list[Part]:
    """Side by side: as each result has them where both are of the same images, else on their common ones."""
    if ours.images_scored == theirs.images_scored:
        both = ours.by_subgroup(), theirs.by_subgroup()
    else:
        both = _parts_of_common(ours, paired)
        left = sorted(set(ours.by_subgroup()) - set(both[0]))
        if left:
            notes.append(f"not compared on a part of the folds, because a column divides the images: {', '.join(left)}")
    found = []
    for title, values in both[0].items():
        for value, scores in values.items():
            other = both[1].get(title, {}).get(value)
            if other:
                found.append(Part(title, value, scores, other))
    return found


def _parts_of_common(ours: Result, paired: Paired) -> tuple[BySubgroup, BySubgroup]:
    values = subgroups.values_of(ours.record.data, paired.table["id"])
    found = []
    for probs in (paired.ours, paired.theirs):
        table = paired.table.copy()
        table[list(paired.task.classes)] = probs
        found.append(subgroups.score(table, paired.task, values, paired.metric) or {})
    return found[0], found[1]
