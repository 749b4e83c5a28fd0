"""What is declared about a data set, and the index that every reader ends in."""

import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field, field_validator, model_validator

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.core.records import Record
from chestfold.core.task import TASKS, create_task
from chestfold.data.dicom import CT_WINDOWS

Levels = tuple[tuple[int, int] | None, str]
"""A declared range or none, and the name of a CT window or none."""
WINDOWS = f"a list of three: names of CT windows ({', '.join(CT_WINDOWS)}) or ranges of two different whole numbers"
COLUMNS = ["id", "path", "label", "group", "split"]
ID = "{id}"
"""What stands for an image's id in a template."""
ANY_OTHER = "*"
"""The key of `labels` for every value that it does not name."""
MOST_SUBGROUPS = 12
"""Parts that images are divided into: more of them are names, dates or measurements."""
WHOLE_NUMBER = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")
FOLDER_IS_PATIENT = "folder"
"""The `group` of the reader folders: the first folder below the class folder is the patient."""


def declared(default: Any, meaning: str, **limits: Any) -> Any:
    """A field of a declaration; `meaning`: what a value of it is, for the sentence about a wrong one."""
    return Field(default, description=meaning, **limits)


class Submission(Record):
    """What a competition wants to be sent."""

    file: str = declared("sample_submission.csv", "a path in the data folder")
    """The sample; of its cells only the ids are ever read."""
    id: str = declared("", "a text")
    """Its column of ids. Empty: called as that of the data set, else the first."""
    columns: dict[str, str] = declared({}, "a table of texts: column of the file = class")
    """Column -> class. Empty: the columns are called like classes, or there is one, for the positive class."""
    answer: Literal["probability", "class"] = declared("probability", "probability or class")

    @field_validator("file")
    @classmethod
    def _is_in_the_folder(cls, path: str) -> str:
        _require(stays_inside(path))
        return path


class Subgroup(Record):
    """How the images of a data set are divided: by a `pattern` on the id, or by a `column` of the table."""

    pattern: str = declared("", "a regular expression with a group, which is the value")
    """An image whose id it does not match is of no subgroup."""
    column: str = declared("", "a text")
    """csv. An image whose cell is empty is of no subgroup."""

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        _require(not pattern or _groups_in(pattern) > 0)
        return pattern

    def value_in(self, image_id: str) -> str:
        """The value in an id, by the pattern; "" where there is none."""
        match = re.search(self.pattern, image_id)
        return (match[1] or "") if match else ""


