"""`torchvision`, imported so that one built for CUDA does not stop a CPU-only torch.

The registry's torchvision wheel links CUDA libraries. Beside a CPU torch its operators are not registered and its
import ends in "operator torchvision::nms does not exist". Declaring the two schemas is enough for what is used here.
Import this module before anything that imports torchvision, as timm does.
"""

import sys

import torch

_KEPT: list[torch.library.Library] = []
"""A library whose schemas are declared must stay referenced."""


def _declare_operators() -> None:
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
    _declare_operators()
    import torchvision

__all__ = ["torchvision"]
