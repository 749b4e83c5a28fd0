"""Light augmentation of what the discriminator sees, real and generated alike (Zhao et al., NeurIPS 2020).

Gradients pass through it. Without it a discriminator learns a thousand patches by heart within some thousand steps.
"""

import numpy as np
import torch
from torch import Tensor

CORRUPTION = 8
"""Pixels, either way: an eighth of a side, as in the paper."""
BRIGHTNESS = 0.1
"""Added, either way, on the scale -1 to 1; the paper's 0.5 would turn lung into soft tissue."""
CONTRAST = 0.2
"""Around the patch's mean, either way."""


def turned(patches: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each of `patches` (B, S, S) in one of its eight turns and mirrorings: a patch of lung has no up."""
    choices = rng.integers(0, 8, len(patches))
    return np.stack([np.rot90(p.T if c >= 4 else p, c % 4) for p, c in zip(patches, choices, strict=True)])


def varied(patches: Tensor, rng: np.random.Generator) -> Tensor:
    """Patches (B, 1, S, S) in -1 to 1, each shifted (edges repeat), lightened and with another contrast."""
    draws = torch.from_numpy(rng.uniform(-1, 1, (2, len(patches), 1, 1, 1)).astype(np.float32)).to(patches.device)
    shifts = torch.from_numpy(rng.integers(-CORRUPTION, CORRUPTION + 1, (2, len(patches)))).to(patches.device)
    mean = patches.mean(dim=(1, 2, 3), keepdim=True)
    toned = (patches - mean) * (1 + CONTRAST * draws[0]) + mean + BRIGHTNESS * draws[1]
    return _shifted(toned, *shifts)


def _shifted(patches: Tensor, down: Tensor, right: Tensor) -> Tensor:
    side = patches.shape[-1]
    places = torch.arange(side, device=patches.device)
    rows, columns = ((places - s[:, None]).clamp(0, side - 1) for s in (down, right))
    batch = torch.arange(len(patches), device=patches.device)[:, None, None]
    return patches[batch, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
