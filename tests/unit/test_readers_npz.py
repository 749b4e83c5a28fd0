"""MedMNIST's arrays in their shapes and types."""

from pathlib import Path

import numpy as np
import pytest
from layouts import declared, rows

from chestfold.core.errors import InputError
from chestfold.data.dataset import Index
from chestfold.data.decode import decode, read_bytes, split_place
from chestfold.data.readers import read_index
from chestfold.data.readers.npz import plain_images

GREY = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
NUMBERS = np.array([[0], [1], [0], [1]])


def read(root: Path, images: np.ndarray, numbers: np.ndarray = NUMBERS, **changes) -> Index:
    np.savez(root / "mine.npz", train_images=images, train_labels=numbers)
    fields = dict(reader="npz", labels={"0": "healthy", "1": "ill"})
    return read_index(declared(**(fields | changes)), root)


@pytest.mark.parametrize(
    "images",
    [
        GREY,
        GREY[..., None],
        GREY[:, None],
        GREY.astype(np.int64),
        GREY.astype(">i4"),
        GREY.astype(np.uint16),
        np.repeat(GREY[..., None], 3, 3),
        np.repeat(GREY[:, None], 3, 1),
    ],
    ids=["plain", "channel last", "channel first", "int64", "big-endian", "uint16", "RGB", "RGB first"],
)
def test_shapes_and_types_of_the_same_images(tmp_path, images):
    index = read(tmp_path, images)
    value_range = (0, 255) if images.dtype == np.uint16 else None
    for n, place in enumerate(index.table["path"]):
        assert np.array_equal(decode(tmp_path, place, 6, value_range), GREY[n])


@pytest.mark.parametrize(
    ("shape", "plain"),
    [
        ((2, 6, 7), (2, 6, 7)),
        ((2, 6, 7, 1), (2, 6, 7)),
        ((2, 1, 6, 7), (2, 6, 7)),
        ((2, 6, 7, 3), (2, 6, 7, 3)),
        ((2, 6, 7, 4), (2, 6, 7, 4)),
        ((2, 3, 6, 7), (2, 6, 7, 3)),
        ((2, 3, 6, 3), (2, 3, 6, 3)),
        ((2, 1, 6, 4), (2, 1, 6, 4)),
        ((2, 1, 6, 1), (2, 1, 6)),
        ((2, 4, 6, 7), None),
        ((2, 2, 6, 7), None),
        ((2, 6, 7, 2), None),
        ((2, 6), None),
        ((2, 1, 1, 6, 7), None),
        ((0, 6, 7), (0, 6, 7)),
    ],
)
def test_the_axes_of_images(shape, plain):
    if plain:
        assert plain_images(np.zeros(shape, np.uint8), "x").shape == plain
    else:
        with pytest.raises(InputError, match=f"^x holds arrays of {' x '.join(map(str, shape[1:]))}, not images"):
            plain_images(np.zeros(shape, np.uint8), "x")


@pytest.mark.parametrize(
    ("high", "given", "kept"),
    [
        (255, np.int64, np.uint8),
        (256, np.int64, np.uint16),
        (65535, np.int32, np.uint16),
        (255, np.uint16, np.uint16),
        (1, bool, bool),
        (255, np.uint32, np.uint8),
    ],
)
def test_whole_numbers_are_kept_in_as_few_bits_as_they_need(high, given, kept):
    images = np.array([[[0, high]]]).astype(given)
    plain = plain_images(images, "x")
    assert plain.dtype == kept and plain.tolist() == images.tolist()


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (0, 65536)])
def test_numbers_that_no_image_has(low, high):
    with pytest.raises(InputError, match=f"^x holds numbers from {low} to {high}; save"):
        plain_images(np.array([[[low, high]]]), "x")
    assert plain_images(np.zeros((0, 2, 2), np.int64), "x").shape == (0, 2, 2)


def test_an_array_of_labels_alone_is_refused_but_of_test_images(tmp_path):
    arrays = {"train_images": GREY, "train_labels": NUMBERS, "val_images": GREY[:2]}
    np.savez(tmp_path / "mine.npz", **arrays)
    dataset = declared(reader="npz", labels={"0": "healthy", "1": "ill"})
    with pytest.raises(InputError, match="val_labels does not hold one label for each of the 2 val_images"):
        read_index(dataset, tmp_path)


def test_unknown_labels_of_test_images_are_no_reason_to_leave_them_out(tmp_path):
    arrays = {"train_images": GREY, "train_labels": np.array(["0", "1", "?", "?"])}
    np.savez(tmp_path / "mine.npz", **arrays, test_images=GREY[:2], test_labels=np.array(["?", "1"]))
    index = read_index(declared(reader="npz", labels={"0": "healthy", "1": "ill"}, unknown=("?",)), tmp_path)
    assert rows(index, "id", "label")[2:] == [("test_000000", ""), ("test_000001", "ill")]
    assert index.notes == (
        "no patient is known: every image is its own group",
        "left out: 2 train image(s) whose class is not known",
    )


