"""Trained folds back in memory: from images to probabilities, without the experiment's code.

from chestfold.predict import load_model
model = load_model("exp021")
print(model("xray.jpeg"))
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chestfold import checkpoint, engine
from chestfold.batches import Images, images_of
from chestfold.config import Experiment
from chestfold.data.catalogue import find_dataset
from chestfold.data.decode import decode, resize
from chestfold.files import BadInput, read_json, runs_dir
from chestfold.masking import treatment
from chestfold.models import rebuild


def load_voters(folder: Path, exp: Experiment) -> list[engine.Runner]:
    """The networks whose mean is a fold's prediction: its best epoch, or its last ones where they vote."""
    paths = engine.voting_epochs(folder) if exp.vote_epochs else [folder / "best.ckpt"]
    return [engine.make_runner(rebuild(checkpoint.load_weights(path)), exp) for path in paths]


def vote(voters: list[engine.Runner], images: Images, tta: str) -> np.ndarray:
    """The voters' mean class probabilities, float32 (N, K), in the order of `images`."""
    return np.mean([engine.predict(voter, images, tta) for voter in voters], axis=0)


@dataclass(frozen=True)
class Model:
    """All finished folds of a run; call it with an image."""

    name: str
    classes: tuple[str, ...]
    exp: Experiment
    folds: list[list[engine.Runner]]

    def __call__(self, image: str | Path | np.ndarray) -> dict[str, float]:
        """Class -> probability, the mean over the folds.

        Args:
            image: a file of any format and depth, or grey pixels uint8 (H, W), 0 black to 255 white.

        Raises:
            BadInput: the file cannot be read.
        """
        size = self.exp.image_size
        pixels = _from_array(image, size) if isinstance(image, np.ndarray) else self._from_file(Path(image))
        one = images_of(treatment(self.exp), pixels[None], [str(image)[:200]], np.full(1, -1, np.int64))
        probs = np.mean([vote(voters, one, self.exp.tta)[0] for voters in self.folds], axis=0)
        return {name: float(p) for name, p in zip(self.classes, probs, strict=True)}

    def _from_file(self, path: Path) -> np.ndarray:
        return decode(path.parent, path.name, self.exp.image_size, find_dataset(self.exp.data).value_range)


def _from_array(pixels: np.ndarray, size: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        raise BadInput(f"an image as an array is uint8 (H, W), not {pixels.dtype} {pixels.shape}; convert it first")
    return resize(pixels, size)


def load_model(name: str) -> Model:
    """The finished folds of runs/NAME.

    Raises:
        BadInput: there are none, or a checkpoint is damaged.
    """
    folders = sorted(path.parent for path in (runs_dir() / name).glob("fold*/manifest.json"))
    if not folders or Path(name).name != name:
        raise BadInput(f"{runs_dir() / name} holds no finished fold; train it first (an ensemble has none of its own)")
    config: dict[str, Any] = read_json(folders[0] / "config.json")
    exp = Experiment.from_dict(config["settings"])
    return Model(name, tuple(config["classes"]), exp, [load_voters(folder, exp) for folder in folders])
