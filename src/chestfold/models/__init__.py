"""Networks by name: everything in timm, and our own, which are in timm's registry too."""

from chestfold.models.create import MissingWeights, Network, channels, create, rebuild, weights_identity
from chestfold.models.head import training_mode

__all__ = ["MissingWeights", "Network", "channels", "create", "rebuild", "training_mode", "weights_identity"]
