"""Mixup and CutMix draw from torch's generator alone, which the training loop seeds before every step."""

import pytest
import torch
import torch.nn.functional as F

from chestfold.data.transforms.mixup import create_mix

ALPHAS = {"mixup": (0.4, 0.0), "cutmix": (0.0, 1.0), "both": (0.4, 1.0)}


def batch(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Image n is filled with n; classes 0, 1, 2 in turn."""
    images = torch.arange(size).float().reshape(-1, 1, 1, 1).expand(-1, 1, 20, 30).clone()
    return images, F.one_hot(torch.arange(size) % 3, 3).float()


def mixed(size: int, alphas: tuple[float, float], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return create_mix(*alphas)(*batch(size))


@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS.keys())
@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_soft_targets_are_distributions(alphas, size):
    for seed in range(10):
        images, targets = mixed(size, alphas, seed)
        assert images.shape == (size, 1, 20, 30)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(size))
        assert (targets >= 0).all()


@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS.keys())
def test_a_batch_of_one_is_mixed_with_itself(alphas):
    torch.testing.assert_close(mixed(1, alphas, seed=0), batch(1))


def test_mixup_mixes_the_target_as_it_mixes_the_pixels():
    """Two images, 0 and 1, of classes 0 and 1: the mean pixel is the share of class 1."""
    changed = 0
    for seed in range(10):
        images, targets = mixed(2, ALPHAS["mixup"], seed)
        torch.testing.assert_close(images.mean(dim=(1, 2, 3)), targets[:, 1])
        changed += int(((targets > 0) & (targets < 1)).any())
    assert changed


def test_both_draws_one_of_the_two():
    """CutMix keeps whole pixels, Mixup does not."""
    cut = 0
    for seed in range(40):
        images, _ = mixed(8, ALPHAS["both"], seed)
        cut += bool((images == images.round()).all())
    assert 8 < cut < 32


def test_without_alphas_nothing_is_mixed():
    images, targets = batch()
    same = create_mix(0.0, 0.0)(images, targets)
    assert same[0] is images and same[1] is targets


@pytest.mark.parametrize("alphas", ALPHAS.values(), ids=ALPHAS.keys())
def test_the_same_seed_mixes_the_same_whatever_was_drawn_before(alphas):
    first = mixed(8, alphas, seed=0)
    other = mixed(8, alphas, seed=1)
    again = mixed(8, alphas, seed=0)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
