"""`chestfold predict`: pictures of any kind in, a table, JSON or CSV and heat maps out. A bad file stops no other."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from chestfold.core.console import bar, say, show
from chestfold.core.errors import InputError
from chestfold.core.files import runs_dir
from chestfold.predict.predictor import NOTICE, Answer, Looked, Predictor

if TYPE_CHECKING:
    from chestfold.predict.heatmap import Painter


@dataclass(frozen=True)
class Line:
    """What became of one file: an answer and perhaps a heat map, or the sentence why not."""

    path: Path
    answer: Answer | None
    overlay: Path | None = None
    error: str = ""


def open_predictor(name: str, value_range: Sequence[int] | None, window: str) -> Predictor:
    """The predictor that options describe."""
    low_high = (value_range[0], value_range[1]) if value_range else None
    return Predictor(name, low_high, window)


def open_painter(predictor: Predictor, folder: Path | None, layer: str) -> "Painter":
    """What draws the heat maps, into `folder`, or beside the run.

    Raises:
        InputError: no layer is known to make them of.
    """
    from chestfold.predict.heatmap import Painter

    try:
        return Painter(predictor, folder or runs_dir() / predictor.name / "asked", layer)
    except InputError as error:
        raise InputError(f"{error}; or ask with --no-overlay") from error


def ask(predictor: Predictor, paths: Sequence[Path], painter: "Painter | None") -> list[Line]:
    """A line for each file, in order; without a painter there are no heat maps."""
    lines = []
    with bar(f"asking {predictor.name}", len(paths)) as step:
        for batch in predictor.many(paths):
            read = [(path, looked) for path, looked in batch if not isinstance(looked, InputError)]
            painted = painter.paint(read) if painter else {}
            for path, looked in batch:
                lines.append(_line(path, looked, painted.get(path)))
                step("")
    return lines


def _line(path: Path, looked: Looked | InputError, overlay: Path | None) -> Line:
    if isinstance(looked, InputError):
        return Line(path, None, error=str(looked))
    return Line(path, looked.answer, overlay)


# What a person reads


def heading(predictor: Predictor) -> str:
    """Who answers, in a line."""
    folds = len(predictor.runs[0].folds)
    members = f"{len(predictor.runs)} runs, " if len(predictor.runs) > 1 else ""
    text = f"{members}{folds} fold{'s' * (folds > 1)}"
    return f"{predictor.name} ({text}): {', '.join(predictor.classes)}. {NOTICE}."


def tell(predictor: Predictor, lines: Sequence[Line], csv_file: Path | None) -> None:
    """Print the table, the reasons of those that were not read, and where the rest lies."""
    say(heading(predictor))
    show(table(lines))
    for line in lines:
        if line.error:
            say(f"not read: {line.error}")
    for folder in sorted({line.overlay.parent for line in lines if line.overlay}):
        say(f"heat maps: {folder}")
    if csv_file:
        say(f"wrote {csv_file}")


def table(lines: Sequence[Line]) -> Table:
    """Class, probability, the folds' spread, and a word on pictures unlike the training data; narrow enough for 80."""
    root = _common_folder([line.path for line in lines])
    shown = Table(title=f"in {root}" if root else None, title_justify="left")
    for name, justify in (("file", "left"), ("class", "left"), ("probability", "right"), ("folds", "left")):
        shown.add_column(name, justify=justify, no_wrap=name != "file", overflow="fold")  # type: ignore[arg-type]
    shown.add_column("remark")
    for line in lines:
        shown.add_row(Text(str(line.path)[len(root) :]), *_cells(line.answer))
    return shown


def _common_folder(paths: Sequence[Path]) -> str:
    """What all paths begin with, up to a slash: it would fill the table and tell nothing."""
    folders = [str(path.parent) for path in paths]
    common = os.path.commonpath(folders) if len({path.is_absolute() for path in paths}) == 1 else ""
    return f"{common}/" if common not in ("", ".", "/") else ""


def _cells(answer: Answer | None) -> list[str]:
    if answer is None:
        return ["not read", "", "", ""]
    low, high = answer.spread[answer.label]
    spread = f"{low:.3f}-{high:.3f}" if len(answer.folds) > 1 else "one"
    return [answer.label, f"{answer.probability:.3f}", spread, remark(answer)]


def remark(answer: Answer) -> str:
    """A word where one is needed."""
    words = [f"unlike the training data ({answer.ood_score:.1f} x)"] if answer.out_of_distribution else []
    words += ["unlike or not: unknown"] if answer.out_of_distribution is None else []
    words += [f"seen whole: {answer.no_lungs}"] if answer.no_lungs else []
    return "; ".join(words)


# What a program reads


def as_json(predictor: Predictor, lines: Sequence[Line]) -> str:
    """Everything, with the notice before it."""
    model = {"name": predictor.name, "classes": list(predictor.classes), "members": [r.name for r in predictor.runs]}
    model["folds"] = list(predictor.runs[0].numbers)  # type: ignore[arg-type]
    whole = {"notice": NOTICE, "model": model, "images": [_record(line) for line in lines]}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)


def _record(line: Line) -> dict[str, Any]:
    record: dict[str, Any] = {"file": str(line.path), "error": line.error or None}
    if line.answer is None:
        return record
    answer = line.answer
    return record | {
        "class": answer.label,
        "probability": answer.probability,
        "probabilities": answer.probabilities,
        "spread": {name: list(pair) for name, pair in answer.spread.items()},
        "folds": list(answer.folds),
        "ood_score": answer.ood_score,
        "out_of_distribution": answer.out_of_distribution,
        "lungs_not_found": answer.no_lungs or None,
        "overlay": str(line.overlay) if line.overlay else None,
    }


def as_csv(predictor: Predictor, lines: Sequence[Line]) -> str:
    """A row for each file; the notice is a column, so that it stays with every row."""
    classes = predictor.classes
    head = ["file", "class", "probability", *(f"p_{c}" for c in classes)]
    head += [f"{side}_{c}" for c in classes for side in ("low", "high")]
    head += ["ood_score", "out_of_distribution", "lungs_not_found", "overlay", "error", "notice"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, head, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(_row(line))
    return buffer.getvalue()


def _row(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(line.path), "error": line.error, "notice": NOTICE}
    if line.answer is None:
        return row
    answer = line.answer
    row |= {"class": answer.label, "probability": answer.probability, "overlay": line.overlay or ""}
    row["lungs_not_found"] = answer.no_lungs
    row |= {f"p_{name}": p for name, p in answer.probabilities.items()}
    for name, (low, high) in answer.spread.items():
        row |= {f"low_{name}": low, f"high_{name}": high}
    told = answer.out_of_distribution is not None
    return row | {
        "ood_score": answer.ood_score if told else "",
        "out_of_distribution": answer.out_of_distribution if told else "",
    }
