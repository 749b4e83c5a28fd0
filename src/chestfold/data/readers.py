"""Readers: folder per class, CSV beside a folder, MedMNIST .npz. Each ends in the same index."""

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.data.dataset import Dataset, Index, make_index
from chestfold.data.dicom import DICOM_SUFFIXES

IMAGE_SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", *DICOM_SUFFIXES}
SPLITS = {"train": "train", "val": "train", "test": "test"}


def read_index(dataset: Dataset, root: Path) -> Index:
    """The index of `dataset`, whose files are in `root`.

    Raises:
        InputError: the folder is missing or its content is not what the declaration says.
    """
    if not root.is_dir():
        raise InputError(f"{root} does not exist; `chestfold data fetch {dataset.name}` says how to get it")
    if dataset.reader == "joined":
        raise ValueError(f"{dataset.name} is read by its parts: catalogue.open_index")
    reader = {"folders": read_folders, "csv": read_csv, "npz": read_npz}[dataset.reader]
    return reader(dataset, root)


# Folder per class


def read_folders(dataset: Dataset, root: Path) -> Index:
    """`[train|val|test/]<class>/<image>`; val joins train; a flat test folder is unlabelled.

    The Kaggle copy of chest-xray-pneumonia holds itself a second time and macOS's shadow files: left out, noted.
    """
    base = _descend(root)
    splits = [base / name for name in SPLITS if (base / name).is_dir()]
    notes = [f"ignored: {p.name}/" for p in sorted(base.iterdir()) if splits and p.is_dir() and p not in splits]
    rows: list[dict[str, str]] = []
    for folder in splits or [base]:
        split = SPLITS[folder.name] if splits else "train"
        rows += _read_split(dataset, root, folder, split, notes)
    return make_index(dataset, root, rows, notes)


def _descend(root: Path) -> Path:
    """Kaggle's zip may hold everything one folder deeper: `chest_xray/chest_xray/train`."""
    inner = [p for p in sorted(root.iterdir()) if (p / "train").is_dir() and p.name != "__MACOSX"]
    return inner[0] if inner and not (root / "train").is_dir() else root


def _read_split(dataset: Dataset, root: Path, folder: Path, split: str, notes: list[str]) -> list[dict[str, str]]:
    flat = _images(folder, notes)
    if flat:
        if split != "test":
            raise InputError(f"{flat[0]} is outside a class folder; move it into one of {dataset.classes}")
        return [_row(root, path, path.stem, "", path.stem, split) for path in flat]
    rows = []
    for class_folder in _class_folders(dataset, folder):
        images = _images(class_folder, notes)
        if not images:
            raise InputError(f"{class_folder} holds no images; add some or remove the folder")
        for path in images:
            label = _label_from_path(dataset, class_folder.name, path)
            rows.append(_row(root, path, _path_id(root, path), label, _patient(dataset, root, path), split))
    return rows


def _class_folders(dataset: Dataset, folder: Path) -> list[Path]:
    found = [p for p in sorted(folder.iterdir()) if p.is_dir() and not _is_junk(p)]
    if not dataset.class_patterns:
        for path in found:
            if path.name not in dataset.classes:
                raise InputError(f"{path}: {path.name!r} is not a declared class ({', '.join(dataset.classes)})")
    if not found:
        raise InputError(f"{folder} has no class folders; expected {', '.join(dataset.classes)}")
    return found


def _label_from_path(dataset: Dataset, folder: str, path: Path) -> str:
    if not dataset.class_patterns:
        return folder
    hits = [c for c, pattern in dataset.class_patterns.items() if re.search(pattern, f"{folder}/{path.name}")]
    if len(hits) != 1:
        raise InputError(f"{path}: its name fits {len(hits)} of the classes {', '.join(dataset.classes)}, not one")
    return hits[0]


def _patient(dataset: Dataset, root: Path, path: Path) -> str:
    return dataset.patient_of(path) if dataset.patient_pattern else _path_id(root, path)


