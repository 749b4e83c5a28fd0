"""`chestfold synth measure`: generated patches beside real ones that neither network has been trained on.

The reference is the nodules of the validation fold. Real training nodules against them are the floor, noise is the
ceiling. The features are those of a network of our own, of the fold of a finished run that was not trained on these
nodules either: before its classifier, where they separate nodules from the rest and little else, and of a layer in the
middle, where they separate textures too.

A table has a row for each set of patches, and the columns `kid`, `middle_kid` (by the features of the middle layer),
their deviations over random subsets (`kid_deviation`, ...), `distance` (median distance to the nearest training patch,
grey levels), `close` (share of the patches closer to one than 99 of 100 held-out real patches are), `power_2` and
`power_4` (power at periods of 2 and 4 pixels over that of held-out real patches).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from chestfold.core.errors import InputError
from chestfold.core.files import write_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import RunFolder
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.decode import resize
from chestfold.models import channels
from chestfold.models.load import load_networks
from chestfold.models.ood import captured_features, middle_layer
from chestfold.models.runner import PREDICT_BATCH, Runner
from chestfold.synth.gan.diffaug import random_d4
from chestfold.synth.gan.generator import TrainedGenerator, generator_folder, load_generator
from chestfold.synth.gan.images import write_grid
from chestfold.synth.gan.networks import SIDE
from chestfold.synth.gan.similarity import kid, nearest, stride_power

SHOWN = 32
"""Real and generated patches in the sample picture, each."""
CLOSEST = 16
"""Generated patches that are shown with their nearest training patches."""
DRAWN = 4
"""Generated patches for each training patch: fewer, and the KID of one generator triples from draw to draw."""
COPIED = 1.0
"""Percentile of the held-out patches' distances under which a patch counts as close to a training patch."""
FLOOR = "real, training"
KIDS = ["kid", "middle_kid"]

Features = tuple[np.ndarray, np.ndarray]
"""Of N patches: before the classifier, and of the layer in the middle; float32 (N, D) each."""


@dataclass(frozen=True)
class RealPatches:
    """Real nodules, uint8 (N, 64, 64): of the training part of a fold, and held out."""

    training: np.ndarray
    held_out: np.ndarray
    folds_sha256: str


def measure(names: list[str], fold: int, features_of: str) -> pd.DataFrame:
    """The table of some generators, references first.

    Leaves measures.json, and pictures of real beside generated patches, with each generator.

    Raises:
        InputError: a generator is not finished, or they were trained on different nodules; the run `features_of` does
            not fit.
    """
    generators = {name: load_generator(generator_folder(name, fold).path) for name in names}
    first = generators[names[0]]
    for name, other in generators.items():
        if (other.data, other.parents) != (first.data, first.parents):
            raise InputError(
                f"{name} was trained on other nodules than {names[0]}; compare generators of the same ones"
            )
    real = read_real_patches(first)
    network, size = open_feature_network(features_of, fold, real.folds_sha256)
    sets = {FLOOR: real.training, "noise": noise_like(real.training)}
    for name, trained in generators.items():
        sets[name] = trained.draw(DRAWN * len(real.training), seed=0)
    table = measure_sets(sets, real, lambda patches: extract_features(network, size, patches))
    about = {"features_of": features_of, "count": DRAWN * len(real.training)}
    about["way"] = {name: gap_to_floor(table, name, names[-1]) for name in names[:-1]}
    about["rows"] = json.loads(table.to_json(orient="index", double_precision=15))
    for name, trained in generators.items():
        write_json(trained.folder / "measures.json", about | {"generator": trained.sha256})
        write_pictures(trained, sets[name], real)
    return table


def read_real_patches(trained: TrainedGenerator) -> RealPatches:
    """The nodules that a generator was trained on, and those of its validation fold."""
    index = open_index(trained.data)
    chosen = folds.load(trained.data, index)
    table = chosen.table
    held_out = table[(table["fold"] == trained.fold) & (table["label"] == index.dataset.positive)]
    cache = open_cache(index, SIDE)
    training = np.asarray(cache.images[cache.rows(trained.parents)])
    return RealPatches(training, np.asarray(cache.images[cache.rows(held_out["id"])]), chosen.sha256)


