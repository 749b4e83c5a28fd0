"""Pictures of a run: learning curves and confusion matrix, as PNG files. matplotlib waits until one is drawn."""

from pathlib import Path
from typing import Any

import numpy as np

from chestfold.core.files import atomic_path
from chestfold.core.run_folder import History
from chestfold.evaluate.results import ResultRecord

TRAIN, VALIDATION = "#d1702c", "#2c6fb3"
DPI = 120
INPUTS = 16
"""Images in inputs.png."""


def learning_curves(path: Path, name: str, histories: dict[int, History]) -> None:
    """Loss and accuracy of every fold over the epochs, training beside validation; thick: the mean of the folds.

    Training figures are taken during the epoch, on augmented and mixed images with dropout: they may lie below those
    of validation.
    """
    figure = _figure(10, 4)
    axes = figure.subplots(1, 2)
    panels = [(axes[0], "loss", "train_loss", "loss"), (axes[1], "accuracy", "train_accuracy", "accuracy")]
    for axis, title, training, validation in panels:
        _draw(axis, histories, training, TRAIN, "training")
        _draw(axis, histories, validation, VALIDATION, "validation")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    numbers = ", ".join(map(str, histories))
    figure.suptitle(f"{name}: fold {numbers}" if len(histories) == 1 else f"{name}: folds {numbers}")
    _save(figure, path)


def _draw(axis: Any, histories: dict[int, History], key: str, colour: str, label: str) -> None:
    """A thin line for each fold, and a thick one for their mean where there are several."""
    curves = [[row[key] for row in history] for history in histories.values()]
    several = len(curves) > 1
    for curve in curves:
        axis.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.35 if several else 1, linewidth=1)
    if several:
        length = min(map(len, curves))
        mean = np.mean([curve[:length] for curve in curves], axis=0)
        axis.plot(range(1, length + 1), mean, color=colour, linewidth=2.5)
    axis.plot([], [], color=colour, label=label)


def confusion(path: Path, record: ResultRecord) -> None:
    """The out-of-fold confusion matrix at threshold 0.5: counts, and each row's shares as shades."""
    counts, classes = np.array(record.scores.confusion), record.classes
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(2.2 + 1.1 * len(classes), 1.6 + 1.0 * len(classes))
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        share = shares[row, column]
        text = f"{counts[row, column]}\n{share:.1%}"
        axis.text(column, row, text, ha="center", va="center", color="white" if share > 0.6 else "black")
    axis.set(title=record.name, xlabel="predicted", ylabel="true")
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    _save(figure, path)


def inputs(path: Path, images: np.ndarray) -> None:
    """What the network is fed with: the first of `images`, uint8 (B, S, S), four in a row."""
    import cv2

    tiles = [np.pad(image, 1) for image in images[:INPUTS]]
    while len(tiles) % 4:
        tiles.append(np.zeros_like(tiles[0]))
    sheet = np.vstack([np.hstack(tiles[n : n + 4]) for n in range(0, len(tiles), 4)])
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _figure(width: float, height: float) -> Any:
    """A figure of so many inches; no window, no state that two threads would share."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
