"""A network on a device: from uint8 batches to logits and probabilities."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chestfold.core import distributed
from chestfold.core.config import Experiment
from chestfold.core.console import bar
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.task import Task
from chestfold.data.loader import Images, plain_batches
from chestfold.data.tabular import Cells
from chestfold.data.transforms.normalise import NORMALISATIONS, WEIGHTS
from chestfold.models import Network
from chestfold.models.fast_convolution import use_fast_convolutions
from chestfold.models.head import joined

PREDICT_BATCH = 64


@dataclass(frozen=True)
class Runner:
    """A network on a device, in a precision: from uint8 batches to logits.

    `normalise`: `weights`, or a name of `NORMALISATIONS`. `confidence`: of an image's first view, from which on it is
    predicted without the further ones; None: all views of all images.
    """

    network: Network
    task: Task
    device: torch.device
    dtype: torch.dtype | None
    call: Callable[[Tensor], Tensor]
    normalise: str = WEIGHTS
    confidence: float | None = None

    @property
    def module(self) -> nn.Module:
        """The bare module, whose state is saved."""
        return self.network.module

    def images(self, pixels: Tensor, cells: Cells | None = None) -> Tensor:
        """uint8 or uint16 (B, C, H, W) to normalised float32 on the device; `cells` become further channels.

        Raises:
            InputError: the network sees columns from beside the image, and the cells do not have them.
        """
        white = torch.iinfo(pixels.dtype).max
        x = pixels.to(self.device, non_blocking=True).float() / white
        x = self._by_weights(x) if self.normalise == WEIGHTS else NORMALISATIONS[self.normalise](x)
        return self._with_numbers(x, cells).contiguous(memory_format=torch.channels_last)

    def _with_numbers(self, x: Tensor, cells: Cells | None) -> Tensor:
        """With the numbers from beside the images as channels, where the network sees some."""
        encoding = self.network.encoding
        if encoding is None:
            return x
        if cells is None or cells.names != encoding.names:
            raise InputError(f"the network sees the columns {', '.join(encoding.names)} too, which are not given")
        return joined(x, torch.from_numpy(encoding.encode(cells.texts)).to(self.device))

    def _by_weights(self, x: Tensor) -> Tensor:
        """By the statistics that the weights were trained with."""
        blueprint = self.network.blueprint
        return (x - _of_channels(blueprint.mean, x)) / _of_channels(blueprint.std, x)

    def batches(self, images: Images, size: int) -> Iterator[Tensor]:
        """All images in order, without augmentation, as the network takes them."""
        for n, pixels in enumerate(plain_batches(images, size)):
            cells = images.cells.take(np.arange(n * size, n * size + len(pixels))) if images.cells else None
            yield self.images(pixels, cells)

    def logits(self, images: Tensor) -> Tensor:
        """Normalised (B, C, H, W) to float32 logits (B, M)."""
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.call(images).float()

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.dtype]


def _of_channels(numbers: float | list[float], like: Tensor) -> float | Tensor:
    """What is subtracted from a batch (B, C, H, W), or divides it: one number, or one for each channel."""
    if isinstance(numbers, list):
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).view(-1, 1, 1)
    return numbers


def make_runner(network: Network, exp: Experiment, task: Task) -> Runner:
    """Put `network` on the GPU if there is one, in the precision that `exp` asks for or the device gains by."""
    device = distributed.device()
    module: Any = network.module
    module = module.to(device, memory_format=torch.channels_last)
    if device.type == "cpu" and not exp.compile:
        use_fast_convolutions(module)
    call = torch.compile(module) if exp.compile else module
    return Runner(network, task, device, _dtype(exp.precision, device, module), call, exp.normalise)


def in_bf16(runner: Runner) -> Runner | None:
    """The same network in bf16, where that is faster than what it has: in fp32, on a CPU that multiplies bfloat16.

    What training loses by depthwise convolutions in bf16, it loses in the backward pass; prediction has none.
    """
    faster = runner.device.type == "cpu" and runner.dtype is None and cpu_has_bf16()
    return replace(runner, dtype=torch.bfloat16) if faster else None


def _dtype(precision: str, device: torch.device, module: nn.Module) -> torch.dtype | None:
    named = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision != "auto":
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    on_cpu = device.type == "cpu"  # Apple keeps fp32, which is all that it surely has
    return torch.bfloat16 if on_cpu and cpu_has_bf16() and not _depthwise(module) else None


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _depthwise(module: nn.Module) -> bool:
    """Depthwise convolutions lose by bf16 on a CPU, grouped ones gain: benchmarks/train_step.py measures it."""
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in module.modules())


@torch.inference_mode()
def predict(
    runner: Runner, images: Images, tta: str = "none", module: nn.Module | None = None, label: str = "predicting"
) -> np.ndarray:
    """Class probabilities, float32 (N, K), in the order of `images`; the mean over the views of `tta`.

    Where the runner has a `confidence`, the further views are those of the images alone whose first view is below it.

    Args:
        runner: the network.
        images: what to predict.
        tta: a name of `TTA`.
        module: predicts in the place of the runner's own, as a moving average of it does.
        label: what the progress bar says.

    Raises:
        TrainingError: a prediction is not a number; names the image.
    """
    if module is not None:
        runner = replace(runner, call=module)
    (module or runner.module).eval()
    if runner.confidence is None or tta == "none":
        return _over_views(runner, images, TTA[tta], label)[1]
    _, probs = _over_views(runner, images, lambda batch: islice(TTA[tta](batch), 1), label)
    unsure = np.flatnonzero(runner.task.confidence(probs) < runner.confidence)
    if len(unsure):
        more = images.take(unsure)
        _, further = _over_views(runner, more, lambda batch: islice(TTA[tta](batch), 1, None), label)
        views = count_views(tta)
        probs[unsure] = (probs[unsure] + (views - 1) * further) / views
    return probs


@torch.inference_mode()
def first_and_all_views(runner: Runner, images: Images, tta: str, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities by the first view of `tta` alone, and their mean over all views: both float32 (N, K).

    Raises:
        TrainingError: as `predict`.
    """
    runner.module.eval()
    return _over_views(runner, images, TTA[tta], label)


