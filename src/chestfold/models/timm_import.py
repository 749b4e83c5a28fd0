"""What is used of `timm`, imported after `torchvision_import`, without which it may not import at all."""

from chestfold.core import torchvision_import  # noqa: F401  isort: skip

import sys

if "wandb" in sys.modules:
    import timm
else:
    # timm.utils.summary imports wandb where it is installed: a quarter of a second for what is not used here
    sys.modules["wandb"] = None  # type: ignore[assignment]  # an import of it fails, as timm allows
    try:
        import timm
    finally:
        del sys.modules["wandb"]
from timm.models import register_model
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3

__all__ = ["ModelEmaV3", "create_optimizer_v2", "create_scheduler_v2", "list_optimizers", "register_model", "timm"]
