"""`chestfold synth measure`: generated patches beside real ones, on held-out ground.

The yardstick are the nodules of the validation fold, which neither the generator nor the feature network has seen.
Real training nodules against them are the floor, noise is the ceiling. The features are those of a network of our own,
of the fold of a finished run that has not trained on these nodules either: before its classifier, where they know what
makes a nodule and little else, and of a layer in the middle, where they see texture too.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

from chestfold.core.errors import InputError
from chestfold.core.files import write_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import RunFolder
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.decode import resize
from chestfold.models.load import load_networks
from chestfold.models.ood import captured_features, middle_layer
from chestfold.models.runner import PREDICT_BATCH, Runner
from chestfold.synth.gan.diffaug import turned
from chestfold.synth.gan.generator import Trained, generator_folder, load_generator
from chestfold.synth.gan.grid import write_grid
from chestfold.synth.gan.kid import Kid, kid, nearest, stride_power, way_from_floor
from chestfold.synth.gan.networks import SIDE

SHOWN = 32
"""Real and generated patches in the picture, each."""
DRAWN = 4
"""Generated patches for each training patch: fewer, and the KID of one generator triples from draw to draw."""
COPIED = 1.0
"""Percentile of the held-out patches' distances under which a patch counts as close to a training patch."""


@dataclass(frozen=True)
class Row:
    """What is measured of one set of patches. `distance`: median to the nearest training patch, grey levels."""

    kid: Kid
    middle_kid: Kid
    distance: float | None
    close: float | None
    """Share of the patches closer to a training patch than 99 of 100 held-out real ones are."""
    power_2: float
    power_4: float
    """Power at periods of 2 and 4 pixels over that of held-out real patches."""


@dataclass(frozen=True)
class Ground:
    """Real nodules, uint8 (N, 64, 64): of the training part of a fold, and held out."""

    training: np.ndarray
    held_out: np.ndarray
    folds_sha256: str


def read_ground(made: Trained) -> Ground:
    """The nodules that `made` was trained on, and those of its validation fold."""
    index = open_index(made.data)
    chosen = folds.load(made.data, index)
    table = chosen.table
    held_out = table[(table["fold"] == made.fold) & (table["label"] == index.dataset.positive)]
    cache = open_cache(index, SIDE)
    training, unseen = (np.asarray(cache.images[cache.rows(ids)]) for ids in (made.parents, held_out["id"]))
    return Ground(training, unseen, chosen.sha256)


def open_feature_network(name: str, fold: int, folds_sha256: str) -> tuple[Runner, int]:
    """The network of one fold of a run, and the size of its images.

    Raises:
        InputError: it is not finished, or was trained on other folds, so that it may have seen what is held out.
    """
    folder = RunFolder(name).fold(fold)
    if not folder.manifest_path.exists():
        raise InputError(f"{folder.path} is not finished; train it, or name another run for the features")
    config = folder.config()
    if config.fingerprint["folds_sha256"] != folds_sha256:
        raise InputError(f"{folder.path} was trained on other folds than the generator; take a run on the same ones")
    exp = config.exp()
    network = load_networks(folder, exp)[-1]
    if not hasattr(network.module, "forward_head"):
        raise InputError(f"{name}: a network with a head of its own does not show its features; take a run without")
    return network, exp.image_size


