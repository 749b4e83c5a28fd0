"""A finished generator: what training leaves, and how patches are drawn from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, runs_dir, sha256_file
from chestfold.core.rng import generator
from chestfold.synth.gan.networks import LATENT, SIDE, Generator, plain

WEIGHTS = "generator.safetensors"
CHUNK = 32
"""Patches in a forward pass of `draw`."""


def generator_dir(name: str, fold: int) -> Path:
    """Where the generator called `name` for the training part of `fold` lies.

    Raises:
        InputError: `name` is not a plain one.
    """
    if Path(name).name != name or name in ("", ".", ".."):
        raise InputError(f"{name!r}: a plain name is needed, without folders")
    return runs_dir() / "synth" / name / f"fold{fold}"


@dataclass(frozen=True)
class Trained:
    """A generator and what it was trained on. `sha256`: of its weights; `parents`: ids of its training images."""

    folder: Path
    module: Generator
    sha256: str
    parents: list[str]
    data: str
    fold: int
    about: dict[str, Any]

    @torch.inference_mode()
    def draw(self, count: int, seed: int) -> np.ndarray:
        """`count` patches, uint8 (count, 64, 64), grey as in the data set's cache; a function of (weights, seed)."""
        z = generator("draw", self.sha256, seed).standard_normal((count, LATENT)).astype(np.float32)
        made = [to_pixels(self.module(part)) for part in torch.from_numpy(z).split(CHUNK)]
        return np.concatenate(made) if made else np.zeros((0, SIDE, SIDE), np.uint8)


def to_pixels(patches: torch.Tensor) -> np.ndarray:
    """(B, 1, S, S) in -1 to 1 to uint8 (B, S, S)."""
    return ((patches[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def load_generator(folder: Path) -> Trained:
    """The generator in `folder`, which `chestfold synth train` has finished.

    Raises:
        InputError: it is not finished, or its weights are not those that it was finished with.
    """
    manifest, weights = folder / "manifest.json", folder / WEIGHTS
    if not manifest.exists():
        raise InputError(f"{folder} holds no finished generator; train it first: chestfold synth train --help")
    about, config = read_json(manifest), read_json(folder / "config.json")
    digest = about["files"][WEIGHTS]
    if not weights.exists() or sha256_file(weights) != digest:
        raise InputError(f"{weights} is not the file that the training finished with; restore it or train again")
    settings = config["settings"]
    module = Generator(settings["architecture"], settings["width"], plain)
    module.load_state_dict(load_file(weights))
    module.eval()
    return Trained(folder, module, digest, about["parents"], settings["data"], settings["fold"], about)
