"""Images of elsewhere that join the training part of a fold, whatever they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestfold.core.task import Labels, Task
from chestfold.data.loader import Images, images_of


@dataclass(frozen=True)
class Addition:
    """Images that join. `pixels`: uint8 (N, S, S); `labels`: those of the task, or soft ones.

    `ids` carry the name of where they are from: those of the fold's own images may be the same. `about`: how a sentence
    goes on that begins with `7 of the training images are`. `made_from`: how many real ones synthetic ones stem from.
    """

    kind: str
    pixels: np.ndarray
    ids: list[str]
    labels: Labels
    about: str
    made_from: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def join(train: Images, additions: Sequence[Addition], task: Task) -> Images:
    """The training images of a fold and those that join them, in this order.

    Where some have soft labels, all have.
    """
    if not additions:
        return train
    pixels, ids, labels = [train.pixels[train.rows]], [*train.ids], [train.labels]
    for addition in additions:
        pixels.append(addition.pixels)
        ids += addition.ids
        labels.append(addition.labels)
    if any(part.ndim == 2 for part in labels):
        labels = [task.soft_labels(part) for part in labels]
    return images_of(train.preprocess, np.concatenate(pixels), ids, np.concatenate(labels))
