"""Where a model looks, as tables: of attention.json alone, for the page of results and for the gallery."""

from dataclasses import dataclass

from chestfold.evaluate.attention import Attention, ByClass, ByMeasure
from chestfold.report.render import Table

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


@dataclass(frozen=True)
class AttentionView:
    """What the templates show of an attention.json."""

    about: Attention
    tables: list[Table]
    note: str

    @property
    def cells(self) -> str:
        """The size of a map: `8 x 8 cells`."""
        rows, columns = self.about.grid
        return f"{rows} x {columns} cells"


def attention_view(about: Attention) -> AttentionView:
    """The measures and checks of an attention.json, a column for each class."""
    tables = [_measures(about, "predicted", "Map of the predicted class")]
    tables.append(_measures(about, "positive", f"Map of {about.positive}"))
    if about.against:
        title = f"Minus {about.against.parent}, on the same {about.against.images} images"
        tables.append(_table(about, title, "difference", difference_names(about), about.against.measures))
    tables.append(_table(about, f"Checks on {about.checked} of the images", "check", CHECKS, about.checks))
    return AttentionView(about, tables, " ".join([NOTE, *_remarks(about)]))


def difference_names(about: Attention) -> dict[str, str]:
    """Column of images.csv -> its name in words, for the measures that a difference is shown of."""
    names = {f"predicted {key}": MEASURES[key] for key in ("in_lungs", "outside_lungs", "border", "chest_box")}
    names["positive outside_lungs"] = f"evidence for {about.positive} outside the lungs"
    return names | {f"positive {key}": MEASURES[key] for key in ("pointing", "lesion_energy")}


def _measures(about: Attention, target: str, title: str) -> Table:
    """With a last column for a map without any preference."""
    table = _table(about, title, "measure", MEASURES, about.measures[target])
    table.head.append("even")
    even = about.measures["even"]
    keys = [key for key in MEASURES if key in about.measures[target]]
    for row, key in zip(table.rows, keys, strict=True):
        row.append(f"{even[key]['all'].value:.4f}")
    return table


def _table(about: Attention, title: str, kind: str, names: dict[str, str], found: ByMeasure) -> Table:
    """A row for each of `names` that was found, a column for all classes and for each of them."""
    classes = ["all", *about.classes]
    rows = [[name, *_cells(found[key], classes)] for key, name in names.items() if key in found]
    return Table(title, [kind, *classes], rows, figures_from=1)


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
