"""Bug: Mixup looked for a partner other than the image itself, and with a batch of one never ended, or asserted.

Here the partners are the batch shifted by one, which exists for every batch size: one image is mixed with itself and
odd batches are as good as even ones.
"""

import pytest
import torch
from conftest import tiny_experiment

from chestfold.data.transforms.mixup import create_mix

KINDS = {"mixup": (1.0, 0.0), "cutmix": (0.0, 1.0), "both": (1.0, 1.0)}


@pytest.mark.parametrize("kind", KINDS)
def test_one_image_is_mixed_with_itself(kind):
    image, target = torch.rand(1, 1, 8, 8), torch.tensor([[0.0, 1.0]])
    mix = create_mix(*KINDS[kind])
    for seed in range(10):
        torch.manual_seed(seed)
        mixed, targets = mix(image, target)
        torch.testing.assert_close(mixed, image)
        torch.testing.assert_close(targets, target)


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_batch_is_mixed(kind):
    torch.manual_seed(0)
    images, targets = create_mix(*KINDS[kind])(torch.rand(3, 1, 8, 8), torch.eye(3))
    assert images.shape == (3, 1, 8, 8)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))


def test_a_fold_trains_with_batches_of_one(project):
    exp = tiny_experiment(backbone="five_block_cnn", batch_size=1, epochs=1, max_steps=4)
    project.run(exp.but(mixup_alpha=0.4, cutmix_alpha=1.0), "--fold", "1")
    assert (project.runs / "exp100" / "fold1" / "manifest.json").exists()
