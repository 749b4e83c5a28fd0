"""Networks by name: everything in timm, and our own, which stand in timm's registry too."""

from chestfold.models.create import Network, create, rebuild, weights_identity

__all__ = ["Network", "create", "rebuild", "weights_identity"]
