"""Bug: CutMix worked in place and pasted from images that had been pasted into before: their labels were wrong.

Here the partners are copied before anything is pasted, and the batch that was handed in is not changed.
"""

import torch
from torch import Tensor

from chestfold.data.transforms.mixup import create_mix

BATCH = 6


def cutmixed(seed: int) -> tuple[Tensor, Tensor]:
    """A batch whose image n is filled with n and has the class n, after CutMix."""
    images = torch.arange(BATCH).float().reshape(-1, 1, 1, 1).expand(-1, 1, 16, 16).clone()
    torch.manual_seed(seed)
    return create_mix(mixup_alpha=0.0, cutmix_alpha=1.0)(images, torch.eye(BATCH))


def test_the_target_is_the_share_of_each_image_in_the_pixels():
    pasted = 0
    for seed in range(30):
        images, targets = cutmixed(seed)
        shares = torch.stack([(images == n).float().mean(dim=(1, 2, 3)) for n in range(BATCH)], dim=1)
        torch.testing.assert_close(shares, targets)
        pasted += int((shares > 0).sum() > BATCH)
    assert pasted > 15, "the test has seen boxes"


def test_the_batch_that_was_given_stays_as_it_is():
    for alphas in [(0.0, 1.0), (1.0, 0.0)]:
        images, targets = torch.rand(BATCH, 1, 16, 16), torch.eye(BATCH)
        before = images.clone(), targets.clone()
        create_mix(*alphas)(images, targets)
        assert torch.equal(images, before[0]) and torch.equal(targets, before[1])
