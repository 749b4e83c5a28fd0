"""Pictures of a run: learning curves and confusion matrix, as PNG files. matplotlib waits until one is drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from chestfold.core.files import atomic_path

History = list[dict[str, Any]]
TRAIN, VALIDATION = "#d1702c", "#2c6fb3"
DOTS = 120


def read_history(path: Path) -> History:
    """The epochs of a fold, from its metrics.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def learning_curves(path: Path, name: str, histories: dict[int, History]) -> None:
    """Loss and accuracy of every fold over the epochs, training beside validation; thick: the mean of the folds.

    Training figures are taken during the epoch, on augmented and mixed images with dropout: they may lie below those
    of validation.
    """
    figure = _figure(10, 4)
    axes = figure.subplots(1, 2)
    pairs = [("loss", "train_loss", "loss"), ("accuracy", "train_accuracy", "accuracy")]
    for axis, (title, training, validation) in zip(axes, pairs, strict=True):
        for key, colour, label in ((training, TRAIN, "training"), (validation, VALIDATION, "validation")):
            _draw(axis, [[row[key] for row in h if key in row] for h in histories.values()], colour, label)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    folds = ", ".join(map(str, histories))
    figure.suptitle(f"{name}: fold{'s' * (len(histories) > 1)} {folds}")
    _save(figure, path)


def _draw(axis: Any, curves: list[list[float]], colour: str, label: str) -> None:
    curves = [c for c in curves if c]  # a run from before training accuracy was recorded has none
    for curve in curves:
        axis.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.35 if len(curves) > 1 else 1, linewidth=1)
    if len(curves) > 1:
        length = min(map(len, curves))
        mean = np.mean([c[:length] for c in curves], axis=0)
        axis.plot(range(1, length + 1), mean, color=colour, linewidth=2.5)
    if curves:
        axis.plot([], [], color=colour, label=label)


def confusion(path: Path, name: str, about: dict[str, Any]) -> None:
    """The out-of-fold confusion matrix at threshold 0.5: counts, and each row's shares as shades."""
    counts, classes = np.array(about["scores"]["confusion"]), about["classes"]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(2.2 + 1.1 * len(classes), 1.6 + 1.0 * len(classes))
    axis = figure.subplots()
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        text = f"{counts[row, column]}\n{shares[row, column]:.1%}"
        axis.text(column, row, text, ha="center", va="center", color="white" if shares[row, column] > 0.6 else "black")
    axis.set(title=name, xlabel="predicted", ylabel="true")
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    _save(figure, path)


def inputs(path: Path, images: np.ndarray) -> None:
    """What the network is fed with: the first 16 of `images`, uint8 (B, S, S), four in a row."""
    import cv2

    tiles = [np.pad(image, 1) for image in images[:16]]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 4)
    sheet = np.vstack([np.hstack(tiles[n : n + 4]) for n in range(0, len(tiles), 4)])
    with atomic_path(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", sheet)[1].tobytes())


def _figure(width: float, height: float) -> Any:
    """A figure of so many inches; no window, no state that two threads would share."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS, format="png", metadata={"Software": None})
