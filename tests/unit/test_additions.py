"""Images that join the training part of a fold."""

from typing import Any

import numpy as np
import pytest
from tasks import exclusive, labelled

from chestfold.data.additions import Addition, join
from chestfold.data.loader import Images
from chestfold.data.tabular import Cells
from chestfold.data.transforms.preprocess import Preprocess


def cells(*texts: str) -> Cells:
    return Cells(("age",), frozenset(["age"]), np.array([[text] for text in texts]))


def own(**fields) -> Images:
    """Three of five images, not in their order."""
    pixels = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    about: dict[str, Any] = {
        "pixels": pixels,
        "rows": np.array([4, 0, 2]),
        "ids": list("abc"),
        "labels": np.array([1, 0, 1]),
    }
    return Images(**(about | {"preprocess": Preprocess(frame="centre")} | fields))


def added(labels, **fields) -> Addition:
    count = len(labels)
    ids = [f"more/{n}" for n in range(count)]
    return Addition("extra", np.full((count, 2, 2), 50, np.uint8), ids, np.array(labels), "of more", **fields)


def test_without_others_nothing_changes():
    train = own()
    assert join(train, [], exclusive()) is train


def test_they_come_behind_the_fold_s_own_in_their_order():
    made = join(own(), [added([0]), added([1, 1])], exclusive())
    assert made.ids == ["a", "b", "c", "more/0", "more/0", "more/1"]
    assert made.pixels[made.rows, 0, 0].tolist() == [4, 0, 2, 50, 50, 50]
    assert made.labels.tolist() == [1, 0, 1, 0, 1, 1] and made.labels.dtype.kind == "i"
    assert made.preprocess == Preprocess(frame="centre") and made.cells is None and len(made) == 6


def test_where_some_have_soft_labels_all_have():
    soft = np.array([[0.3, 0.7]], np.float32)
    made = join(own(), [added([0]), added(soft)], exclusive())
    np.testing.assert_allclose(made.labels, [[0, 1], [1, 0], [0, 1], [1, 0], [0.3, 0.7]], rtol=1e-6)


def test_several_labels_stay_as_they_are():
    mine = np.array([[1, 0, np.nan], [0, 0, 0], [1, 1, 1]], np.float32)
    theirs = np.array([[np.nan, 1, 0]], np.float32)
    made = join(own(labels=mine), [added(theirs)], labelled())
    np.testing.assert_array_equal(made.labels, np.concatenate([mine, theirs]))


def test_cells_join_where_the_fold_s_own_images_have_some():
    with_cells = added([0, 1], cells=cells("40", "50"))
    made = join(own(cells=cells("1", "2", "3")), [with_cells], exclusive())
    assert made.cells is not None and made.cells.texts[:, 0].tolist() == ["1", "2", "3", "40", "50"]
    assert (made.cells.names, made.cells.numbers) == (("age",), frozenset(["age"]))
    assert join(own(), [with_cells], exclusive()).cells is None


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_as_there_are_ids(count):
    assert len(added([0] * count)) == count and added([0] * count).made_from == 0
