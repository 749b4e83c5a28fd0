"""What is used of `timm`, imported after `torchvision_import`, without which it may not import at all."""

from chestfold.core import torchvision_import  # noqa: F401  isort: skip

import timm
from timm.models import register_model
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3

__all__ = ["ModelEmaV3", "create_optimizer_v2", "create_scheduler_v2", "list_optimizers", "register_model", "timm"]