@torch.inference_mode()
def features(feature_network: Runner, size: int, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features of uint8 patches (N, S, S): before its classifier, and in its middle, float32 (N, D) each.

    All in random turns: a generator learns from turned patches, which upright ones would differ from.
    """
    shown = turned(patches, generator("judge turns", len(patches)))
    pixels = np.stack([resize(np.ascontiguousarray(p), size) for p in shown])
    network: Any = feature_network.module.eval()
    last = []
    with captured_features(network, *middle_layer(network)) as middle:
        for part in torch.from_numpy(pixels).unsqueeze(1).split(PREDICT_BATCH):
            maps = network.forward_features(feature_network.images(part))
            last.append(network.forward_head(maps, pre_logits=True).float().cpu())
    return torch.cat(last).numpy(), torch.cat(middle).numpy()


def noise(like: np.ndarray) -> np.ndarray:
    """As many patches of pure noise, each with the mean and deviation of one of `like`, uint8 (N, S, S)."""
    flat = generator("noise", len(like)).standard_normal(like.shape)
    means, deviations = (f(like, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return np.clip(np.rint(flat * deviations + means), 0, 255).astype(np.uint8)


def measure(names: list[str], fold: int, features_of: str) -> tuple[dict[str, Row], dict[str, dict[str, float]]]:
    """The rows of the table, the floor and the ceiling first, and how far above the floor each of two generators is.

    Leaves measures.json, and a picture of real beside generated patches, with each generator.

    Raises:
        InputError: a generator is not finished, or they have seen different nodules; the feature network does not fit.
    """
    made = {name: load_generator(generator_folder(name, fold).path) for name in names}
    first = made[names[0]]
    for name, other in made.items():
        if (other.data, other.parents) != (first.data, first.parents):
            raise InputError(f"{name} has seen other nodules than {names[0]}; compare generators of the same ones")
    ground = read_ground(first)
    network, size = open_feature_network(features_of, fold, ground.folds_sha256)
    count = DRAWN * len(ground.training)
    sets = {"real, training": ground.training, "noise": noise(ground.training)}
    sets |= {name: g.draw(count, seed=0) for name, g in made.items()}
    rows = measured(sets, ground, lambda patches: features(network, size, patches))
    ways = {n: ways_of(rows, n, names[-1]) for n in names[:-1]}
    for name, generator_ in made.items():
        _leave(generator_, sets[name], ground, rows, {"features_of": features_of, "way": ways, "count": count})
    return rows, ways


def mean_over_folds(tables: list[dict[str, Row]]) -> dict[str, Row]:
    """The mean of each figure over the tables of several folds; a KID's deviation is then that between the folds."""
    return {name: _mean([table[name] for table in tables]) for name in tables[0]}


def _mean(rows: list[Row]) -> Row:
    figures: dict[str, Any] = {}
    for field in fields(Row):
        values = [getattr(row, field.name) for row in rows]
        if isinstance(values[0], Kid):
            means = [value.mean for value in values]
            figures[field.name] = Kid(float(np.mean(means)), float(np.std(means, ddof=1)))
        else:
            figures[field.name] = None if values[0] is None else float(np.mean(values))
    return Row(**figures)


def ways_of(rows: dict[str, Row], ours: str, theirs: str) -> dict[str, float]:
    """Where `ours` lies between the floor (0) and `theirs` (1), by each KID."""
    kinds = ("kid", "middle_kid")
    means = {kind: [getattr(rows[name], kind).mean for name in (ours, theirs, "real, training")] for kind in kinds}
    return {kind: way_from_floor(*three) for kind, three in means.items()}


def measured(
    sets: dict[str, np.ndarray], ground: Ground, see: Callable[[np.ndarray], tuple[np.ndarray, ...]]
) -> dict[str, Row]:
    """A row for each set of patches; `see` gives their features, of two layers."""
    yardstick = see(ground.held_out)
    usual = nearest(ground.held_out, ground.training)[0]
    limit = float(np.percentile(usual, COPIED))
    real = [stride_power(ground.held_out, period) for period in (2, 4)]
    rows = {
        "real, held out": Row(
            Kid(0.0, 0.0), Kid(0.0, 0.0), float(np.median(usual)), float((usual < limit).mean()), 1.0, 1.0
        )
    }
    for name, patches in sets.items():
        own = name == "real, training"
        away = None if own else nearest(patches, ground.training)[0]
        power = [stride_power(patches, period) / r for period, r in zip((2, 4), real, strict=True)]
        distance, close = (None, None) if away is None else (float(np.median(away)), float((away < limit).mean()))
        last, middle = (kid(a, b) for a, b in zip(see(patches), yardstick, strict=True))
        rows[name] = Row(last, middle, distance, close, power[0], power[1])
    return rows


def _leave(made: Trained, patches: np.ndarray, ground: Ground, rows: dict[str, Row], about: dict[str, Any]) -> None:
    """measures.json, real_and_made.png (real on the left), nearest.png (a patch over its nearest training one)."""
    about = about | {"generator": made.sha256, "rows": {name: asdict(row) for name, row in rows.items()}}
    write_json(made.folder / "measures.json", about)
    rows_shown = min(SHOWN, len(ground.held_out), len(patches)) // 4
    shown = [part[: 4 * rows_shown].reshape(rows_shown, 4, SIDE, SIDE) for part in (ground.held_out, patches)]
    write_grid(made.folder / "real_and_made.png", np.concatenate(shown, axis=1).reshape(-1, SIDE, SIDE), 8)
    away, which = nearest(patches, ground.training)
    closest = np.argsort(away)[:16]
    write_grid(made.folder / "nearest.png", np.concatenate([patches[closest], ground.training[which[closest]]]), 16)
