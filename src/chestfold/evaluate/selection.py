"""Which member a growing blend gains most by: the search of greedy selection, made fast.

The picks are those of the plain loop, which gives every candidate to the metric (`ByMetric`, for any metric): members
are added up in the same order and precision, and of equals the first wins.

- AUC (`ByAuc`; also the mean over classes or labels): the same figure to the last bit, because it is a fraction of two
  counts. Only candidates that can still win are sorted; a coarse count bounds the others from above. The probabilities
  are multiplied by a power of two, which is exact down to 1e-300.
- Log loss and accuracy of exclusive classes (`ByLogLoss`, `ByAccuracy`): of the one number of each row that they depend
  on. Accuracy is the same to the last bit; the terms of log loss are added in another order.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from chestfold.core.task import Labels, Task
from chestfold.core.task.multiclass import Multiclass
from chestfold.evaluate.metrics import SMALLEST, Metric, Predicted, accuracy, log_loss, roc_auc, value_of


class RunningMean:
    """The mean of members that were picked, a member as often as it was."""

    def __init__(self, members: np.ndarray) -> None:
        """`members`: float (M, ...), what there is to pick from."""
        self._members = members
        self._total = np.zeros(members.shape[1:])
        self._count = 0

    def add(self, member: int) -> None:
        """Pick a member."""
        self._total += self._members[member]
        self._count += 1

    def with_one_more(self, member: int) -> np.ndarray:
        """The mean, float64 (...), if it were picked."""
        mean = self._total + self._members[member]
        mean /= self._count + 1
        return mean


class Selection(ABC):
    """A blend that grows by one member at a time."""

    def __init__(self, mean: RunningMean) -> None:
        self._mean = mean

    @abstractmethod
    def worth(self, member: int) -> float:
        """What the metric is worth (`Metric.worth`) if `member` is added."""

    def best(self, order: Sequence[int]) -> int:
        """The member that it is worth most to add; of equals the first in `order`."""
        return order[int(np.argmax([self.worth(member) for member in order]))]

    def add(self, member: int) -> None:
        """Make it a part of the blend."""
        self._mean.add(member)


def start_selection(metric: Metric, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray) -> Selection:
    """An empty blend of probabilities (M, N, K) for a metric, in the fastest way that there is for it.

    Args:
        metric: what shall be high.
        task: what `labels`, (N,) or (N, K), mean.
        labels: the truth.
        probs: float32 or float64 (M, N, K).
        weights: how often each row counts, float (N,).
    """
    truth = Predicted(task, labels, probs[0])
    can_be_counted = bool((weights % 1 == 0).all()) and probs.min() >= 0 and probs.max() <= 2
    if metric.function is roc_auc and metric.higher_is_better and can_be_counted:
        areas = [Area(probs, number, truth, weights.astype(int)) for number in task.scored_classes]
        defined = [area for area in areas if area.pairs]
        if len(defined) == len(areas) or (defined and not task.sums_to_one):
            return ByAuc(defined)
    if isinstance(task, Multiclass) and truth.known.all():
        if metric.function is log_loss:
            return ByLogLoss(metric, labels, probs, weights)
        if metric.function is accuracy and can_be_counted:
            return ByAccuracy(metric, task, labels, probs, weights)
    return ByMetric(metric, truth, probs, weights)


class ByMetric(Selection):
    """Every candidate is given to the metric."""

    def __init__(self, metric: Metric, truth: Predicted, probs: np.ndarray, weights: np.ndarray) -> None:
        """`truth`: any predictions of the rows; see `start_selection`."""
        super().__init__(RunningMean(probs))
        self._metric, self._truth, self._weights = metric, truth, weights

    def worth(self, member: int) -> float:
        """By the metric itself."""
        predicted = self._truth.with_probs(self._mean.with_one_more(member))
        return self._metric.worth(value_of(self._metric, predicted, self._weights))


class ByLogLoss(Selection):
    """Only the probability of the truth is blended."""

    def __init__(self, metric: Metric, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> None:
        """`labels`: class numbers (N,), all known; see `start_selection`."""
        super().__init__(RunningMean(np.ascontiguousarray(probs[:, np.arange(len(labels)), labels])))
        self._metric, self._weights = metric, weights

    def worth(self, member: int) -> float:
        """By the sum of `metrics.log_loss`, without its table of classes."""
        of_truth = np.maximum(self._mean.with_one_more(member), SMALLEST)
        loss = -(self._weights * np.log(of_truth)).sum() / self._weights.sum()
        return self._metric.worth(float(loss))


class ByAccuracy(Selection):
    """Only the decision is taken, without the table of classes."""

    def __init__(
        self, metric: Metric, task: Multiclass, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray
    ) -> None:
        """`labels`: class numbers (N,), all known; see `start_selection`."""
        super().__init__(RunningMean(probs))
        self._metric, self._task, self._labels, self._weights = metric, task, labels, weights

    def worth(self, member: int) -> float:
        """By the weight of the right rows."""
        right = self._task.decided_class(self._mean.with_one_more(member)) == self._labels
        return self._metric.worth(float(self._weights @ right / self._weights.sum()))


class ByAuc(Selection):
    """Members whose bound is too low for the best one are not sorted."""

    def __init__(self, areas: list["Area"]) -> None:
        """`areas`: of each class that counts, none without pairs."""
        self._areas = areas

    def worth(self, member: int) -> float:
        """The mean AUC."""
        return float(np.array([area.value(area.mean.with_one_more(member)) for area in self._areas]).mean())

    def best(self, order: Sequence[int]) -> int:
        """Exactly, but in the order of the bounds, until none can win."""
        bounds = self._bounds(order)
        first, highest = 0, -np.inf
        for place in np.argsort(-bounds, kind="stable"):
            if bounds[place] < highest:
                break
            worth = self.worth(order[place])
            if worth > highest or (worth == highest and place < first):
                first, highest = int(place), worth
        return order[first]

    def _bounds(self, order: Sequence[int]) -> np.ndarray:
        """Float (M,): no candidate is worth more."""
        bounds = np.full(len(order), ROUNDING)
        for area in self._areas:
            for place, member in enumerate(order):
                bounds[place] += area.bound(*area.split(area.mean.with_one_more(member))) / len(self._areas)
        return bounds

    def add(self, member: int) -> None:
        """In each class."""
        for area in self._areas:
            area.mean.add(member)


class Area:
    """The AUC of one class against the rest, of rows that may be repeated.

    `scores`, float (M, R): what the members give to the class, times `scale`, a power of two; the positive rows first.
    All scores that are asked about are such numbers, float64 (R,). `mean`: of the members that were picked.
    """

    def __init__(self, probs: np.ndarray, number: int, truth: Predicted, repeats: np.ndarray) -> None:
        """Of class `number` of probabilities (M, N, K), whose rows count `repeats` times, int (N,)."""
        positives = _repeated(truth.truth[:, number] == 1, repeats)
        negatives = _repeated(truth.absent[:, number], repeats)
        rows = np.concatenate([positives, negatives])
        self.scale = 1 << max(9, len(rows).bit_length() - 1)
        self.scores = np.take(probs[:, :, number], rows, axis=1)
        self.scores *= self.scale
        self.mean = RunningMean(self.scores)
        self.pairs = len(positives) * len(negatives)
        self._positives = len(positives)
        self._bins = int(self.scores.max(initial=0)) + 2
        self._places = np.arange(len(rows))

    def split(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of the positives and those of the negatives."""
        return scores[: self._positives], scores[self._positives :]

    def bound(self, positives: np.ndarray, negatives: np.ndarray) -> float:
        """A count of the scores in bins, which no AUC of them is above: pairs within a bin are taken as won."""
        up_to = np.bincount(negatives.astype(np.intp), minlength=self._bins).cumsum()
        return float(up_to[positives.astype(np.intp)].sum() / self.pairs)

    def value(self, scores: np.ndarray) -> float:
        """The AUC, by one sort of scores and labels in one key: the bits of a score, which are in its order, and 1."""
        keys = scores.view(np.uint64) << np.uint64(1)
        keys[: self._positives] += np.uint64(1)
        keys.sort()
        is_positive = (keys & np.uint64(1)).view(np.int64)
        first_places = self._positives * (self._positives - 1) // 2
        won_or_tied = int(is_positive @ self._places) - first_places
        return float((won_or_tied - _ties(keys, is_positive) / 2) / self.pairs)


ROUNDING = 1e-12
"""More than the rounding of a mean of shares."""


def _repeated(rows: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Numbers of the rows, bool (N,), each as often as `repeats` says."""
    numbers = np.flatnonzero(rows)
    return np.repeat(numbers, repeats[numbers])


def _ties(keys: np.ndarray, is_positive: np.ndarray) -> int:
    """How many pairs of a positive and a negative have the same score; `keys`: sorted, a negative before a positive."""
    if not (keys[1:] ^ keys[:-1] == 1).any():
        return 0
    starts = np.flatnonzero(np.r_[True, keys[1:] >> np.uint64(1) != keys[:-1] >> np.uint64(1)])
    sizes = np.diff(starts, append=len(keys))
    positives = np.add.reduceat(is_positive, starts)
    return int((positives * (sizes - positives)).sum())
