"""From cache rows to batches: order, augmentation and targets.

What a batch holds depends on (seed, fold, epoch, sample) alone, not on how many processes make it.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chestfold.core import distributed
from chestfold.core.config import Experiment
from chestfold.core.device import chosen_workers
from chestfold.core.errors import InputError
from chestfold.core.rng import Names, generator
from chestfold.core.task import Labels, Task
from chestfold.data.sampling import epoch_order
from chestfold.data.tabular import Cells
from chestfold.data.transforms.preprocess import (
    NO_PREPROCESSING,
    Lungs,
    Preprocess,
    find_lungs,
    post_augment,
    pre_augment,
)

if TYPE_CHECKING:
    from chestfold.data.transforms.augment import Augmenter
    from chestfold.data.transforms.batch_augment import BatchAugmenter


@dataclass(frozen=True)
class Images:
    """Some images of a data set. `pixels`: (M, S, S) or (M, S, S, 3), of which `rows` (N,) count; `labels`: the task's.

    Pixels are uint8, or uint16 where 16 bits are wanted, also in batches. `preprocess` says how a network sees them,
    and `lungs` are those of all M images, where it needs them. `cells`: what a table says of the N images, where it
    needs that.
    """

    pixels: np.ndarray
    rows: np.ndarray
    ids: list[str]
    labels: Labels
    preprocess: Preprocess = NO_PREPROCESSING
    lungs: Lungs | None = None
    cells: Cells | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> "Images":
        """The images at some positions, int (K,)."""
        ids = [self.ids[n] for n in positions]
        cells = self.cells.take(positions) if self.cells else None
        return replace(self, rows=self.rows[positions], ids=ids, labels=self.labels[positions], cells=cells)

    def pre_augmented(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Some rows of `pixels` as augmentation gets them, (B, S, S) or (B, S, S, 3), and their lungs (B, S, S)."""
        masks = self.lungs.masks[rows] if self.lungs else None
        return pre_augment(self.preprocess, self.pixels[rows], masks), masks

    def lungs_not_found(self) -> Counter[str]:
        """Reason -> how many of these images have no lungs that were found, and are left unmasked."""
        return self.lungs.not_found(self.rows) if self.lungs else Counter()


def images_of(preprocess: Preprocess, pixels: np.ndarray, ids: list[str], labels: Labels) -> Images:
    """All of `pixels`, (N, S, S) or (N, S, S, 3); their lungs are found now where `preprocess` needs them."""
    return Images(pixels, np.arange(len(pixels)), ids, labels, preprocess, find_lungs(preprocess, pixels))


class TrainBatches(Dataset):
    """The batches of one fold's training; `batches[epoch, n]` is uint8 (B, C, H, W) and labels.

    C is 1, 3, or 2 where the lungs are a channel. Of several processes each makes its share. `size`: images of a batch
    of all processes; `per_epoch`: batches.
    """

    def __init__(self, exp: Experiment, task: Task, fold: int, images: Images, workers: int) -> None:
        self._exp, self._fold, self._images, self._workers = exp, fold, images, workers
        self._strata = task.strata(images.labels)
        length = len(self._order(0))
        self.size = min(exp.batch_size, length)
        if self.size < distributed.world():
            raise InputError(
                f"a batch of {self.size} cannot be shared by {distributed.world()} processes; raise --batch-size"
            )
        self.per_epoch = max(1, length // exp.batch_size)
        if exp.max_steps:
            self.per_epoch = min(self.per_epoch, exp.max_steps * exp.grad_accum_steps)

    @cached_property
    def _augment(self) -> "Augmenter":
        """Made where it is used: each process has its own generators, and predicting does without albumentations."""
        from chestfold.data.transforms.augment import Augmenter

        return Augmenter(self._exp)

    @cached_property
    def _augment_batch(self) -> "BatchAugmenter":
        from chestfold.data.transforms.batch_augment import BatchAugmenter

        return BatchAugmenter(self._exp)

    def _order(self, epoch: int) -> np.ndarray:
        rng = generator(self._exp.seed, self._fold, "order", epoch)
        return epoch_order(self._strata, self._exp.sampling, rng)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches `first`, first + 1, ... of an epoch. Images that do not fill a batch are left for another epoch."""
        wanted = [(epoch, n) for n in range(first, self.per_epoch)]
        if not self._workers:
            return (self[which] for which in wanted)
        pinned = distributed.device().type == "cuda"
        loader = DataLoader(self, batch_size=None, sampler=wanted, num_workers=self._workers, pin_memory=pinned)
        return iter(loader)

    def __getitem__(self, which: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, _ = which
        images, positions = self._images, self._positions(which)
        pixels, masks = self._augmented(positions, epoch)
        network_input = post_augment(images.preprocess, pixels, masks)
        return torch.from_numpy(network_input), torch.from_numpy(images.labels[positions])

    def _positions(self, which: tuple[int, int]) -> np.ndarray:
        """The images of a batch that this process makes."""
        epoch, n = which
        size = self._exp.batch_size
        return self._order(epoch)[n * size : (n + 1) * size][distributed.rank() :: distributed.world()]

    def cells(self, epoch: int, n: int) -> Cells | None:
        """What the table says of the images of a batch."""
        return self._images.cells.take(self._positions((epoch, n))) if self._images.cells else None

    def _names(self, epoch: int, positions: np.ndarray) -> list[Names]:
        """Of the draw of each image."""
        return [(self._exp.seed, self._fold, "augment", epoch, self._images.ids[position]) for position in positions]

    def _augmented(self, positions: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Augmented pixels (B, S, S) or (B, S, S, 3), and the lung masks that moved with them."""
        images = self._images
        pixels, masks = images.pre_augmented(images.rows[positions])
        draws = self._names(epoch, positions)
        if self._exp.augment_batch:
            return self._augment_batch(pixels, masks, draws)
        made, moved = [], []
        for n, draw in enumerate(draws):
            if masks is None:
                made.append(self._augment(pixels[n], *draw))
            else:
                image, mask = self._augment.with_mask(pixels[n], masks[n], *draw)
                made.append(image)
                moved.append(mask)
        return np.stack(made), np.stack(moved) if moved else None


def workers_for(device: torch.device) -> int:
    """Processes that make batches: as many as were asked for, else some for a GPU, and none beside a CPU that trains.

    There the cores are taken, and a thread would be worse than none: torch's main thread would wait for Python's lock
    after each of its operations.
    """
    chosen = chosen_workers()
    if chosen is not None:
        return chosen
    return 0 if device.type == "cpu" else min(12, os.cpu_count() or 1)


def plain_batches(images: Images, batch_size: int) -> Iterator[Tensor]:
    """All images in order, without augmentation: uint8 (B, C, S, S)."""
    for start in range(0, len(images), batch_size):
        pixels, masks = images.pre_augmented(images.rows[start : start + batch_size])
        yield torch.from_numpy(post_augment(images.preprocess, pixels, masks))
