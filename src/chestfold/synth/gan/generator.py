"""A finished generator: what training leaves, and how patches are drawn from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from chestfold.core.errors import InputError
from chestfold.core.files import require_plain_name, runs_dir
from chestfold.core.rng import generator
from chestfold.core.run_folder import Config, Manifest, TrainingFolder
from chestfold.synth.gan.networks import LATENT, SIDE, Generator, plain

WEIGHTS = "generator.safetensors"
CHUNK = 32
"""Patches in a forward pass of `draw`."""


class GeneratorConfig(Config):
    """config.json of a generator: its recipe, the hashes of its data, and the precision that it is trained in."""

    precision: str

    def deciding(self) -> dict[str, Any]:
        """The precision too: it is the machine's, not the recipe's."""
        return super().deciding() | {"precision": self.precision}


class GeneratorManifest(Manifest):
    """manifest.json of a generator. `parents`: ids of the images that it was trained on."""

    parents: list[str]
    seconds: float
    cpu_seconds: float


class GeneratorFolder(TrainingFolder[GeneratorConfig, GeneratorManifest]):
    """runs/synth/NAME/foldK."""

    config_type = GeneratorConfig
    manifest_type = GeneratorManifest
    keep_both = "take another name"

    @property
    def weights_path(self) -> Path:
        """Where the finished generator lies."""
        return self.path / WEIGHTS


def generator_folder(name: str, fold: int) -> GeneratorFolder:
    """Where the generator called `name` for the training part of `fold` lies.

    Raises:
        InputError: `name` is not a plain one.
    """
    require_plain_name(name, "generator")
    return GeneratorFolder(runs_dir() / "synth" / name / f"fold{fold}")


@dataclass(frozen=True)
class Trained:
    """A generator and what it was trained on. `sha256`: of its weights; `parents`: ids of its training images."""

    folder: Path
    module: Generator
    sha256: str
    parents: list[str]
    data: str
    fold: int

    @torch.inference_mode()
    def draw(self, count: int, seed: int) -> np.ndarray:
        """`count` patches, uint8 (count, 64, 64), grey as in the data set's cache; a function of (weights, seed)."""
        z = generator("draw", self.sha256, seed).standard_normal((count, LATENT)).astype(np.float32)
        made = [to_pixels(self.module(part)) for part in torch.from_numpy(z).split(CHUNK)]
        return np.concatenate(made) if made else np.zeros((0, SIDE, SIDE), np.uint8)


def to_pixels(patches: torch.Tensor) -> np.ndarray:
    """(B, 1, S, S) in -1 to 1 to uint8 (B, S, S)."""
    return ((patches[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def load_generator(path: Path) -> Trained:
    """The generator in a folder, which `chestfold synth train` has finished.

    Raises:
        InputError: it is not finished, or its weights are not those that it was finished with.
    """
    folder = GeneratorFolder(path)
    if not folder.is_finished():
        raise InputError(f"{path} holds no finished generator; train it first: chestfold synth train --help")
    manifest, settings = folder.manifest(), folder.config().settings
    module = Generator(settings["architecture"], settings["width"], plain)
    module.load_state_dict(load_file(folder.weights_path))
    module.eval()
    return Trained(path, module, manifest.files[WEIGHTS], manifest.parents, settings["data"], settings["fold"])
