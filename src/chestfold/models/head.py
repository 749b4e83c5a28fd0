"""A small head on pretrained features: pooling, columns from beside the image, one hidden layer, dropout, classifier.

What transfer learning on a few hundred images trains. It replaces all that follows the features, also of
VGG's two layers of 4,096, which hold 119 of its 138 million weights and are built for 1,000 classes at 224 px.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chestfold.core.errors import InputError


@dataclass(frozen=True)
class HeadPlan:
    """All it takes to build the head again. `width` 0: no hidden layer. `tabular`: numbers that join the features."""

    features: int
    width: int
    classes: int
    drop_rate: float
    tabular: int = 0


class WithHead(nn.Module):
    """A timm network without its classifier, and a head in its place.

    Numbers from beside the image come as so many last channels, each constant over an image. So they go wherever an
    image goes: views of test-time augmentation leave them as they are, and Mixup and CutMix mix them by the share with
    which they mix the targets.
    """

    def __init__(self, trunk: Any, plan: HeadPlan) -> None:
        super().__init__()
        self.trunk = trunk
        self.tabular = plan.tabular
        inputs = plan.features + plan.tabular
        self.hidden = nn.Linear(inputs, plan.width) if plan.width else None
        self.drop = nn.Dropout(plan.drop_rate)
        self.classifier = nn.Linear(plan.width or inputs, plan.classes)

    def forward(self, images: Tensor) -> Tensor:
        """float (B, C + tabular, H, W) to logits (B, K)."""
        channels = images.shape[1] - self.tabular
        pooled = self.trunk.forward_head(self.trunk.forward_features(images[:, :channels]), pre_logits=True).flatten(1)
        if self.tabular:
            pooled = torch.cat([pooled, images[:, channels:].mean(dim=(2, 3))], dim=1)
        if self.hidden is not None:
            pooled = torch.relu(self.hidden(pooled))
        return self.classifier(self.drop(pooled))

    def get_classifier(self) -> nn.Linear:
        """The last layer, by the name that timm gives it."""
        return self.classifier


def without_classifier(trunk: Any, name: str, advice: str = "leave head_width at 0") -> Any:
    """`trunk` reduced to its features.

    Raises:
        InputError: the family does not tell features and head apart.
    """
    if not hasattr(trunk, "forward_head"):
        raise InputError(f"{name} cannot take another head; {advice}")
    trunk.reset_classifier(0)
    if hasattr(trunk, "pre_logits"):
        trunk.pre_logits = nn.Identity()
    return trunk


@torch.inference_mode()
def count_features(trunk: Any, size: int, channels: int = 1) -> int:
    """How many numbers `trunk` gives for an image of `size` pixels a side."""
    was = trunk.training
    trunk.eval()
    pooled = trunk.forward_head(trunk.forward_features(torch.zeros(1, channels, size, size)), pre_logits=True)
    trunk.train(was)
    return pooled.flatten(1).shape[1]


def head_modules(module: Any) -> list[nn.Module]:
    """What a frozen network still trains: the new head, or the classifier alone."""
    if not isinstance(module, WithHead):
        return [module.get_classifier()]
    return [part for part in (module.hidden, module.drop, module.classifier) if part is not None]


def joined(images: Tensor, numbers: Tensor) -> Tensor:
    """Images (B, C, H, W) with numbers (B, D) as D more channels, each constant."""
    planes = numbers[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images, planes.to(images)], dim=1)


def freeze(module: nn.Module) -> None:
    """No gradient for anything but the head."""
    module.requires_grad_(False)
    for part in head_modules(module):
        part.requires_grad_(True)


def training_mode(module: nn.Module, frozen: bool) -> None:
    """As `module.train()`; where all but the head is frozen, its dropout and batch statistics are frozen too."""
    module.train()
    if frozen:
        kept = {id(m) for part in head_modules(module) for m in part.modules()}
        for part in module.modules():
            part.training = id(part) in kept
