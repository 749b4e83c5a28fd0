"""What synthetic images gain: a result that was trained with them beside its baselines that were not.

A baseline has the same folds and settings, but no synthetic images. A second kind of baseline over-samples the rare
class instead: that costs nothing, and is what synthetic images have to beat.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chestfold.core.records import Record
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.leaderboard import format_score
from chestfold.evaluate.metrics import METRICS, find_metric
from chestfold.evaluate.paired import gain_of, gains_of, pair
from chestfold.evaluate.remembered import remembered
from chestfold.evaluate.results import Result

TITLE = "Do synthetic images help?"
NOTE = (
    "Each run with synthetic images in its training folds against runs with the same settings and folds without them: "
    "as they are, or with the positive class over-sampled to the size of the others. Out-of-fold; differences with "
    "minus without, both on the same bootstrapped patients, 95 % intervals. Recall at a specificity of 0.95, and at "
    "thresholds that each run chose on its other folds (*tuned*): at 0.5 it would say which run is bolder, and not "
    "which one finds more. *share*: of the real positive images trained upon. *sampling*: of the run with and of the "
    "run without; where they differ, so does the balance of the classes. *synthetic*: images in a fold, and how many "
    "real ones they were made from."
)
RECALLS = ("recall gained at specificity 0.95", "recall gained, tuned")
HEADER = (
    "share",
    "with",
    "without",
    "sampling",
    "AUC gained",
    *RECALLS,
    "AUC with",
    "AUC without",
    "recall with, tuned",
    "recall without, tuned",
    "synthetic",
)
FREE = {"sampling": "over"}
"""What a baseline may have in the place of synthetic images."""


class Gains(Record):
    """The scores of a pair."""

    auc: Score
    recall: Score
    tuned_recall: Score | None = None


@dataclass(frozen=True)
class Pair:
    """Two results that differ in synthetic images. The scores are gains, with minus without.

    `recall`: at a specificity of 0.95. `tuned_recall`: at thresholds of other folds; None where there are none.
    """

    with_: Result
    without: Result
    auc: Score
    recall: Score
    tuned_recall: Score | None

    @property
    def share(self) -> float:
        """Of the real positive images trained upon."""
        return self.with_.record.settings["positive_share"]

    @property
    def samplings(self) -> tuple[str, str]:
        """Of the run with and of the run without."""
        return self.with_.record.settings["sampling"], self.without.record.settings["sampling"]


def pairs(results: list[Result]) -> list[Pair]:
    """Every result with synthetic images and each of its baselines, the smallest share of real images first."""
    found = []
    for result in results:
        if result.record.settings.get("synthetic") and not result.is_debug:
            found += [_pair(result, baseline) for baseline in _baselines(result, results)]
    return sorted(found, key=lambda pair: (pair.share, pair.samplings, pair.with_.name))


def _baselines(result: Result, results: list[Result]) -> Iterator[Result]:
    bare: dict[str, Any] = result.record.settings | {"synthetic": ""}
    for other in results:
        if other.record.settings in (bare, bare | FREE) and other.images_scored == result.images_scored:
            yield other


def _pair(with_: Result, without: Result) -> Pair:
    gains = remembered(Gains, with_, without, lambda: _gains(with_, without))
    return Pair(with_, without, gains.auc, gains.recall, gains.tuned_recall)


def _gains(with_: Result, without: Result) -> Gains:
    paired = pair(with_, without)
    gains = gains_of(paired, {"auc": METRICS["auc"], "recall": find_metric("sensitivity@0.95")}, paired.at_half)
    tuned = gain_of(paired, METRICS["recall"], paired.tuned).score if paired.can_be_tuned else None
    return Gains(auc=gains["auc"].score, recall=gains["recall"].score, tuned_recall=tuned)


def cells(pair: Pair) -> list[str]:
    """The texts of a row, in the order of `HEADER`."""
    texts = [f"{pair.share:.0%}", pair.with_.name, pair.without.name, " / ".join(pair.samplings)]
    texts += [pair.auc.format_gain(), pair.recall.format_gain()]
    texts.append(pair.tuned_recall.format_gain() if pair.tuned_recall else "-")
    for kind, metric in (("at_half", "auc"), ("cross_fitted", "recall")):
        for result in (pair.with_, pair.without):
            texts.append(format_score(result.score(kind, metric)))
    return [*texts, _counts(pair.with_)]


def _counts(result: Result) -> str:
    """How many synthetic images a fold had, and from how many real ones: `800 from 862 to 874`."""
    counts = result.record.synthetic
    if not counts:  # some published results do not say
        return "not recorded"
    return f"{_range([c.images for c in counts])} from {_range([c.made_from for c in counts])}"


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"
