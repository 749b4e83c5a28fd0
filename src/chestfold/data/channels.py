"""What is decoded for a network: side, bits, and one grey channel or three that the data set declares.

Three channels are the colours of a file, three windows of one CT slice, a slice between its neighbours, or one grey
image three times, as networks for photographs want it.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chestfold.core.config import Experiment, difference
from chestfold.core.errors import InputError
from chestfold.data.dataset import Dataset, Index, Levels
from chestfold.data.decode import decode
from chestfold.data.levels import LUMA, TYPES, eight_bits, repeated

Places = tuple[str, str, str]
"""Where the slice before an image, the image itself and the slice after it are; the same three times without slices."""


@dataclass(frozen=True)
class Form:
    """Pixels a side, 1 or 3 channels, 8 or 16 bits a channel."""

    size: int
    channels: int = 1
    depth: int = 8

    @property
    def shape(self) -> tuple[int, ...]:
        """(size, size), or (size, size, 3)."""
        return (self.size, self.size) if self.channels == 1 else (self.size, self.size, self.channels)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of a channel."""
        return TYPES[self.depth]


def form_of(exp: Experiment) -> Form:
    """What an experiment decodes images to."""
    return Form(exp.image_size, exp.channels, exp.depth)


def require_channels(form: Form, dataset: Dataset) -> None:
    """Raise `InputError` where three channels are wanted, and the data set does not say what they are."""
    if form.channels == 3 and not dataset.three_channels:
        raise InputError(
            f"channels = 3: {dataset.name} does not say what its three channels are; declare three_channels = "
            '"rgb", "windows", "slices" or "grey" in its dataset.toml, or use channels = 1'
        )


def shown_as(dataset: Dataset, channels: int) -> dict[str, str]:
    """What a declaration says of how files become pixels: field -> its value as a text; only what is declared."""
    fields = ["value_range", "ct_window", "windows"]
    fields += ["three_channels", "slice_pattern"] if channels == 3 else []
    return {name: str(getattr(dataset, name)) for name in fields if getattr(dataset, name)}


def as_hashed(dataset: Dataset, channels: int) -> list[dict[str, str]]:
    """`shown_as`, to be hashed with the images of a set that joins; nothing of a set that declares nothing."""
    shown = shown_as(dataset, channels)
    return [shown] if shown else []


def require_shown(shown: dict[str, str] | None, dataset: Dataset, channels: int, trained: str) -> None:
    """Raise `InputError` where `dataset` declares other pixels than `shown`, of which `trained` is; None: not known."""
    changed = difference(shown, shown_as(dataset, channels)) if shown is not None else {}
    if changed:
        listed = []
        for name, (then, now) in changed.items():
            listed.append(f"{name}: {then} then, {now} now")
        raise InputError(
            f"{trained} was trained while the dataset.toml of {dataset.name} said otherwise what its pixels are "
            f"({', '.join(listed)}); restore it, or train again"
        )


def what_is_missing(dataset: Dataset) -> str:
    """What a declaration of three channels lacks, as a sentence; "" where nothing is missing."""
    if dataset.three_channels == "windows" and not dataset.windows:
        return (
            'three_channels = "windows" needs windows, a list of three, as in ["lung", "mediastinum", "bone"] '
            "or [[0, 1000], [500, 1500], [0, 4095]]"
        )
    if dataset.three_channels == "slices" and not dataset.slice_pattern:
        return (
            'three_channels = "slices" needs slice_pattern, a regular expression that finds the series and the number '
            "of a slice in its id, as in slice_pattern = '^(.+)_(\\d+)$'"
        )
    return ""


def decode_form(dataset: Dataset, root: Path, places: Places, form: Form, levels: Levels) -> np.ndarray:
    """An image of a data set in the form that a network wants, of shape `form.shape`.

    `levels` say what is black and white, but where the data set declares three windows.

    Raises:
        InputError: as `decode`.
    """
    if form.channels == 1:
        return decode(root, places[1], form.size, *levels, depth=form.depth)
    if dataset.three_channels == "rgb":
        return decode(root, places[1], form.size, *levels, colour=True, depth=form.depth)
    if dataset.three_channels == "grey":
        return repeated(decode(root, places[1], form.size, *levels, depth=form.depth))
    if dataset.three_channels == "windows":
        greys = [decode(root, places[1], form.size, *window, depth=form.depth) for window in dataset.window_levels]
    else:
        greys = [decode(root, place, form.size, *levels, depth=form.depth) for place in places]
    return np.stack(greys, axis=-1)


