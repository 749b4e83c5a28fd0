"""Each image belongs to exactly one of two or more classes; the softmax of the logits is the prediction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chestfold.core.task.base import Labels, Task

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-5
"""By which the probabilities of an image may miss a sum of 1."""


class Multiclass(Task):
    """One of K classes."""

    name = "multiclass"
    metric = "auc"
    sums_to_one = True

    def labels(self, texts: Sequence[str]) -> Labels:
        """Class numbers, int64 (N,); -1 where the label is withheld."""
        number = {name: n for n, name in enumerate(self.classes)} | {"": -1}
        return np.array([number[text] for text in texts], np.int64)

    def truth(self, labels: Labels) -> np.ndarray:
        """A row with a 1, or of NaN where the label is withheld."""
        rows = np.vstack([np.eye(len(self.classes)), np.full(len(self.classes), np.nan)])
        return rows[labels]

    def strata(self, labels: Labels) -> np.ndarray:
        """The class numbers themselves, of soft labels the most probable class."""
        return labels if labels.ndim == 1 else labels.argmax(axis=1)

    def targets(self, labels: "Tensor") -> "Tensor":
        """One-hot rows; soft labels themselves."""
        from torch.nn.functional import one_hot

        if labels.ndim == 2:
            return labels.float()
        return one_hot(labels, len(self.classes)).float()

    def log_odds(self, logits: "Tensor") -> "Tensor":
        """Of each class against all others together: log p - log(1 - p) of the softmax."""
        import torch

        others = torch.eye(len(self.classes), dtype=torch.bool, device=logits.device)
        against = logits[:, None, :].expand(-1, len(self.classes), -1).masked_fill(others, float("-inf"))
        return logits - against.logsumexp(dim=2)

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """The softmax."""
        return logits.softmax(dim=1)

    def hit_rate(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """Share of images whose largest logit is that of their class; of a mixed image, of the larger of its two."""
        return (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()

    def wrong_rows(self, probs: np.ndarray) -> tuple[np.ndarray, str]:
        """Rows that are no distribution."""
        wrong = (np.abs(probs.sum(axis=1) - 1) > TOLERANCE) | (probs < 0).any(axis=1)
        return wrong, "the probabilities of {} do not sum to 1"

    def normalised(self, probs: np.ndarray) -> np.ndarray:
        """Rows that sum to 1."""
        return probs / probs.sum(axis=-1, keepdims=True)

    def decide(self, probs: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
        """The one class of `decided_class`."""
        return np.eye(len(self.classes), dtype=bool)[self.decided_class(probs, threshold)]

    def decided_class(self, probs: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
        """Number of a class, int64 (N,): of two by the threshold on the positive one, of more the most probable."""
        if len(self.classes) == 2:
            found = probs[:, self.positive_number] >= threshold
            return np.where(found, self.positive_number, 1 - self.positive_number)
        return probs.argmax(axis=1)

    def name_of(self, probs: np.ndarray) -> str:
        """The class that is decided for."""
        return self.classes[int(self.decide(probs[None]).argmax())]