def open_feature_network(name: str, fold: int, folds_sha256: str) -> tuple[Runner, int]:
    """The network of one fold of a run, and the size of its images.

    Raises:
        InputError: it is not finished, or was trained on other folds, so perhaps on what is held out here.
    """
    folder = RunFolder(name).fold(fold)
    if not folder.manifest_path.exists():
        raise InputError(f"{folder.path} is not finished; train it, or name another run for the features")
    config = folder.config()
    if config.fingerprint["folds_sha256"] != folds_sha256:
        raise InputError(f"{folder.path} was trained on other folds than the generator; take a run on the same ones")
    exp = config.exp()
    if channels(exp) != 1:
        raise InputError(f"{name} sees {channels(exp)} channels, and patches have one; take a run with channels = 1")
    network = load_networks(folder, exp)[-1]
    if not hasattr(network.module, "forward_head"):
        raise InputError(f"{name}: a network with a head of its own does not give its features; take a run without")
    return network, exp.image_size


@torch.inference_mode()
def extract_features(runner: Runner, size: int, patches: np.ndarray) -> Features:
    """The features of uint8 patches (N, S, S).

    All in random rotations: a generator learns from rotated patches, which upright ones would differ from.
    """
    rotated = random_d4(patches, generator("feature rotations", len(patches)))
    pixels = np.stack([resize(np.ascontiguousarray(patch), size) for patch in rotated])
    network: Any = runner.module.eval()
    last = []
    with captured_features(network, *middle_layer(network)) as middle:
        for batch in torch.from_numpy(pixels).unsqueeze(1).split(PREDICT_BATCH):
            maps = network.forward_features(runner.images(batch))
            last.append(network.forward_head(maps, pre_logits=True).float().cpu())
    return torch.cat(last).numpy(), torch.cat(middle).numpy()


def noise_like(patches: np.ndarray) -> np.ndarray:
    """As many patches of pure noise, each with the mean and deviation of one of `patches`, uint8 (N, S, S)."""
    noise = generator("noise", len(patches)).standard_normal(patches.shape)
    means = patches.mean(axis=(1, 2), keepdims=True)
    deviations = patches.std(axis=(1, 2), keepdims=True)
    return np.clip(np.rint(noise * deviations + means), 0, 255).astype(np.uint8)


def measure_sets(
    sets: dict[str, np.ndarray], real: RealPatches, extract: Callable[[np.ndarray], Features]
) -> pd.DataFrame:
    """The table of some sets of patches, and of the reference itself. No KID: 0; no distance: NaN."""
    references = dict(zip(KIDS, extract(real.held_out), strict=True))
    usual = nearest(real.held_out, real.training)[0]
    limit = np.percentile(usual, COPIED)
    rows: dict[str, dict[str, float]] = {}
    for name, patches in {"real, held out": real.held_out, **sets}.items():
        row = {}
        if patches is not real.training:
            distances = nearest(patches, real.training)[0]
            row["distance"] = float(np.median(distances))
            row["close"] = float((distances < limit).mean())
        for period in (2, 4):
            row[f"power_{period}"] = stride_power(patches, period) / stride_power(real.held_out, period)
        for kind, features in zip(KIDS, extract(patches), strict=True):
            is_reference = patches is real.held_out
            mean, deviation = (0.0, 0.0) if is_reference else kid(features, references[kind])
            row |= {kind: mean, f"{kind}_deviation": deviation}
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def gap_to_floor(table: pd.DataFrame, ours: str, theirs: str) -> dict[str, float]:
    """Where `ours` is between the floor (0) and `theirs` (1), by each KID."""
    kids = table[KIDS]
    gap = (kids.loc[ours] - kids.loc[FLOOR]) / (kids.loc[theirs] - kids.loc[FLOOR])
    return gap.to_dict()


def mean_over_folds(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean of each figure over the tables of several folds; a KID's deviation is then that between the folds."""
    by_name = pd.concat(tables).groupby(level=0, sort=False)
    means = by_name.mean()
    for kind in KIDS:
        means[f"{kind}_deviation"] = by_name[kind].std()
    return means


def write_pictures(trained: TrainedGenerator, patches: np.ndarray, real: RealPatches) -> None:
    """real_and_made.png (real on the left), nearest.png (generated patches above their nearest training ones)."""
    rows = min(SHOWN, len(real.held_out), len(patches)) // 4
    left = real.held_out[: 4 * rows].reshape(rows, 4, SIDE, SIDE)
    right = patches[: 4 * rows].reshape(rows, 4, SIDE, SIDE)
    side_by_side = np.concatenate([left, right], axis=1).reshape(-1, SIDE, SIDE)
    write_grid(trained.folder / "real_and_made.png", side_by_side, columns=8)
    distances, which = nearest(patches, real.training)
    closest = np.argsort(distances)[:CLOSEST]
    pairs = np.concatenate([patches[closest], real.training[which[closest]]])
    write_grid(trained.folder / "nearest.png", pairs, columns=len(closest))
