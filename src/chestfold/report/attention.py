"""Where a model looks, as tables: of attention.json alone, for the page of results and for the gallery."""

from chestfold.evaluate.attention import Attention, ByClass
from chestfold.evaluate.metrics import Score
from chestfold.report.markup import Html, table, tag

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
    "deletion_random": "deletion by lot",
    "insertion": "insertion, area",
    "insertion_random": "insertion by lot",
    "similarity, classifier": "similarity, classifier randomized",
    "similarity, last half": "similarity, last half randomized",
    "similarity, all": "similarity, all weights randomized",
}
TARGETS = {"predicted": "map of the predicted class", "positive": "map of {}"}
NOTE = (
    "All: the mean over the classes. Even: what a map without any preference would have. Border: the outer sixteenth "
    "on each side. Chest box: the same middle part of every picture. Pointing game: the hottest place lies in the "
    "lesion or within 3 % of the side. Deletion (low is good) and insertion (high is good): area under the predicted "
    "class's probability while the hottest places go or come; by lot: the same with a random map. Likeness: rank "
    "correlation with the map of the same network with shuffled weights; near 1 the map would say nothing about what "
    "was learnt."
)


def attention_tables(about: Attention) -> Html:
    """The measures and checks of an attention.json, a column for each class."""
    names = ["all", *about.classes]
    parts = [_measures(about, target, words.format(about.positive), names) for target, words in TARGETS.items()]
    parts += _against_parent(about, names)
    rows = [[words, *_cells(about.checks[key], names)] for key, words in CHECKS.items() if key in about.checks]
    title = f"Checks on {about.checked} of the images"
    parts.append(tag("div", tag("h5", title), table(["check", *names], rows, class_="figures looks", label=title)))
    note = tag("p", " ".join([NOTE, *_remarks(about)]), class_="note")
    return tag("div", tag("div", *parts, class_="attention"), note)


def _measures(about: Attention, target: str, title: str, names: list[str]) -> Html:
    found, even = about.measures[target], about.measures["even"]
    rows = []
    for key, words in MEASURES.items():
        if key in found:
            rows.append([words, *_cells(found[key], names), f"{even[key]['all'].value:.4f}"])
    shown = table(["measure", *names, "even"], rows, class_="figures looks", label=title)
    return tag("div", tag("h5", title[0].upper() + title[1:]), shown)


def _against_parent(about: Attention, names: list[str]) -> list[Html]:
    """Paired differences to the parent's maps; nothing where the parent has none of the same kind."""
    if about.against is None:
        return []
    found = about.against.measures
    rows = [[words, *_cells(found[key], names)] for key, words in difference_words(about).items() if key in found]
    title = f"Minus {about.against.parent}, on the same {about.against.images} images"
    return [tag("div", tag("h5", title), table(["difference", *names], rows, class_="figures looks", label=title))]


def difference_words(about: Attention) -> dict[str, str]:
    """Column of images.csv -> its name in words, for the measures that a difference is shown of."""
    shares = {f"predicted {key}": MEASURES[key] for key in ("in_lungs", "outside_lungs", "border", "chest_box")}
    aimed = {f"positive {key}": MEASURES[key] for key in ("pointing", "lesion_energy")}
    evidence = {"positive outside_lungs": f"evidence for {about.positive} outside the lungs"}
    return shares | evidence | aimed


def _cells(figures: ByClass, names: list[str]) -> list[Html | str]:
    return [_figure(figures[name]) if name in figures else "-" for name in names]


def _figure(score: Score) -> Html:
    value, space, interval = str(score).partition(" ")
    return tag("td", value, tag("span", space + interval, class_="interval"))


def _remarks(about: Attention) -> list[str]:
    remarks = []
    if about.lungs_do_not_apply:
        remarks.append(f"{about.lungs_do_not_apply[0].upper()}{about.lungs_do_not_apply[1:]}.")
    lungs = about.lungs
    if "segmented" in lungs or "not_found" in lungs:
        images, without = sum(lungs.values()), lungs.get("not_found", 0)
        remarks.append(f"Lungs: segmented here; in {without} of {images} images none were found, these do not count.")
    elif "truth" in lungs:
        remarks.append("Lungs: from the masks beside the images.")
    empty = about.empty_maps
    if any(empty.values()):
        remarks.append(
            f"Maps that are zero everywhere do not count: {empty['predicted']} of the predicted class, "
            f"{empty['positive']} of {about.positive}."
        )
    return remarks
