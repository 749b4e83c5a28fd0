"""The maps of one fold: its own model on its own validation images, and the checks of these maps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from chestfold.core.console import bar
from chestfold.core.files import sha256_file
from chestfold.core.rng import generator
from chestfold.data.loader import Images, plain_batches
from chestfold.data.transforms import preprocess
from chestfold.evaluate import predictions
from chestfold.explain import checks, measures
from chestfold.explain.cam import at_image_size, in_fp32, normalised, open_mapper
from chestfold.explain.layers import Layer
from chestfold.explain.masks import Known, known
from chestfold.explain.select import ExplainConfig
from chestfold.models.load import averaged_checkpoints, load_networks
from chestfold.models.runner import Runner
from chestfold.train.fold_folder import fold_dir
from chestfold.train.prepare import Prepared

BATCH = 16
"""Images a backward pass: maps of a large network at 224 px take much more memory than its predictions."""
CHECKED = 16
"""Images a fold for deletion, insertion and randomized weights, which cost a hundred forward passes each."""
TARGETS = ("predicted", "positive")
"""The classes that an image has maps of: what the model calls it, and the positive class of the data set."""


@dataclass(frozen=True)
class Explained:
    """A fold's images with their maps. `rows`: id, group, fold, label, predicted, p_predicted, p_true.

    `raw`: float32 (N, 2, rows, columns), each map's largest value 1, in the order of `TARGETS`, the mean over the
    fold's networks. `large`: the same at the network's image size, (N, 2, S, S). `checked`: curves and similarity of
    some.
    """

    rows: pd.DataFrame
    layer: Layer
    raw: np.ndarray
    large: np.ndarray
    seen: np.ndarray
    known: list[Known]
    checked: pd.DataFrame
    networks: list[str]


def explain_fold(ready: Prepared, fold: int, ids: list[str], config: ExplainConfig) -> Explained:
    """Maps, masks and checks of some validation images of a fold."""
    folder, exp = fold_dir(ready.request.name, fold), ready.request.exp
    rows = _predicted(ready, folder, ids)
    images, classes = ready.images(rows), _target_classes(ready, rows)
    networks = [in_fp32(runner) for runner in load_networks(folder, exp)]
    with bar(f"fold {fold} maps", len(networks) * -(-len(ids) // BATCH)) as step:
        made = [_mapped(voter, images, classes, config, step) for voter in networks]
    raw = _scaled(np.mean([_scaled(maps) for _, maps in made], axis=0))
    size, layer = exp.image_size, made[0][0]
    large = np.stack([at_image_size(raw[:, k], size) for k in range(len(TARGETS))], axis=1)
    seen = np.concatenate([pixels[:, 0].numpy() for pixels in plain_batches(images, BATCH)])
    grey = ready.cache.images[ready.cache.rows(ids)]
    about = [known(ready.index, i, picture) for i, picture in zip(ids, grey, strict=True)]
    checked = _checked(networks[0], images, raw, large, classes, config.method, layer, fold)
    paths = averaged_checkpoints(folder) if exp.average_last else [folder / "best.ckpt"]
    large, seen = (preprocess.undo_frame(preprocess.preprocess_of(exp), part) for part in (large, seen))
    return Explained(rows, layer, raw, large, seen, about, checked, [sha256_file(p) for p in paths])


def _predicted(ready: Prepared, folder: Path, ids: list[str]) -> pd.DataFrame:
    """id, group, fold, label, predicted, p_predicted, p_true: the out-of-fold predictions, as they were scored."""
    table, _ = predictions.read(folder / "oof.parquet")
    table = table.set_index("id").loc[ids].reset_index()
    probs, classes = predictions.probabilities(table), predictions.class_columns(table)
    rows = table[["id", "group", "fold", "label"]].copy()
    rows["predicted"] = [classes[n] for n in probs.argmax(axis=1)]
    rows["p_predicted"] = probs.max(axis=1)
    rows["p_true"] = probs[np.arange(len(rows)), predictions.labels(table)]
    return rows


def _target_classes(ready: Prepared, rows: pd.DataFrame) -> np.ndarray:
    """Class numbers in the order of `TARGETS`, int64 (N, 2)."""
    number = {name: n for n, name in enumerate(ready.classes)}
    predicted = rows["predicted"].map(number).to_numpy(np.int64, copy=True)
    return np.stack([predicted, np.full_like(predicted, number[ready.index.dataset.positive])], axis=1)


def _mapped(
    runner: Runner, images: Images, classes: np.ndarray, config: ExplainConfig, step: Callable[[str], None]
) -> tuple[Layer, np.ndarray]:
    """The layer, and the maps (N, 2, rows, columns) of one network."""
    parts = []
    first = runner.images(next(plain_batches(images, 1)))
    with open_mapper(runner, first, config.method, config.layer) as mapper:
        for n, pixels in enumerate(plain_batches(images, BATCH)):
            parts.append(mapper(runner.images(pixels), classes[n * BATCH : (n + 1) * BATCH]))
            step("")
        return mapper.layer, np.concatenate(parts)


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Each map of (N, K, rows, columns) with 1 as its largest value."""
    flat = normalised(maps.reshape(-1, *maps.shape[2:]))
    return flat.reshape(maps.shape)


def _checked(
    runner: Runner,
    images: Images,
    raw: np.ndarray,
    large: np.ndarray,
    classes: np.ndarray,
    method: str,
    layer: Layer,
    fold: int,
) -> pd.DataFrame:
    """Areas under deletion and insertion, and similarity under randomized weights, for some of the images by lot."""
    some = np.sort(generator("explain", "checked", fold).permutation(len(images))[:CHECKED])
    few = replace(images, rows=images.rows[some], ids=[images.ids[n] for n in some], labels=images.labels[some])
    x, predicted = runner.images(torch.cat(list(plain_batches(few, BATCH)))), classes[some, 0]
    heat, lot = large[some, 0], checks.random_heat(few.ids, layer.grid, large.shape[-1])
    table = pd.DataFrame({"id": few.ids})
    for name, curve in (("deletion", checks.deletion), ("insertion", checks.insertion)):
        table[name] = measures.area_under(curve(runner, x, heat, predicted))
        table[f"{name}_random"] = measures.area_under(curve(runner, x, lot, predicted))
    alike = checks.similarity(runner, x, raw[some, 0], predicted, method, layer.name)
    for stage, values in alike.items():
        table[f"similarity, {stage}"] = values
    return table