def test_the_bytes_of_what_could_be_read_before_are_the_same(tmp_path):
    place = read(tmp_path, GREY).table["path"].iloc[2]
    assert place == "mine.npz#train_images/2" and read_bytes(tmp_path, place) == GREY[2].tobytes()


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.repeat(GREY[:, None], 6, 1), "holds arrays of 6 x 6 x 6, not images; this program reads images"),
        (np.repeat(GREY[:, None, None], 6, 1), "holds arrays of 6 x 1 x 6 x 6, not images"),
        (GREY.reshape(4, 36), "holds arrays of 36, not images"),
        ((GREY / 255).astype(np.float32), "holds float32; save whole numbers from 0 to 255"),
        (GREY.astype(float), "holds float64"),
        (GREY.astype(np.int32) - 1, "holds numbers from -1 to"),
        (GREY.astype(np.int64) * 1000, "holds numbers from 0 to 143000"),
        (GREY.astype(str), "holds <U3; save whole numbers"),
    ],
)
def test_what_is_no_image_is_one_sentence(tmp_path, images, complaint):
    with pytest.raises(InputError, match=f"mine.npz: train_images {complaint}"):
        read(tmp_path, images)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (NUMBERS.astype(float), "train_labels holds float64; save whole numbers or texts"),
        (np.zeros((4, 14), int), "train_labels does not hold one label for each of the 4 train_images"),
        (NUMBERS[:3], "train_labels does not hold one label"),
        (NUMBERS + 1, "train row 1: unknown class '2'"),
    ],
)
def test_what_is_no_label_is_one_sentence(tmp_path, labels, complaint):
    with pytest.raises(InputError, match=complaint):
        read(tmp_path, GREY, labels)


def test_several_labels_are_columns_in_the_order_of_the_classes(tmp_path):
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [-1, 0, 1]])
    fields = dict(task="multilabel", classes=("A", "B", "C"), positive="", labels={}, unknown=("-1",))
    index = read(tmp_path, GREY, labels, **fields)
    assert index.table["label"].tolist() == ["A", "B|C", "-", "A?|C"]
    with pytest.raises(InputError, match="does not hold 2 labels for each of the 4"):
        read(tmp_path, GREY, labels, **(fields | {"classes": ("A", "B")}))
    with pytest.raises(InputError, match="mine.npz, train row 3: '-1' is neither 1 nor 0"):
        read(tmp_path, GREY, labels, **(fields | {"unknown": ()}))


def test_texts_are_labels_and_unknown_ones_are_left_out(tmp_path):
    labels = np.array(["healthy", "ill", "?", "ill"])
    index = read(tmp_path, GREY, labels, labels={}, unknown=("?",))
    assert rows(index, "id", "label")[2:] == [("train_000003", "ill")]
    assert "left out: 1 train image(s) whose class is not known" in index.notes


@pytest.mark.parametrize("several", [False, True])
def test_labels_of_test_images_may_be_withheld(tmp_path, several):
    fields: dict = dict(task="multilabel", classes=("A", "B"), positive="", labels={}) if several else {}
    labels = np.eye(2, dtype=int)[[0, 1, 0, 1]] if several else NUMBERS
    np.savez(tmp_path / "mine.npz", train_images=GREY, train_labels=labels, test_images=GREY[:2])
    index = read_index(declared(**({"reader": "npz", "labels": {"0": "healthy", "1": "ill"}} | fields)), tmp_path)
    assert rows(index, "id", "label")[4:] == [("test_000000", ""), ("test_000001", "")]
    assert "no test_labels: these images are unlabelled" in index.notes


def test_a_file_by_another_name_is_named(tmp_path):
    np.savez(tmp_path / "other.npz", train_images=GREY)
    with pytest.raises(InputError, match="mine.npz does not exist; rename other.npz"):
        read_index(declared(reader="npz"), tmp_path)


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("a.npz#train_images/12", ("a.npz", "train_images/12")),
        ("a#b.npz#test_images/0", ("a#b.npz", "test_images/0")),
        ("case #1.png", ("case #1.png", "")),
        ("x.npz#train_images.png", ("x.npz#train_images.png", "")),
        ("x.npz#train_images/1.png", ("x.npz#train_images/1.png", "")),
        ("a#1/2.png", ("a#1/2.png", "")),
        ("#", ("#", "")),
    ],
)
def test_members_of_an_npz_are_told_from_files(place, parts):
    assert split_place(place) == parts