def _over_views(
    runner: Runner, images: Images, views_of: Callable[[Tensor], Iterator[Tensor]], label: str
) -> tuple[np.ndarray, np.ndarray]:
    firsts, means = [], []
    with bar(label, len(images)) as advance:
        for batch in runner.batches(images, PREDICT_BATCH):
            views = [runner.task.probabilities(runner.logits(view)) for view in views_of(batch)]
            firsts.append(views[0].cpu())
            means.append(torch.stack(views).mean(dim=0).cpu())
            advance(len(batch))
    probs = torch.cat(means).numpy()
    wrong = ~np.isfinite(probs).all(axis=1)
    if wrong.any():
        raise TrainingError(
            f"the prediction for {images.ids[int(wrong.argmax())]!r} is not a number: the weights have diverged; "
            "lower --lr, or --precision fp32 (with --overwrite)"
        )
    return torch.cat(firsts).numpy(), probs


# Test-time augmentation: the views of a batch (B, C, H, W), all of its size


def _as_it_is(images: Tensor) -> Iterator[Tensor]:
    yield images


def _flipped_too(images: Tensor) -> Iterator[Tensor]:
    yield images
    yield images.flip(-1)


def _rotations(images: Tensor) -> Iterator[Tensor]:
    """By 0, 90, 180 and 270 degrees, each mirrored too."""
    for quarter in range(4):
        rotated = images.rot90(quarter, (-2, -1)).contiguous(memory_format=torch.channels_last)
        yield from _flipped_too(rotated)


def _crops(images: Tensor) -> Iterator[Tensor]:
    """Centre and corners, seven eighths of a side, scaled back to full size, each mirrored too."""
    size = images.shape[-1]
    part = size * 7 // 8
    rest = size - part
    for top, left in [(rest // 2, rest // 2), (0, 0), (0, rest), (rest, 0), (rest, rest)]:
        crop = images[..., top : top + part, left : left + part]
        yield from _flipped_too(F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False))


TTA: dict[str, Callable[[Tensor], Iterator[Tensor]]] = {
    "none": _as_it_is,
    "flip": _flipped_too,
    "d4": _rotations,
    "crops": _crops,
}
"""Name of `Experiment.tta` -> the views of a batch, the image as it is among them; first but for `crops`."""


def count_views(tta: str) -> int:
    """How many views a name of `TTA` has."""
    return len(list(TTA[tta](torch.zeros(1, 1, 8, 8))))
