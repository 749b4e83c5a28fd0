"""Losses by name. To add one, write a function here, its line in `LOSSES` and its name at `Experiment.loss`."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chestfold.core.config import Experiment
from chestfold.data.sampling import balanced_weights

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, K) and targets float (B, K), rows summing to 1, to the mean loss of the batch, a scalar."""


def cross_entropy(exp: Experiment, class_weights: Tensor) -> Loss:
    """Cross entropy with soft targets, class weights (K,) and label smoothing (Szegedy et al., CVPR 2016)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=exp.label_smoothing)

    return loss


LOSSES: dict[str, Callable[[Experiment, Tensor], Loss]] = {"ce": cross_entropy}
"""Name -> function of the settings and the class weights (K,) that returns a loss."""


def create_loss(exp: Experiment, labels: np.ndarray, classes: int, device: torch.device) -> Loss:
    """The loss of `exp`; `labels` are the class numbers of the training images, int64 (N,)."""
    weights = np.ones(classes, np.float32)
    if exp.class_weights == "balanced":
        weights = balanced_weights(labels, classes)
    return LOSSES[exp.loss](exp, torch.from_numpy(weights).to(device))
