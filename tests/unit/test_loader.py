"""Batches: which images, how many, and of which process."""

import os
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core import device
from chestfold.core.errors import InputError
from chestfold.data import loader
from chestfold.data.loader import Images, TrainBatches, images_of, plain_batches, workers_for
from chestfold.data.tabular import Cells
from chestfold.data.transforms.preprocess import NO_PREPROCESSING, Lungs, Preprocess

COUNT = 11


def images(count: int = COUNT, **fields) -> Images:
    """Image n is of the grey n."""
    pixels = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    ids = [f"i{n}" for n in range(count)]
    about: dict[str, Any] = {"pixels": pixels, "rows": np.arange(count), "ids": ids, "labels": np.arange(count) % 2}
    return Images(**(about | fields))


def batches(count: int = COUNT, fold: int = 0, given: Images | None = None, **changes) -> TrainBatches:
    exp = tiny_experiment(**({"image_size": 8, "augment": "none", "batch_size": 4} | changes))
    return TrainBatches(exp, exclusive(), fold, given or images(count), workers=0)


def greys(made) -> list[list[int]]:
    return [pixels[:, 0, 0, 0].tolist() for pixels, _ in made]


@pytest.mark.parametrize(
    ("count", "changes", "per_epoch", "size"),
    [
        (11, {}, 2, 4),
        (12, {}, 3, 4),
        (4, {}, 1, 4),
        (3, {}, 1, 3),
        (12, {"max_steps": 2}, 2, 4),
        (12, {"max_steps": 5}, 3, 4),
        (12, {"max_steps": 1, "grad_accum_steps": 2}, 2, 4),
        (11, {"sampling": "over"}, 3, 4),
        (11, {"sampling": "under"}, 2, 4),
    ],
)
def test_an_epoch_has_as_many_batches_as_can_be_filled(count, changes, per_epoch, size):
    made = batches(count, **changes)
    assert (made.per_epoch, made.size) == (per_epoch, size)
    found = list(made.epoch(0))
    assert [len(labels) for _, labels in found] == [size] * per_epoch


def test_an_epoch_shows_each_image_once_with_its_label():
    found = list(batches(12).epoch(3))
    seen = [grey for batch in greys(found) for grey in batch]
    assert sorted(seen) == list(range(12)) != seen
    assert [label for _, labels in found for label in labels.tolist()] == [grey % 2 for grey in seen]
    assert found[0][0].shape == (4, 1, 4, 4) and found[0][0].dtype == torch.uint8


def test_an_epoch_that_is_resumed_goes_on_with_the_same_batches():
    made = batches(12)
    assert greys(made.epoch(1, 1)) == greys(made.epoch(1))[1:] and greys(made.epoch(1, 3)) == []


def test_the_order_is_another_in_each_epoch_fold_and_seed():
    orders = [greys(made.epoch(epoch)) for epoch in (0, 1) for made in (batches(), batches(fold=1), batches(seed=1))]
    assert len({str(order) for order in orders}) == 6
    assert greys(batches().epoch(0)) == orders[0]


def test_each_process_makes_its_share_of_a_batch(monkeypatch):
    whole = greys(batches(12).epoch(0))
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        made = batches(12)
        assert made.size == 4, "of all processes"
        shares.append(greys(made.epoch(0)))
    for batch, first, second in zip(whole, *shares, strict=True):
        assert batch[::2] == first and batch[1::2] == second


@pytest.mark.parametrize(("world", "is_refused"), [("3", False), ("4", False), ("5", True)])
def test_a_batch_that_has_no_image_for_each_process_is_refused(monkeypatch, world, is_refused):
    monkeypatch.setenv("WORLD_SIZE", world)
    if not is_refused:
        assert batches().size == 4
        return
    with pytest.raises(InputError, match="a batch of 4 cannot be shared by 5 processes; raise --batch-size"):
        batches()


def test_what_a_table_says_goes_with_its_image():
    cells = Cells(("age",), frozenset(["age"]), np.array([[str(n)] for n in range(COUNT)]))
    made = batches(given=images(cells=cells))
    for n, batch in enumerate(greys(made.epoch(1))):
        found = made.cells(1, n)
        assert found is not None and found.texts[:, 0].tolist() == [str(grey) for grey in batch]
    assert batches().cells(1, 0) is None


