"""Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) of a batch, by torchvision.

Both draw from torch's generator, which the training loop seeds before every step: nothing of their state is lost when a
training is killed. A batch is mixed with itself shifted by one, which is a random partner because batches are shuffled.
"""

from collections.abc import Callable

from torch import Tensor

from chestfold.core import torchvision_import  # noqa: F401  isort: skip
from torchvision.transforms import v2

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images float (B, C, H, W) and targets float (B, K), rows summing to 1, to mixed ones; the inputs are not changed."""


def create_mix(mixup_alpha: float, cutmix_alpha: float) -> Mix:
    """What mixes a batch, by a share from Beta(alpha, alpha); one of the two, at random, where both are above 0."""
    choices: list[Mix] = []
    if mixup_alpha:
        choices.append(v2.MixUp(alpha=mixup_alpha))
    if cutmix_alpha:
        choices.append(v2.CutMix(alpha=cutmix_alpha))
    if not choices:
        return _unmixed
    return choices[0] if len(choices) == 1 else v2.RandomChoice(choices)


def _unmixed(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return images, targets
