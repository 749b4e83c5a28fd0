"""Training batches that are made on a GPU: all images lie in its memory, and are augmented there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from chestfold.core.config import Experiment
from chestfold.core.task import Task
from chestfold.data.loader import Images, TrainBatches, workers_for
from chestfold.data.transforms.batch_augment import BatchAugmenter, Draws
from chestfold.data.transforms.preprocess import post_augment, pre_augment
from chestfold.data.transforms.tensor_batch import TensorBatch

SHARE = 0.25
"""Of a GPU's memory: images that take more of it stay where they are."""
AT_ONCE = 1024
"""Images that are prepared together on their way to the device."""


def training_batches(exp: Experiment, task: Task, fold: int, images: Images, device: torch.device) -> TrainBatches:
    """The batches of one fold's training: made on the device where that can be, else by processes beside it."""
    if is_resident(exp, images, device):
        return ResidentBatches(exp, task, fold, images, device)
    return TrainBatches(exp, task, fold, images, workers_for(device))


def is_resident(exp: Experiment, images: Images, device: torch.device) -> bool:
    """Whether batches are made on the device: on a GPU, of 8 bits, without lung masks, where the images have room.

    Of the whole memory a share is asked for, not of what is free at the moment, so that a fold that is resumed is
    trained as it began.
    """
    if not exp.augment_batch or device.type != "cuda" or images.lungs is not None or images.pixels.dtype != np.uint8:
        return False
    wanted = len(images) * images.pixels[0].nbytes
    return wanted <= SHARE * torch.cuda.get_device_properties(device).total_memory


class ResidentBatches(TrainBatches):
    """As `TrainBatches`, with images on a device; draws are made beside it, a batch ahead."""

    def __init__(self, exp: Experiment, task: Task, fold: int, images: Images, device: torch.device) -> None:
        super().__init__(exp, task, fold, images, workers=0)
        self._device = device
        self._pixels = torch.cat([self._upload(start) for start in range(0, len(images), AT_ONCE)])
        self._augmenter = BatchAugmenter(exp)

    def _upload(self, start: int) -> Tensor:
        """Some images, uint8 (K, C, S, S), before augmentation."""
        images = self._images
        pixels = pre_augment(images.preprocess, images.pixels[images.rows[start : start + AT_ONCE]], None)
        return torch.from_numpy(post_augment(images.preprocess, pixels, None)).to(self._device)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """As of `TrainBatches`; the pixels lie on the device."""
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._draw, epoch, first)
            for n in range(first, self.per_epoch):
                positions, draws = coming.result()
                if n + 1 < self.per_epoch:
                    coming = beside.submit(self._draw, epoch, n + 1)
                yield self._make(epoch, positions, draws), torch.from_numpy(self._images.labels[positions])

    def _draw(self, epoch: int, n: int) -> tuple[np.ndarray, Draws]:
        """The images of a batch, and the numbers for them."""
        positions = self._positions((epoch, n))
        return positions, self._augmenter.draw(self._names(epoch, positions))

    def _make(self, epoch: int, positions: np.ndarray, draws: Draws) -> Tensor:
        """Augmented, uint8 (B, C, S, S)."""
        pixels = self._pixels[torch.from_numpy(positions).to(self._device)]
        batch = TensorBatch(pixels, self._names(epoch, positions))
        self._augmenter.change(batch, draws)
        return batch.pixels
