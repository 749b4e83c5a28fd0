"""The data sets that are known by name, and those that a user declares in a `dataset.toml` of his own."""

import difflib
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from chestfold.core.errors import InputError
from chestfold.core.files import input_dir
from chestfold.data.dataset import Dataset, Index
from chestfold.data.dicom import CT_WINDOWS
from chestfold.data.readers import join, read_index

# bacteria_person1 and virus_person1 are different children, and so are IM-0115 and NORMAL2-IM-0115
_KERMANY_PATIENT = r"^(?:(person\d+)_(bacteria|virus)_|((?:NORMAL2-)?IM-\d+)-)"
_KERMANY_KAGGLE = "paultimothymooney/chest-xray-pneumonia"
_KERMANY = f"kaggle: {_KERMANY_KAGGLE} (Kermany 2018, doi 10.17632/rscbjbr9sj.2)"

CATALOGUE = {
    d.name: d
    for d in [
        Dataset(
            name="phantom",
            about="generated CT-like slices, half of them with a nodule; lung and nodule masks beside them",
            origin="made here: chestfold data fetch phantom",
            licence="none needed",
            classes=("no_nodule", "nodule"),
            positive="nodule",
            view="axial",
            reader="csv",
            group_column="patient",
            patient="patient: four slices of one anatomy",
            hu_window=(-1100, 420),
        ),
        Dataset(
            name="phantom_marked",
            about="phantom with a planted shortcut. CONFOUNDED on purpose: in training a burnt-in marker outside the "
            "body goes with the nodule, in test it does not",
            origin="made here: chestfold data fetch phantom_marked",
            licence="none needed",
            classes=("no_nodule", "nodule"),
            positive="nodule",
            view="axial",
            reader="csv",
            group_column="patient",
            patient="patient: four slices of one anatomy",
        ),
        Dataset(
            name="chest_xray",
            about="children's chest X-rays, normal or pneumonia; the official val images join train",
            origin=_KERMANY,
            licence="CC BY 4.0",
            classes=("NORMAL", "PNEUMONIA"),
            positive="PNEUMONIA",
            view="projection",
            reader="folders",
            patient_pattern=_KERMANY_PATIENT,
            patient="child: person number with subtype, or the prefix and number of a normal",
            kaggle=_KERMANY_KAGGLE,
        ),
        Dataset(
            name="chest_xray_3class",
            about="the same X-rays as chest_xray: normal, bacterial or viral (from the file names)",
            origin=_KERMANY,
            licence="CC BY 4.0",
            classes=("NORMAL", "BACTERIA", "VIRUS"),
            positive="BACTERIA",
            view="projection",
            reader="folders",
            folder="chest_xray",
            class_patterns={
                "NORMAL": r"^NORMAL/",
                "BACTERIA": r"^PNEUMONIA/.*_bacteria_",
                "VIRUS": r"^PNEUMONIA/.*_virus_",
            },
            patient_pattern=_KERMANY_PATIENT,
            patient="child: person number with subtype, or the prefix and number of a normal",
            kaggle=_KERMANY_KAGGLE,
        ),
        Dataset(
            name="hannover_covid",
            about="COVID-19 chest X-rays of 71 adults; one class, a part of covid_4class",
            origin="COVID-19 Image Repository, Hannover Medical School (doi 10.25835/0090041)",
            licence="CC BY 3.0",
            classes=("COVID19",),
            positive="COVID19",
            view="projection",
            reader="csv",
            table="images.csv",
            group_column="patient_id",
            patient="patient_id",
        ),
        Dataset(
            name="covid_4class",
            about="chest_xray_3class and hannover_covid as one set. CONFOUNDED: every COVID-19 image is of an adult "
            "from one hospital, every other of a child from another, so the source gives the class away",
            origin="chest_xray and hannover_covid",
            licence="CC BY 4.0, CC BY 3.0",
            classes=("NORMAL", "BACTERIA", "VIRUS", "COVID19"),
            positive="COVID19",
            view="projection",
            reader="joined",
            parts=("chest_xray_3class", "hannover_covid"),
            patient="as in its parts",
        ),
        Dataset(
            name="luna16_patches",
            about="50 x 50 CT patches of LUNA16 candidates, nodule or not, HU -1000 to 400",
            origin="LUNA16 (Setio 2017), from LIDC-IDRI (Armato 2011)",
            licence="CC BY 4.0",
            classes=("non_nodule", "nodule"),
            positive="nodule",
            view="patch",
            reader="csv",
            labels={"0": "non_nodule", "1": "nodule"},
            group_column="scan_block",
            patient="scan_block: contiguous candidate rows, close to scan-wise",
            hu_window=(-1000, 400),
        ),
        Dataset(
            name="iq_othnccd",
            about="CT slices in a mediastinal window: normal, benign or malignant",
            origin="IQ-OTH/NCCD (doi 10.17632/bhmdr45bh2.4)",
            licence="CC BY 4.0",
            classes=("Normal", "Benign", "Malignant"),
            positive="Malignant",
            view="axial",
            reader="csv",
            group_column="group",
            patient="group of near duplicates; patients are not published",
        ),
        Dataset(
            name="nodule_slices",
            about="CT slices in folders Nodule and Not_Nodule: the layout of the Japanese sources",
            origin="your own",
            licence="your own",
            classes=("Not_Nodule", "Nodule"),
            positive="Nodule",
            view="axial",
            reader="folders",
            patient="unknown: every image is its own group, duplicates are joined",
        ),
        Dataset(
            name="pneumoniamnist",
            about="the children's X-rays at 28 px, MedMNIST v2",
            origin="https://medmnist.com (Yang 2023)",
            licence="CC BY 4.0",
            classes=("normal", "pneumonia"),
            positive="pneumonia",
            view="projection",
            reader="npz",
            labels={"0": "normal", "1": "pneumonia"},
            patient="unknown: every image is its own group, duplicates are joined",
        ),
    ]
}


