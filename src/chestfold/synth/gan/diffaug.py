"""Light augmentation of what the discriminator sees, real and generated alike (Zhao et al., NeurIPS 2020).

Gradients pass through it. Without it a discriminator memorises a thousand patches within some thousand steps.
"""

import numpy as np
import torch
from torch import Tensor

TRANSLATION = 8
"""Pixels, either way: an eighth of a side, as in the paper."""
BRIGHTNESS = 0.1
"""Added, either way, on the scale -1 to 1; the paper's 0.5 would turn lung into soft tissue."""
CONTRAST = 0.2
"""Around the patch's mean, either way."""


def d4_views(patches: np.ndarray) -> np.ndarray:
    """The eight rotations and mirrorings of patches (N, S, S), (8, N, S, S): a patch of lung has no up."""
    mirrored = patches.transpose(0, 2, 1)
    views = []
    for quarter in range(4):
        views.append(np.rot90(patches, quarter, axes=(1, 2)))
        views.append(np.rot90(mirrored, quarter, axes=(1, 2)))
    return np.stack(views)


def random_d4(patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of the patches (N, S, S) in one of its eight rotations and mirrorings."""
    chosen = rng.integers(0, 8, len(patches))
    return d4_views(patches)[chosen, np.arange(len(patches))]


def diff_augment(patches: Tensor, rng: np.random.Generator) -> Tensor:
    """Patches (B, 1, S, S) in -1 to 1 with random contrast, brightness and translation, whose edges repeat."""
    count = len(patches)
    draws = rng.uniform(-1, 1, (2, count, 1, 1, 1)).astype(np.float32)
    contrast, brightness = torch.from_numpy(draws).to(patches.device)
    pixels = rng.integers(-TRANSLATION, TRANSLATION + 1, (2, count, 1))
    down, right = torch.from_numpy(pixels).to(patches.device)
    mean = patches.mean(dim=(1, 2, 3), keepdim=True)
    toned = (patches - mean) * (1 + CONTRAST * contrast) + mean + BRIGHTNESS * brightness
    return _translate(toned, down, right)


def _translate(patches: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move patches (B, 1, S, S) by whole pixels, int64 (B, 1) each."""
    side = patches.shape[-1]
    positions = torch.arange(side, device=patches.device)
    rows = (positions - down).clamp(0, side - 1)
    columns = (positions - right).clamp(0, side - 1)
    batch = torch.arange(len(patches), device=patches.device)[:, None, None]
    return patches[batch, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
