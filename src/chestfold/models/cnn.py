"""Two CNNs that need no weights: five blocks, as a first course builds them, and one whose last map is fine."""

from typing import Any

import torch
from torch import Tensor, nn

from chestfold.models.timm_import import register_model

WIDTHS = (16, 32, 64, 128, 256)


class FiveBlockCNN(nn.Module):
    """Five blocks of convolution, batch normalisation and max pooling, then four dense layers with dropout."""

    def __init__(self, in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        widths = (in_chans, *WIDTHS)
        self.blocks = nn.Sequential(*[_block(a, b) for a, b in zip(widths, WIDTHS, strict=False)])
        self.pool = nn.AdaptiveAvgPool2d(2)  # fixes the size of the dense part, so that any image size fits
        self.dense = nn.Sequential(
            *_dense(WIDTHS[-1] * 4, 128, drop_rate), *_dense(128, 64, drop_rate), *_dense(64, 32, drop_rate)
        )
        self.classifier = nn.Linear(32, num_classes)
        self.num_classes = num_classes
        self.feature_info = [  # where a layer is, as timm's networks describe it
            {"module": f"blocks.{n}", "num_chs": width, "reduction": 2 ** (n + 1)} for n, width in enumerate(WIDTHS)
        ]
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):  # torch's own start lets the signal fade in the dense part
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W), H and W at least 32, to logits (B, num_classes)."""
        return self.classifier(self.dense(torch.flatten(self.pool(self.blocks(images)), 1)))

    def get_classifier(self) -> nn.Linear:
        """The last layer, by the name that timm gives it."""
        return self.classifier


def _block(inside: int, outside: int) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2))


def _dense(inside: int, outside: int, drop_rate: float) -> list[nn.Module]:
    return [nn.Linear(inside, outside), nn.ReLU(), nn.Dropout(drop_rate)]


@register_model
def five_block_cnn(pretrained: bool = False, **kwargs: Any) -> FiveBlockCNN:
    """Registered with timm as `five_block_cnn`; there are no pretrained weights."""
    if pretrained:
        raise RuntimeError("five_block_cnn has no pretrained weights")
    known = {k: kwargs[k] for k in ("in_chans", "num_classes", "drop_rate") if k in kwargs}
    return FiveBlockCNN(**known)


class FineCNN(nn.Module):
    """Six 3 x 3 and two 1 x 1 convolutions, pooling after two and four, a linear layer on each map's largest value.

    Its last map has a cell for every 4 x 4 pixels and each cell sees 32 x 32 of them. The largest value is one cell's,
    the mean would be that of all: a heat map can point at a nodule. That of a ResNet-18 has a cell for every 32 x 32
    pixels, which sees all of a small image.
    """

    feature_info = ({"num_chs": 128, "reduction": 4, "module": "blocks"},)

    def __init__(self, in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        first = [_unit(in_chans, 16), _unit(16, 16), nn.MaxPool2d(2), _unit(16, 32), _unit(32, 32), nn.MaxPool2d(2)]
        self.blocks = nn.Sequential(*first, _unit(32, 64), _unit(64, 64), _unit(64, 128, 1), _unit(128, 128, 1))
        self.drop = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(128, num_classes)
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W), H and W at least 4, to logits (B, num_classes)."""
        return self.classifier(self.drop(self.blocks(images).amax(dim=(2, 3))))

    def get_classifier(self) -> nn.Linear:
        """The last layer, by the name that timm gives it."""
        return self.classifier


def _unit(inside: int, outside: int, size: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inside, outside, size, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())


@register_model
def fine_cnn(pretrained: bool = False, **kwargs: Any) -> FineCNN:
    """Registered with timm as `fine_cnn`; there are no pretrained weights."""
    if pretrained:
        raise RuntimeError("fine_cnn has no pretrained weights")
    known = {k: kwargs[k] for k in ("in_chans", "num_classes", "drop_rate") if k in kwargs}
    return FineCNN(**known)