def grey_of(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Decoded images as a person looks at them: uint8 (N, S, S), of (N, S, S) or (N, S, S, 3), uint8 or uint16.

    Of three windows the first one, of neighbouring slices the middle one, of colours their luma.
    """
    if pixels.ndim == 3:
        return eight_bits(pixels)
    if dataset.three_channels == "rgb":
        return np.rint(eight_bits(pixels) @ LUMA).astype(np.uint8)
    return eight_bits(pixels[..., 0 if dataset.three_channels == "windows" else 1])


# Neighbouring slices


def neighbours(index: Index) -> np.ndarray:
    """Rows of the slice before each image, of the image and of the slice after it: int64 (N, 3).

    Neighbours are of the same series and split; numbers may have gaps. At either end a slice is its own neighbour.

    Raises:
        InputError: an id that `slice_pattern` does not match, two slices of one number, or a training series of two
            groups, in which a slice would be trained on beside one that is held out.
    """
    found = np.repeat(np.arange(len(index.table))[:, None], 3, axis=1)
    for rows in _series(index):
        found[rows[1:], 0] = rows[:-1]
        found[rows[:-1], 2] = rows[1:]
    return found


def _series(index: Index) -> list[list[int]]:
    """The rows of each series in the order of their slices."""
    name = index.dataset.name
    slices: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    ids, splits = index.table["id"].tolist(), index.table["split"].tolist()
    for row, image_id in enumerate(ids):
        match = slice_of(index.dataset, image_id)
        if match is None:
            raise InputError(f"{name}: slice_pattern does not match the id {image_id!r}; correct it")
        series, number = match
        other = slices[splits[row], series].setdefault(number, row)
        if other != row:
            raise InputError(f"{name}: {ids[other]} and {image_id} are both slice {number} of the series {series!r}")
    for (split, series), rows in slices.items():
        if split == "train":
            _require_one_group(index, series, list(rows.values()))
    return [[rows[number] for number in sorted(rows)] for rows in slices.values()]


def _require_one_group(index: Index, series: str, rows: list[int]) -> None:
    groups = index.table["group"].iloc[rows].unique()
    if len(groups) > 1:
        raise InputError(
            f"{index.dataset.name}: the series {series!r} is of two patients, {groups[0]!r} and {groups[1]!r}, so that "
            "a slice would be trained on beside one that is held out; declare the group that holds a series"
        )


def slice_of(dataset: Dataset, text: str) -> tuple[str, int] | None:
    """Series and number in an id or a path, by `slice_pattern`; None where it does not match."""
    match = re.search(dataset.slice_pattern, text)
    return (match[1], int(match[2])) if match else None


def places_of(index: Index, form: Form) -> list[Places]:
    """What each image of an index is decoded from."""
    paths = index.table["path"].tolist()
    if form.channels == 1 or index.dataset.three_channels != "slices":
        return [(path, path, path) for path in paths]
    return [(paths[before], paths[row], paths[after]) for before, row, after in neighbours(index)]


def file_places(dataset: Dataset, path: Path, form: Form) -> Places:
    """The same for a single file: its neighbours are looked for in its own folder.

    Raises:
        InputError: `slice_pattern` does not match the name of the file, or two files are the same slice.
    """
    name = path.name
    if form.channels == 1 or dataset.three_channels != "slices":
        return name, name, name
    own = _slice_of_file(dataset, path)
    if own is None:
        raise InputError(f"{path}: its neighbours are unknown: the slice_pattern of {dataset.name} does not match")
    series, number = own
    known = {number: name}
    for other in sorted(path.parent.iterdir()):
        match = _slice_of_file(dataset, other)
        if other.suffix != path.suffix or match is None or match[0] != series:
            continue
        if known.setdefault(match[1], other.name) != other.name:
            raise InputError(f"{other} and {known[match[1]]} are both slice {match[1]} of the series {series!r}")
    before = max((n for n in known if n < number), default=number)
    after = min((n for n in known if n > number), default=number)
    return known[before], name, known[after]


def _slice_of_file(dataset: Dataset, path: Path) -> tuple[str, int] | None:
    """By the file's name, else by its whole path, either without its suffix or with it, as an id may be."""
    for text in (path.stem, path.name, path.with_suffix("").as_posix(), path.as_posix()):
        match = slice_of(dataset, text)
        if match:
            return match
    return None
