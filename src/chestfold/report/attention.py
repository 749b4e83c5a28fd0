"""Where a model looks, as tables: of attention.json alone, for the page of results and for the gallery."""

from typing import Any

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


def score_of(figure: dict[str, float]) -> Score:
    """A figure of attention.json."""
    return Score(figure["value"], figure["low"], figure["high"])


def attention_tables(about: dict[str, Any]) -> Html:
    """The measures and checks of an attention.json, a column for each class."""
    names = ["all", *about["classes"]]
    parts = [_measures(about, target, words.format(about["positive"]), names) for target, words in TARGETS.items()]
    parts += _against_parent(about, names)
    rows = [[words, *_cells(about["checks"][key], names)] for key, words in CHECKS.items() if key in about["checks"]]
    title = f"Checks on {about['checked']} of the images"
    parts.append(tag("div", tag("h5", title), table(["check", *names], rows, class_="figures looks", label=title)))
    note = tag("p", " ".join([NOTE, *_remarks(about)]), class_="note")
    return tag("div", tag("div", *parts, class_="attention"), note)


def _measures(about: dict[str, Any], target: str, title: str, names: list[str]) -> Html:
    found, even = about["measures"][target], about["measures"]["even"]
    rows = [
        [words, *_cells(found[key], names), f"{even[key]['all']['value']:.4f}"]
        for key, words in MEASURES.items()
        if key in found
    ]
    shown = table(["measure", *names, "even"], rows, class_="figures looks", label=title)
    return tag("div", tag("h5", title[0].upper() + title[1:]), shown)


def _against_parent(about: dict[str, Any], names: list[str]) -> list[Html]:
    """Paired differences to the parent's maps; nothing where the parent has none of the same kind."""
    against = about.get("against")
    if not against:
        return []
    found = against["measures"]
    rows = [[words, *_cells(found[key], names)] for key, words in difference_words(about).items() if key in found]
    title = f"Minus {against['parent']}, on the same {against['images']} images"
    return [tag("div", tag("h5", title), table(["difference", *names], rows, class_="figures looks", label=title))]


def difference_words(about: dict[str, Any]) -> dict[str, str]:
    """Column of images.csv -> its name in words, for the measures that a difference is shown of."""
    shares = {f"predicted {key}": MEASURES[key] for key in ("in_lungs", "outside_lungs", "border", "chest_box")}
    aimed = {f"positive {key}": MEASURES[key] for key in ("pointing", "lesion_energy")}
    evidence = {"positive outside_lungs": f"evidence for {about['positive']} outside the lungs"}
    return shares | evidence | aimed


def _cells(figures: dict[str, Any], names: list[str]) -> list[Html | str]:
    return [_figure(figures[name]) if name in figures else "-" for name in names]


def _figure(figure: dict[str, float]) -> Html:
    value, space, interval = str(score_of(figure)).partition(" ")
    return tag("td", value, tag("span", space + interval, class_="interval"))


def _remarks(about: dict[str, Any]) -> list[str]:
    no_lungs = about["lungs_do_not_apply"]
    said = [f"{no_lungs[0].upper()}{no_lungs[1:]}." if no_lungs else ""]
    lungs = about["lungs"]
    if "segmented" in lungs or "not_found" in lungs:
        declined, all_ = lungs.get("not_found", 0), sum(lungs.values())
        said.append(f"Lungs: segmented here; of {all_} images {declined} were declined and do not count.")
    elif "truth" in lungs:
        said.append("Lungs: from the masks beside the images.")
    empty = about["empty_maps"]
    if any(empty.values()):
        said.append(
            f"Maps that are zero everywhere do not count: {empty['predicted']} of the predicted class, "
            f"{empty['positive']} of {about['positive']}."
        )
    return [sentence for sentence in said if sentence]
