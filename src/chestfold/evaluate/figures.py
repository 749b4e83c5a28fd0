"""PNG figures of a run: learning curves, confusion matrix, input images. matplotlib is loaded when one is drawn."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chestfold.core.files import atomic_path, write_bytes
from chestfold.core.run_folder import History
from chestfold.data.levels import eight_bits
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.fonts import Lettering, families, letter, pillow_font
from chestfold.evaluate.metrics import confusion_columns
from chestfold.evaluate.results import ResultRecord

TRAIN, VALIDATION = "#d1702c", "#2c6fb3"
DPI = 120
INPUTS = 16
"""Images in inputs.png."""
COLUMNS = 4
TILE, TILE_GAP, LETTER = 192, 6, 14
"""Pixels: a side of one of them at least, what is between two, and the height of a letter."""


def learning_curves(
    path: Path, name: str, histories: dict[int, History], monitor: str, kept: dict[int, list[int]]
) -> None:
    """Loss, accuracy and the monitored figure of every fold over the epochs; thick: the mean of the folds.

    A dot marks each epoch whose weights were kept, by the figure that chose it. Training figures are taken during the
    epoch, on augmented and mixed images with dropout: they may be below those of validation.
    """
    numbers = ", ".join(map(str, histories))
    title = Lettering({}).text(name)
    shown = list(dict.fromkeys(["loss", "accuracy", monitor]))
    with _figure(path, 5 * len(shown), 4, [title]) as figure:
        for axis, metric in zip(figure.subplots(1, len(shown)), shown, strict=True):
            _draw(axis, histories, f"train_{metric}", TRAIN, "training")
            _draw(axis, histories, metric, VALIDATION, "validation")
            if metric == monitor:
                _mark_kept(axis, histories, metric, kept)
            axis.set(title=f"{metric}, by which epochs were kept" if metric == monitor else metric, xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.grid(alpha=0.3)
            axis.legend()
        figure.suptitle(f"{title}: fold {numbers}" if len(histories) == 1 else f"{title}: folds {numbers}")


def _draw(axis: Any, histories: dict[int, History], key: str, colour: str, label: str) -> None:
    """A thin line for each fold that has the figure, and a thick one for their mean where there are several."""
    curves = [[row[key] for row in history] for history in histories.values() if all(key in row for row in history)]
    if not curves:
        return
    several = len(curves) > 1
    for curve in curves:
        axis.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.35 if several else 1, linewidth=1)
    if several:
        length = min(map(len, curves))
        mean = np.mean([curve[:length] for curve in curves], axis=0)
        axis.plot(range(1, length + 1), mean, color=colour, linewidth=2.5)
    axis.plot([], [], color=colour, label=label)


def _mark_kept(axis: Any, histories: dict[int, History], key: str, kept: dict[int, list[int]]) -> None:
    """A dot on each fold's curve at the epochs that were kept."""
    places = []
    for fold, history in histories.items():
        places += [(row["epoch"], row[key]) for row in history if row["epoch"] in kept.get(fold, ()) and key in row]
    epochs, values = [epoch for epoch, _ in places], [value for _, value in places]
    axis.plot(epochs, values, "o", color=VALIDATION, markeredgecolor="white", markersize=7, label="kept", zorder=3)


def confusion(path: Path, record: ResultRecord) -> None:
    """The out-of-fold confusion matrix at threshold 0.5: counts, and each row's shares as shades.

    Of several labels a row of outcomes each. Classes that no font here has the letters of are numbers, which
    class_names.txt beside it explains.
    """
    lettering = letter(record.classes)
    task = record.create_task()
    classes = [lettering.text(name) for name in task.classes]
    columns = classes if task.sums_to_one else confusion_columns(task)
    title = lettering.text(record.name)
    counts = np.array(record.scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _figure(path, 2.2 + 1.1 * len(columns), 1.6 + 1.0 * len(classes), [*classes, title]) as figure:
        axis = figure.subplots()
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{counts[row, column]}\n{share:.1%}"
            axis.text(column, row, text, ha="center", va="center", color="white" if share > 0.6 else "black")
        axis.set(title=title)
        if task.sums_to_one:
            axis.set(xlabel="predicted", ylabel="true")
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(classes)), classes)
    lettering.write_legend(path.parent)


def inputs(path: Path, images: np.ndarray, names: Sequence[str]) -> None:
    """What the network is given: the first of `images`, (B, C, S, S), uint8 or uint16, four in a row.

    Three channels are shown as red, green and blue, whatever they are; of others the first one. `names`: the class of
    each image, which stands beneath it; small images are enlarged.
    """
    from PIL import Image, ImageDraw

    shown = images[:INPUTS] if images.shape[1] == 3 else images[:INPUTS, :1].repeat(3, axis=1)
    factor = max(1, round(TILE / images.shape[-1]))
    side = factor * images.shape[-1]
    rows = -(-len(shown) // COLUMNS)
    width, height = side + TILE_GAP, side + TILE_GAP + 2 * LETTER
    canvas = Image.new("RGB", (COLUMNS * width, rows * height))
    draw = ImageDraw.Draw(canvas)
    lettering = letter(sorted(set(names)))
    for n, image in enumerate(shown):
        x, y = n % COLUMNS * width, n // COLUMNS * height
        tile = Image.fromarray(np.ascontiguousarray(eight_bits(image).transpose(1, 2, 0)))
        canvas.paste(tile.resize((side, side), Image.Resampling.NEAREST), (x, y))
        text = lettering.text(names[n])
        font = pillow_font(text, LETTER)
        draw.text((x + 2, y + side + 2), _shortened(text, font, side), fill="white", font=font)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class Interval:
    """A row of `intervals`: a figure with its interval, and a source's figure, where there is one."""

    label: str
    score: Score | None
    source: float | None = None


def intervals(path: Path, title: str, rows: Sequence[Interval]) -> None:
    """A point and its 95 % interval for each row, from the top down; a hollow diamond for a source's figure."""
    letters = Lettering({})
    texts = [letters.text(row.label) for row in rows]
    with _figure(path, 6.4, 0.9 + 0.42 * len(rows), texts) as figure:
        axis = figure.subplots()
        for number, row in enumerate(rows):
            if row.score is not None:
                axis.plot([row.score.low, row.score.high], [number, number], color=VALIDATION, linewidth=2)
                axis.plot([row.score.value], [number], "o", color=VALIDATION)
            if row.source is not None:
                axis.plot([row.source], [number], "D", markerfacecolor="white", color=TRAIN)
        axis.set_yticks(range(len(rows)), texts, fontsize=8)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        note = "; diamond: the source, on its own data" if any(row.source is not None for row in rows) else ""
        axis.set_xlabel(f"{title}, 95 % interval{note}")
        axis.grid(axis="x", alpha=0.3)


def _shortened(text: str, font: Any, width: int) -> str:
    """A text that fits, with dots where something was left off."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


@contextmanager
def _figure(path: Path, width: float, height: float, texts: list[str]) -> Iterator[Any]:
    """A figure of so many inches, saved at the end; no window. `texts`: of any language, a `$` in them is a `$`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": families(texts), "text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png", metadata={"Software": None})
