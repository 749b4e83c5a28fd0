"""The base of the tasks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from chestfold.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Labels = np.ndarray
"""As scikit-learn has them: class numbers, int64 (N,), -1 where the label is withheld; or an indicator, float32 (N, K)
of 0 and 1, NaN where a label is not known. In training also soft ones: float32 (N, K), as a model predicts them."""

RESERVED = ("id", "group", "fold", "label", "corruption")
"""Columns of a prediction table, which no class can be called like."""
TRUTH = "true:"
"""Before the name of a label: the column of a stored prediction table that holds its truth."""


@dataclass(frozen=True)
class Task(ABC):
    """What the labels of some classes, and the numbers that a network gives for them, mean.

    A label is a text in index, fold file and prediction table. A network gives `outputs` logits, M; a prediction has a
    probability for each of the K classes. `positive`: the class that precision and recall of two classes are about.
    """

    classes: tuple[str, ...]
    positive: str = ""

    name: ClassVar[str]
    metric: ClassVar[str]
    """The competition metric where a data set declares none: a name of evaluate.metrics."""
    sums_to_one: ClassVar[bool]
    """Whether an image belongs to exactly one class, so that its probabilities sum to 1."""

    @property
    def outputs(self) -> int:
        """How many logits a network gives, M."""
        return len(self.classes)

    @property
    def positive_number(self) -> int:
        """Of the positive class, in the order of `classes`."""
        return self.classes.index(self.positive)

    @property
    def scored_classes(self) -> list[int]:
        """Numbers of the classes that a score is the mean over: of two exclusive ones the positive, else all."""
        if self.sums_to_one and len(self.classes) == 2:
            return [self.positive_number]
        return list(range(len(self.classes)))

    def require_classes(self) -> None:
        """Raise `InputError` where a class has a name that files need for something else."""
        if "" in self.classes:
            raise InputError("a class cannot be called '': an empty label is one that is withheld; rename it")
        for name in self.classes:
            if name in RESERVED or name.startswith(TRUTH):
                raise InputError(
                    f"a class cannot be called {name!r}: prediction tables have a column of that name; rename it"
                )

    # Labels

    @abstractmethod
    def labels(self, texts: Sequence[str]) -> Labels:
        """What texts of an index say, as numbers; a text that is none of a label raises `KeyError`."""

    @abstractmethod
    def truth(self, labels: Labels) -> np.ndarray:
        """Labels as an indicator, float (N, K) of 0 and 1, NaN where one is not known."""

    def soft_labels(self, labels: Labels) -> np.ndarray:
        """Labels, hard or soft, as soft ones, float32 (N, K)."""
        return (self.truth(labels) if labels.ndim == 1 else labels).astype(np.float32)

    @abstractmethod
    def strata(self, labels: Labels) -> np.ndarray:
        """One number for each image, int64 (N,): what sampling and drawing count as its class. Labels may be soft."""

    # Training

    @abstractmethod
    def targets(self, labels: "Tensor") -> "Tensor":
        """Labels of a batch, int64 (B,) or float (B, K), as what logits learn: float (B, M), NaN: not known.

        They may be soft.
        """

    @abstractmethod
    def log_odds(self, logits: "Tensor") -> "Tensor":
        """Logits (B, M) as the log-odds of each target for itself (B, M): what binary losses are made of."""

    @abstractmethod
    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Logits (B, M) to class probabilities (B, K)."""

    @abstractmethod
    def hit_rate(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """Share of a batch's targets (B, M) that the logits (B, M) are right about, a scalar."""

    # Predictions

    @abstractmethod
    def wrong_rows(self, probs: np.ndarray) -> tuple[np.ndarray, str]:
        """Which rows of finite probs (N, K) are no prediction of this task, bool (N,), and what is wrong with them."""

    @abstractmethod
    def normalised(self, probs: np.ndarray) -> np.ndarray:
        """Blended scores (..., K), none below 0, as a prediction of this task."""

    @abstractmethod
    def decide(self, probs: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
        """What probs (N, K) are decided to be, bool (N, K).

        `threshold`: a number, or one for each row (N,); of several labels one for each (K,) or (N, K).
        """

    def of_truth(self, probs: np.ndarray, labels: Labels) -> np.ndarray:
        """The probability (N,) that predictions (N, K) give to the truth; of labels the lowest one of those known."""
        truth = self.truth(labels)
        of_labels = np.where(truth == 1, probs, 1 - probs)
        if self.sums_to_one:
            of_labels = np.where(truth == 1, probs, np.inf)
        return np.where(np.isnan(truth), np.inf, of_labels).min(axis=1)

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """How sure predictions (N, K) are, float (N,), 0.5 or less to 1; of several labels the least sure one."""
        return probs.max(axis=1) if self.sums_to_one else np.maximum(probs, 1 - probs).min(axis=1)

    def most_probable(self, probs: np.ndarray) -> np.ndarray:
        """Number of the class with the highest probability, int64 (N,), for predictions (N, K)."""
        return probs.argmax(axis=1)

    def outputs_of(self, numbers: np.ndarray) -> np.ndarray:
        """The logits that say most about classes, by number, int64 of any shape."""
        return numbers

    @abstractmethod
    def name_of(self, probs: np.ndarray) -> str:
        """In words what one row of probabilities (K,) is decided to be at 0.5."""
