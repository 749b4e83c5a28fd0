"""The maps of one fold: its own model on its own validation images, and the checks of these maps."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from chestfold.core.console import bar
from chestfold.core.files import sha256_file
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder
from chestfold.data.loader import Images, plain_batches
from chestfold.data.transforms.preprocess import preprocess_of, undo_frame
from chestfold.evaluate import predictions
from chestfold.explain import checks, measures
from chestfold.explain.cam import at_image_size, in_fp32, normalised, open_mapper
from chestfold.explain.layers import Layer
from chestfold.explain.masks import Known, known
from chestfold.explain.select import ExplainConfig
from chestfold.models.load import load_networks
from chestfold.models.runner import Runner
from chestfold.train.prepare import Prepared

BATCH = 16
"""Images a backward pass: maps of a large network at 224 px take much more memory than its predictions."""
CHECKED = 16
"""Images a fold for deletion, insertion and randomized weights, which cost a hundred forward passes each."""
TARGETS = ("predicted", "positive")
"""The classes that an image has maps of: the predicted one, and the positive class of the data set."""


@dataclass(frozen=True)
class Maps:
    """Heat maps of N images, each map's largest value 1, and how they were made.

    `raw`: float32 (N, 2, rows, columns), in the order of `TARGETS`, the mean over a fold's networks. `large`: the same
    at the network's image size, (N, 2, S, S). `classes`: int64 (N, 2), the classes that they are of.
    """

    raw: np.ndarray
    large: np.ndarray
    classes: np.ndarray
    layer: Layer
    method: str

    def take(self, rows: np.ndarray) -> "Maps":
        """Those of some images, int (K,)."""
        return replace(self, raw=self.raw[rows], large=self.large[rows], classes=self.classes[rows])


@dataclass(frozen=True)
class Explained:
    """A fold's images with their maps. `rows`: id, group, fold, label, predicted, p_predicted, p_true.

    `seen`: what the network saw, uint8 (N, S, S). `known`: the masks of each image. `checked`: curves and similarity of
    some of the images. `networks`: the hashes of their weights.
    """

    rows: pd.DataFrame
    maps: Maps
    seen: np.ndarray
    known: list[Known]
    checked: pd.DataFrame
    networks: list[str]


def explain_fold(ready: Prepared, fold: int, ids: list[str], config: ExplainConfig) -> Explained:
    """Maps, masks and checks of some validation images of a fold."""
    folder, exp = ready.run.fold(fold), ready.exp
    rows = _predicted(folder, ids)
    images = ready.images(rows)
    networks = [in_fp32(runner) for runner in load_networks(folder, exp)]
    maps = fold_maps(networks, images, _target_classes(ready, rows), config, f"fold {fold} maps")
    checked = faithfulness(networks[0], images, maps, fold)
    grey = ready.cache.images[ready.cache.rows(ids)]
    masks = [known(ready.index, image_id, picture) for image_id, picture in zip(ids, grey, strict=True)]
    seen = np.concatenate([pixels[:, 0].numpy() for pixels in plain_batches(images, BATCH)])
    of_exp = preprocess_of(exp)
    maps = replace(maps, large=undo_frame(of_exp, maps.large))
    hashes = [sha256_file(path) for path in folder.predicting_checkpoints(exp)]
    return Explained(rows, maps, undo_frame(of_exp, seen), masks, checked, hashes)


def _predicted(folder: FoldFolder, ids: list[str]) -> pd.DataFrame:
    """id, group, fold, label, predicted, p_predicted, p_true: the out-of-fold predictions, as they were scored."""
    table, _ = predictions.read(folder.table_path("oof"))
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
    return np.stack([predicted, np.full_like(predicted, ready.positive)], axis=1)


def fold_maps(networks: list[Runner], images: Images, classes: np.ndarray, config: ExplainConfig, label: str) -> Maps:
    """The mean maps of a fold's networks; each counts alike, whatever its scale."""
    total: np.ndarray | float = 0.0
    with bar(label, len(networks) * len(images)) as advance:
        for runner in networks:
            layer, maps = _maps_of(runner, images, classes, config, advance)
            total = total + _scaled(maps)
    raw = _scaled(np.asarray(total))
    size = images.pixels.shape[-1]
    large = np.stack([at_image_size(raw[:, k], size) for k in range(len(TARGETS))], axis=1)
    return Maps(raw, large, classes, layer, config.method)


def _maps_of(
    runner: Runner, images: Images, classes: np.ndarray, config: ExplainConfig, advance: Callable[..., None]
) -> tuple[Layer, np.ndarray]:
    """The layer, and the maps (N, 2, rows, columns) of one network."""
    parts = []
    first = runner.images(next(plain_batches(images, 1)))
    with open_mapper(runner, first, config.method, config.layer) as mapper:
        for n, pixels in enumerate(plain_batches(images, BATCH)):
            parts.append(mapper(runner.images(pixels), classes[n * BATCH : (n + 1) * BATCH]))
            advance(len(pixels))
        return mapper.layer, np.concatenate(parts)


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Each map of (N, K, rows, columns) with 1 as its largest value."""
    flat = normalised(maps.reshape(-1, *maps.shape[2:]))
    return flat.reshape(maps.shape)


def faithfulness(runner: Runner, images: Images, maps: Maps, fold: int) -> pd.DataFrame:
    """Areas under deletion and insertion, and similarity under randomized weights, for a random part of the images."""
    rows = np.sort(generator("explain", "checked", fold).permutation(len(images))[:CHECKED])
    some, of_some = images.take(rows), maps.take(rows)
    pixels = runner.images(torch.cat(list(plain_batches(some, BATCH))))
    predicted, heat = of_some.classes[:, 0], of_some.large[:, 0]
    random = checks.random_heat(some.ids, maps.layer.grid, heat.shape[-1])
    table = pd.DataFrame({"id": some.ids})
    for name, curve in (("deletion", checks.deletion), ("insertion", checks.insertion)):
        table[name] = measures.area_under(curve(runner, pixels, heat, predicted))
        table[f"{name}_random"] = measures.area_under(curve(runner, pixels, random, predicted))
    similar = checks.similarity(runner, pixels, of_some.raw[:, 0], predicted, maps.method, maps.layer.name)
    for stage, values in similar.items():
        table[f"similarity, {stage}"] = values
    return table
