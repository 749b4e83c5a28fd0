"""A finished generator: what training leaves, and how patches are drawn from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from chestfold.core.errors import InputError
from chestfold.core.files import require_plain_name, runs_dir
from chestfold.core.rng import generator
from chestfold.core.run_folder import Config, Manifest, TrainingFolder
from chestfold.synth.gan.networks import LATENT, Generator, plain

WEIGHTS = "generator.safetensors"
BATCH = 32
"""Patches in a forward pass of `draw`."""


class GeneratorManifest(Manifest):
    """manifest.json of a generator. `parents`: ids of the images that it was trained on."""

    parents: list[str]
    seconds: float
    cpu_seconds: float


class GeneratorFolder(TrainingFolder[Config, GeneratorManifest]):
    """runs/synth/NAME/foldK. The settings in config.json are the recipe, and the precision of the machine."""

    config_type = Config
    manifest_type = GeneratorManifest
    keep_both = "take another name"


def generator_folder(name: str, fold: int) -> GeneratorFolder:
    """The folder of the generator `name` for the training part of `fold`; it need not exist.

    Raises:
        InputError: `name` is not a plain one.
    """
    require_plain_name(name, "generator")
    return GeneratorFolder(runs_dir() / "synth" / name / f"fold{fold}")


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator and what it was trained on. `sha256`: of its weights; `parents`: ids of its training images."""

    folder: Path
    module: Generator
    sha256: str
    parents: list[str]
    data: str
    fold: int

    @torch.inference_mode()
    def draw(self, count: int, seed: int) -> np.ndarray:
        """At least one patch, uint8 (count, 64, 64), grey as in the data set's cache; a function of (weights, seed)."""
        z = generator("draw", self.sha256, seed).standard_normal((count, LATENT)).astype(np.float32)
        batches = torch.from_numpy(z).split(BATCH)
        return np.concatenate([to_pixels(self.module(batch)) for batch in batches])


def to_pixels(patches: torch.Tensor) -> np.ndarray:
    """(B, 1, S, S) in -1 to 1 to uint8 (B, S, S)."""
    return ((patches[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def load_generator(path: Path) -> TrainedGenerator:
    """The generator in a folder that `chestfold synth train` has finished.

    Raises:
        InputError: it is not finished, or its weights are not those that it was finished with.
    """
    folder = GeneratorFolder(path)
    if not folder.is_finished():
        raise InputError(f"{path} holds no finished generator; train it first: chestfold synth train --help")
    manifest = folder.manifest()
    settings = folder.config().settings
    module = Generator(settings["architecture"], settings["width"], plain)
    module.load_state_dict(load_file(path / WEIGHTS))
    module.eval()
    return TrainedGenerator(path, module, manifest.files[WEIGHTS], manifest.parents, settings["data"], settings["fold"])
