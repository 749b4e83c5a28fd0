"""Mixup and CutMix are pure functions of a generator."""

import pytest
import torch
import torch.nn.functional as F

from chestfold.core.rng import generator
from chestfold.data.transforms.mixup import mix

ALPHAS = {"mixup": (0.4, 0.0), "cutmix": (0.0, 1.0), "both": (0.4, 1.0)}


def batch(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Image n is filled with n; classes 0, 1, 2 in turn."""
    images = torch.arange(size).float().reshape(-1, 1, 1, 1).expand(-1, 1, 20, 30).clone()
    return images, F.one_hot(torch.arange(size) % 3, 3).float()


@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS.keys())
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_soft_targets_are_distributions(alphas, size):
    for draw in range(10):
        images, targets = mix(*batch(size), *alphas, generator("soft", draw))
        assert images.shape == (size, 1, 20, 30)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(size))
        assert (targets >= 0).all()


@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS.keys())
def test_a_batch_of_one_is_mixed_with_itself(alphas):
    images, targets = mix(*batch(1), *alphas, generator("one"))
    torch.testing.assert_close((images, targets), batch(1))


def test_mixup_mixes_the_target_as_it_mixes_the_pixels():
    """Two images, 0 and 1, of classes 0 and 1: the mean pixel is the share of class 1."""
    mixed = 0
    for draw in range(10):
        images, targets = mix(*batch(2), 0.4, 0.0, generator("mixup", draw))
        torch.testing.assert_close(images.mean(dim=(1, 2, 3)), targets[:, 1])
        mixed += int(((targets > 0) & (targets < 1)).any())
    assert mixed


def test_both_draws_one_of_the_two():
    """CutMix keeps whole pixels, Mixup does not."""
    cut = 0
    for draw in range(40):
        images, _ = mix(*batch(), *ALPHAS["both"], generator("both", draw))
        cut += bool((images == images.round()).all())
    assert 8 < cut < 32


def test_without_alphas_nothing_is_mixed():
    images, targets = batch()
    same = mix(images, targets, 0.0, 0.0, generator("none"))
    assert same[0] is images and same[1] is targets


def test_the_same_draw_mixes_the_same():
    first, again, other = (mix(*batch(), 0.4, 1.0, generator("draw", n)) for n in (0, 0, 1))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
