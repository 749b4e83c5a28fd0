"""A trained fold back in memory: from images to probabilities, without the experiment's code."""

from dataclasses import replace

import numpy as np

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.core.run_folder import Chosen, FoldFolder
from chestfold.data.loader import Images
from chestfold.models import rebuild
from chestfold.models.runner import Runner, in_bf16, make_runner, predict


def load_networks(folder: FoldFolder, exp: Experiment) -> list[Runner]:
    """The networks whose mean is a fold's prediction: its best epoch's, or those of its last epochs."""
    folder.require_own_config()
    folder.load_hooks()
    task = folder.config().create_task()
    networks = []
    for path in folder.predicting_checkpoints(exp):
        networks.append(make_runner(rebuild(checkpoint.load_weights(path), path), exp, task))
    chosen = folder.manifest().chosen if folder.manifest_path.exists() else None
    return [as_chosen(network, chosen) for network in networks] if chosen else networks


def as_chosen(network: Runner, chosen: Chosen) -> Runner:
    """A network that predicts as its fold's validation images chose; in its own precision where bf16 is no gain."""
    fast = in_bf16(network) if chosen.precision == "bf16" else None
    return replace(fast or network, confidence=chosen.confidence)


def predict_mean(networks: list[Runner], images: Images, tta: str, label: str = "predicting") -> np.ndarray:
    """The networks' mean class probabilities, float32 (N, K), in the order of `images`."""
    return np.mean([predict(network, images, tta, label=label) for network in networks], axis=0)
