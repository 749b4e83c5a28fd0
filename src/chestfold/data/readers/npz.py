"""The reader "npz": MedMNIST's arrays."""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import DAMAGED_ARCHIVE, load_npz
from chestfold.data.dataset import Dataset, Index, make_index
from chestfold.data.readers.cells import cell_labels, one_hot_cell, text_of
from chestfold.data.readers.files import SPLITS
from chestfold.data.tables import each_cell

IMAGES, LABELS = "_images", "_labels"
"""Ends of the arrays' names."""


@lru_cache(maxsize=4)
def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, none of which may hold pickled objects; those of images as `plain_images` makes them."""
    try:
        arrays = load_npz(path)
    except DAMAGED_ARCHIVE as error:
        raise InputError(f"{path} is not a readable .npz ({error}); fetch it again") from error
    for part in SPLITS:
        name = part + IMAGES
        if name in arrays:
            arrays[name] = plain_images(arrays[name], f"{path}: {name}")
    return arrays


def plain_images(array: np.ndarray, what: str) -> np.ndarray:
    """Images (N, H, W) or in colour (N, H, W, 3 or 4), uint8, or uint16 if a value is above 255.

    One channel may be an axis of its own, and the channels of colour may come first.

    Raises:
        InputError: these are volumes, or no whole numbers from 0 to 65535; says `what` they are.
    """
    shape = " x ".join(map(str, array.shape[1:]))
    if array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, -1)
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (3, 4)):
        raise InputError(f"{what} holds arrays of {shape}, not images; this program reads images, not volumes")
    if array.dtype.kind not in "uib":
        raise InputError(f"{what} holds {array.dtype}; save whole numbers from 0 to 255 (uint8)")
    if array.dtype.kind == "b" or array.dtype in (np.uint8, np.uint16) or not array.size:
        return array
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise InputError(f"{what} holds numbers from {low} to {high}; save whole numbers from 0 to 255 (uint8)")
    return array.astype(np.uint8 if high < 256 else np.uint16)


def read_npz(dataset: Dataset, root: Path) -> Index:
    """`<name>.npz` with `{train,val,test}_{images,labels}`; val joins train; no patient is known.

    Of several labels an image, each column of the labels (N, K) is a class, in the order of `classes`.

    Raises:
        InputError: an array is missing, or is not one of images or labels.
    """
    path = root / f"{dataset.name}.npz"
    if not path.exists():
        others = ", ".join(other.name for other in sorted(root.glob("*.npz")))
        way = f"rename {others}" if others else f"`chestfold data fetch {dataset.name}` says how to get it"
        raise InputError(f"{path} does not exist; {way}")
    arrays = load_arrays(path)
    rows: list[dict[str, str]] = []
    notes = ["no patient is known: every image is its own group"]
    for part, split in SPLITS.items():
        if part + IMAGES not in arrays:
            continue
        labels = _labels(dataset, path, part, arrays)
        withheld = part + LABELS not in arrays
        notes += [f"no {part}{LABELS}: these images are unlabelled"] if withheld else []
        texts = [""] * len(labels) if withheld else [text_of(dataset, row) for row in labels]
        left_out = texts.count("") if split == "train" else 0
        notes += [f"left out: {left_out} {part} image(s) whose class is not known"] if left_out else []
        for row, label in enumerate(texts):
            if split == "train" and not label:
                continue
            image_id = f"{part}_{row:06d}"
            place = f"{path.name}#{part}{IMAGES}/{row}"
            rows.append({"id": image_id, "path": place, "label": label, "group": image_id, "split": split})
    return make_index(dataset, root, rows, notes)


def _labels(dataset: Dataset, path: Path, part: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The labels of a part's images, float (N, K), NaN where one is not known."""
    labels, count, several = arrays.get(part + LABELS), len(arrays[part + IMAGES]), dataset.task == "multilabel"
    width = len(dataset.classes) if several else 1
    if labels is None and part == "test":  # withheld
        return np.full((count, len(dataset.classes)), np.nan)
    if labels is None or labels.size != count * width:
        what = f"{width} labels" if several else "one label"
        raise InputError(
            f"{path}: {part}{LABELS} does not hold {what} for each of the {count} {part}{IMAGES}; save both again"
        )
    if labels.dtype.kind not in "uibUS":
        raise InputError(f"{path}: {part}{LABELS} holds {labels.dtype}; save whole numbers or texts")
    cells = list(map(str, labels.astype(str).ravel()))

    def where(n: int) -> str:
        return f"{path}, {part} row {n // width}"

    if several:
        return np.array(each_cell(cells, partial(one_hot_cell, dataset), where)).reshape(count, width)
    return np.array(each_cell(cells, partial(cell_labels, dataset), where)).reshape(count, -1)
