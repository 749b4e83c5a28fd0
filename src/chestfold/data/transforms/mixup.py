"""Mixup and CutMix with soft targets, as pure functions of a generator; any batch size, also one.

timm's own draws from numpy's global generator, whose state a killed run would lose, and needs even batches.
"""

import numpy as np
import torch
from torch import Tensor


def mix(
    images: Tensor, targets: Tensor, mixup_alpha: float, cutmix_alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a batch with a shuffled copy of itself; the inputs are not changed.

    Args:
        images: float (B, C, H, W).
        targets: float (B, K), rows sum to 1.

    One of the two is drawn with equal odds when both alphas are above 0. Mixup: Zhang et al., ICLR 2018;
    CutMix: Yun et al., ICCV 2019.
    """
    if not (mixup_alpha or cutmix_alpha):
        return images, targets
    cut = cutmix_alpha > 0 and (mixup_alpha == 0 or rng.random() < 0.5)
    alpha = cutmix_alpha if cut else mixup_alpha
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    if cut:
        images, share = _paste(images, images[partner], share, rng)
    else:
        images = images * share + images[partner] * (1 - share)
    return images, targets * share + targets[partner] * (1 - share)


def _paste(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Paste a box of `others` (a copy made before) into `images`; returns them and the area that is left."""
    height, width = images.shape[-2:]
    side = (1 - share) ** 0.5
    top, bottom = _span(height, side, rng)
    left, right = _span(width, side, rng)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(length: int, side: float, rng: np.random.Generator) -> tuple[int, int]:
    centre, half = int(rng.integers(length)), int(length * side) // 2
    return max(centre - half, 0), min(centre + half, length)
