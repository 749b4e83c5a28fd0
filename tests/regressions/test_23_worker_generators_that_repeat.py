"""Bug: every worker process started from a copy of the same generator, so that the workers drew the same augmentations,
and in every epoch the same again.

Here what happens to an image is a function of (seed, fold, epoch, image): the number of workers changes nothing, and
no two draws are the same.
"""

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.rng import generator
from chestfold.data.loader import Images, TrainBatches

BATCHES, SIZE = 4, 8
PIXELS = generator("one picture").integers(0, 256, (1, 32, 32)).astype(np.uint8)
EXP = tiny_experiment(augment="plain", crop_scale=0.5, randaugment=(2, 9), batch_size=SIZE)


def same_image() -> Images:
    """One image under many ids: only the draws can tell its copies apart."""
    count = BATCHES * SIZE
    return Images(PIXELS, np.zeros(count, np.int64), [f"i{n}" for n in range(count)], np.arange(count))


def epoch(exp=EXP, fold=0, number=0, workers=0, first=0) -> list[tuple[bytes, list[int]]]:
    batches = TrainBatches(exp, exclusive(), fold, same_image(), workers)
    return [(pixels.numpy().tobytes(), labels.tolist()) for pixels, labels in batches.epoch(number, first)]


def by_number(made: list[tuple[bytes, list[int]]]) -> dict[int, bytes]:
    """Image number -> what it became."""
    side = PIXELS.size
    return {n: data[i * side : (i + 1) * side] for data, numbers in made for i, n in enumerate(numbers)}


def test_batches_are_the_same_with_and_without_workers():
    alone = epoch(number=3)
    assert len(alone) == BATCHES
    assert epoch(number=3, workers=2) == alone
    assert epoch(number=3, workers=2, first=1) == alone[1:], "also from the middle of an epoch on"


def test_no_two_images_of_an_epoch_are_augmented_alike_with_workers():
    assert len(set(by_number(epoch(workers=2)).values())) == BATCHES * SIZE


@pytest.mark.parametrize("other", [{"number": 1}, {"fold": 1}, {"exp": EXP.but(seed=1)}], ids=lambda o: next(iter(o)))
def test_another_epoch_fold_or_seed_draws_anew(other):
    one, two = epoch(), epoch(**other)
    assert [numbers for _, numbers in one] != [numbers for _, numbers in two], "the order"
    one, two = by_number(one), by_number(two)
    assert not any(one[n] == two[n] for n in one), "the augmentation of each image"


def test_global_seeds_neither_help_nor_harm():
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        made.append(epoch())
    assert made[0] == made[1]
