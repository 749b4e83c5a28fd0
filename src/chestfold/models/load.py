"""A trained fold back in memory: from images to probabilities, without the experiment's code."""

from pathlib import Path

import numpy as np

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.data.loader import Images
from chestfold.models import rebuild
from chestfold.models.runner import Runner, make_runner, predict


def load_networks(folder: Path, exp: Experiment) -> list[Runner]:
    """The networks whose mean is a fold's prediction: its best epoch, or its last ones where they vote."""
    paths = averaged_checkpoints(folder) if exp.average_last else [folder / "best.ckpt"]
    return [make_runner(rebuild(checkpoint.load_weights(path)), exp) for path in paths]


def predict_mean(networks: list[Runner], images: Images, tta: str) -> np.ndarray:
    """The networks' mean class probabilities, float32 (N, K), in the order of `images`."""
    return np.mean([predict(voter, images, tta) for voter in networks], axis=0)


def averaged_checkpoints(folder: Path) -> list[Path]:
    """The epochs of a fold that are kept for a predict_mean, oldest first."""
    return sorted(folder.glob("epoch????.ckpt"))
