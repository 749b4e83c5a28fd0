"""Decoded images, keyed by what they were made from."""

import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import read_grey

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.data import cache, channels
from chestfold.data.cache import content_hashes, open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form
from chestfold.data.dataset import Dataset, Index


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


# What decides the pixels


def of_files(root: Path, files: dict[str, bytes], **fields) -> Index:
    """A data set of some files, which are not decoded."""
    for name, data in files.items():
        (root / name).write_bytes(data)
    rows = [(name, name, "ill", name, "train") for name in files]
    about = {"name": "made", "classes": ("healthy", "ill"), "positive": "ill", "reader": "csv"}
    return Index(
        Dataset(**(about | fields)), root, pd.DataFrame(rows, columns=["id", "path", "label", "group", "split"])
    )


@pytest.mark.parametrize(
    ("name", "window", "has_key"),
    [
        ("a.png", "", False),
        ("a.dcm", "", True),
        ("a.DCM", "", True),
        ("a", "", True),
        ("a.jpg", "lung", True),
        ("a.npz#images/3", "", False),
        ("a.npz#images/3", "bone", True),
    ],
)
def test_dicom_files_and_ct_windows_have_a_key_of_their_own(tmp_path, name, window, has_key):
    table = pd.DataFrame({"path": ["b.png", name]})
    index = replace(of_files(tmp_path, {}, ct_window=window), table=table)
    assert cache._dicom_key(index) == ([cache.DICOM_TRANSFORM, window] if has_key else [])


TIFF, PNG = b"II*\0", b"\x89PNG\r\n\x1a\n" + bytes(16)


@pytest.mark.parametrize(
    ("name", "data", "has_key"),
    [
        ("a.tif", TIFF, True),
        ("a.TIFF", TIFF, True),
        ("a.png", TIFF, True),
        ("a.jpg", TIFF, False),
        ("a.png", PNG + bytes([16, 2]), True),
        ("a.png", PNG + bytes([16, 0]), False),
        ("a.png", PNG + bytes([8, 2]), False),
    ],
)
def test_deep_files_have_a_key_of_their_own(tmp_path, name, data, has_key):
    index = of_files(tmp_path, {"b.jpg": b"", name: data})
    assert cache._deep_key(index) == ([cache.DEEP_TRANSFORM] if has_key else [])


WINDOWS = ((0, 1), (0, 2), (0, 3))


@pytest.mark.parametrize(
    ("form", "fields", "rest"),
    [
        (Form(32), {}, None),
        (Form(32), {"three_channels": "rgb", "value_range": (0, 9)}, None),
        (Form(32, 1, 16), {"value_range": (0, 9)}, [1, 16, ((0, 9), "")]),
        (Form(32), {"windows": WINDOWS}, [1, 8, ((0, 1), "")]),
        (Form(32, 3), {"three_channels": "grey"}, [3, 8, (None, ""), "grey", None]),
        (Form(32, 3), {"three_channels": "windows", "windows": WINDOWS}, [3, 8, ((0, 1), ""), "windows", WINDOWS]),
        (
            Form(32, 3, 16),
            {"three_channels": "slices", "slice_pattern": r"(s)(\d)"},
            [3, 16, (None, ""), "slices", None, [[0, 0, 1], [0, 1, 1]]],
        ),
    ],
)
def test_another_form_than_8_bits_of_grey_has_a_key_of_its_own(tmp_path, form, fields, rest):
    index = of_files(tmp_path, dict.fromkeys(("s1", "s2"), b""), **fields)
    index.table["group"] = "p"
    found = cache._form_key(index, form)
    assert found == ([] if rest is None else ["form-1", *(each or index.dataset.windows for each in rest)])


def test_images_are_followed_by_their_checksums(project, index):
    opened = open_cache(index, 8)
    data = opened.path.read_bytes()
    pixels = np.load(opened.path)
    assert (pixels.shape, pixels.dtype) == ((72, 8, 8), np.uint8)
    assert data[-4:] == zlib.crc32(pixels[-1].tobytes()).to_bytes(4, "little")
    assert len(data) == 128 + 72 * (64 + 4) and not opened.proven.any()
    opened.rows(["t003", "t001"])
    assert np.flatnonzero(opened.proven).tolist() == sorted(opened.row_of[name] for name in ("t001", "t003"))
    opened.prove()
    assert opened.proven.all()


def test_a_cache_is_opened_without_decoding_only_where_it_is_made(project, index, monkeypatch):
    assert cache.made_cache(index, Form(9)) is None and not files(project, "9px-*.npy")
    made = open_cache(index, 9)
    monkeypatch.setattr(cache, "_build", lambda *_: pytest.fail("it is there"))
    found = cache.made_cache(index, Form(9))
    assert found is not None and found.path == made.path and found.content == made.content
    np.testing.assert_array_equal(found.images, made.images)


@pytest.mark.parametrize(
    ("broken", "more"), [(1, ""), (2, r" \(and 1 more: `chestfold data check tiny`\)"), (3, ".*and 2 more")]
)
def test_the_first_of_the_images_that_cannot_be_read_is_named(project, broken, more):
    for n in range(broken):
        (project.input / "tiny" / "images" / f"t00{n + 4}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=rf"t004\.png [^()]*{more}$" if broken < 3 else more):
        open_cache(open_index("tiny"), 8)
    assert {name.partition(".")[2] for name in files(project, "8px-*")} == {"lock"}, "nothing else is left"


def test_an_image_that_went_is_one_sentence(project, index):
    (index.root / "images" / "t004.png").unlink()
    with pytest.raises(InputError, match=r"t004\.png cannot be read \(.*\); replace or remove it"):
        content_hashes(index)


def test_a_sparse_file_gets_its_blocks(tmp_path):
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system has no posix_fallocate")
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    cache._reserve(path)
    assert path.stat().st_size == 1 << 20 <= 512 * path.stat().st_blocks


def test_work_in_threads_is_returned_in_order():
    assert cache.in_threads(lambda n: n * n, 5, "squares") == [0, 1, 4, 9, 16]
