"""Where the images lie that a column of a table names."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from chestfold.data.dataset import ID, stays_inside
from chestfold.data.readers.files import split_suffix

BRACES = re.compile("[{}]")
"""In a folder's name: what no template can say but by `*`."""
SAMPLED = 2000
"""About so many cells of a column are looked at."""


@dataclass(frozen=True)
class Match:
    """How many cells of a column name an image, of how many, and the template of these images."""

    found: int
    cells: int
    template: str

    @property
    def share(self) -> float:
        """Of the cells, 0 to 1."""
        return self.found / self.cells if self.cells else 0.0


class Names:
    """The images of a folder by the last part of their name."""

    def __init__(self, root: Path, images: Sequence[Path]) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)
        for path in images:
            place = normalize("NFC", path.relative_to(root).as_posix())
            self._places[PurePosixPath(split_suffix(place)[0]).name].append(place)

    def match(self, cells: Sequence[str]) -> Match:
        """How far the different texts in the cells name images; of many, some from all over the column."""
        different = list(dict.fromkeys(cells))
        different = different[:: 1 + len(different) // SAMPLED]
        templates = {cell: self._templates(cell) for cell in different}
        found = {cell: some for cell, some in templates.items() if some}
        return Match(len(found), len(different), _common_template(found) if found else "")

    def _templates(self, cell: str) -> list[str]:
        """The templates that the images called `cell` would have."""
        name, suffix = split_suffix(normalize("NFC", cell))
        if not stays_inside(name):
            return []
        wanted = PurePosixPath(name).as_posix()
        found = []
        for place in self._places.get(PurePosixPath(name).name, []):
            body, own_suffix = split_suffix(place)
            if body == wanted or body.endswith("/" + wanted):
                parts = PurePosixPath(body[: -len(wanted)]).parts
                folders = [ID if part == name else BRACES.sub("*", part) for part in parts]
                found.append("/".join([*folders, ID]) + ("" if suffix else own_suffix))
        return found


def _common_template(found: dict[str, list[str]]) -> str:
    """The template of all; where they differ, parts of names become `*`, and suffixes are left out."""
    template, waiting = "", dict(found)
    while waiting:
        counts = Counter(some for templates in waiting.values() for some in templates)
        best = counts.most_common(1)[0][0]
        merged = _merged(template, best) if template else best
        if not merged:
            break
        template = merged
        waiting = {cell: templates for cell, templates in waiting.items() if best not in templates}
    return template


def _merged(one: str, other: str) -> str:
    """A template that both fit; "" where they have a different number of folders."""
    (body, suffix), (other_body, other_suffix) = split_suffix(one), split_suffix(other)
    parts, others = body.split("/"), other_body.split("/")
    if len(parts) != len(others):
        return ""
    same = [_merged_part(a, b) for a, b in zip(parts, others, strict=True)]
    return "/".join(same) + (suffix if suffix.lower() == other_suffix.lower() else "")


def _merged_part(one: str, other: str) -> str:
    """A part of a name that both fit: `images_001` and `images_002` become `images_00*`."""
    if one == other:
        return one
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return "".join(letter for letter, _ in same).removesuffix("*") + "*"
