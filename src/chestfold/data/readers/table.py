"""The reader "csv": a table beside images, read where a competition has put them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.dataset import Dataset, Index, id_column_of, make_index, tidy_patient
from chestfold.data.readers.cells import has_labels, label_columns, row_labels, text_of
from chestfold.data.readers.files import image_row, path_id
from chestfold.data.readers.places import Places, open_places
from chestfold.data.tables import Table, open_table

TEST_TABLE = "test.csv"


def read_csv(dataset: Dataset, root: Path) -> Index:
    """The training images of `table`, and the test images of `test_table` or else those that are to be submitted.

    A row names an image by its id, with or without suffix, and its labels and patient. Several rows may name the same
    image: of one class they must agree; of several labels, one that any row says is there; else it is not known if a
    row says so; else it is not there. Labels of test images come from `test_table` alone: of the sample submission only
    the ids are read. A set of a single class needs no label column.

    Raises:
        InputError: a file, column, image or label is missing, wrong, or contradicts another; says which line.
    """
    reading = _Reading(dataset, root)
    reading.read(open_table(root / dataset.table), "train")
    reading.read_test()
    reading.tell_splits_apart()
    return make_index(dataset, root, reading.rows, [*reading.places_notes(), *reading.notes])


@dataclass
class _Image:
    """What the rows of a table say about an image."""

    row: int
    image_id: str
    labels: np.ndarray
    """float (K,)."""
    patient: str
    more: list[str]
    """The cells of the columns that are carried on."""


@dataclass
class _Reading:
    """The rows and notes of a data set whose tables are being read."""

    dataset: Dataset
    root: Path
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used: set[Path] = field(default_factory=set)
    places: dict[str, Places] = field(default_factory=dict)
    """Template -> its images."""

    def read(self, table: Table, split: str) -> None:
        """Add the images that a table names."""
        dataset = self.dataset
        if split == "train" and not table.lines:
            raise InputError(f"{table.path} has no row below its header; add one for each training image")
        groups = [dataset.group] if dataset.group and split == "train" else []
        labels = label_columns(dataset) if split == "train" and not self._has_one_class() else []
        more = dataset.carried if split == "train" else dataset.tabular
        table.require(dataset.id, *labels, *groups, *more, declared_in="dataset.toml")
        images = self._images(table, split)
        unlabelled = 0
        for path, image in images.items():
            is_withheld = split == "test" and np.isnan(image.labels).all()
            label = "" if is_withheld else text_of(dataset, image.labels)
            if split == "train" and not label:
                unlabelled += 1
                continue
            row = image_row(self.root, path, image.image_id, label, image.patient or image.image_id, split)
            self.rows.append(row | dict(zip(dataset.carried, image.more, strict=True)))
        if unlabelled:
            self.notes.append(f"left out: {unlabelled} image(s) of {table.path.name} whose class is not known")
        several = len(table.lines) - len(images)
        if several:
            self.notes.append(f"{table.path.name}: {len(table.lines)} rows name {len(images)} images; they were merged")

    def read_test(self) -> None:
        """Add the images of the test table, or those of the sample submission, which says nothing about them."""
        named, usual, sample = (
            self.root / name for name in (self.dataset.test_table, TEST_TABLE, self.dataset.submission.file)
        )
        if self.dataset.test_table and named != sample:
            self.read(open_table(named), "test")
        elif usual.exists() and usual != sample and not self.dataset.test_table:
            self.read(open_table(usual), "test")
        elif sample.exists():
            self._read_sample(open_table(sample))
        else:
            self.notes.append(f"no {TEST_TABLE} and no {sample.name}: there is no test split")

    def _read_sample(self, table: Table) -> None:
        dataset = self.dataset
        if dataset.tabular:
            raise InputError(
                f"{table.path} has no columns {', '.join(dataset.tabular)}: declare the test_table that has them"
            )
        column = id_column_of(table.columns, str(table.path), dataset)
        places = self._places("test")
        images: dict[Path, str] = {}
        for row, image_id in enumerate(table.cells(column)):
            images.setdefault(places.find(image_id, table.where(row)), image_id)
        for path, image_id in images.items():
            patient = dataset.patient_in(image_id) or image_id
            self.rows.append(image_row(self.root, path, image_id, "", patient, "test"))
        self.used |= set(images)

    def _images(self, table: Table, split: str) -> dict[Path, _Image]:
        """Each image that a table names, in the order of its first row."""
        places, labels = self._places(split), self._labels(table, split)
        patients = self._patients(table, split)
        more = table.frame.reindex(columns=list(self.dataset.carried), fill_value="").to_numpy().tolist()
        images: dict[Path, _Image] = {}
        for row, image_id in enumerate(table.cells(self.dataset.id)):
            path = places.find(image_id, table.where(row))
            new = _Image(row, image_id, labels[row], patients[row], more[row])
            images[path] = self._merged(table, images[path], new) if path in images else new
        self.used |= set(images)
        return images

    def _places(self, split: str) -> Places:
        template = self.dataset.images
        if split == "test" and self.dataset.test_images:
            template = self.dataset.test_images
        if template not in self.places:
            self.places[template] = open_places(self.root, template)
        return self.places[template]

    def _labels(self, table: Table, split: str) -> np.ndarray:
        """The labels of each row, float (N, K), NaN where they are withheld."""
        shape = len(table.lines), len(self.dataset.classes)
        if self._has_one_class() and split == "train":
            return np.ones(shape)
        if split == "train" or has_labels(self.dataset, table):
            return row_labels(self.dataset, table)
        return np.full(shape, np.nan)

    def _has_one_class(self) -> bool:
        """Whether there is nothing to be told apart: a part of a joined set."""
        return len(self.dataset.classes) == 1 and self.dataset.task == "multiclass"

    def _patients(self, table: Table, split: str) -> list[str]:
        """The patient of each row; "" where it is its own."""
        dataset = self.dataset
        if dataset.group not in table.frame:
            ids = table.cells(dataset.id)
            if split == "train" and dataset.patient_pattern and not dataset.group:
                return [dataset.patient_of(image_id, table.where(row)) for row, image_id in enumerate(ids)]
            return [dataset.patient_in(image_id) for image_id in ids]
        cells = table.cells(dataset.group)
        unknown = {tidy_patient(text) for text in dataset.unknown_group}
        patients = ["" if tidy_patient(cell) in unknown | {""} else cell for cell in cells]
        alone = patients.count("")
        if alone:
            self.notes.append(f"{table.path.name}: {alone} row(s) name no patient; each such image is its own")
        return patients

    def _merged(self, table: Table, first: _Image, other: _Image) -> _Image:
        """What two rows say about the same image.

        Raises:
            InputError: they contradict each other; names both lines.
        """
        said = {"patient": (tidy_patient(first.patient), tidy_patient(other.patient))}
        for n, column in enumerate(self.dataset.carried):
            said[column] = first.more[n], other.more[n]
        if self.dataset.task == "multilabel":
            labels = np.fmax(first.labels, other.labels)
            unknown = np.isnan(first.labels) | np.isnan(other.labels)
            first.labels = np.where(unknown & (labels != 1), np.nan, labels)
        else:
            said["class"] = text_of(self.dataset, first.labels), text_of(self.dataset, other.labels)
        for what, (one, two) in said.items():
            if one != two:
                lines = f"lines {table.lines[first.row]} and {table.lines[other.row]}"
                raise InputError(
                    f"{table.path}, {lines}: image {first.image_id!r} has two values of {what}, {one!r} and {two!r}; "
                    "keep the right one"
                )
        return first

    def tell_splits_apart(self) -> None:
        """Call test images by their paths where training images have their ids: `1.png` in train/ and in test/.

        Raises:
            InputError: it is the same image.
        """
        training = {row["id"]: row["path"] for row in self.rows if row["split"] == "train"}
        twice = [row for row in self.rows if row["split"] == "test" and row["id"] in training]
        for row in twice:
            if row["path"] == training[row["id"]]:
                raise InputError(
                    f"{self.root}: {row['path']} is named as a training image and as a test image ({row['id']!r}); "
                    "take it out of one of the tables, or declare test_images where test images lie elsewhere"
                )
            name = path_id(self.root, self.root / row["path"])
            row |= {"id": name, "group": name if row["group"] == row["id"] else row["group"]}
        if twice:
            self.notes.append(
                f"{len(twice)} test image(s) have the id of a training image, and are called by their paths, as "
                f"{twice[0]['id']!r}"
            )

    def places_notes(self) -> Iterator[str]:
        """What lies where the images are, and was not read."""
        listings = {places.listing.folder: places.listing for places in self.places.values()}
        left: set[Path] = set()
        for listing in listings.values():
            yield from listing.notes()
            left |= set(listing.images) - self.used
        if left:
            yield f"ignored: {len(left)} image(s) that no table names"
