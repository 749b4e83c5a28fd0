"""Each image has any number of labels, and some may be unknown; the sigmoid of each logit is the prediction.

As a text, the labels of an image are those that it has, joined by `|`; one that is unknown has a question mark behind
it, and an image that has none is `-`: `Cardiomegaly|Effusion?` has the first, perhaps the second, and no other.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.task.base import Labels, Task

if TYPE_CHECKING:
    from torch import Tensor

SEPARATOR, UNKNOWN, NOTHING = "|", "?", "-"


def label_text(classes: Sequence[str], values: Sequence[float]) -> str:
    """The text of an image's labels: `values` are 1, 0 or NaN (unknown), in the order of `classes`."""
    parts = []
    for name, value in zip(classes, values, strict=True):
        if np.isnan(value):
            parts.append(name + UNKNOWN)
        elif value:
            parts.append(name)
    return SEPARATOR.join(parts) or NOTHING


class Multilabel(Task):
    """Any of K labels."""

    name = "multilabel"
    metric = "auc"
    sums_to_one = False

    @property
    def positive_number(self) -> int:
        """The first label stands for it where one must, as in heat maps."""
        return 0

    def require_classes(self) -> None:
        """Names that a text of labels could not be read from are refused too."""
        super().require_classes()
        for name in self.classes:
            if SEPARATOR in name or name.endswith(UNKNOWN) or name == NOTHING:
                raise InputError(
                    f"a label cannot be called {name!r}: {SEPARATOR!r} is between labels, {UNKNOWN!r} behind an "
                    f"unknown one, and {NOTHING!r} means none; rename it"
                )

    def labels(self, texts: Sequence[str]) -> Labels:
        """An indicator, float32 (N, K); a row of NaN where all labels are withheld."""
        number = {name: n for n, name in enumerate(self.classes)}
        indicator = np.zeros((len(texts), len(self.classes)), np.float32)
        for row, text in zip(indicator, texts, strict=True):
            if text == "":
                row[:] = np.nan
            elif text != NOTHING:
                for part in text.split(SEPARATOR):
                    row[number[part.removesuffix(UNKNOWN)]] = np.nan if part.endswith(UNKNOWN) else 1
        return indicator

    def truth(self, labels: Labels) -> np.ndarray:
        """The labels themselves."""
        return labels.astype(np.float64)

    def strata(self, labels: Labels) -> np.ndarray:
        """The rarest label that an image has, or is more likely to have than not, or K where there is none."""
        counts = np.nansum(labels, axis=0)
        rarity = np.where(labels >= 0.5, counts, np.inf)
        return np.where(np.isinf(rarity).all(axis=1), labels.shape[1], rarity.argmin(axis=1)).astype(np.int64)

    def targets(self, labels: "Tensor") -> "Tensor":
        """The labels themselves."""
        return labels.float()

    def log_odds(self, logits: "Tensor") -> "Tensor":
        """The logits themselves."""
        return logits

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """The sigmoid."""
        return logits.sigmoid()

    def hit_rate(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """Share of the known labels that are on their side of 0.5."""
        known = ~targets.isnan()
        right = ((logits > 0) == (targets > 0.5)) & known
        return right.sum() / known.sum().clamp(min=1)

    def wrong_rows(self, probs: np.ndarray) -> tuple[np.ndarray, str]:
        """Rows with a number outside 0 to 1."""
        outside = (probs < 0) | (probs > 1)
        return np.any(outside, axis=1), "a probability of {} lies outside 0 to 1"

    def normalised(self, probs: np.ndarray) -> np.ndarray:
        """Numbers from 0 to 1."""
        return np.clip(probs, 0, 1)

    def decide(self, probs: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
        """Each label by its own threshold."""
        return probs >= threshold

    def name_of(self, probs: np.ndarray) -> str:
        """The labels from 0.5 on."""
        return label_text(self.classes, (probs >= 0.5).astype(float).tolist())
