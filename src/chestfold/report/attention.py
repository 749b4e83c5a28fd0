"""Where a model looks, as tables and as heat maps: of the folder that `chestfold explain` left, and nothing else."""

from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import DAMAGED_ARCHIVE, load_npz, require_npz_size
from chestfold.evaluate.attention import Attention, ByClass, ByMeasure, require_explained
from chestfold.report.records import Grid, Maps, array

MEASURES = {
    "in_lungs": "attention in the lungs",
    "outside_lungs": "attention outside the lungs",
    "border": "attention on the border",
    "chest_box": "attention in the chest box",
    "pointing": "pointing game",
    "pointing_strict": "pointing game, no tolerance",
    "lesion_energy": "attention in the lesion",
}
CHECKS = {
    "deletion": "deletion, area",
    "deletion_random": "deletion, random map",
    "insertion": "insertion, area",
    "insertion_random": "insertion, random map",
    "similarity, classifier": "similarity, classifier randomized",
    "similarity, last half": "similarity, last half randomized",
    "similarity, all": "similarity, all weights randomized",
}
NOTE = (
    "All: the mean over the classes. Even: what a map without any preference would have. Border: the outer sixteenth "
    "on each side. Chest box: the same middle part of every image. Pointing game: the map's maximum is in the lesion "
    "or within 3 % of the side. Deletion (low is good) and insertion (high is good): area under the predicted class's "
    "probability while the hottest places are removed or put back; random map: the same with a map that knows "
    "nothing. Similarity: rank correlation with the map of the same network with shuffled weights; near 1 the map "
    "would say nothing about what was learnt."
)


def grids(about: Attention) -> list[Grid]:
    """The measures and checks of an attention.json, a column for each class."""
    note = " ".join([f"{_origin(about)}.", NOTE, *_remarks(about)])
    found = [_measures(about, "predicted", "Map of the predicted class", note)]
    found.append(_measures(about, "positive", f"Map of {about.positive}"))
    if about.against:
        title = f"Minus {about.against.parent}, on the same {about.against.images} images"
        found.append(_grid(about, title, "difference", difference_names(about), about.against.measures))
    found.append(_grid(about, f"Checks on {about.checked} of the images", "check", CHECKS, about.checks))
    return found


def _origin(about: Attention) -> str:
    """`gradcam of layer1, 8 x 8 cells, 12 healthy, 12 ill`."""
    rows, columns = about.grid
    counts = ", ".join(f"{count} {name}" for name, count in about.images.items())
    return f"{about.method} of {about.layer}, {rows} x {columns} cells, {counts}"


def difference_names(about: Attention) -> dict[str, str]:
    """Column of images.csv -> its name in words, for the measures that a difference is shown of."""
    names = {f"predicted {key}": MEASURES[key] for key in ("in_lungs", "outside_lungs", "border", "chest_box")}
    names["positive outside_lungs"] = f"evidence for {about.positive} outside the lungs"
    return names | {f"positive {key}": MEASURES[key] for key in ("pointing", "lesion_energy")}


def _measures(about: Attention, target: str, title: str, note: str = "") -> Grid:
    """With a last column for a map without any preference."""
    found = _grid(about, title, "measure", MEASURES, about.measures[target], note)
    found.head.append("even")
    even = about.measures["even"]
    keys = [key for key in MEASURES if key in about.measures[target]]
    for row, key in zip(found.rows, keys, strict=True):
        row.append(f"{even[key]['all'].value:.4f}")
    return found


def _grid(about: Attention, title: str, kind: str, names: dict[str, str], found: ByMeasure, note: str = "") -> Grid:
    """A row for each of `names` that was found, a column for all classes and for each of them."""
    classes = ["all", *about.classes]
    rows = [[name, *_cells(found[key], classes)] for key, name in names.items() if key in found]
    return Grid(title, [kind, *classes], rows, 1, note)


def _cells(figures: ByClass, classes: list[str]) -> list[str]:
    return [str(figures[name]) if name in figures else "-" for name in classes]


def _remarks(about: Attention) -> list[str]:
    remarks = []
    if about.lungs_do_not_apply:
        remarks.append(f"{about.lungs_do_not_apply[0].upper()}{about.lungs_do_not_apply[1:]}.")
    lungs = about.lungs
    if "segmented" in lungs or "not_found" in lungs:
        without = lungs.get("not_found", 0)
        counts = f"in {without} of {sum(lungs.values())} images none were found, these do not count"
        remarks.append(f"Lungs: segmented here; {counts}.")
    elif "truth" in lungs:
        remarks.append("Lungs: from the masks beside the images.")
    empty = about.empty_maps
    if any(empty.values()):
        counts = f"{empty['predicted']} of the predicted class, {empty['positive']} of {about.positive}"
        remarks.append(f"Maps that are zero everywhere do not count: {counts}.")
    return remarks


def format_lines(folder: Path) -> list[str]:
    """The figures of a folder for the terminal: what was explained, and each measure of the predicted class."""
    about = Attention.from_json(folder / "attention.json")
    lines = [f"{about.name}: {_origin(about)}"]
    for key, name in MEASURES.items():
        target = "positive" if key.startswith(("pointing", "lesion")) else "predicted"
        score = about.figure(target, key)
        if score:
            lines.append(f"  {name:<34} {score}   an even map: {about.measures['even'][key]['all'].value:.4f}")
    for key, name in CHECKS.items():
        if key in about.checks:
            lines.append(f"  {name:<34} {about.checks[key]['all']}")
    if about.against:
        for key, name in difference_names(about).items():
            if key in about.against.measures:
                score = about.against.measures[key]["all"]
                lines.append(f"  {name:<34} {score}   against {about.against.parent}, paired")
    return lines


def read_maps(folder: Path) -> dict[str, np.ndarray]:
    """Id -> maps, float32 (2, rows, columns), of the predicted and of the positive class; empty where there are none.

    Raises:
        InputError: a file is damaged.
    """
    return _stored(folder, "maps")


def read_outlines(folder: Path, kind: str) -> dict[str, bytes]:
    """Id -> the mask of its "lungs" or "lesion", bits of a square row by row; only of images where it is known."""
    return {image: np.packbits(mask).tobytes() for image, mask in _stored(folder, kind).items() if mask.any()}


def _stored(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Id -> its part of an array that `explain` wrote; folders of older versions have fewer arrays."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("maps-fold*.npz")):
        require_explained(path)
        try:
            require_npz_size(path)
            stored = load_npz(path)
            if name in stored or name == "maps":
                found |= zip(stored["ids"].tolist(), stored[name], strict=True)
        except DAMAGED_ARCHIVE as error:
            raise InputError(f"{path} is damaged; explain the run again with --overwrite") from error
    return found


def small_maps(found: dict[int, np.ndarray], part: float, positive: str) -> Maps | None:
    """Row -> maps (2, rows, columns) as the page has them; None where there are none."""
    if not found:
        return None
    _, rows, columns = next(iter(found.values())).shape
    small = {}
    for row, maps in found.items():
        highest = maps.max(axis=(1, 2), keepdims=True)
        shares = np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
        small[row] = array(np.rint(shares.clip(0) * 255), "uint8")
    return Maps(rows, columns, part, positive, small)