class Dataset(Record):
    """The declaration of one data set: a dataset.toml, or an entry of catalogue.toml. Nothing is guessed from files.

    Which fields belong together is proven by `declaration.read_declaration`.
    """

    name: str
    about: str = declared("declared by you", "a text")
    origin: str = declared("your own", "a text")
    licence: str = declared("your own", "a text")
    task: str = declared("multiclass", f"one of {', '.join(TASKS)}")
    """One class an image, any number of labels an image, or one of the grades in `classes`: a name of core.task."""
    classes: tuple[str, ...] = declared((), "a list of different texts", min_length=1)
    """In the order of the prediction columns. Not given: the columns that `labels` lists."""
    positive: str = declared("", "a text")
    """The class that precision, recall and a binary submission are about. Of grades the last, if not given."""
    metric: str = declared("", "a text")
    """The competition's metric, a name of evaluate.metrics. Empty: the task's."""
    metric_weights: dict[str, float] = declared({}, "a table of numbers, 0 or more: class = weight")
    """Class -> weight, for the metric weighted_log_loss."""
    reader: str = declared(..., "a text")
    """folders, csv, npz, or the name of a reader that an experiment's hooks define."""
    patient: str = declared("as declared", "a text")
    """What one group is, in words; for people."""
    patient_pattern: str = declared("", "a regular expression")
    """folders: regular expression on the file name, csv: on the id; its groups, joined, are the patient (without
    groups: all that it matches). Empty: each image."""
    class_patterns: dict[str, str] = declared({}, "a table of regular expressions")
    """folders: class -> regular expression on `<class folder>/<file>`. Empty: the folder names are the classes. Of
    several labels each that matches is one."""
    labels: dict[str, str] | tuple[str, ...] = declared({}, "a table of texts, or a list of columns")
    """csv, npz, a table: value in the file -> class (of several labels also "": none of them); the key `*` stands for
    any other value. Empty: the values are the class names. csv, a list: columns of 0 and 1, one a class."""
    table: str = declared("train.csv", "a path in the data folder")
    """csv: the file that lists the training images; several rows an image are merged (see readers.cells)."""
    test_table: str = declared("", "a path in the data folder")
    """csv: the file that lists the test images, with or without labels. Empty: test.csv, else the sample submission."""
    id: str = declared("id", "a text")
    """csv: column of ids, with or without suffix; they may hold folders."""
    label: str = declared("label", "a text")
    """csv: column of labels."""
    separator: str = declared("", "a text")
    """csv, several labels: what stands between them in a cell. Empty: one label a cell."""
    unknown: tuple[str, ...] = declared((), "a list of texts")
    """csv, npz: cells that mean "not known". Of several labels that label is not known; else the image is left out."""
    no_finding: tuple[str, ...] = declared((), "a list of texts")
    """csv, several labels: cells that mean "none of the labels" (of a column of 0 and 1: "not this one")."""
    images: str = declared("images/{id}", f"a path in the data folder with {ID} in it, as train/{ID}.png")
    """csv: where the training images lie; `*` stands for any part of a name, and a suffix may be left out."""
    test_images: str = declared("", f"a path in the data folder with {ID} in it, as test/{ID}.png")
    """csv: where the test images lie. Empty: where the training images do."""
    tabular: tuple[str, ...] = declared((), "a list of columns")
    """csv: columns that the index carries on as texts, for networks that see more than pixels."""
    subgroups: dict[str, Subgroup] = declared({}, "a table: title = { pattern = ... } or { column = ... }")
    """Title -> how images are divided, for scores of each part: kind = { pattern = '_(bacteria|virus)_' }."""
    parts: tuple[str, ...] = ()
    """joined: the data sets of the catalogue that this one is made of; their class names are kept."""
    group: str = declared("", "a text", validation_alias=AliasChoices("group", "group_column"))
    """csv: column that names the patient. folders: "folder" (see `FOLDER_IS_PATIENT`). Empty: each image is its own."""
    unknown_group: tuple[str, ...] = declared((), "a list of texts")
    """csv: cells of `group` that mean "not known": each such image is its own patient, as with an empty cell."""
    warning: str = declared("", "a text")
    """What a reader of a score has to know of these images; shown with them."""
    submission: Submission = declared(Submission(), "a table: file, id, columns, answer")
    """What is to be sent."""
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

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Classes are the columns of labels where nothing else is said, and of grades the last is positive."""
        filled = dict(values)
        if "classes" not in filled and isinstance(filled.get("labels"), tuple):
            filled["classes"] = filled["labels"]
        grades = filled.get("classes")
        if filled.get("task") == "ordinal" and isinstance(grades, tuple | list) and grades:
            filled.setdefault("positive", grades[-1])
        return filled

    @field_validator("task")
    @classmethod
    def _is_a_task(cls, task: str) -> str:
        _require(task in TASKS)
        return task

    @field_validator("classes")
    @classmethod
    def _are_different(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        _require(len({tidy(name) for name in classes}) == len(classes))
        _require(all(name and name == name.strip() for name in classes))
        return classes

    @field_validator("images", "test_images")
    @classmethod
    def _is_a_template(cls, template: str) -> str:
        if template:
            _require(stays_inside(template) and ID in template)
            _require("{" not in template.replace(ID, ""))
        return template

    @field_validator("table", "test_table")
    @classmethod
    def _is_in_the_folder(cls, path: str) -> str:
        _require(not path or stays_inside(path))
        return path

    @field_validator("patient_pattern", "class_patterns")
    @classmethod
    def _compile(cls, patterns: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in [patterns] if isinstance(patterns, str) else patterns.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(str(error)) from error
        return patterns

    @field_validator("metric_weights")
    @classmethod
    def _are_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        _require(all(0 <= weight < math.inf for weight in weights.values()))
        return weights

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
        _require(not pattern or _groups_in(pattern) == 2)
        return pattern

    @field_validator("hu_window")
    @classmethod
    def _is_rising(cls, ends: tuple[int, int] | None) -> tuple[int, int] | None:
        _require(ends is None or ends[0] < ends[1])
        return ends

    @property
    def carried(self) -> tuple[str, ...]:
        """csv: the columns that the index has besides its own: what networks may see, and what divides the images."""
        dividing = [subgroup.column for subgroup in self.subgroups.values() if subgroup.column]
        return tuple(dict.fromkeys([*self.tabular, *dividing]))

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

    def patient_of(self, name: str, where: str) -> str:
        """The patient that the file name or id `name` belongs to, by `patient_pattern`.

        Raises:
            InputError: the pattern does not match; says `where`.
        """
        patient = self.patient_in(name)
        if not patient:
            raise InputError(f"{where}: no patient can be read from this name (expected {self.patient_pattern!r})")
        return patient

    def patient_in(self, name: str) -> str:
        """The patient in a file name or id, by `patient_pattern`; "" where it does not match or there is none."""
        match = re.search(self.patient_pattern, name)
        if match is None:
            return ""
        return "_".join(part for part in match.groups() if part) or match.group()


def id_column_of(header: list[str], source: str, dataset: Dataset) -> str:
    """The column of ids in a sample submission: declared, else called like the data set's, else the first of `header`.

    Raises:
        InputError: the one that is declared is not in `source`.
    """
    declared_id = dataset.submission.id
    if declared_id and declared_id not in header:
        raise InputError(f"[submission] id = {declared_id!r}: {source} has no such column (it has {', '.join(header)})")
    return declared_id or (dataset.id if dataset.id in header else header[0])


def _groups_in(pattern: str) -> int:
    """How many groups a regular expression has; `ValueError` where it is none."""
    try:
        return re.compile(pattern).groups
    except re.error as error:
        raise ValueError(str(error)) from error


def _require(right: bool) -> None:
    """Refuse a value; the sentence says what the field is."""
    if not right:
        raise ValueError


def stays_inside(path: str) -> bool:
    """Whether a path, as it is written, is a relative one that climbs out of nothing."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\0" not in path


