"""Each image has one of several grades, in the order of the classes.

A network of K grades gives K - 1 logits, those of "higher than grade k" (Frank and Hall, ECML 2001; Cheng et al., IJCNN
2008, arXiv 0704.1028). A grade's probability is the difference of two neighbouring ones, which are made to fall.
"""

from typing import TYPE_CHECKING

import numpy as np

from chestfold.core.task.multiclass import Multiclass

if TYPE_CHECKING:
    from torch import Tensor


class Ordinal(Multiclass):
    """One of K ordered grades."""

    name = "ordinal"
    metric = "quadratic_kappa"

    @property
    def outputs(self) -> int:
        """The steps between the grades."""
        return len(self.classes) - 1

    def targets(self, labels: "Tensor") -> "Tensor":
        """1 for each step that the grade is above; of soft labels the probability that it is."""
        import torch

        if labels.ndim == 2:
            at_least = labels.float().flip(1).cumsum(1).flip(1)
            return at_least[:, 1:].clamp(0, 1)
        steps = torch.arange(self.outputs, device=labels.device)
        return (labels[:, None] > steps).float()

    def log_odds(self, logits: "Tensor") -> "Tensor":
        """The logits themselves."""
        return logits

    def probabilities(self, logits: "Tensor") -> "Tensor":
        """Differences of the probabilities of being higher."""
        import torch

        higher = logits.sigmoid().cummin(dim=1).values
        ends = torch.ones_like(higher[:, :1])
        return torch.cat([ends, higher], dim=1) - torch.cat([higher, torch.zeros_like(ends)], dim=1)

    def hit_rate(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """Share of images whose grade is right: all steps on their side of 0.5."""
        return ((logits > 0) == (targets > 0.5)).all(dim=1).float().mean()

    def outputs_of(self, numbers: np.ndarray) -> np.ndarray:
        """The step into each grade; the lowest has none, and is where the first one is low."""
        return np.maximum(numbers - 1, 0)

    def decided_class(self, probs: np.ndarray, threshold: float | np.ndarray = 0.5) -> np.ndarray:
        """The median grade: the last one that half of the probability is not below; of two, by the threshold."""
        if len(self.classes) == 2:
            return super().decided_class(probs, threshold)
        at_least = probs[:, ::-1].cumsum(axis=1)[:, ::-1]
        return (at_least[:, 1:] >= 0.5).sum(axis=1)
