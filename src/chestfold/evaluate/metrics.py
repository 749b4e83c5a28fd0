"""Metrics by name.

A metric is a function of an `Evaluation`: predictions of some rows that each count with a weight. Of two exclusive
classes a metric is that of the positive one; of more, and of several labels, the mean over them.

To add one, write its function and its line in `METRICS`: a data set can declare it, and it can be monitored. Those that
are named in `BOARD` are scored for every result.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chestfold.core import hooks
from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.task import Labels, Task
from chestfold.evaluate import intervals
from chestfold.evaluate.bootstrap import Score, drawn, percentiles
from chestfold.evaluate.intervals import Estimate, effective_patients
from chestfold.evaluate.ranking import Ranking

if TYPE_CHECKING:
    from chestfold.data.dataset import Dataset

ECE_BINS = 15
PLACE = 0.25
"""What another place of an image among the others changes, as a part of what another decision about it does."""
SMALLEST = 1e-12
"""A probability below it counts as this much in a logarithm."""


@dataclass(frozen=True)
class Predicted:
    """Predictions of N rows beside their truth: what all weightings of the rows have in common.

    `labels`: of the task, (N,) or (N, K); `probs` float (N, K); `threshold`: as `Task.decide` takes it.
    """

    task: Task
    labels: Labels
    probs: np.ndarray
    threshold: float | np.ndarray = 0.5

    @cached_property
    def known(self) -> np.ndarray:
        """Which labels are known, float (N, K) of 0 and 1."""
        return (~np.isnan(self.task.truth(self.labels))).astype(float)

    @cached_property
    def truth(self) -> np.ndarray:
        """Float (N, K) of 0 and 1; 0 where a label is not known."""
        return np.nan_to_num(self.task.truth(self.labels))

    @cached_property
    def absent(self) -> np.ndarray:
        """What is known not to be there, bool (N, K)."""
        return (self.known == 1) & (self.truth == 0)

    @cached_property
    def decided(self) -> np.ndarray:
        """What is predicted, float (N, K) of 0 and 1; 0 where the label is not known."""
        return self.task.decide(self.probs, self.threshold) * self.known

    @cached_property
    def right(self) -> np.ndarray:
        """What is found and present, float (N, K)."""
        return self.decided * self.truth

    @cached_property
    def crossed(self) -> np.ndarray:
        """Which pair of a true and a predicted class each row is, float (N, K * K) of 0 and 1."""
        return (self.truth[:, :, None] * self.decided[:, None, :]).reshape(len(self.truth), -1)

    @cached_property
    def surprise(self) -> np.ndarray:
        """Minus the logarithm of the probability of the truth, float (N, K): of exclusive classes in its own column."""
        truth, probs = self.truth, np.asarray(self.probs, np.float64)
        of_truth = np.where(truth == 1, probs, 1 - probs)
        losses = -np.log(np.maximum(of_truth, SMALLEST))
        return losses * (truth if self.task.sums_to_one else self.known)

    @cached_property
    def distance(self) -> np.ndarray:
        """Squared distance of the probabilities from the truth, float (N, K); 0 where a label is not known."""
        return (self.probs - self.truth) ** 2 * self.known

    @cached_property
    def confidences(self) -> tuple[np.ndarray, np.ndarray]:
        """How sure the most probable of exclusive classes is, float (N,), and whether it is right, of 0 and 1."""
        top = self.task.most_probable(self.probs)
        rows = np.arange(len(self.probs))
        return self.probs[rows, top], self.truth[rows, top]

    @cached_property
    def _rankings(self) -> dict[int, Ranking]:
        return {}

    def with_probs(self, probs: np.ndarray) -> "Predicted":
        """Other predictions of the same rows; what depends on the truth alone is not worked out again."""
        other = replace(self, probs=probs)
        vars(other).update(known=self.known, truth=self.truth, absent=self.absent)
        return other

    def ranking(self, number: int) -> Ranking:
        """The scores of a class, sorted; made when it is first asked for."""
        if number not in self._rankings:
            self._rankings[number] = Ranking(self.truth[:, number] == 1, self.probs[:, number])
        return self._rankings[number]


@dataclass(frozen=True)
class Evaluation:
    """What a metric sees: predictions whose rows count with `weights` (N,), and the classes that it is the mean of.

    `weights` may be those of many replicates too, (R, N): then what is told here of each class has the shape (R, K).
    """

    predicted: Predicted
    weights: np.ndarray
    classes: list[int]

    @property
    def task(self) -> Task:
        """What the labels mean."""
        return self.predicted.task

    @cached_property
    def hits(self) -> np.ndarray:
        """Weight of what is found and present, of each class (K,)."""
        return self.weights @ self.predicted.right

    @cached_property
    def found(self) -> np.ndarray:
        """Weight of what is predicted, of each class (K,)."""
        return self.weights @ self.predicted.decided

    @cached_property
    def present(self) -> np.ndarray:
        """Weight of what is there, of each class (K,)."""
        return self.weights @ self.predicted.truth

    @cached_property
    def total(self) -> np.ndarray:
        """Weight of the rows in which a class is known (K,)."""
        return self.weights @ self.predicted.known

    @cached_property
    def matrix(self) -> np.ndarray:
        """Weighted confusion counts (K, K): row = true class, column = predicted class."""
        count = len(self.task.classes)
        return (self.weights @ self.predicted.crossed).reshape(*self.weights.shape[:-1], count, count)

    def mean_share(self, part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """The mean over the classes of `part` / `whole` (K,). One without a whole does not count: 0 of 0 is no number.

        NaN where none counts.
        """
        return mean_of_defined(share(part, whole)[..., self.classes])

    def mean_of(self, figure: Callable[[int], np.ndarray]) -> np.ndarray:
        """The mean over the classes of a figure of each.

        A label of which the rows hold nothing, or nothing else, does not count; a class of several makes it NaN.
        """
        figures = np.stack([figure(number) for number in self.classes], axis=-1)
        return figures.mean(axis=-1) if self.task.sums_to_one else mean_of_defined(figures)

    def of_known(self, number: int) -> np.ndarray:
        """The weights (N,), 0 where a class is not known."""
        known = self.predicted.known[:, number]
        return self.weights if known.all() else self.weights * known


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`; NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def mean_of_defined(figures: np.ndarray) -> np.ndarray:
    """The mean over the last axis of those that are not NaN; NaN where none is."""
    defined = ~np.isnan(figures)
    return share(np.where(defined, figures, 0).sum(axis=-1), defined.sum(axis=-1))


# The metrics: a number, or one of each replicate (R,)


def roc_auc(e: Evaluation) -> np.ndarray:
    """Area under the ROC curve; the mean one-versus-rest area of more than two classes."""
    return e.mean_of(lambda c: e.predicted.ranking(c).auc(e.of_known(c)))


def average_precision(e: Evaluation) -> np.ndarray:
    """Area under the precision-recall curve, as the mean precision over the steps of recall."""
    return e.mean_of(lambda c: e.predicted.ranking(c).average_precision(e.of_known(c)))


def sensitivity_at(e: Evaluation, specificity: float) -> np.ndarray:
    """The highest sensitivity of a threshold that keeps the specificity."""
    return e.mean_of(lambda c: e.predicted.ranking(c).sensitivity_at(specificity, e.of_known(c)))


def precision(e: Evaluation) -> np.ndarray:
    """Share of the predictions of a class that are right; NaN of a class that is never predicted.

    In a mean over several classes such a one counts 0 if it is there, as scikit-learn has it: nobody shall gain by
    never predicting a class.
    """
    if len(e.classes) == 1:
        return e.mean_share(e.hits, e.found)
    passed_over = (e.found == 0) & (e.present > 0)
    return e.mean_share(e.hits, np.where(passed_over, 1, e.found))


def recall(e: Evaluation) -> np.ndarray:
    """Share of a class that is found: sensitivity; NaN of a class that is not there."""
    return e.mean_share(e.hits, e.present)


def specificity(e: Evaluation) -> np.ndarray:
    """Share of the others that is not predicted as a class; NaN where there are no others."""
    others = e.total - e.present
    return e.mean_share(others - (e.found - e.hits), others)


def f_beta(e: Evaluation, beta: float = 1.0) -> np.ndarray:
    """Weighted harmonic mean of precision and recall; a beta above 1 puts recall first (van Rijsbergen 1979).

    By counts, 2 TP / (2 TP + FP + FN) for beta 1: so it is 0, and defined, where a class is there and never predicted
    (Forman and Scholz, SIGKDD Explorations 12, 2010). NaN where it is neither there nor predicted.
    """
    return e.mean_share((1 + beta**2) * e.hits, e.found + beta**2 * e.present)


def macro_f1(e: Evaluation) -> np.ndarray:
    """The mean F1 over all classes, of two over both."""
    every = Evaluation(e.predicted, e.weights, list(range(len(e.task.classes)))) if e.task.sums_to_one else e
    return f_beta(every)


def accuracy(e: Evaluation) -> np.ndarray:
    """Share of right predictions; of several labels the mean share."""
    if e.task.sums_to_one:
        return share(e.hits.sum(axis=-1), e.weights.sum(axis=-1))
    wrong = e.found + e.present - 2 * e.hits
    return e.mean_share(e.total - wrong, e.total)


def balanced_accuracy(e: Evaluation) -> np.ndarray:
    """The mean recall of all classes; of a label the mean of sensitivity and specificity."""
    if e.task.sums_to_one:
        return share(e.hits, e.present).mean(axis=-1)
    return (recall(e) + specificity(e)) / 2


def quadratic_kappa(e: Evaluation) -> np.ndarray:
    """Agreement beyond chance, errors counted by the square of their distance (Cohen 1968)."""
    grades = np.arange(len(e.task.classes))
    cost = (grades[:, None] - grades[None]) ** 2
    of_truth, of_answers = e.matrix.sum(axis=-1), e.matrix.sum(axis=-2)
    by_chance = ((of_truth @ cost) * of_answers).sum(axis=-1) / of_truth.sum(axis=-1)
    return 1 - share((cost * e.matrix).sum(axis=(-2, -1)), by_chance)


def log_loss(e: Evaluation) -> np.ndarray:
    """Minus the mean natural logarithm of the probability of the truth (Good 1952), the lower the better.

    Of several labels the mean over them. From 0; log 2 = 0.69 where two classes are always called equally probable.
    """
    return weighted_log_loss(e, {})


def weighted_log_loss(e: Evaluation, class_weights: Mapping[str, float]) -> np.ndarray:
    """Log loss in which a class counts with its weight; one that is not named with 1."""
    given = np.array([class_weights.get(name, 1.0) for name in e.task.classes])
    losses = e.weights @ e.predicted.surprise
    if e.task.sums_to_one:
        return share(losses @ given, e.present @ given)
    of_labels = np.nan_to_num(share(losses, e.total))[..., e.classes]
    counted = given[e.classes] * (e.total[..., e.classes] > 0)
    return share((counted * of_labels).sum(axis=-1), counted.sum(axis=-1))


def brier_score(e: Evaluation) -> np.ndarray:
    """Mean squared distance of the probabilities from the truth (Brier, Monthly Weather Review 78, 1950), the lower the
    better.

    Of two classes that of the positive one, 0 to 1: half of Brier's sum, as scikit-learn has it. Of more classes and of
    grades Brier's sum over them, 0 to 2; of several labels the mean over them, 0 to 1.
    """
    distance = e.weights @ e.predicted.distance
    if e.task.sums_to_one:
        return share(distance[..., e.classes].sum(axis=-1), e.weights.sum(axis=-1))
    return e.mean_share(distance, e.total)


def probabilistic_f1(e: Evaluation) -> np.ndarray:
    """F1 of the probabilities themselves, without a threshold (Yacouby and Axman, Eval4NLP 2020)."""
    certain = e.predicted.probs * e.predicted.known
    hits = e.weights @ (certain * e.predicted.truth)
    return e.mean_share(2 * hits, e.weights @ certain + e.present)


def calibration_error(e: Evaluation) -> np.ndarray:
    """Expected calibration error of the top class, 15 equal bins (Guo et al., ICML 2017, eq. 3); of labels the mean."""
    if e.task.sums_to_one:
        return _calibration_gap(*e.predicted.confidences, e.weights)
    probs, truth = e.predicted.probs, e.predicted.truth
    return e.mean_of(lambda c: _calibration_gap(probs[:, c], truth[:, c], e.of_known(c)))


def _calibration_gap(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean distance between confidence (N,) and share of the right (N,) of 0 and 1, bin by bin."""
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    of_bins = np.eye(ECE_BINS)[bins] * (right - confidence)[:, None]
    return share(np.abs(weights @ of_bins).sum(axis=-1), weights.sum(axis=-1))