def _path_id(root: Path, path: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def _row(root: Path, path: Path, image_id: str, label: str, group: str, split: str) -> dict[str, str]:
    place = path.relative_to(root).as_posix()
    return {"id": image_id, "path": place, "label": label, "group": group, "split": split}


def _is_junk(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _images(folder: Path, notes: list[str]) -> list[Path]:
    """Image files of a folder in name order (a directory listing has none); the others are noted."""
    files = sorted(p for p in folder.iterdir() if p.is_file())
    images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and not _is_junk(p)]
    kept = set(images)
    others = Counter(p.suffix or p.name for p in files if p not in kept and p.suffix != ".csv")
    notes += [f"ignored: {n} file(s) {kind} in {folder.name}/" for kind, n in sorted(others.items())]
    return images


# CSV beside a folder of images


def read_csv(dataset: Dataset, root: Path) -> Index:
    """`train.csv` (id, label, patient column) and `images/`; the test ids from test.csv or sample_submission.csv.

    A set of a single class needs no label column.
    """
    notes: list[str] = []
    folder = root / "images"
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; {dataset.name} keeps its images there")
    files = _by_stem(_images(folder, notes))
    rows = _csv_rows(dataset, root, root / dataset.table, files, "train")
    test = root / "test.csv"
    test = test if test.exists() else root / "sample_submission.csv"
    if test.exists():
        rows += _csv_rows(dataset, root, test, files, "test")
    else:
        notes.append("no test.csv and no sample_submission.csv: there is no test split")
    left = len(set(files) - {r["id"] for r in rows})
    notes += [f"ignored: {left} image(s) that no table names"] if left else []
    return make_index(dataset, root, rows, notes)


def _by_stem(images: list[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in images:
        if path.stem in files:
            raise InputError(f"{path} and {files[path.stem].name} have the same id {path.stem!r}; remove one of them")
        files[path.stem] = path
    return files


def read_table(path: Path) -> pd.DataFrame:
    """A CSV with every cell as text, empty cells as ""; `InputError` when it is none or lacks an id column."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable CSV ({' '.join(str(error).split())})") from error
    if "id" not in table:
        raise InputError(f"{path} has no column 'id' (it has {', '.join(table.columns)})")
    return table


def _csv_rows(
    dataset: Dataset, root: Path, table_path: Path, files: dict[str, Path], split: str
) -> list[dict[str, str]]:
    table = read_table(table_path)
    if split == "train":
        if len(dataset.classes) == 1:
            table["label"] = dataset.classes[0]
        for column in ["label", *filter(None, [dataset.group_column])]:
            if column not in table:
                raise InputError(f"{table_path} has no column {column!r} (it has {', '.join(table.columns)})")
    labelled, rows = "label" in table, []
    for line, record in enumerate(table.to_dict("records"), start=2):
        where = f"{table_path}, line {line}"
        image_id = str(record["id"])
        path = _image_of(image_id, root, files, where)
        label = _label_from_cell(dataset, str(record["label"]), where) if labelled else ""
        group = str(record.get(dataset.group_column, "")) or image_id
        rows.append(_row(root, path, image_id, label, group, split))
    return rows


def _image_of(image_id: str, root: Path, files: dict[str, Path], where: str) -> Path:
    if Path(image_id).name != image_id:
        raise InputError(f"{where}: id {image_id!r} is not a plain file name; ids may not leave the data folder")
    if image_id not in files:
        raise InputError(f"{where}: no image {image_id!r} in {root / 'images'}")
    return files[image_id]


def _label_from_cell(dataset: Dataset, cell: str, where: str) -> str:
    if not cell:
        raise InputError(f"{where}: the label is missing")
    label = dataset.labels.get(cell) if dataset.labels else cell
    if label not in dataset.classes:
        raise InputError(f"{where}: unknown class {cell!r}; declared are {', '.join(dataset.classes)}")
    return label


# Several data sets as one


def join(dataset: Dataset, root: Path, parts: list[Index]) -> Index:
    """The images of `parts`, all below `root`; ids and patients carry the name of their part."""
    rows: list[dict[str, str]] = []
    for part in parts:
        folder = part.root.relative_to(root).as_posix()
        for row in part.table.to_dict("records"):
            named = {key: f"{folder}/{row[key]}" for key in ("id", "path", "group")}
            rows.append({"label": str(row["label"]), "split": str(row["split"]), **named})
    return make_index(dataset, root, rows, [f"{p.dataset.name}: {note}" for p in parts for note in p.notes])


# MedMNIST


@lru_cache(maxsize=4)
def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz, none of which may hold pickled objects."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:  # TypeError: one bare array, no archive
        raise InputError(f"{path} is not a readable .npz ({error}); fetch it again") from error


def read_npz(dataset: Dataset, root: Path) -> Index:
    """`<name>.npz` with `{train,val,test}_{images,labels}`; val joins train; no patient is known."""
    path = root / f"{dataset.name}.npz"
    if not path.exists():
        raise InputError(f"{path} does not exist; `chestfold data fetch {dataset.name}` says how to get it")
    arrays = load_arrays(path)
    rows: list[dict[str, str]] = []
    for part, split in SPLITS.items():
        if f"{part}_images" not in arrays:
            continue
        cells, count = arrays.get(f"{part}_labels"), len(arrays[f"{part}_images"])
        if cells is None or cells.size != count:
            raise InputError(f"{path}: {part}_labels does not hold one label for each of the {count} {part}_images")
        for row, cell in enumerate(cells.ravel().tolist()):
            image_id = f"{part}_{row:06d}"
            label = _label_from_cell(dataset, str(cell), f"{path}, {part} row {row}")
            place = f"{path.name}#{part}_images/{row}"
            rows.append({"id": image_id, "path": place, "label": label, "group": image_id, "split": split})
    return make_index(dataset, root, rows, ["no patient is known: every image is its own group"])
