"""Losses by name. To add one, write a function here and its line in `LOSSES`.

A target is 1, 0, something between (mixed images, soft labels), or NaN: not known, which no loss counts. Losses of each
target for itself are written on its log-odds, so that they mean the same for classes, labels and grades.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chestfold.core import hooks
from chestfold.core.config import Experiment, require_choice
from chestfold.core.task import Labels, Task
from chestfold.data.sampling import balanced_weights

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, M) and targets float (B, M) to the mean loss of the batch, a scalar."""

FOCAL_GAMMA = 2.0
"""By which the loss of what is right already falls: the paper's best."""
ASYMMETRIC_GAMMAS = (0.0, 4.0)
"""Of positives and of negatives: the paper's."""
ASYMMETRIC_SHIFT = 0.05
"""A negative whose probability is below does not count at all: the paper's."""


@dataclass(frozen=True)
class LossContext:
    """What a loss is made from. `class_weights` (M, 2): of a target that is 0 and of one that is 1."""

    exp: Experiment
    task: Task
    class_weights: Tensor

    @property
    def positive_weights(self) -> Tensor:
        """Of targets that are 1, (M,)."""
        return self.class_weights[:, 1]

    @property
    def has_exclusive_targets(self) -> bool:
        """Whether exactly one target of an image is 1."""
        return has_exclusive_targets(self.task)

    def weights_of(self, targets: Tensor) -> Tensor:
        """What each target counts (B, M): of exclusive ones all of an image as much as its class."""
        if self.has_exclusive_targets:
            return (targets @ self.positive_weights)[:, None].expand_as(targets)
        negative, positive = self.class_weights.unbind(dim=1)
        return positive * targets + negative * (1 - targets)


def cross_entropy(context: LossContext) -> Loss:
    """Of exclusive classes that of the softmax (label smoothing: Szegedy et al., CVPR 2016), else of each target."""
    if not context.has_exclusive_targets:
        return binary_cross_entropy(context)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = context.exp.label_smoothing
        return F.cross_entropy(logits, targets, weight=context.positive_weights, label_smoothing=smoothing)

    return loss


def binary_cross_entropy(context: LossContext) -> Loss:
    """Cross entropy of each target for itself; of exclusive classes each against all others together."""

    def loss(log_odds: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(log_odds, targets, reduction="none")

    return of_each_target(context, loss)


def focal(context: LossContext) -> Loss:
    """Cross entropy that falls faster for what is right already (Lin et al., ICCV 2017, eq. 4, gamma 2)."""

    def loss(log_odds: Tensor, targets: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(log_odds, targets, reduction="none")
        probs = log_odds.sigmoid()
        of_truth = probs * targets + (1 - probs) * (1 - targets)
        return entropy * (1 - of_truth) ** FOCAL_GAMMA

    return of_each_target(context, loss)


def asymmetric(context: LossContext) -> Loss:
    """Easy negatives count less, and the easiest not at all (Ridnik et al., ICCV 2021, eq. 7), for many rare labels."""

    def loss(log_odds: Tensor, targets: Tensor) -> Tensor:
        of_positive, of_negative = ASYMMETRIC_GAMMAS
        probs = log_odds.sigmoid()
        shifted = (probs - ASYMMETRIC_SHIFT).clamp(min=0)
        present = -F.logsigmoid(log_odds) * (1 - probs) ** of_positive
        absent = -torch.log1p(-shifted) * shifted**of_negative
        return targets * present + (1 - targets) * absent

    return of_each_target(context, loss)


def of_each_target(context: LossContext, loss: Loss) -> Loss:
    """The mean over the targets that are known of a loss (B, M) of log-odds and targets.

    With class weights and label smoothing: a target moves towards one half.
    """

    def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
        known = ~targets.isnan()
        filled = torch.where(known, targets, 0.5)
        smoothed = filled + context.exp.label_smoothing * (0.5 - filled)
        losses = loss(context.task.log_odds(logits), smoothed) * context.weights_of(filled) * known
        return losses.sum() / known.sum().clamp(min=1)

    return mean_loss


LOSSES: dict[str, Callable[[LossContext], Loss]] = hooks.registry(
    "LOSSES", {"ce": cross_entropy, "bce": binary_cross_entropy, "focal": focal, "asymmetric": asymmetric}
)
"""Name -> function of what a loss is made from that returns it."""


def require_loss(name: str) -> None:
    """Raise `InputError`, with the nearest name, when there is no such loss."""
    require_choice("loss", name, LOSSES)


def create_loss(exp: Experiment, task: Task, labels: Labels, device: torch.device) -> Loss:
    """The loss of `exp`; `labels` are those of the training images."""
    weights = target_weights(exp, task, labels)
    return LOSSES[exp.loss](LossContext(exp, task, torch.from_numpy(weights).to(device)))


def has_exclusive_targets(task: Task) -> bool:
    """Whether exactly one target of an image is 1: not of labels, nor of the steps between grades."""
    return task.sums_to_one and task.outputs == len(task.classes)


def target_weights(exp: Experiment, task: Task, labels: Labels) -> np.ndarray:
    """Weights of targets that are 0 and 1, float32 (M, 2): all 1, or balanced.

    Of exclusive classes the second is the inverse of a class's share. Of labels and grades a target's ones weigh
    together as much as its zeros.
    """
    weights = np.ones((task.outputs, 2), np.float32)
    if exp.class_weights == "none":
        return weights
    if has_exclusive_targets(task):
        weights[:, 1] = balanced_weights(labels, len(task.classes))
        return weights
    targets = task.targets(torch.from_numpy(labels)).numpy()
    ones, zeros = np.nansum(targets, axis=0), np.nansum(1 - targets, axis=0)
    weights[:, 0] = (ones + zeros) / (2 * np.maximum(zeros, 1))
    weights[:, 1] = (ones + zeros) / (2 * np.maximum(ones, 1))
    return weights
