"""VGG16's thirteen convolutions, for weights that come without its dense layers (Simonyan and Zisserman, ICLR 2015)."""

from typing import Any

from torch import Tensor, nn

from chestfold.models.timm_import import register_model, timm

PLAN = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
"""Channels of each convolution, and where a map is halved."""


class VGGFeatures(nn.Module):
    """The convolutions of VGG16, the mean of the last map, and one linear layer.

    The numbers of the layers are those of timm's `vgg16`, so that its weights fit.
    """

    feature_info = ({"num_chs": 512, "reduction": 16, "module": "features.29"},)

    def __init__(self, in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layers(in_chans))
        self.drop = nn.Dropout(drop_rate)
        self.num_features = 512
        self.reset_classifier(num_classes)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):  # torch's own start fades within thirteen layers
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def reset_classifier(self, num_classes: int) -> None:
        """A new last layer; 0: none."""
        self.num_classes = num_classes
        self.classifier = nn.Linear(512, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The last layer, by the name that timm gives it."""
        return self.classifier

    def forward_features(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W), H and W at least 32, to maps (B, 512, H // 32, W // 32)."""
        return self.features(images)

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Maps to their means (B, 512), or to logits (B, num_classes)."""
        pooled = maps.mean(dim=(2, 3))
        return pooled if pre_logits else self.classifier(self.drop(pooled))

    def forward(self, images: Tensor) -> Tensor:
        """float (B, in_chans, H, W) to logits (B, num_classes)."""
        return self.forward_head(self.forward_features(images))


def _layers(in_chans: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    inside = in_chans
    for step in PLAN:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inside, step, 3, padding=1), nn.ReLU()]
            inside = step
    return layers


default_cfgs = timm.models.generate_default_cfgs(
    {
        "vgg16_features": {
            "num_classes": 0,
            "input_size": (3, 224, 224),
            "mean": timm.data.IMAGENET_DEFAULT_MEAN,
            "std": timm.data.IMAGENET_DEFAULT_STD,
            "first_conv": "features.0",
            "classifier": "classifier",
        }
    }
)
"""What timm has to know of the weights, under the name by which it looks for it."""


@register_model
def vgg16_features(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Registered with timm as `vgg16_features`; its weights come from a local file, not from the hub."""
    return timm.models.build_model_with_cfg(VGGFeatures, "vgg16_features", pretrained, **kwargs)
