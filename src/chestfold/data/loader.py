"""From cache rows to batches: order, augmentation and targets.

What a batch holds depends on (seed, fold, epoch, sample) alone, not on how many processes make it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chestfold.core import distributed
from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.sampling import epoch_order
from chestfold.data.transforms.augment import Augmenter
from chestfold.data.transforms.preprocess import NO_PREPROCESSING, Lungs, Preprocess, after, before, find_lungs


@dataclass(frozen=True)
class Images:
    """Some images of a data set. `pixels`: uint8 (M, S, S), of which `rows` (N,) count; `labels` int64 (N,).

    `how` a network sees them, and `lungs` (those of all M, where it needs them), belong to the pixels.
    """

    pixels: np.ndarray
    rows: np.ndarray
    ids: list[str]
    labels: np.ndarray
    how: Preprocess = NO_PREPROCESSING
    lungs: Lungs | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def seen(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Some rows of `pixels` as augmentation gets them, uint8 (B, S, S), and their lungs of the same shape."""
        masks = self.lungs.masks[rows] if self.lungs else None
        return before(self.how, self.pixels[rows], masks), masks

    def lungs_not_found(self) -> Counter[str]:
        """Reason -> how many of these images have no lungs that were found, and are seen whole."""
        return self.lungs.lungs_not_found(self.rows) if self.lungs else Counter()


def images_of(how: Preprocess, pixels: np.ndarray, ids: list[str], labels: np.ndarray) -> Images:
    """All of `pixels`, uint8 (N, S, S), to be seen as `how` says; their lungs are found now where it needs them."""
    return Images(pixels, np.arange(len(pixels)), ids, labels, how, find_lungs(how, pixels))


class TrainBatches(Dataset):
    """The batches of one fold's training; `batches[epoch, n]` is uint8 (B, C, H, W) and class numbers int64 (B,).

    C is 1, or 2 where the lungs are a channel. Of several processes each makes its share. `size` is the whole batch,
    `per_epoch` the number of batches.
    """

    def __init__(self, exp: Experiment, fold: int, images: Images, workers: int) -> None:
        self._exp, self._fold, self._images, self._workers = exp, fold, images, workers
        self.size = min(exp.batch_size, len(self._order(0)))
        if self.size < distributed.world():
            raise InputError(
                f"a batch of {self.size} cannot be shared by {distributed.world()} processes; raise --batch-size"
            )
        whole = max(1, len(self._order(0)) // exp.batch_size)
        self.per_epoch = min(whole, exp.max_steps * exp.grad_accum_steps) if exp.max_steps else whole

    @cached_property
    def _augment(self) -> Augmenter:
        """Made where it is used: each process has its own generators."""
        return Augmenter(self._exp)

    def _order(self, epoch: int) -> np.ndarray:
        rng = generator(self._exp.seed, self._fold, "order", epoch)
        return epoch_order(self._images.labels, self._exp.sampling, rng)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches `first`, first + 1, ... of an epoch. Images left over from whole batches wait for another epoch."""
        wanted = [(epoch, n) for n in range(first, self.per_epoch)]
        if not self._workers:
            return (self[which] for which in wanted)
        loader = DataLoader(
            self, batch_size=None, sampler=wanted, num_workers=self._workers, pin_memory=torch.cuda.is_available()
        )
        return iter(loader)

    def __getitem__(self, which: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, n = which
        seed, fold, images, size = self._exp.seed, self._fold, self._images, self._exp.batch_size
        positions = self._order(epoch)[n * size : (n + 1) * size][distributed.rank() :: distributed.world()]
        pixels, lungs = images.seen(images.rows[positions])
        draws = [(seed, fold, "augment", epoch, images.ids[p]) for p in positions]
        if lungs is None:
            made = np.stack([self._augment(image, *draw) for image, draw in zip(pixels, draws, strict=True)])
        else:
            pairs = [self._augment.both(*pair, *draw) for *pair, draw in zip(pixels, lungs, draws, strict=True)]
            made, lungs = (np.stack(part) for part in zip(*pairs, strict=True))
        return torch.from_numpy(after(images.how, made, lungs)), torch.from_numpy(images.labels[positions])


def workers_for(device: torch.device) -> int:
    """Processes that make batches for a GPU; none beside a CPU that trains.

    There the cores are taken, and a thread would be worse than none: torch's main thread would wait for Python's lock
    after each of its operations.
    """
    return 0 if device.type == "cpu" else min(12, os.cpu_count() or 1)


def plain_batches(images: Images, batch_size: int) -> Iterator[Tensor]:
    """All images in order, without augmentation: uint8 (B, C, S, S)."""
    for start in range(0, len(images), batch_size):
        yield torch.from_numpy(after(images.how, *images.seen(images.rows[start : start + batch_size])))
