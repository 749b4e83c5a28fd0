"""What synthetic images are worth: a result that was trained with them beside its baselines that were not.

A baseline has the same folds and settings, but no synthetic images. A second kind of baseline over-samples the rare
class instead: that costs nothing, and is what synthetic images have to beat.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.metrics import Score
from chestfold.evaluate.results import Result, all_results, trained_folds

TITLE = "Do synthetic images help?"
NOTE = (
    "Each run with synthetic images in its training folds against runs with the same settings and folds without them: "
    "as they are, or with the positive class over-sampled to the size of the others. Out-of-fold; differences with "
    "minus without, both on the same bootstrapped patients, 95 % intervals; recall at 0.5. *share*: of the real "
    "positive images trained upon. *sampling*: of the run with and of the run without; where they differ, so does the "
    "balance of the classes. *synthetic*: images in a fold, and how many real ones they were made from."
)
HEADER = (
    "share",
    "with",
    "without",
    "sampling",
    "AUC gained",
    "recall gained",
    "AUC with",
    "AUC without",
    "recall with",
    "recall without",
    "synthetic",
)
MAIN = ("share", "with", "without", "sampling", "AUC gained", "recall gained")
FREE = {"sampling": "over"}
"""What a baseline may have in the place of synthetic images."""


@dataclass(frozen=True)
class Pair:
    """Two results that differ in synthetic images; `auc` and `recall` are gains, with minus without."""

    with_: Result
    without: Result
    auc: Score
    recall: Score


def pairs(results: list[Result]) -> list[Pair]:
    """Every result with synthetic images and each of its baselines, the smallest share of real images first."""
    made = [r for r in results if _settings(r).get("synthetic") and not r.name.endswith("-debug")]
    found = [_pair(with_, baseline) for with_ in made for baseline in _baselines(with_, results)]
    return sorted(found, key=lambda p: (_settings(p.with_)["positive_share"], _samplings(p), p.with_.name))


def _settings(result: Result) -> dict[str, Any]:
    return result.about.get("settings", {})


def _samplings(pair: Pair) -> tuple[str, str]:
    return _settings(pair.with_)["sampling"], _settings(pair.without)["sampling"]


def _baselines(result: Result, results: list[Result]) -> Iterator[Result]:
    bare = _settings(result) | {"synthetic": ""}
    yield from (r for r in results if _settings(r) in (bare, bare | FREE) and _scored(r) == _scored(result))


def _scored(result: Result) -> tuple[str, list[int]]:
    return result.about["folds"]["sha256"], trained_folds(result.about)


def _pair(with_: Result, without: Result) -> Pair:
    ours = with_.oof()[0]
    theirs = predictions.aligned(without.oof()[0], ours["id"], predictions.class_columns(ours))
    labels, groups = predictions.labels(ours), ours["group"].to_numpy()
    positive = predictions.class_columns(ours).index(with_.about["positive"])
    a, b = predictions.probabilities(ours), predictions.probabilities(theirs)
    auc = metrics.paired_auc(labels, a, b, groups)
    return Pair(with_, without, auc, metrics.paired_recall(labels, a, b, groups, positive))


def cells(pair: Pair) -> list[str]:
    """The texts of a row, in the order of `HEADER`."""
    counts = pair.with_.about.get("synthetic")  # folds of an older version do not say
    parts = (
        [_range([count[key] for count in counts]) for key in ("images", "made_from")] if counts else ["not recorded"]
    )
    share = f"{_settings(pair.with_)['positive_share']:.0%}"
    gains = [f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" for gain in (pair.auc, pair.recall)]
    both = [str(r.score("at_half", figure)) for figure in ("auc", "recall") for r in (pair.with_, pair.without)]
    return [
        share,
        pair.with_.name,
        pair.without.name,
        " / ".join(_samplings(pair)),
        *gains,
        *both,
        " from ".join(parts),
    ]


def _range(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def terminal_tables() -> list[Table]:
    """The main columns, of all that lies in runs/ and exps/results/, for a terminal; none where nothing is compared."""
    rows = [dict(zip(HEADER, cells(pair), strict=True)) for pair in pairs(all_results())]
    table = Table(title=TITLE, caption=NOTE.replace("*", ""), title_justify="left", box=SIMPLE, padding=(0, 1))
    for name in MAIN:
        table.add_column(name, justify="left" if name in ("with", "without", "sampling") else "right")
    for row in rows:
        table.add_row(*[escape(row[name].replace(" [", "\n[")) for name in MAIN], end_section=True)
    return [table] if rows else []
