"""What is declared about a data set, and the index that every reader ends in."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.core.records import Record
from chestfold.data.dicom import CT_WINDOWS

Levels = tuple[tuple[int, int] | None, str]
"""A declared range or none, and the name of a CT window or none."""
WINDOWS = f"a list of three: names of CT windows ({', '.join(CT_WINDOWS)}) or ranges of two different whole numbers"
COLUMNS = ["id", "path", "label", "group", "split"]


def declared(default: Any, meaning: str, **limits: Any) -> Any:
    """A field of a declaration; `meaning`: what a value of it is, for the sentence about a wrong one."""
    return Field(default, description=meaning, **limits)


class Dataset(Record):
    """The declaration of one data set: a dataset.toml, or an entry of catalogue.toml. Nothing is guessed from files."""

    name: str
    about: str = declared("declared by you", "a text")
    origin: str = declared("your own", "a text")
    licence: str = declared("your own", "a text")
    classes: tuple[str, ...] = declared(..., "a list of different texts", min_length=1)
    """In the order of the prediction columns."""
    positive: str = declared(..., "a text")
    """The class that precision, recall and a binary submission are about."""
    reader: Literal["folders", "csv", "npz", "joined"] = declared(..., "folders, csv or npz")
    patient: str = declared("as declared", "a text")
    """What one group is, in words; for people."""
    patient_pattern: str = declared("", "a regular expression")
    """folders: regular expression on the file name; its groups, joined, are the patient (without groups:
    all that it matches). Empty: each image."""
    class_patterns: dict[str, str] = declared({}, "a table of regular expressions")
    """folders: class -> regular expression on `<class folder>/<file>`. Empty: the folder names are the classes."""
    labels: dict[str, str] = declared({}, "a table of texts")
    """csv, npz: value in the file -> class. Empty: the values are the class names."""
    table: str = declared("train.csv", "a text")
    """csv: the file that lists the training images."""
    parts: tuple[str, ...] = ()
    """joined: the data sets of the catalogue that this one is made of; their class names are kept."""
    group_column: str = declared("", "a text")
    """csv: column that names the patient. Empty: each image is its own."""
    value_range: tuple[int, int] | None = declared(None, "two different whole numbers")
    """16-bit images: stored values that become black and white (DICOM: after the rescale)."""
    hu_window: tuple[int, int] | None = declared(None, "two whole numbers, black below white")
    """CT: the Hounsfield units that are shown black and white. None: not known, or not the same for all images."""
    pixel_mm: float | None = declared(None, "a number above 0", gt=0)
    """Millimetres from pixel to pixel. None: not known, or not the same for all images."""
    ct_window: Literal["", "lung", "mediastinum", "bone"] = declared("", f"one of {', '.join(CT_WINDOWS)}")
    """DICOM files of CT: a name of dicom.CT_WINDOWS. Empty: the window that each file names itself."""
    three_channels: Literal["", "rgb", "windows", "slices", "grey"] = declared("", "rgb, windows, slices or grey")
    """What an experiment with channels = 3 sees: the colours of a file; three `windows` of it; the slice before it, the
    slice and the one after it; or one grey image three times. Empty: not declared, and there is only channels = 1."""
    windows: tuple[str | tuple[int, int], ...] = declared((), WINDOWS)
    """Names of dicom.CT_WINDOWS (DICOM files of CT), or values that become black and white. Where neither
    `value_range` nor `ct_window` is declared, a single channel shows the first of them."""
    slice_pattern: str = declared("", "a regular expression with two groups, the series and the number of a slice")
    """Regular expression on the id."""
    folder: str = declared("", "a text")
    """Folder inside input/; empty: the name."""
    view: Literal["", "axial", "projection", "patch"] = declared("", "one of axial, projection, patch")
    """What one image shows: a slice of CT across the chest, an X-ray of all of it, or a part. Empty: not declared."""
    kaggle: str = ""
    """`owner/name` of the Kaggle data set that holds exactly this; empty: none does."""

    @field_validator("classes")
    @classmethod
    def _are_different(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        _require(len(set(classes)) == len(classes))
        return classes

    @field_validator("patient_pattern", "class_patterns")
    @classmethod
    def _compile(cls, patterns: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in [patterns] if isinstance(patterns, str) else patterns.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(str(error)) from error
        return patterns

    @field_validator("value_range")
    @classmethod
    def _is_a_range(cls, ends: tuple[int, int] | None) -> tuple[int, int] | None:
        _require(ends is None or ends[0] != ends[1])
        return ends

    @field_validator("windows", mode="before")
    @classmethod
    def _are_pairs(cls, windows: Any) -> Any:
        if not isinstance(windows, tuple):
            return windows
        return tuple(tuple(window) if isinstance(window, list) else window for window in windows)

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, windows: tuple[str | tuple[int, int], ...]) -> tuple[str | tuple[int, int], ...]:
        _require(len(windows) in (0, 3))
        for window in windows:
            _require(window in CT_WINDOWS if isinstance(window, str) else window[0] != window[1])
        return windows

    @field_validator("slice_pattern")
    @classmethod
    def _has_two_groups(cls, pattern: str) -> str:
        try:
            _require(not pattern or re.compile(pattern).groups == 2)
        except re.error as error:
            raise ValueError(str(error)) from error
        return pattern

    @field_validator("hu_window")
    @classmethod
    def _is_rising(cls, ends: tuple[int, int] | None) -> tuple[int, int] | None:
        _require(ends is None or ends[0] < ends[1])
        return ends

    @property
    def input_folder(self) -> str:
        """Name of the folder inside input/; of a joined set, whose parts have a folder each, input/ itself."""
        return "." if self.parts else self.folder or self.name

    @property
    def levels(self) -> Levels:
        """What is black and white in 16-bit and DICOM images."""
        if self.windows and not self.value_range and not self.ct_window:
            return self.window_levels[0]
        return self.value_range, self.ct_window

    @property
    def window_levels(self) -> list[Levels]:
        """The same of each of the three `windows`."""
        return [(None, window) if isinstance(window, str) else (window, "") for window in self.windows]

    def patient_of(self, path: Path) -> str:
        """The patient that `path` belongs to, by `patient_pattern`.

        Raises:
            InputError: the pattern does not match the file's name.
        """
        match = re.search(self.patient_pattern, path.name)
        if match is None:
            raise InputError(f"{path}: no patient can be read from this name (expected {self.patient_pattern!r})")
        return "_".join(part for part in match.groups() if part) or match.group()


def _require(right: bool) -> None:
    """Refuse a value; the sentence says what the field is."""
    if not right:
        raise ValueError


@dataclass(frozen=True)
class Index:
    """All images of a data set: `id, path, label, group, split`, one row each, sorted by split and id.

    `path` is relative to `root` (an `.npz` member as `file.npz#array/row`); `label` is a class name or "" where
    it is withheld; `split` is `train` or `test`. `notes` say what a reader left out.
    """

    dataset: Dataset
    root: Path
    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> pd.DataFrame:
        """The labelled images that folds are made of."""
        return self.table[self.table["split"] == "train"].reset_index(drop=True)

    @property
    def test(self) -> pd.DataFrame:
        """The images that a submission is about."""
        return self.table[self.table["split"] == "test"].reset_index(drop=True)

    def sha256(self) -> str:
        """Hash of ids, labels and patients of the training images: what a fold file belongs to."""
        return sha256_json(self.train[["id", "label", "group"]].to_numpy().tolist())


def make_index(dataset: Dataset, root: Path, rows: list[dict[str, str]], notes: list[str]) -> Index:
    """Check the rows and put them in order.

    Raises:
        InputError: a doubled id, an unknown class, a class without images, no image at all.
    """
    if not rows:
        raise InputError(f"{root} holds no images for {dataset.name}; its README in input/ says how to get them")
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["split", "id"], ascending=[False, True])
    doubled = table[table["id"].duplicated(keep=False)]
    if len(doubled):
        where = " and ".join(doubled["path"].iloc[:2])
        raise InputError(f"{root}: id {doubled['id'].iloc[0]!r} occurs twice ({where}); ids must be unique")
    train = table[table["split"] == "train"]
    for name in dataset.classes:
        if not (train["label"] == name).any():
            raise InputError(f"{root}: class {name!r} has no training image; add some or change the declaration")
    return Index(dataset, root, table.reset_index(drop=True), tuple(notes))
