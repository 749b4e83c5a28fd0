"""The maps of one fold: its own model on its own validation images, and the checks of these maps."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from chestfold.core.console import bar
from chestfold.core.files import sha256_file
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder
from chestfold.core.task import Task
from chestfold.data.channels import grey_of
from chestfold.data.loader import Images, plain_batches
from chestfold.data.transforms.preprocess import preprocess_of, undo_frame
from chestfold.evaluate import predictions
from chestfold.explain import checks, measures
from chestfold.explain.cam import BATCH, at_image_size, in_fp32, network_maps, normalised
from chestfold.explain.layers import Layer
from chestfold.explain.masks import Masks, masks_of
from chestfold.explain.select import ExplainConfig
from chestfold.models.load import load_networks
from chestfold.models.runner import Runner
from chestfold.train.prepare import Prepared

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

    `inputs`: what the network was given, grey, uint8 (N, S, S). `masks`: of each image. `checked`: areas and similarity
    of some of the images. `networks`: the hashes of their weights.
    """

    rows: pd.DataFrame
    maps: Maps
    inputs: np.ndarray
    masks: list[Masks]
    checked: pd.DataFrame
    networks: list[str]


def explain_fold(ready: Prepared, fold: int, ids: list[str], config: ExplainConfig) -> Explained:
    """Maps, masks and checks of some validation images of a fold."""
    folder = ready.run.fold(fold)
    rows = _predictions(folder, ids, ready.task)
    images = ready.images(rows)
    networks = [in_fp32(runner) for runner in load_networks(folder, ready.exp)]
    maps = fold_maps(networks, images, _target_classes(ready, rows), config, f"fold {fold} maps")
    checked = faithfulness(networks[0], images, maps, fold)
    decoded = grey_images(ready, ids)
    inputs = np.concatenate([pixels.numpy() for pixels in plain_batches(images, BATCH)])
    preprocess = preprocess_of(ready.exp)
    return Explained(
        rows=rows,
        maps=replace(maps, large=undo_frame(preprocess, maps.large)),
        inputs=undo_frame(preprocess, _grey_inputs(ready, inputs)),
        masks=[masks_of(ready.index, image_id, pixels) for image_id, pixels in zip(ids, decoded, strict=True)],
        checked=checked,
        networks=[sha256_file(path) for path in folder.predicting_checkpoints(ready.exp)],
    )


def grey_images(ready: Prepared, ids: Iterable[str]) -> np.ndarray:
    """Decoded images as a person looks at them, uint8 (N, S, S)."""
    return grey_of(ready.index.dataset, ready.cache.images[ready.cache.rows(ids)])


def _grey_inputs(ready: Prepared, inputs: np.ndarray) -> np.ndarray:
    """The same of a network's inputs (N, C, S, S): of its three channels, or of the first one."""
    pixels = inputs.transpose(0, 2, 3, 1) if inputs.shape[1] == 3 else inputs[:, 0]
    return grey_of(ready.index.dataset, pixels)


def _predictions(folder: FoldFolder, ids: list[str], task: Task) -> pd.DataFrame:
    """id, group, fold, label, predicted, p_predicted, p_true: the out-of-fold predictions, as they were scored."""
    table, _ = predictions.read(folder.table_path("oof"))
    table = table.set_index("id").loc[ids].reset_index()
    probs = predictions.probabilities(table)
    rows = table[["id", "group", "fold", "label"]].copy()
    rows["predicted"] = np.array(task.classes)[task.most_probable(probs)]
    rows["p_predicted"] = probs.max(axis=1)
    rows["p_true"] = task.of_truth(probs, task.labels(table["label"].tolist()))
    return rows


def _target_classes(ready: Prepared, rows: pd.DataFrame) -> np.ndarray:
    """Class numbers in the order of `TARGETS`, int64 (N, 2)."""
    predicted = np.array([ready.classes.index(name) for name in rows["predicted"]])
    return np.stack([predicted, np.full_like(predicted, ready.task.positive_number)], axis=1)


def fold_maps(networks: list[Runner], images: Images, classes: np.ndarray, config: ExplainConfig, label: str) -> Maps:
    """The mean maps of a fold's networks; each counts alike, whatever its scale."""
    of_networks = []
    with bar(label, len(networks) * len(images)) as advance:
        for runner in networks:
            layer, maps = network_maps(runner, images, classes, config.method, config.layer, advance)
            of_networks.append(normalised(maps))
    raw = normalised(np.sum(of_networks, axis=0))
    size = images.pixels.shape[1]
    large = np.stack([at_image_size(raw[:, k], size) for k in range(len(TARGETS))], axis=1)
    return Maps(raw, large, classes, layer, config.method)


def faithfulness(runner: Runner, images: Images, maps: Maps, fold: int) -> pd.DataFrame:
    """Areas under deletion and insertion, and similarity under randomized weights, for a random part of the images."""
    rows = np.sort(generator("explain", "checked", fold).permutation(len(images))[:CHECKED])
    some = images.take(rows)
    of_some = maps.take(rows)
    pixels = torch.cat(list(runner.batches(some, BATCH)))
    predicted = of_some.classes[:, 0]
    heat = of_some.large[:, 0]
    random = checks.random_heat(some.ids, maps.layer.grid, heat.shape[-1])
    table = pd.DataFrame({"id": some.ids})
    for name, curve in (("deletion", checks.deletion), ("insertion", checks.insertion)):
        table[name] = measures.area_under(curve(runner, pixels, heat, predicted))
        table[f"{name}_random"] = measures.area_under(curve(runner, pixels, random, predicted))
    similar = checks.similarity(runner, pixels, of_some.raw[:, 0], predicted, maps.method, maps.layer.name)
    for stage, values in similar.items():
        table[f"similarity, {stage}"] = values
    return table
