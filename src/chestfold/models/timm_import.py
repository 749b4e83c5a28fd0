"""`timm`, imported so that a torchvision built for CUDA does not stop a CPU-only torch.

The registry's torchvision wheel links CUDA libraries. Beside a CPU torch its operators are not registered and its
import ends in "operator torchvision::nms does not exist". Declaring the two schemas is enough for what timm uses.
"""

import sys

import torch

_KEPT: list[torch.library.Library] = []


def _declare_torchvision_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declare_torchvision_operators()
    import torchvision  # noqa: F401

import timm  # noqa: E402
from timm.models import register_model  # noqa: E402
from timm.utils import ModelEmaV3  # noqa: E402

__all__ = ["ModelEmaV3", "register_model", "timm"]
