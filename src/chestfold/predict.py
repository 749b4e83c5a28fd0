"""A trained fold back in memory: from images to probabilities, without the experiment's code."""

from pathlib import Path

import numpy as np

from chestfold import checkpoint, engine
from chestfold.batches import Images
from chestfold.config import Experiment
from chestfold.models import rebuild


def load_voters(folder: Path, exp: Experiment) -> list[engine.Runner]:
    """The networks whose mean is a fold's prediction: its best epoch, or its last ones where they vote."""
    paths = engine.voting_epochs(folder) if exp.vote_epochs else [folder / "best.ckpt"]
    return [engine.make_runner(rebuild(checkpoint.load_weights(path)), exp) for path in paths]


def vote(voters: list[engine.Runner], images: Images, tta: str) -> np.ndarray:
    """The voters' mean class probabilities, float32 (N, K), in the order of `images`."""
    return np.mean([engine.predict(voter, images, tta) for voter in voters], axis=0)
