"""Which files lie in a folder: images below it, links followed, and what is none of them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from chestfold.core.errors import InputError
from chestfold.data.dicom import DICOM_SUFFIXES, is_dicom

IMAGE_SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", *DICOM_SUFFIXES}
SPLITS = {"train": "train", "val": "train", "test": "test"}
"""Folders and arrays that a data set is delivered in -> the split of their images."""
DICOM_DIRECTORY = "DICOMDIR"
"""The table of contents of an exported disc: DICOM, and no image."""
OWN_FILES = {"dataset.toml"}
"""Files of a data set that are read, and are no images."""


@dataclass
class Listing:
    """The images of a folder, in the order of their names, and what else lies there: kind -> how many."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """What is not read, in lines."""
        return [f"ignored: {n} {kind} in {self.folder.name}/" for kind, n in sorted(self.others.items())]


def list_images(folder: Path, deep: bool = True) -> Listing:
    """The images of a folder, and with `deep` those of all folders below it.

    Links are followed, but for one that leads back into a folder that it lies in. A link to nothing counts as an image
    if it is named like one: reading it says what is wrong. Names in any case; a file without suffix is an image if it
    is DICOM.

    Raises:
        InputError: a folder cannot be read, or an image's name is not UTF-8.
    """
    found = Listing(folder)
    _look_into(folder, deep, frozenset(), found)
    return found


def _look_into(folder: Path, deep: bool, above: frozenset[Path], found: Listing) -> None:
    above |= {folder.resolve(), *folder.resolve().parents}
    for entry in _entries(folder):
        path = folder / entry.name
        if is_folder(entry):
            if is_junk(path):
                found.others[f"folder(s) {path.name}"] += 1
            elif not deep:
                continue
            elif path.resolve() in above:
                found.others["link(s) to the folder that they lie in"] += 1
            else:
                _look_into(path, deep, above, found)
        elif not is_junk(path) and is_image_file(path):
            found.images.append(_with_readable_name(path))
        elif path.suffix != ".csv" and path.name not in OWN_FILES:
            found.others[f"file(s) {path.suffix or path.name}"] += 1


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror})") from error


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _with_readable_name(path: Path) -> Path:
    """The path itself, where tables and result files can hold it: a carriage return ends a row of a CSV."""
    if "\r" in path.name:
        raise InputError(f"the name {str(path)!a} holds a carriage return; rename the file")
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the name {str(path)!a} is not in UTF-8; rename the file") from error
    return path


def is_junk(path: Path) -> bool:
    """Whether a file or folder is hidden, or macOS's shadow of one."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def is_image_file(path: Path) -> bool:
    """Whether a file is named like an image, or has no suffix and is DICOM, as discs are written.

    What stands behind the last dot of a UID is none: `1.2.840.113619.2.55`.
    """
    if path.suffix and not path.suffix[1:].isdecimal():
        return path.suffix.lower() in IMAGE_SUFFIXES
    if path.name == DICOM_DIRECTORY or not path.is_file():
        return False
    with path.open("rb") as file:
        return is_dicom(file.read(132))


def split_suffix(name: str) -> tuple[str, str]:
    """A file's name or path without the suffix of an image, and that suffix; "" where it has none."""
    stem, dot, end = name.rpartition(".")
    if dot and f".{end.lower()}" in IMAGE_SUFFIXES and stem and not stem.endswith("/"):
        return stem, dot + end
    return name, ""


def id_key(image_id: str) -> str:
    """An id as two tables may both write it: composed letters, no spaces around it, without the suffix of an image."""
    return split_suffix(normalize("NFC", image_id).strip())[0]


def short_names(ids: Iterable[str]) -> dict[str, str]:
    """What an image may be called without the folders before it -> its id, where that is one image's only."""
    found: dict[str, str] = {}
    of_several: set[str] = set()
    for image_id in ids:
        parts = id_key(image_id).split("/")
        for name in ("/".join(parts[n:]) for n in range(1, len(parts))):
            if found.setdefault(name, image_id) != image_id:
                of_several.add(name)
    return {name: image_id for name, image_id in found.items() if name not in of_several}


def image_row(root: Path, path: Path, image_id: str, label: str, group: str, split: str) -> dict[str, str]:
    """A row of an index."""
    place = path.relative_to(root).as_posix()
    return {"id": image_id, "path": place, "label": label, "group": group, "split": split}


def path_id(folder: Path, path: Path) -> str:
    """The id of an image that has no other name: its path below a folder, without suffix, composed (NFC)."""
    return normalize("NFC", split_suffix(path.relative_to(folder).as_posix())[0])


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders in a folder, links to folders too, in the order of their names, without hidden ones."""
    for entry in _entries(folder):
        path = folder / entry.name
        if is_folder(entry) and not is_junk(path):
            yield path
