"""Decoded images, keyed by what they were made from."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.data import cache, channels
from chestfold.data.cache import content_hashes, open_cache
from chestfold.data.catalogue import open_index


@pytest.fixture
def index(project):
    return open_index("tiny")


def files(project, pattern: str = "*px-*.npy") -> set[str]:
    return {p.name for p in (project.input / ".cache" / "tiny").glob(pattern)}


def test_an_image_is_found_by_its_id_whatever_the_order(index):
    opened = open_cache(index, 32)
    ids = index.table["id"].sample(frac=1, random_state=0).tolist()
    for image_id, pixels in zip(ids, opened.images[opened.rows(ids)], strict=True):
        expected = read_grey(index.root / "images" / f"{image_id}.png")
        np.testing.assert_array_equal(pixels, expected)


def test_the_images_cannot_be_written_to(index):
    with pytest.raises(ValueError, match="read-only"):
        open_cache(index, 32).images[0] = 0


def test_it_is_decoded_once_and_again_after_it_was_deleted(project, index, monkeypatch):
    decoded = []
    honest = channels.decode
    monkeypatch.setattr(channels, "decode", lambda *a, **k: decoded.append(a[1]) or honest(*a, **k))
    first = np.array(open_cache(index, 20).images)
    open_cache(index, 20)
    assert sorted(decoded) == sorted(index.table["path"])
    shutil.rmtree(project.input / ".cache")
    np.testing.assert_array_equal(open_cache(index, 20).images, first)
    assert len(decoded) == 2 * len(index.table)


def test_the_key_changes_with_size_range_and_content(project, index):
    before = files(project)
    seen = [before]
    for change in (lambda: open_cache(index, 20), ranged, touched):
        change() if change not in (ranged, touched) else change(index)
        assert len(files(project) - seen[-1]) == 1
        seen.append(files(project))


def ranged(index) -> None:
    ranged_set = index.dataset.model_copy(update={"value_range": (0, 4095)})
    open_cache(replace(index, dataset=ranged_set), 20)


def touched(index) -> None:
    """One pixel of one image."""
    path = index.root / index.table["path"].iloc[0]
    image = read_grey(path)
    image[0, 0] ^= 1
    cv2.imwrite(str(path), image)
    open_cache(index, 20)


def test_content_is_not_the_place_or_the_time(project, index, tmp_path, monkeypatch):
    before = open_cache(index, 32).content
    for path in (index.root / "images").iterdir():
        os.utime(path, (1, 1))
    assert open_cache(index, 32).content == before
    shutil.copytree(project.root, tmp_path / "elsewhere")
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(tmp_path / "elsewhere"))
    assert open_cache(open_index("tiny"), 32).content == before


def test_two_images_that_change_places_are_other_content(index):
    before = open_cache(index, 32).content
    a, b, c = (index.root / "images" / name for name in ("t000.png", "t001.png", "aside"))
    for source, target in ((a, c), (b, a), (c, b)):
        source.rename(target)
    assert open_cache(index, 32).content != before


def test_unchanged_files_are_not_hashed_again(index, monkeypatch):
    first = content_hashes(index)
    monkeypatch.setattr(cache, "read_bytes", lambda *_: pytest.fail("a file was read again"))
    assert content_hashes(index) == first


def test_a_damaged_memo_only_costs_time(project, index):
    first = content_hashes(index)
    (project.input / ".cache" / "tiny" / "hashes.json").write_text("{")
    assert content_hashes(index) == first


def test_the_data_folder_is_only_read(project, index, tmp_path, monkeypatch):
    def listing() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in [project.input / "tiny", *(project.input / "tiny").rglob("*")]}

    before = listing()
    monkeypatch.setenv("CHESTFOLD_CACHE", str(tmp_path / "fast disk"))
    open_cache(index, 20)
    assert listing() == before
    assert list((tmp_path / "fast disk" / "tiny").glob("20px-*.npy"))


@pytest.mark.parametrize("is_colour", [False, True])
def test_caches_of_files_that_were_decoded_with_a_loss_are_made_anew(project, index, is_colour):
    """Colours of 16 bits had 16 greys once: such a cache is not taken for a good one. Grey ones were right, and are."""
    path = index.root / index.table["path"].iloc[0]
    grey = read_grey(path).astype(np.uint16)
    cv2.imwrite(str(path), np.dstack([grey] * 3) if is_colour else grey)
    ranged_set = replace(index, dataset=index.dataset.model_copy(update={"value_range": (0, 255)}))
    ids, digests = index.table["id"].tolist(), content_hashes(ranged_set)
    content = sha256_json([[i, d] for i, d in zip(ids, digests, strict=True)])
    old = project.input / ".cache" / "tiny" / f"32px-{sha256_json([content, 'grey-area-1', 32, (0, 255)])[:16]}.npy"
    np.save(old, np.zeros((len(ids), 32, 32), np.uint8))
    expected = grey if is_colour else np.zeros((32, 32))
    np.testing.assert_array_equal(open_cache(ranged_set, 32).images[0], expected)


@pytest.mark.parametrize("length", [0, 4, 10, 24, 25, 26, 60])
def test_an_image_that_ends_in_its_header_is_one_sentence(project, length):
    path = project.input / "tiny" / "images" / "t000.png"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"t000\.png is (empty|truncated|not an image)"):
        open_cache(open_index("tiny"), 32)
