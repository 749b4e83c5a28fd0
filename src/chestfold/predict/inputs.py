"""Which files a person means: images by name, and those in folders."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chestfold.core.errors import InputError
from chestfold.data.readers.files import is_image_file


def find_images(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The files of `places`, those of folders and their subfolders in sorted order, and what was left out.

    A file that is named is always tried; in a folder those count that are named like an image, and those without a
    suffix whose content is DICOM, as discs are written.

    Raises:
        InputError: a place does not exist; there is no image at all.
    """
    found: dict[Path, None] = {}
    others: Counter[str] = Counter()
    for place in places:
        if not place.exists():
            raise InputError(f"{place} does not exist; name an image or a folder of them")
        for path in _files_in(place) if place.is_dir() else [place]:
            if path == place or is_image_file(path):
                found[path] = None
            else:
                others[path.suffix.lower() or path.name] += 1
    if not found:
        raise InputError(f"{', '.join(map(str, places))}: there is no image in it")
    return list(found), [f"ignored: {count} file(s) {kind}" for kind, count in sorted(others.items())]


def _files_in(folder: Path) -> list[Path]:
    """Files of a folder and its subfolders, without hidden ones and links to folders."""
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        found += [Path(base) / name for name in names if not name.startswith(".")]
    return sorted(found)