@pytest.mark.parametrize("augment_batch", [False, True])
def test_an_augmentation_is_of_its_image_and_epoch_wherever_it_stands(augment_batch):
    given = images(pixels=np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32)).astype(np.uint8))
    made = batches(given=given, augment="plain", image_size=32, augment_batch=augment_batch)
    positions = np.array([3, 7, 3])
    pixels, masks = made._augmented(positions, 2)
    assert masks is None and (pixels[0] == pixels[2]).all() and (pixels[0] != pixels[1]).any()
    other, _ = made._augmented(positions[1:], 2)
    assert (other == pixels[1:]).all()
    assert (made._augmented(positions, 3)[0][0] != pixels[0]).any()
    assert not (pixels[0] == given.pixels[3]).all()


@pytest.mark.parametrize("augment_batch", [False, True])
def test_lungs_move_with_their_image(augment_batch):
    """Images that are white in their lungs and black elsewhere still are."""
    pixels = np.zeros((COUNT, 32, 32), np.uint8)
    pixels[:, 4:20, 8:14] = 255
    given = images(pixels=pixels, preprocess=Preprocess(lung_mask="channel"), lungs=Lungs(pixels // 255, [""] * COUNT))
    made = batches(given=given, augment="d4", image_size=32, augment_batch=augment_batch)
    ((shown, _), *_) = made.epoch(0)
    assert shown.shape == (4, 2, 32, 32)
    assert shown[:, 0].equal(shown[:, 1]) and len({image.numpy().tobytes() for image in shown}) > 1


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_processes_are_given_the_batches_that_are_left(monkeypatch, kind):
    asked: dict[str, object] = {}
    monkeypatch.setattr(loader, "DataLoader", lambda given, **options: asked.update(options) or iter([given]))
    monkeypatch.setattr(loader.distributed, "device", lambda: torch.device(kind))
    made = TrainBatches(tiny_experiment(), exclusive(), 0, images(24), workers=2)
    assert list(made.epoch(5, 1)) == [made]
    assert asked == {
        "batch_size": None,
        "sampler": [(5, 1), (5, 2)],
        "num_workers": 2,
        "pin_memory": kind == "cuda",
    }


# Images


def test_images_at_some_positions():
    cells = Cells(("age",), frozenset(), np.array([[str(n)] for n in range(COUNT)]))
    made = images(rows=np.arange(COUNT)[::-1], cells=cells).take(np.array([0, 2]))
    assert (made.ids, made.rows.tolist(), made.labels.tolist(), len(made)) == (["i0", "i2"], [10, 8], [0, 0], 2)
    assert made.cells is not None and made.cells.texts.tolist() == [["0"], ["2"]]
    assert images().take(np.array([1])).cells is None


def test_lungs_that_were_not_found_are_counted_among_the_rows_that_count():
    lungs = Lungs(np.ones((4, 4, 4), np.uint8), ["dark", "", "dark", "flat"])
    assert images(4, rows=np.array([0, 1, 2]), lungs=lungs).lungs_not_found() == {"dark": 2}
    assert images(4).lungs_not_found() == {}


def test_black_outside_the_lungs_before_augmentation():
    masks = np.zeros((4, 4, 4), np.uint8)
    masks[2, 1] = 1
    given = images(4, preprocess=Preprocess(lung_mask="zero"), lungs=Lungs(masks, [""] * 4))
    pixels, found = given.pre_augmented(np.array([2, 3]))
    assert found is not None and (found == masks[[2, 3]]).all()
    assert pixels.sum() == 2 * 4 and (pixels[0, 1] == 2).all()


def test_all_of_a_stack():
    made = images_of(NO_PREPROCESSING, images().pixels, images().ids, images().labels)
    assert made.rows.tolist() == list(range(COUNT)) and made.lungs is None


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (20, [11]), (1, [1] * 11)])
def test_plain_batches_are_all_images_in_order(size, sizes):
    found = list(plain_batches(images(rows=np.arange(COUNT)[::-1]), size))
    assert [len(batch) for batch in found] == sizes and found[0].shape[1:] == (1, 4, 4)
    assert torch.cat(found)[:, 0, 0, 0].tolist() == list(range(COUNT))[::-1]


# Processes


@pytest.mark.parametrize(
    ("chosen", "kind", "cores", "count"),
    [
        (None, "cpu", 8, 0),
        (None, "cuda", 8, 8),
        (None, "cuda", 64, 12),
        (None, "cuda", None, 1),
        (0, "cuda", 8, 0),
        (3, "cpu", 8, 3),
    ],
)
def test_a_gpu_has_a_process_a_core_and_a_cpu_none(monkeypatch, chosen, kind, cores, count):
    monkeypatch.setattr(loader, "chosen_workers", lambda: chosen)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert workers_for(torch.device(kind)) == count
    assert device.chosen_workers() is None