# What a figure rests on: the weight of each row (N,) in that of a class; of rows against others (N, 2)


def _called(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.decided[:, number]


def _ill(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.truth[:, number]


def _well(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.absent[:, number].astype(float)


def _called_or_ill(predicted: Predicted, number: int) -> np.ndarray:
    return np.maximum(predicted.decided, predicted.truth)[:, number]


def _everyone(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.known[:, number]


def _ill_and_well(predicted: Predicted, number: int) -> np.ndarray:
    return np.column_stack([_ill(predicted, number), _well(predicted, number)])


def _expected_or_ill(predicted: Predicted, number: int) -> np.ndarray:
    return (predicted.probs * predicted.known + predicted.truth)[:, number]


def _surprise(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.surprise.sum(axis=1) if predicted.task.sums_to_one else predicted.surprise[:, number]


def _distance(predicted: Predicted, number: int) -> np.ndarray:
    return predicted.distance[:, number]


@dataclass(frozen=True)
class Metric:
    """A metric and what must be known to use it. `decides`: it looks at decisions, so that a threshold matters.

    `kind`: a share is from 0 to 1, a loss from 0 upwards; "" where nothing is said. `rests_on`: the weights of the rows
    that a class's figure rests on.
    """

    title: str
    function: Callable[[Evaluation], Any]
    higher_is_better: bool = True
    decides: bool = False
    exclusive: bool = False
    """Whether it is only for classes of which an image has exactly one."""
    kind: Literal["share", "loss", ""] = ""
    rests_on: Callable[[Predicted, int], np.ndarray] = _everyone
    at_once: bool = False
    """Whether it takes the weights of many replicates, (R, N), and gives a number of each."""

    def values(self, evaluation: Evaluation) -> np.ndarray:
        """Of each replicate of an evaluation of many, (R,); NaN where no row has a weight."""
        predicted, weights = evaluation.predicted, evaluation.weights
        if self.at_once:
            return self.function(evaluation)
        found = np.full(weights.shape[:-1], np.nan)
        for place in np.ndindex(found.shape):
            if weights[place].any():
                found[place] = self.function(Evaluation(predicted, weights[place], evaluation.classes))
        return found

    @property
    def sign(self) -> int:
        """Of a difference so that more is better."""
        return 1 if self.higher_is_better else -1

    def patients(self, predicted: Predicted, classes: list[int], groups: np.ndarray) -> float:
        """How many a figure rests on, by effective number: those of the class with the fewest that has any."""
        counts = [effective_patients(self.rests_on(predicted, number), groups) for number in classes]
        return min((count for count in counts if count), default=0.0)

    def score(self, value: float, draws: np.ndarray, patients: float) -> Score:
        """A figure with the interval of its kind, by its replicates (R,)."""
        error = intervals.deviation(draws)
        if math.isnan(value) or math.isnan(error):
            return Score(float(value), math.nan, math.nan)
        found = Estimate(float(value), error, patients)
        if self.kind == "share":
            return intervals.of_share(found)
        return intervals.of_loss(found) if self.kind == "loss" else percentiles(value, draws)

    def of_an_image(self, predicted: Predicted, classes: list[int]) -> float:
        """By how much a share differs when the decision about one image is another; 0 of other kinds."""
        if self.kind != "share":
            return 0.0
        rows = [self.rests_on(predicted, number).sum(axis=0).min() for number in classes]
        fewest = min((count for count in rows if count), default=math.inf)
        return 1 / float(fewest) / len(classes)

    def gain(self, value: float) -> float:
        """`value` so that more is better."""
        return self.sign * value

    def worth(self, value: float) -> float:
        """`gain` for choosing the best: a figure that is not defined is worse than any other."""
        return -math.inf if math.isnan(value) else self.gain(value)


_WRITTEN = {
    "auc": Metric("AUC", roc_auc, kind="share", rests_on=_ill_and_well),
    "precision": Metric("precision", precision, decides=True, kind="share", rests_on=_called),
    "recall": Metric("recall", recall, decides=True, kind="share", rests_on=_ill),
    "specificity": Metric("specificity", specificity, decides=True, kind="share", rests_on=_well),
    "f1": Metric("F1", f_beta, decides=True, kind="share", rests_on=_called_or_ill),
    "accuracy": Metric("accuracy", accuracy, decides=True, kind="share"),
    "ece": Metric("ECE", calibration_error, higher_is_better=False, kind="loss"),
    "average_precision": Metric("average precision", average_precision, kind="share", rests_on=_ill),
    "log_loss": Metric("log loss", log_loss, higher_is_better=False, kind="loss", rests_on=_surprise),
    "macro_f1": Metric("macro F1", macro_f1, decides=True, kind="share", rests_on=_called_or_ill),
    "balanced_accuracy": Metric(
        "balanced accuracy", balanced_accuracy, decides=True, kind="share", rests_on=_ill_and_well
    ),
    "quadratic_kappa": Metric("quadratic kappa", quadratic_kappa, decides=True, exclusive=True),
    "brier": Metric("Brier", brier_score, higher_is_better=False, kind="loss", rests_on=_distance),
    "pf1": Metric("pF1", probabilistic_f1, kind="share", rests_on=_expected_or_ill),
}
_OWN = {name: replace(metric, at_once=True) for name, metric in _WRITTEN.items()}
METRICS: dict[str, Metric] = hooks.registry("METRICS", _OWN)
"""Name -> metric; besides these `f0.5`, `f2`, ..., `sensitivity@0.9`, ..., and `weighted_log_loss`."""
ALIASES = {"macro_auc": "auc", "qwk": "quadratic_kappa", "probabilistic_f1": "pf1", "loss": "log_loss"}
"""Other names that a competition may use."""
BOARD = ("auc", "precision", "recall", "specificity", "f1", "accuracy", "ece", "brier", "log_loss")
"""Those that every result is scored by, in the order of the board's columns."""
TITLES = {name: _OWN[name].title for name in BOARD} | {"recall": "sensitivity"}
"""What those are called beside images: radiographers say sensitivity."""
OUTCOMES = ("true negative", "false positive", "false negative", "true positive")
PATTERNS = ("fBETA", "sensitivity@SPECIFICITY", "weighted_log_loss")


def metric_name(name: str) -> str:
    """The name by which a metric is kept: that of an alias is the metric's own."""
    return ALIASES.get(name, name)


def find_metric(name: str, class_weights: Mapping[str, float] | None = None) -> Metric:
    """The metric of that name; `class_weights` are for `weighted_log_loss`.

    Raises:
        InputError: there is none of that name.
    """
    name = metric_name(name)
    if name in METRICS:
        found = METRICS[name]
        return found if isinstance(found, Metric) else Metric(name, found)  # a hook may be a bare function
    if name == "weighted_log_loss":
        weighted = partial(weighted_log_loss, class_weights=class_weights or {})
        return replace(_OWN["log_loss"], title="weighted log loss", function=weighted)
    if match := re.fullmatch(r"f(\d+(?:\.\d+)?)", name):
        return replace(_OWN["f1"], title=f"F{match[1]}", function=partial(f_beta, beta=float(match[1])))
    if match := re.fullmatch(r"sensitivity@(0?\.\d+)", name):
        kept = float(match[1])
        sensitivity = partial(sensitivity_at, specificity=kept)
        title = f"sensitivity at specificity {kept:g}"
        return Metric(title, sensitivity, kind="share", rests_on=_ill, at_once=True)
    names = ", ".join([*METRICS, *PATTERNS])
    raise InputError(f"unknown metric {name!r}{did_you_mean(name, [*METRICS, *ALIASES])}; there are {names}")


def is_metric(name: str) -> bool:
    """Whether `find_metric` finds it."""
    try:
        find_metric(name)
    except InputError:
        return False
    return True


def require_metric(name: str, task: Task) -> Metric:
    """The metric of that name, proven to be one for `task`; raises `InputError` as `find_metric` does."""
    metric = find_metric(name)
    if metric.exclusive and not task.sums_to_one:
        raise InputError(f"the metric {name} is for classes of which an image has one, and not for a {task.name} task")
    return metric


def declared_metric(dataset: "Dataset", task: Task) -> str:
    """Name of the metric that a data set declares, proven to be one for `task`; the task's own where it declares none.

    Raises:
        InputError: there is none of that name, or not for this task; says which line declares it.
    """
    name = metric_name(dataset.metric or task.metric)
    try:
        require_metric(name, task)
    except InputError as error:
        from chestfold.data.declaration import refusal  # which reads images; those who read scores do not need it

        raise refusal(dataset, "metric", f"{error} (one of your own is known by --hooks)") from error
    return name


# Figures


def value_of(metric: Metric, predicted: Predicted, weights: np.ndarray | None = None) -> float:
    """A metric of some predictions, whose rows count with `weights` (N,), or each once."""
    weights = np.ones(len(predicted.probs)) if weights is None else weights
    return float(metric.function(Evaluation(predicted, weights, predicted.task.scored_classes)))


def evaluate(
    predicted: Predicted, groups: np.ndarray, metrics: Mapping[str, Metric], classes: list[int] | None = None
) -> dict[str, Score]:
    """Metrics by name with intervals.

    Args:
        predicted: predictions.
        groups: patients (N,).
        metrics: those that are wanted.
        classes: what they are the mean over; those of the task where nothing is said.
    """
    classes = predicted.task.scored_classes if classes is None else classes

    def figures(weights: np.ndarray) -> np.ndarray:
        evaluation = Evaluation(predicted, weights, classes)
        return np.stack([metric.values(evaluation) for metric in metrics.values()], axis=-1)

    point, draws = drawn(figures, groups)
    found = {}
    for n, (name, metric) in enumerate(metrics.items()):
        found[name] = metric.score(point[n], draws[:, n], metric.patients(predicted, classes, groups))
    return found


def evaluate_each_class(
    predicted: Predicted, groups: np.ndarray, metrics: Mapping[str, Metric]
) -> dict[str, dict[str, Score]]:
    """Class -> metrics by name with intervals, of that class alone."""

    def figures(weights: np.ndarray) -> np.ndarray:
        evaluations = [Evaluation(predicted, weights, [number]) for number in range(len(predicted.task.classes))]
        return np.stack([metric.values(e) for e in evaluations for metric in metrics.values()], axis=-1)

    point, draws = drawn(figures, groups)
    columns = iter(zip(point, draws.T, strict=True))
    found: dict[str, dict[str, Score]] = {}
    for number, label in enumerate(predicted.task.classes):
        found[label] = {}
        for name, metric in metrics.items():
            found[label][name] = metric.score(*next(columns), metric.patients(predicted, [number], groups))
    return found


def difference(
    metric: Metric, value: float, draws: np.ndarray, sides: Sequence[Predicted], groups: np.ndarray
) -> Estimate:
    """The difference of two predictions' figures, by its replicates (R,).

    To its error comes what one more image would change (as Bonett and Price do, J. Educ. Behav. Stat. 37, 2012, page
    479): that few images, or none, are on different sides does not prove that the two are equal. Where it is the place
    among others that counts, and not a side, it is a `PLACE` of that.
    """
    ours, theirs = sides
    classes, error = ours.task.scored_classes, intervals.deviation(draws)
    patients = min(metric.patients(side, classes, groups) for side in sides)
    if np.array_equal(ours.probs, theirs.probs) and np.array_equal(ours.decided, theirs.decided):
        return Estimate(float(value), error, patients)
    image = max(metric.of_an_image(side, classes) for side in sides)
    is_place = error > 0 and not metric.decides
    return Estimate(float(value), math.hypot(error, image * PLACE if is_place else image), patients)


def validation_figures(predicted: Predicted, monitored: Mapping[str, Metric]) -> dict[str, float]:
    """Log loss, AUC, macro F1 and accuracy of one validation pass, and what is `monitored`, by name."""
    shown = {"loss": METRICS["log_loss"]}
    shown |= {name: METRICS[name] for name in ("auc", "macro_f1", "accuracy")}
    return {name: value_of(metric, predicted) for name, metric in (shown | dict(monitored)).items()}


def confusion_columns(task: Task) -> tuple[str, ...]:
    """What the columns of `confusion` count."""
    return task.classes if task.sums_to_one else OUTCOMES


def confusion(predicted: Predicted) -> list[list[int]]:
    """Counts: row = true class, column = predicted class; of several labels each label's `OUTCOMES` in a row."""
    every = Evaluation(predicted, np.ones(len(predicted.probs)), predicted.task.scored_classes)
    counts = every.matrix
    if not predicted.task.sums_to_one:
        false_alarms, missed = every.found - every.hits, every.present - every.hits
        rejected = every.total - every.hits - false_alarms - missed
        counts = np.stack([rejected, false_alarms, missed, every.hits], axis=1)
    return np.rint(counts).astype(int).tolist()