def tidy(text: str) -> str:
    """A cell or name as it is compared: composed letters (NFC), no spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def comparable(cell: str) -> str:
    """A cell as it is compared with declared texts: `tidy`, and whole numbers by their value: "1.0" is "1"."""
    text = tidy(cell)
    number = WHOLE_NUMBER.fullmatch(text)
    if number is None:
        return text
    sign, digits = number.groups()
    return f"-{digits}" if sign == "-" and digits != "0" else digits


def tidy_patient(text: str) -> str:
    """A patient as it is compared: what people and Excel write in more than one way is the same.

    Full-width and half-width are one (NFKC), and so are capitals, hyphens and dashes, and whole numbers of one value;
    spaces and letters without width count as far as they part words. Joining two patients costs little; taking one for
    two puts him into two folds.
    """
    shown = [c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"]
    plain = "".join("-" if unicodedata.category(c) == "Pd" else c for c in shown)
    return comparable(" ".join(plain.split()).casefold())


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
    """Check the rows and put them in order; different spellings of a patient become the first one.

    Raises:
        InputError: a doubled id, an unknown class, a class without images, no image at all.
    """
    if not rows:
        raise InputError(f"{root} holds no images for {dataset.name}; its README in input/ says how to get them")
    notes = [*notes, *_one_spelling_a_patient(rows)]
    columns = [*COLUMNS, *dataset.carried]
    table = pd.DataFrame(rows, columns=columns).fillna("").sort_values(["split", "id"], ascending=[False, True])
    doubled = table[table["id"].duplicated(keep=False)]
    if len(doubled):
        first = doubled["id"].iloc[0]
        where = " and ".join(doubled.loc[doubled["id"] == first, "path"].iloc[:2])
        raise InputError(f"{root}: id {first!r} occurs twice ({where}); ids must be unique")
    _require_images_of_each_class(dataset, root, table.loc[table["split"] == "train", "label"].tolist())
    notes += _notes_on_subgroups(dataset, root, table)
    return Index(dataset, root, table.reset_index(drop=True), tuple(notes))


def _one_spelling_a_patient(rows: list[dict[str, str]]) -> list[str]:
    """Give each patient the spelling that comes first; a note where there were others."""
    first: dict[str, str] = {}
    others: set[str] = set()
    for row in rows:
        if row["group"] == row["id"]:
            continue  # nobody wrote this down as a patient
        spelling = first.setdefault(tidy_patient(row["group"]), row["group"])
        if spelling != row["group"]:
            others.add(row["group"])
            row["group"] = spelling
    if not others:
        return []
    example = sorted(others)[0]
    same = first[tidy_patient(example)]
    return [f"patients: {len(others)} other spelling(s) of the same name were joined, as {example!r} and {same!r}"]


def subgroup_values(dataset: Dataset, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Title of a division -> the value of each image of `table` (N,), "" where it has none.

    A division by a column is left out where `table` has only ids.
    """
    found = {}
    for title, subgroup in dataset.subgroups.items():
        if subgroup.pattern:
            found[title] = np.array([subgroup.value_in(image_id) for image_id in table["id"]], str)
        elif subgroup.column in table:
            found[title] = np.array([tidy(cell) for cell in table[subgroup.column]], str)
    return found


def _notes_on_subgroups(dataset: Dataset, root: Path, table: pd.DataFrame) -> list[str]:
    """A note on each division that no image is of; `InputError` where one has too many parts."""
    notes = []
    for title, values in subgroup_values(dataset, table).items():
        different = np.unique(values[values != ""]).tolist()
        if len(different) > MOST_SUBGROUPS:
            raise InputError(
                f"{root}: subgroups.{title} divides the images into {len(different)} parts, as {different[0]!r} and "
                f"{different[1]!r}; a division has at most {MOST_SUBGROUPS}: name another pattern or column"
            )
        if not len(different):
            notes.append(f"subgroups.{title}: no image is of any; the pattern matches no id, or all cells are empty")
    return notes


def _require_images_of_each_class(dataset: Dataset, root: Path, labels: list[str]) -> None:
    task = create_task(dataset.task, dataset.classes, dataset.positive)
    found = (task.truth(task.labels(labels)) == 1).any(axis=0)
    for name, has_images in zip(dataset.classes, found, strict=True):
        if not has_images:
            raise InputError(f"{root}: class {name!r} has no training image; add some or change the declaration")
