"""EfficientNet from scratch, to be read: Tan and Le, ICML 2019 (arXiv 1905.11946), table 1 and section 3.

One base network (B0) is widened, deepened and shown larger images in fixed proportions. Its brick is the inverted
residual of MobileNetV2 (Sandler et al., CVPR 2018): widen by a 1 x 1 convolution, look around with a depthwise one,
weigh the channels (squeeze-and-excitation, Hu et al., CVPR 2018), narrow by another 1 x 1, and add the input.

Modules are in the order of timm's `efficientnet_b0` to `b4`, so that `copy_in_order` can lend their weights.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chestfold.models.timm_import import register_model


@dataclass(frozen=True)
class Stage:
    """A row of the paper's table 1: `repeats` bricks, the first of which has the stride and changes the width."""

    kernel: int
    stride: int
    expansion: int
    width: int
    repeats: int


B0 = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
STEM, TOP = 32, 1280
SQUEEZE = 4
"""Squeeze-and-excitation narrows to a quarter of the brick's input."""
COEFFICIENTS = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8)}
"""Width and depth; the paper's image sizes for them are 224, 240, 260, 300, 380."""


def scaled_width(channels: int, coefficient: float) -> int:
    """The multiple of 8 next to `channels` x `coefficient`, but not more than a tenth below it."""
    wanted = channels * coefficient
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


def scaled_depth(repeats: int, coefficient: float) -> int:
    """Repeats, rounded up."""
    return math.ceil(repeats * coefficient)


class SqueezeExcite(nn.Module):
    """Weigh each channel by what the whole image holds of all channels."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, narrow, 1)
        self.expand = nn.Conv2d(narrow, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        weights = self.expand(F.silu(self.reduce(maps.mean((2, 3), keepdim=True))))
        return maps * weights.sigmoid()


class InvertedResidual(nn.Module):
    """Widen, look around, weigh, narrow, add. With probability `drop` in training, only the input is passed on."""

    def __init__(self, inside: int, stage: Stage, stride: int, drop: float) -> None:
        super().__init__()
        wide = inside * stage.expansion
        widen = [*_convolution(inside, wide, 1), nn.SiLU()] if stage.expansion > 1 else []
        look = [*_convolution(wide, wide, stage.kernel, stride, groups=wide), nn.SiLU()]
        narrow = _convolution(wide, stage.width, 1)
        self.body = nn.Sequential(*widen, *look, SqueezeExcite(wide, inside // SQUEEZE), *narrow)
        self.adds = stride == 1 and inside == stage.width
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, stage.width, H / stride, W / stride)."""
        changed = self.body(maps)
        return maps + self._kept(changed) if self.adds else changed

    def _kept(self, changed: Tensor) -> Tensor:
        """Stochastic depth (Huang et al., ECCV 2016): drawn for each image, scaled so that the mean stays."""
        if not (self.training and self.drop):
            return changed
        keep = torch.rand(len(changed), 1, 1, 1, device=changed.device) >= self.drop
        return changed * keep / (1 - self.drop)


class EfficientNet(nn.Module):
    """Stem, seven stages, a 1 x 1 convolution on top, pooling, dropout, classifier."""

    def __init__(
        self,
        width: float,
        depth: float,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.2,
    ) -> None:
        super().__init__()
        stages = [Stage(s.kernel, s.stride, s.expansion, scaled_width(s.width, width), s.repeats) for s in B0]
        inside, top = scaled_width(STEM, width), scaled_width(TOP, width)
        self.stem = nn.Sequential(*_convolution(in_chans, inside, 3, 2), nn.SiLU())
        self.blocks = nn.Sequential(*_bricks(inside, stages, depth, drop_path_rate))
        self.top = nn.Sequential(*_convolution(stages[-1].width, top, 1), nn.SiLU())
        self.drop = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(top, num_classes)
        self.num_classes = num_classes
        self.feature_info = _stage_ends(stages, depth)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) to maps (B, 1280 x width, H / 32, W / 32)."""
        return self.top(self.blocks(self.stem(images)))

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) to logits (B, num_classes)."""
        return self.classifier(self.drop(self.forward_features(images).mean((2, 3))))

    def get_classifier(self) -> nn.Linear:
        """The last layer, by the name that timm gives it."""
        return self.classifier


def _convolution(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outside)]


def _bricks(inside: int, stages: list[Stage], depth: float, drop_path_rate: float) -> list[InvertedResidual]:
    """All bricks; the probability of dropping one grows from 0 to nearly `drop_path_rate`, from first to last."""
    plan = [(s, s.stride if n == 0 else 1) for s in stages for n in range(scaled_depth(s.repeats, depth))]
    bricks = []
    for n, (stage, stride) in enumerate(plan):
        bricks.append(InvertedResidual(inside, stage, stride, drop_path_rate * n / len(plan)))
        inside = stage.width
    return bricks


def _stage_ends(stages: list[Stage], depth: float) -> list[dict[str, Any]]:
    """The last brick of each stage: its name, width and stride from the image, as timm's networks say it."""
    ends, brick, reduction = [], -1, 2
    for stage in stages:
        brick, reduction = brick + scaled_depth(stage.repeats, depth), reduction * stage.stride
        ends.append({"module": f"blocks.{brick}", "num_chs": stage.width, "reduction": reduction})
    return ends


def copy_in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Give `ours` the weights of timm's network of the same size, tensor by tensor in the order of execution.

    Raises:
        ValueError: their number or a shape differs.
    """
    mine, lent = ours.state_dict(), theirs.state_dict()
    pairs = list(zip(mine, lent.values(), strict=True))
    for name, tensor in pairs:
        if mine[name].shape != tensor.shape:
            raise ValueError(f"{name} is {tuple(mine[name].shape)} here and {tuple(tensor.shape)} there")
    ours.load_state_dict(dict(pairs))


def _build(size: str, pretrained: bool, options: dict[str, Any]) -> EfficientNet:
    if pretrained:
        raise RuntimeError(f"own_efficientnet_{size} has no pretrained weights")
    known = {k: options[k] for k in ("in_chans", "num_classes", "drop_rate", "drop_path_rate") if k in options}
    return EfficientNet(*COEFFICIENTS[size], **known)


@register_model
def own_efficientnet_b0(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """Width 1.0, depth 1.0; the paper's image size is 224."""
    return _build("b0", pretrained, kwargs)


@register_model
def own_efficientnet_b1(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """Width 1.0, depth 1.1; 240 px."""
    return _build("b1", pretrained, kwargs)


@register_model
def own_efficientnet_b2(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """Width 1.1, depth 1.2; 260 px."""
    return _build("b2", pretrained, kwargs)


@register_model
def own_efficientnet_b3(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """Width 1.2, depth 1.4; 300 px."""
    return _build("b3", pretrained, kwargs)


@register_model
def own_efficientnet_b4(pretrained: bool = False, **kwargs: Any) -> EfficientNet:
    """Width 1.4, depth 1.8; 380 px."""
    return _build("b4", pretrained, kwargs)