def find_dataset(name: str) -> Dataset:
    """The declaration called `name`: from the catalogue, else from input/NAME/dataset.toml.

    Raises:
        InputError: there is none, or the declaration is not valid.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    declaration = input_dir() / name / "dataset.toml"
    if Path(name).name == name and declaration.exists():
        return _read_declaration(name, declaration)
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]}?" if near else "`chestfold data list` names them"
    raise InputError(f"unknown data set {name!r}: {hint}, or declare your own in {declaration}")


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is kind for v in values)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and _are(str, [*value.values()])


def _is_pattern(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


VIEWS = ("axial", "projection", "patch")
_WELL_FORMED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "classes": (lambda v: _are(str, v) and len(set(v)) == len(v) > 1, "a list of two or more different texts"),
    "value_range": (lambda v: _are(int, v) and len(v) == 2 and v[0] != v[1], "two different whole numbers"),
    "hu_window": (lambda v: _are(int, v) and len(v) == 2 and v[0] < v[1], "two whole numbers, black below white"),
    "pixel_mm": (lambda v: type(v) in (int, float) and v > 0, "a number above 0"),
    "ct_window": (lambda v: isinstance(v, str) and v in CT_WINDOWS, f"one of {', '.join(CT_WINDOWS)}"),
    "view": (lambda v: v in VIEWS, "one of axial, projection, patch"),
    "labels": (_is_map, "a table of texts"),
    "class_patterns": (lambda v: _is_map(v) and all(map(_is_pattern, v.values())), "a table of regular expressions"),
    "patient_pattern": (_is_pattern, "a regular expression"),
}
"""Field of a declaration -> (whether a value of it is well formed, what it is, in words)."""
_TEXT: tuple[Callable[[Any], bool], str] = (lambda v: isinstance(v, str), "a text")


def _read_declaration(name: str, path: Path) -> Dataset:
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML ({error})") from error
    unknown = set(values) - {f.name for f in fields(Dataset) if f.name != "kaggle"}  # its folder is there already
    if unknown:
        raise InputError(f"{path}: unknown field {sorted(unknown)[0]!r}")
    missing = {"classes", "positive", "reader"} - set(values)
    if missing:
        raise InputError(f"{path}: the field {sorted(missing)[0]!r} is missing")
    text = {"about": "declared by you", "origin": "your own", "licence": "your own", "patient": "as declared"}
    for field, value in values.items():
        right, meaning = _WELL_FORMED.get(field, _TEXT)
        if not right(value):
            raise InputError(f"{path}: {field} is {meaning}, not {value!r}")
    values = {field: tuple(v) if isinstance(v, list) else v for field, v in values.items()}
    dataset = Dataset(**{**text, **values, "name": name})
    if dataset.reader not in ("folders", "csv", "npz") or dataset.positive not in dataset.classes:
        raise InputError(f"{path}: reader is folders, csv or npz, and positive is one of the classes")
    if dataset.value_range and dataset.ct_window:
        raise InputError(f"{path}: value_range and ct_window both say what is black and white; keep one of them")
    return dataset


def folders_of(dataset: Dataset) -> list[Path]:
    """The folders in input/ that the images of `dataset` lie in."""
    if dataset.parts:
        return [folder for part in dataset.parts for folder in folders_of(find_dataset(part))]
    return [input_dir() / dataset.input_folder]


def open_index(name: str) -> Index:
    """The index of the data set called `name`, read from input/."""
    dataset = find_dataset(name)
    if dataset.parts:
        return join(dataset, input_dir(), [open_index(part) for part in dataset.parts])
    return read_index(dataset, input_dir() / dataset.input_folder)
