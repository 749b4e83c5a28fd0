"""Probabilities that mean what they say: their logarithms scaled and shifted, fitted where they are not scored.

Of two classes and of each label this is Platt scaling (Platt, Advances in Large Margin Classifiers, 1999):
p' = sigmoid(slope * logit p + shift). Of more classes and of grades it is temperature scaling (Guo et al., ICML 2017;
the slope is 1 / temperature) with a shift for each class (Alexandari et al., ICML 2020):
p' = softmax(slope * log p + shifts).

Why not the temperature alone: it leaves 0.5 where it is, and a network that was trained on another share of positives,
or with weighted classes, is wrong there. `benchmarks/calibration.py` measures both.
"""

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.records import Record
from chestfold.core.task import Labels, Task
from chestfold.evaluate.metrics import SMALLEST

SLOPES = (0.01, 100.0)
"""Above 0, so that the order of the images stays as it is."""
SHIFTS = (-100.0, 100.0)
PRECISELY = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 1000}


class Scaling(Record):
    """What is done to the logarithms of A exclusive probabilities: times `slope`, plus `shifts` (A), the first 0."""

    slope: float
    shifts: tuple[float, ...]

    def scaled(self, answers: np.ndarray) -> np.ndarray:
        """Probabilities (N, A) to such that mean what they say (N, A)."""
        from scipy.special import softmax  # those who only read scores do not wait for it

        return softmax(self.slope * _logs(answers) + np.array(self.shifts), axis=1)


Scalings = tuple[Scaling, ...]
"""One for exclusive classes; one for each of several labels."""


class Calibration(Record):
    """How a result was calibrated: fitted on the out-of-fold predictions with the hash `oof_sha256`.

    `on_all`: on all of them; test images and new ones are calibrated with it. `on_others`: fold -> fitted on the other
    folds; its out-of-fold predictions are calibrated with it.
    """

    oof_sha256: str
    on_all: Scalings
    on_others: dict[int, Scalings]

    def of_fold(self, task: Task, probs: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Out-of-fold probabilities (N, K) of images in `folds` (N,), calibrated by the other folds."""
        made = np.empty(probs.shape)
        for fold, scalings in self.on_others.items():
            made[folds == fold] = calibrated(task, probs[folds == fold], scalings)
        return made


def fit_calibration(task: Task, labels: Labels, probs: np.ndarray, folds: np.ndarray, oof_sha256: str) -> Calibration:
    """Fitted on all rows, and for each fold on the others.

    Args:
        task: what is predicted.
        labels: N of them.
        probs: out-of-fold probabilities (N, K).
        folds: of each row (N,).
        oof_sha256: hash of the file that they are from.

    Raises:
        InputError: there is one fold only, or the others of one lack a class.
    """
    numbers = np.unique(folds).tolist()
    if len(numbers) < 2:
        raise InputError(f"it holds fold {numbers[0]} only, and a fold is calibrated by the others; train them")
    others = {}
    for fold in numbers:
        rows = folds != fold
        _require_classes(task, labels[rows], f"the folds other than {fold}")
        others[fold] = fit(task, labels[rows], probs[rows])
    return Calibration(oof_sha256=oof_sha256, on_all=fit(task, labels, probs), on_others=others)


def _require_classes(task: Task, labels: Labels, where: str) -> None:
    """Raise `InputError` where a class has no image, or all of them: nothing says how probable it is."""
    truth = task.truth(labels)
    for value, kind in ((1, "of"), (0, "without")):
        there = (truth == value).any(axis=0)
        if not there.all():
            name = task.classes[int(there.argmin())]
            raise InputError(f"{where} hold no image {kind} {name}; nothing can be calibrated without one")


def fit(task: Task, labels: Labels, probs: np.ndarray, shifted: bool = True) -> Scalings:
    """The scalings with the lowest log loss. `shifted`: without shifts it is temperature scaling alone."""
    found = []
    for answers, truth in zip(_questions(task, probs), _questions(task, task.truth(labels)), strict=True):
        known = ~np.isnan(truth).any(axis=1)
        found.append(_fit(answers[known], truth[known], shifted))
    return tuple(found)


def calibrated(task: Task, probs: np.ndarray, scalings: Scalings) -> np.ndarray:
    """Probabilities (N, K) of a task, scaled.

    The order of the images by a class stays where there are two, or several labels; of more classes the most probable
    one may become another.
    """
    questions = zip(_questions(task, probs), scalings, strict=True)
    answers = [scaling.scaled(question) for question, scaling in questions]
    if not task.sums_to_one:
        return np.stack([of_label[:, 1] for of_label in answers], axis=1)
    if len(task.classes) == 2 and task.positive_number == 0:
        return answers[0][:, ::-1]
    return answers[0]


def _questions(task: Task, values: np.ndarray) -> list[np.ndarray]:
    """Probabilities, or truth, (N, K) as exclusive answers (N, A) to one or more questions.

    Of more than two classes: which one it is; of two, and of each label: whether it is not, and whether it is.
    """
    if task.sums_to_one and len(task.classes) > 2:
        return [values]
    return [np.stack([1 - values[:, number], values[:, number]], axis=1) for number in task.scored_classes]


def _logs(answers: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(answers, SMALLEST))


def _fit(answers: np.ndarray, truth: np.ndarray, shifted: bool) -> Scaling:
    """Of exclusive answers (N, A) with their truth (N, A) of 0 and 1: a convex problem, the same every time."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp, softmax

    logs, targets = _logs(answers), _smoothed(truth)
    centre = logs.mean(axis=0) if shifted else np.zeros(logs.shape[1])
    logs = np.round(logs - centre, 9)  # predictions that are all the same say nothing about the slope, which stays 1

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        """Log loss and its gradient in the slope and the shifts of the answers after the first."""
        scores = values[0] * logs
        scores[:, 1:] += values[1:]
        gaps = softmax(scores, axis=1) - targets
        value = (logsumexp(scores, axis=1) - (targets * scores).sum(axis=1)).mean()
        return float(value), np.r_[(gaps * logs).sum(axis=1).mean(), gaps[:, 1:].mean(axis=0)]

    as_it_is = centre[1:] - centre[0]
    bounds = [SLOPES, *[SHIFTS if shifted else (0.0, 0.0)] * len(as_it_is)]
    found = minimize(loss, np.r_[1, as_it_is], jac=True, method="L-BFGS-B", bounds=bounds, options=PRECISELY)
    slope, shifts = found.x[0], np.r_[0, found.x[1:]] - found.x[0] * centre
    return Scaling(slope=float(slope), shifts=tuple((shifts - shifts[0]).tolist()))


def _smoothed(truth: np.ndarray) -> np.ndarray:
    """Truth (N, A) as targets: of n images the right answer has (n + 1) / (n + 2), not 1 (Platt 1999).

    So the slope stays finite where all are told apart, and nothing becomes surer than so many images can tell.
    """
    doubt = truth @ (1 / (truth.sum(axis=0) + 2))
    return np.where(truth == 1, 1 - doubt[:, None], doubt[:, None] / (truth.shape[1] - 1))
