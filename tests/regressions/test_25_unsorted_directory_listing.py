"""Bug: images were in the order of a directory listing, which differs between machines, and so did folds and batches.

Here an index is sorted by split and id, whatever order the folder or the table has: the same files give the same index,
folds and cache.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey

from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index


@pytest.fixture
def slices(project) -> Path:
    """A folder per class, with a flat test folder, written in no order."""
    root, rng = project.input / "nodule_slices", generator("listing")
    for folder in ("train/Nodule", "train/Not_Nodule", "val/Nodule", "val/Not_Nodule", "test"):
        (root / folder).mkdir(parents=True)
        for n in rng.permutation(6):
            image = rng.integers(0, 256, (16, 16)).astype(np.uint8)
            cv2.imwrite(str(root / folder / f"{folder.split('/')[0]}{n}.png"), image)
    return root


def shuffle_listings(monkeypatch, seed: int) -> None:
    listing = Path.iterdir

    def shuffled(folder: Path):
        found = sorted(listing(folder))
        return iter([found[n] for n in generator("shuffle", seed).permutation(len(found))])

    monkeypatch.setattr(Path, "iterdir", shuffled)


@pytest.mark.parametrize("name", ["nodule_slices", "tiny"])
def test_the_order_of_a_listing_changes_nothing(slices, monkeypatch, name):
    plain = open_index(name)
    split = [plain.train["id"].tolist(), plain.test["id"].tolist()]
    assert split == [sorted(ids) for ids in split]
    for seed in range(5):
        shuffle_listings(monkeypatch, seed)
        other = open_index(name)
        assert other.table.equals(plain.table)
        assert other.sha256() == plain.sha256() and other.notes == plain.notes


def test_the_order_of_the_table_changes_nothing(project):
    plain, path = open_index("tiny"), project.input / "tiny" / "train.csv"
    before, cached = folds.load("tiny", plain), open_cache(plain, 32)
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *lines[::-1]]) + "\n")
    other = open_index("tiny")
    assert other.table.equals(plain.table)
    again, new = folds.make(other, "tiny", 3)
    assert not new and again.sha256 == before.sha256
    assert np.array_equal(open_cache(other, 32).images, cached.images)


def test_a_cached_image_is_found_by_its_id(slices):
    index = open_index("nodule_slices")
    cache = open_cache(index, 16)
    for row in index.table.itertuples():
        pixels = read_grey(slices / row.path)
        assert np.array_equal(cache.images[cache.rows([row.id])[0]], pixels)
