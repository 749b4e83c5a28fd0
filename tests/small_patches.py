"""`patches`: 40 px squares of lung in twelve patients, four of each with a round nodule in the middle."""

from pathlib import Path

import cv2
import numpy as np

from chestfold.core.rng import generator

DECLARATION = """
classes = ["lung", "nodule"]
positive = "nodule"
reader = "csv"
group_column = "patient"
view = "patch"
hu_window = [-1000, 400]
"""
SIDE = 40


def lung(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """HU of aerated lung with noise, float (side, side)."""
    return rng.normal(-850, 30, (side, side))


def with_disc(hu: np.ndarray, radius: float, density: float = 50) -> np.ndarray:
    """A soft-edged disc of `density` HU in the middle."""
    rows, columns = np.indices(hu.shape) - np.array(hu.shape)[:, None, None] // 2
    share = 0.5 - 0.5 * np.tanh(np.hypot(rows, columns) - radius)
    return hu + share * (density - hu)


def to_grey(hu: np.ndarray) -> np.ndarray:
    return np.clip((hu + 1000) / 1400 * 255, 0, 255).round().astype(np.uint8)


def write_patches(folder: Path, patients: int = 12, each: int = 8) -> None:
    """Half of the patches of every patient have a nodule."""
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text(DECLARATION)
    rows, rng = ["id,label,patient"], generator("patches")
    for n in range(patients * each):
        hu, ill = lung(rng), n % 2 == 0
        if ill:
            hu = with_disc(hu, rng.uniform(2.5, 6))
        cv2.imwrite(str(folder / "images" / f"q{n:03d}.png"), to_grey(hu))
        rows.append(f"q{n:03d},{'nodule' if ill else 'lung'},p{n // each:02d}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
