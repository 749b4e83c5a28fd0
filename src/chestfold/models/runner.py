"""A network on a device: from uint8 batches to logits and probabilities."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chestfold.core import distributed
from chestfold.core.config import Experiment
from chestfold.core.errors import TrainingError
from chestfold.data.loader import Images, plain_batches
from chestfold.models import Network

PREDICT_BATCH = 64


@dataclass(frozen=True)
class Runner:
    """A network on a device, in a precision: from uint8 batches to logits."""

    network: Network
    device: torch.device
    dtype: torch.dtype | None
    call: Callable[[Tensor], Tensor]

    @property
    def module(self) -> nn.Module:
        """The bare module, whose state is saved."""
        return self.network.module

    def images(self, pixels: Tensor) -> Tensor:
        """uint8 (B, C, H, W) to normalised float32 on the device."""
        x = pixels.to(self.device, non_blocking=True).float()
        x = (x / 255 - self.network.blueprint.mean) / self.network.blueprint.std
        return x.contiguous(memory_format=torch.channels_last)

    def logits(self, images: Tensor) -> Tensor:
        """Normalised (B, C, H, W) to float32 logits (B, K)."""
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.call(images).float()

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.dtype]


def make_runner(network: Network, exp: Experiment) -> Runner:
    """Put `network` on the GPU if there is one, in the precision that `exp` asks for or the device gains by."""
    device = distributed.device()
    module: Any = network.module
    module = module.to(device, memory_format=torch.channels_last)
    call = torch.compile(module) if exp.compile else module
    return Runner(network, device, _dtype(exp.precision, device, module), call)


def _dtype(precision: str, device: torch.device, module: nn.Module) -> torch.dtype | None:
    named = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_has_bf16() and not _depthwise(module) else None


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _depthwise(module: nn.Module) -> bool:
    """Depthwise convolutions lose by bf16 on a CPU, grouped ones gain: benchmarks/train_step.py measures it."""
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in module.modules())


@torch.inference_mode()
def predict(runner: Runner, images: Images, tta: str = "none", module: nn.Module | None = None) -> np.ndarray:
    """Class probabilities, float32 (N, K), in the order of `images`; the mean over the views of `tta`.

    Raises:
        InputError: a prediction is not a number; names the image.
    """
    judged = Runner(runner.network, runner.device, runner.dtype, module or runner.call)
    (module or runner.module).eval()
    parts = []
    for pixels in plain_batches(images, PREDICT_BATCH):
        batch = judged.images(pixels)
        views = [judged.logits(view).softmax(dim=1) for view in tta_views(batch, tta)]
        parts.append(torch.stack(views).mean(dim=0).cpu())
    probs = torch.cat(parts).numpy()
    wrong = ~np.isfinite(probs).all(axis=1)
    if wrong.any():
        raise TrainingError(
            f"the prediction for {images.ids[int(wrong.argmax())]!r} is not a number: the weights have diverged; "
            "lower --lr, or --precision fp32 (with --overwrite)"
        )
    return probs


def tta_views(images: Tensor, tta: str) -> Iterator[Tensor]:
    """The views of a batch (B, C, H, W) that a prediction is averaged over, all of the same size."""
    several = {"crops": _five_crops, "d4": _four_turns}.get(tta)
    for view in several(images) if several else [images]:
        yield view
        if tta != "none":
            yield view.flip(-1)


def _four_turns(images: Tensor) -> Iterator[Tensor]:
    """By 0, 90, 180 and 270 degrees."""
    return (images.rot90(quarter, (-2, -1)).contiguous(memory_format=torch.channels_last) for quarter in range(4))


def _five_crops(images: Tensor) -> Iterator[Tensor]:
    """Centre and corners, seven eighths of a side, scaled back to full size."""
    size = images.shape[-1]
    part = size * 7 // 8
    for top, left in [((size - part) // 2,) * 2, *((a, b) for a in (0, size - part) for b in (0, size - part))]:
        crop = images[..., top : top + part, left : left + part]
        yield F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False)
