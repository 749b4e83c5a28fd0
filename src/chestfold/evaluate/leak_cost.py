"""What leaks would have added to a score: the same experiment on sound folds and on folds that leak on purpose."""

from dataclasses import dataclass

from chestfold.core.errors import InputError
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.paired import Paired, gain_of
from chestfold.evaluate.predictions import KEYS, aligned, class_columns, probabilities
from chestfold.evaluate.results import Result

FREE = ("folds",)
"""Settings in which the two runs may differ."""


@dataclass(frozen=True)
class LeakCost:
    """`added`: the competition's metric with the leak minus that without, on the same bootstrapped patients."""

    sound: Score
    leaky: Score
    added: Score
    title: str
    images: int


def leaky_name(name: str) -> str:
    """What the run on leaking folds is called: `exp021-leaky`, `exp021-64px-leaky`, `exp021-leaky@other_data`."""
    run, at, data = name.partition("@")
    return f"{run}-leaky{at}{data}"


def leak_cost(sound: Result, leaky: Result) -> LeakCost:
    """Compare two runs, image by image.

    Raises:
        InputError: they differ in more than the folds, or one lacks folds.
    """
    if not leaky.record.folds.leaky or sound.record.folds.leaky:
        raise InputError(f"{leaky.name} is to be trained on folds that leak on purpose, and {sound.name} is not")
    for result in (sound, leaky):
        if result.record.folds.missing:
            raise InputError(f"{result.name} holds {result.record.folds}; train the missing ones first")
    mine, theirs = sound.record.all_settings, leaky.record.all_settings
    for name in sorted({*mine, *theirs} - set(FREE)):
        if mine.get(name) != theirs.get(name):
            raise InputError(
                f"{name} is {mine.get(name)!r} in {sound.name} and {theirs.get(name)!r} in {leaky.name}; only the "
                f"folds may differ: train {leaky.name} again with --overwrite"
            )
    paired = _paired(sound, leaky)
    added = gain_of(paired, paired.metric, paired.at_half).score
    first, second = sound.competition_score, leaky.competition_score
    assert first is not None and second is not None
    return LeakCost(first, second, added, paired.metric.title, len(paired.table))


def _paired(sound: Result, leaky: Result) -> Paired:
    """The leaky run's predictions against the sound one's, with the patients of the sound one's folds."""
    table = sound.oof()[0]
    other = aligned(leaky.oof()[0], table["id"], class_columns(table))
    record = sound.record
    return Paired(
        task=record.create_task(),
        metric=record.competition_metric,
        folds=record.folds.trained,
        table=table[KEYS],
        ours=probabilities(other),
        theirs=probabilities(table),
    )
