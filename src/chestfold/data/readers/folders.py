"""The reader "folders": a folder for each class."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.task.multilabel import label_text
from chestfold.data.dataset import FOLDER_IS_PATIENT, Dataset, Index, make_index, tidy
from chestfold.data.readers.files import SPLITS, Listing, folders_in, image_row, is_junk, list_images, path_id

OTHER_SPLITS = {"valid": "train", "validation": "train", "training": "train", "testing": "test"}
"""What the split folders are called in some data sets; a note says what was made of them."""


def read_folders(dataset: Dataset, root: Path) -> Index:
    """`[train|val|test/]<class>/.../<image>`; val (valid, validation) joins train.

    Folders below the class folders are read, and links followed (`files.list_images`). A test folder without class
    folders is unlabelled: its ids are the paths in it. The Kaggle copy of chest-xray-pneumonia holds itself a second
    time and macOS's shadow files: left out, noted.

    Raises:
        InputError: a folder or file lies where the declaration does not expect it; says which.
    """
    base = descend(root)
    splits = split_folders(base, dataset.classes)
    reading = _Reading(dataset, root)
    for folder, split in splits.items() if splits else {base: "train"}.items():
        reading.read_split(folder, split)
    left_out = [*_beside(root, [base]), *_left_out(base, splits)] if base != root else _left_out(base, splits)
    return make_index(dataset, root, reading.rows, [*left_out, *reading.notes, *reading.patient_notes()])


def read_test_folders(dataset: Dataset, root: Path) -> list[dict[str, str]]:
    """The rows of the test images alone, of whose folder there may be none; raises as `read_folders`."""
    reading = _Reading(dataset, root)
    for folder, split in split_folders(descend(root), dataset.classes).items():
        if split == "test":
            reading.read_split(folder, split)
    return reading.rows


def descend(root: Path) -> Path:
    """Kaggle's zip may hold everything one folder deeper: `chest_xray/chest_xray/train`.

    Raises:
        InputError: there are two such folders.
    """
    inner = [p for p in folders_in(root) if (p / "train").is_dir()]
    if (root / "train").is_dir() or not inner:
        return root
    if len(inner) > 1:
        raise InputError(
            f"{inner[0]} and {inner[1]} both hold a folder train, and one set is read; move the images of all into one "
            f"train folder, or keep one of them in {root}"
        )
    return inner[0]


def split_folders(base: Path, classes: tuple[str, ...]) -> dict[Path, str]:
    """The folders of the splits, if there are any, and which split each of them is; no class is called so."""
    found = []
    for path in folders_in(base):
        usual = path.name in SPLITS
        if usual or (path.name.lower() in SPLITS | OTHER_SPLITS and tidy(path.name) not in classes):
            found.append(path)
    order = list(SPLITS | OTHER_SPLITS)
    found.sort(key=lambda path: order.index(path.name.lower()))
    return {path: (SPLITS | OTHER_SPLITS)[path.name.lower()] for path in found}


def _left_out(base: Path, splits: dict[Path, str]) -> list[str]:
    """What lies beside the folders of the splits, and what these are taken for where their names are not the usual."""
    if not splits:
        return []
    named_otherwise = {path.name: split for path, split in splits.items() if path.name not in SPLITS}
    taken = [f"{name}/ is read as a part of {split}" for name, split in named_otherwise.items()]
    return [*_beside(base, splits), *taken]


def _beside(folder: Path, read: Iterable[Path]) -> list[str]:
    """What lies in a folder beside the folders in it that are read."""
    folders = list(read)
    notes = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and p not in folders):
        count = 0 if is_junk(path) else len(list_images(path).images)
        notes.append(f"ignored: {path.name}/" + (f" with {count} image(s)" if count else ""))
    beside = list_images(folder, deep=False).images
    if beside:
        notes.append(f"ignored: {len(beside)} image(s) beside the folders {', '.join(p.name for p in folders)}")
    return notes


@dataclass
class _Reading:
    """The rows and notes of a data set whose folders are being read."""

    dataset: Dataset
    root: Path
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deep: int = 0
    """Images in a folder below their class folder."""

    def read_split(self, folder: Path, split: str) -> None:
        """Add the images of train, val, test, or of the whole set."""
        flat = list_images(folder, deep=False)
        self.notes += flat.notes()
        class_folders = list(folders_in(folder))
        if split == "test" and not self._has_classes(flat, class_folders):
            self._read_unlabelled(folder)
            return
        if flat.images:
            raise InputError(
                f"{flat.images[0]} is outside a class folder; move it into one of {', '.join(self.dataset.classes)}"
            )
        if not class_folders:
            raise InputError(f"{folder} has no class folders; expected {', '.join(self.dataset.classes)}")
        for class_folder in class_folders:
            self._read_class(class_folder, split)

    def _has_classes(self, flat: Listing, folders: list[Path]) -> bool:
        """Whether a test folder has a folder for each class, so that it is labelled."""
        if self.dataset.class_patterns:
            return bool(folders) and not flat.images
        return any(self._class_of(path) for path in folders)

    def _class_of(self, folder: Path) -> str:
        """The class that a folder is called like, in composed letters; "" for none."""
        named = {tidy(name): name for name in self.dataset.classes}
        return named.get(tidy(folder.name), "")

    def _read_unlabelled(self, folder: Path) -> None:
        for below in folders_in(folder):
            self.notes += list_images(below).notes()
        for path in list_images(folder).images:
            image_id = path_id(folder, path)
            group = self._folder_below(folder, path) or image_id
            self.rows.append(image_row(self.root, path, image_id, "", group, "test"))

    def _read_class(self, folder: Path, split: str) -> None:
        label = self._class_of(folder)
        if not label and not self.dataset.class_patterns:
            declared = ", ".join(self.dataset.classes)
            raise InputError(f"{folder}: {folder.name!r} is not a declared class ({declared})")
        listing = list_images(folder)
        self.notes += listing.notes()
        if not listing.images:
            raise InputError(f"{folder} holds no images; add some or remove the folder")
        for path in listing.images:
            self.deep += path.parent != folder
            text = _label_by_patterns(self.dataset, folder, path) if self.dataset.class_patterns else label
            self.rows.append(
                image_row(self.root, path, path_id(self.root, path), text, self._patient(folder, path), split)
            )

    def _patient(self, class_folder: Path, path: Path) -> str:
        if self.dataset.patient_pattern:
            return self.dataset.patient_of(path.name, str(path))
        return self._folder_below(class_folder, path) or path_id(self.root, path)

    def _folder_below(self, folder: Path, path: Path) -> str:
        """The first folder between `folder` and an image, where that is the patient; else ""."""
        parts = path.relative_to(folder).parts
        is_patient = self.dataset.group == FOLDER_IS_PATIENT and len(parts) > 1
        return parts[0] if is_patient else ""

    def patient_notes(self) -> Iterator[str]:
        """What should be declared about folders below the class folders."""
        if self.deep and not self.dataset.group and not self.dataset.patient_pattern:
            yield (
                f"{self.deep} image(s) lie in folders below their class folder, and each is its own patient; if such a "
                f'folder is a patient, declare group = "{FOLDER_IS_PATIENT}"'
            )


def _label_by_patterns(dataset: Dataset, folder: Path, path: Path) -> str:
    """The class whose pattern `<class folder>/<file>` fits; of several labels all those classes."""
    name = tidy(f"{folder.name}/{path.relative_to(folder).as_posix()}")
    hits = [c for c in dataset.classes if c in dataset.class_patterns and re.search(dataset.class_patterns[c], name)]
    if dataset.task == "multilabel":
        return label_text(dataset.classes, np.isin(dataset.classes, hits).astype(float).tolist())
    if len(hits) != 1:
        raise InputError(f"{path}: its name fits {len(hits)} of the classes {', '.join(dataset.classes)}, not one")
    return hits[0]
