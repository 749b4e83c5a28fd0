"""Images of elsewhere that join the training part of a fold, whatever they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chestfold.core.task import Labels, Task
from chestfold.data.loader import Images, images_of
from chestfold.data.tabular import Cells


@dataclass(frozen=True)
class Addition:
    """Images that join. `pixels`: (N, S, S) or (N, S, S, 3), as the fold's own; `labels`: the task's, or soft ones.

    `ids` carry the name of where they are from: those of the fold's own images may be the same. `about`: how a sentence
    goes on that begins with `7 of the training images are`. `cells`: what a table says of them, where the network needs
    that. `made_from`: how many real ones synthetic ones stem from.
    """

    kind: str
    pixels: np.ndarray
    ids: list[str]
    labels: Labels
    about: str
    cells: Cells | None = None
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
    joined = images_of(train.preprocess, np.concatenate(pixels), ids, np.concatenate(labels))
    return replace(joined, cells=_joined_cells(train.cells, additions))


def _joined_cells(own: Cells | None, additions: Sequence[Addition]) -> Cells | None:
    """Those of all images. Whether a column holds numbers is decided by the data set itself."""
    if own is None:
        return None
    texts = [addition.cells.texts for addition in additions if addition.cells]
    return Cells(own.names, own.numbers, np.concatenate([own.texts, *texts]))
