"""Where images lie: `train/{id}.png`, `images_*/images/{id}`, `{id}/image.dcm`, held against the files."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from chestfold.core.errors import InputError
from chestfold.data.dataset import ID, stays_inside
from chestfold.data.readers.files import IMAGE_SUFFIXES, Listing, list_images, split_suffix

ANY_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))


@dataclass(frozen=True)
class Places:
    """The images of a template. `by_id`: id, with suffix and without, in composed letters -> the files of that id."""

    root: Path
    template: str
    listing: Listing
    by_id: dict[str, list[Path]]

    def find(self, image_id: str, where: str) -> Path:
        """The image of an id, which may carry the suffix of its file, and folders as Windows writes them.

        Raises:
            InputError: there is none, or there are two, or the id is a path that leaves the data folder.
        """
        slashed = image_id.replace("\\", "/")
        if not stays_inside(image_id) or not stays_inside(slashed):
            complaint = "is not a plain file name, nor a path in the data folder; ids may not leave it"
            raise InputError(f"{where}: id {image_id!r} {complaint}")
        found = self.by_id.get(_key(image_id), []) or self.by_id.get(_key(slashed), [])
        if not found:
            raise InputError(f"{where}: no image {image_id!r} {self._expected(image_id)}")
        if len(found) > 1:
            names = " and ".join(str(path.relative_to(self.root)) for path in found[:2])
            raise InputError(f"{where}: {names} have the same id {image_id!r}; remove one of them, or write its suffix")
        return found[0]

    def _expected(self, image_id: str) -> str:
        """Where it was looked for, and what lies there instead."""
        folder, _, end = self.template.rpartition("/")
        where = f"in {self.root / folder}" if end == ID and "*" not in folder else f"as {self.root / self.template}"
        other = self.by_id.get(_key(split_suffix(image_id)[0]), [])
        return where + (f", but there is {other[0].name}" if other else "")


def open_places(root: Path, template: str) -> Places:
    """The files below `root` that fit a template: its `{id}` is any path, the same wherever it stands, its `*` any part
    of a name; without a suffix of an image, any such suffix fits.

    Raises:
        InputError: the folder that it begins with is missing.
    """
    folder = root / _fixed_folder(template)
    if not folder.is_dir():
        raise InputError(
            f'{folder} does not exist; put the images there, or declare where they lie: images = "train/{ID}.png"'
        )
    listing, pattern = list_images(folder), _pattern(template)
    by_id: dict[str, list[Path]] = {}
    for path in listing.images:
        match = pattern.fullmatch(normalize("NFC", path.relative_to(root).as_posix()))
        if match:
            for name in dict.fromkeys([match["id"], match["id"] + match["suffix"].lower()]):
                by_id.setdefault(name, []).append(path)
    return Places(root, template, listing, by_id)


def _fixed_folder(template: str) -> str:
    """The folders of a template before the first part that differs from image to image."""
    fixed = []
    for part in PurePosixPath(template).parts[:-1]:
        if ID in part or "*" in part:
            break
        fixed.append(part)
    return "/".join(fixed)


def _pattern(template: str) -> re.Pattern[str]:
    """What the path of an image looks like; its groups are `id` and `suffix`."""
    body, suffix = split_suffix(normalize("NFC", PurePosixPath(template).as_posix()))
    any_name = body.replace("*", "\0")
    text = re.escape(any_name).replace(re.escape("\0"), "[^/]*").replace(re.escape(ID), "(?P<id>.+?)", 1)
    text = text.replace(re.escape(ID), "(?P=id)")
    ending = re.escape(suffix) if suffix else f"(?:{ANY_SUFFIX})?"
    return re.compile(f"{text}(?P<suffix>(?i:{ending}))", re.DOTALL)


def _key(image_id: str) -> str:
    """An id as `by_id` has it: its suffix in small letters, no `.` or doubled `/` between its folders."""
    name, suffix = split_suffix(normalize("NFC", PurePosixPath(image_id).as_posix()))
    return name + suffix.lower()
