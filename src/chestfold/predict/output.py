"""What `chestfold predict` prints and writes: a table, JSON, CSV and heat maps. A bad file stops no other."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from chestfold.core.console import bar, plural
from chestfold.core.errors import InputError
from chestfold.predict.prediction import NOTICE, Prediction
from chestfold.predict.predictor import Predictor, ReadImage

if TYPE_CHECKING:
    from chestfold.predict.heatmap import HeatmapWriter


@dataclass(frozen=True)
class Line:
    """The outcome of one file: a prediction and perhaps a heat map, or the sentence why not."""

    path: Path
    prediction: Prediction | None
    heatmap: Path | None = None
    error: str = ""


def predict_files(predictor: Predictor, paths: Sequence[Path], heatmaps: "HeatmapWriter | None") -> list[Line]:
    """A line for each file, in order; without a writer there are no heat maps."""
    lines = []
    with bar(f"predicting with {predictor.name}", len(paths)) as advance:
        for batch in predictor.many(paths):
            read = [(path, image) for path, image in batch if isinstance(image, ReadImage)]
            written = heatmaps.write(read) if heatmaps else {}
            for path, image in batch:
                if isinstance(image, InputError):
                    lines.append(Line(path, None, error=str(image)))
                else:
                    lines.append(Line(path, image.prediction, written.get(path)))
            advance(len(batch))
    return lines


# What a person reads


def heading(predictor: Predictor) -> str:
    """The model in a line."""
    models = plural(len(predictor.runs[0].folds), "fold")
    if len(predictor.runs) > 1:
        models = f"{plural(len(predictor.runs), 'run')}, {models}"
    if predictor.remarks:
        models = "; ".join(remark.text() for remark in predictor.remarks)
    return f"{predictor.name} ({models}): {', '.join(predictor.classes)}. {NOTICE}."


def table(lines: Sequence[Line]) -> Table:
    """Class, probability, the folds' spread, and a remark where one is needed; narrow enough for 80 columns."""
    root = _common_folder([line.path for line in lines])
    shown = Table(title=f"in {root}" if root else None, title_justify="left")
    shown.add_column("file", overflow="fold")
    shown.add_column("class", no_wrap=True)
    shown.add_column("probability", justify="right", no_wrap=True)
    shown.add_column("folds", no_wrap=True)
    shown.add_column("remark")
    for line in lines:
        shown.add_row(Text(str(line.path)[len(root) :]), *_cells(line.prediction))
    return shown


def _common_folder(paths: Sequence[Path]) -> str:
    """What all paths begin with, up to a slash: it would fill the table and tell nothing."""
    if len({path.is_absolute() for path in paths}) != 1:
        return ""
    common = os.path.commonpath([str(path.parent) for path in paths])
    return f"{common}/" if common not in ("", ".", "/") else ""


def _cells(prediction: Prediction | None) -> list[Text]:
    """Class, probability, spread and remarks; the class in the colour of the worst remark that has one."""
    if prediction is None:
        return [Text("not read", "red"), Text(), Text(), Text()]
    remarks = prediction.remarks
    styles = [remark.style for remark in remarks if remark.style]
    spread = "one"
    if len(prediction.folds) > 1:
        low, high = prediction.spread[prediction.label]
        spread = f"{low:.3f}-{high:.3f}"
    words = Text("; ").join(Text(remark.text(), remark.style) for remark in remarks)
    decision = Text(prediction.decision, styles[0] if styles else "")
    return [decision, Text(f"{prediction.probability:.3f}"), Text(spread), words]


# What a program reads


def as_json(predictor: Predictor, lines: Sequence[Line]) -> str:
    """Everything, with the notice before it."""
    model = {
        "name": predictor.name,
        "classes": list(predictor.classes),
        "members": [run.name for run in predictor.runs],
        "folds": list(predictor.runs[0].numbers),
        "folds_of_run": predictor.runs[0].of or None,
        "remarks": [remark.text() for remark in predictor.remarks],
    }
    content = {"notice": NOTICE, "model": model, "images": [_record(line) for line in lines]}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _record(line: Line) -> dict[str, Any]:
    record: dict[str, Any] = {"file": str(line.path), "error": line.error or None}
    prediction = line.prediction
    if prediction is None:
        return record
    return record | {
        "class": prediction.decision,
        "probability": prediction.probability,
        "probabilities": prediction.probabilities,
        "spread": {name: list(ends) for name, ends in prediction.spread.items()},
        "folds": list(prediction.folds),
        "ood_score": prediction.ood_score,
        "out_of_distribution": prediction.out_of_distribution,
        "folds_disagree": prediction.folds_disagree,
        "in_training_data": prediction.seen.image if prediction.seen else None,
        "answered_by": list(prediction.seen.unseen_by) if prediction.seen else None,
        "lungs_not_found": prediction.no_lungs or None,
        "remarks": [remark.text() for remark in prediction.remarks],
        "heatmap": str(line.heatmap) if line.heatmap else None,
    }


def as_csv(predictor: Predictor, lines: Sequence[Line]) -> str:
    """A row for each file; the notice is a column, so that it stays with every row."""
    columns = ["file", "class", "probability"]
    columns += [f"p_{name}" for name in predictor.classes]
    for name in predictor.classes:
        columns += [f"low_{name}", f"high_{name}"]
    columns += ["remarks", "ood_score", "out_of_distribution", "folds_disagree", "in_training_data"]
    columns += ["lungs_not_found", "heatmap", "error", "notice"]
    rows = [_row(line) for line in lines]
    return pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False, lineterminator="\n")


def _row(line: Line) -> dict[str, Any]:
    """The values of a row; a missing one is an empty cell."""
    row = {key: value for key, value in _record(line).items() if not isinstance(value, (dict, list))}
    row["notice"] = NOTICE
    if line.prediction:
        row["remarks"] = "; ".join(remark.text() for remark in line.prediction.remarks)
        row |= {f"p_{name}": p for name, p in line.prediction.probabilities.items()}
        for name, (low, high) in line.prediction.spread.items():
            row |= {f"low_{name}": low, f"high_{name}": high}
    return row
