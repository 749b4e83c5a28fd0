"""attention.json: where a model looks, as numbers; written by `chestfold explain`, read by the board and the pages."""

from pathlib import Path

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import require_size, sha256_file
from chestfold.core.records import Record
from chestfold.evaluate.bootstrap import Score

ATTENTION = "explain/gradcam/attention.json"
"""That of the default method: beside a result in runs/, and beside its published copy."""

IMAGES = "images.csv"
"""Beside it: a row for each image that was explained."""

ByClass = dict[str, Score]
"""Class -> mean over its images, and "all" -> the mean over the classes."""
ByMeasure = dict[str, ByClass]
"""Measure (`in_lungs`, `pointing`, ...) -> figures."""


class AgainstParent(Record):
    """Paired differences, ours minus the parent's, on the `images` that both were explained on."""

    parent: str
    images: int
    measures: ByMeasure


class Attention(Record):
    """What a run's heat maps have in common.

    `grid`: cells of a map, rows and columns. `folds`: number -> hashes of the networks. `images`: class -> count.
    `checked`: images with deletion, insertion and randomized weights. `lungs`: where they come from -> images.
    `measures`: target ("predicted", "positive" or "even": a map without any preference) -> measures. `files`: name of a
    file beside it -> SHA-256; explanations of before have none.
    """

    name: str
    method: str
    layer: str
    grid: tuple[int, int]
    image_size: int
    data: str
    view: str
    classes: tuple[str, ...]
    positive: str
    folds: dict[str, list[str]]
    images: dict[str, int]
    checked: int
    empty_maps: dict[str, int]
    lungs: dict[str, int]
    lungs_do_not_apply: str
    measures: dict[str, ByMeasure]
    checks: ByMeasure
    fingerprint: dict[str, str]
    commit: str
    date: str
    against: AgainstParent | None = None
    files: dict[str, str] = {}

    def figure(self, target: str, measure: str) -> Score | None:
        """A measure over all classes; None where it does not apply."""
        found = self.measures[target].get(measure)
        return found["all"] if found else None


def require_explained(path: Path) -> None:
    """Raise `InputError` where a file of an explanation is not the one that was written with its attention.json."""
    about = path.parent / Path(ATTENTION).name
    expected = Attention.from_json(about).files.get(path.name) if about.exists() else None
    if expected and sha256_file(path) != expected:
        raise InputError(f"{path} is damaged (its hash differs); explain the run again with --overwrite")


def read_images(folder: Path) -> pd.DataFrame | None:
    """images.csv of an explanation; None where there is none. Raises as `require_explained`."""
    path = folder / IMAGES
    if not path.exists():
        return None
    require_size(path)
    require_explained(path)
    return pd.read_csv(path, encoding="utf-8-sig", dtype={"id": str})
