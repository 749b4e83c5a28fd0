"""Reading a dataset.toml: what is wrong with it is one sentence with the line that it stands in."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, read_text
from chestfold.core.task import create_task
from chestfold.data.channels import what_is_missing
from chestfold.data.dataset import ANY_OTHER, COLUMNS, FOLDER_IS_PATIENT, Dataset, Subgroup, Submission
from chestfold.data.readers import READERS

CATALOGUE_ONLY = ("name", "kaggle", "parts")
"""Fields that a user's own declaration does not have: its folder is there already."""
TABLE_FIELDS = ("id", "label", "separator", "unknown_group", "images", "test_images", "test_table", "tabular")
"""Fields that only the reader csv has a use for."""
OLD_NAMES = ("group_column",)
"""Fields by names that they had once."""

_ENDS = ("]", "}", '"""', "'''")
"""One of them is in the last line of a statement of several lines."""

Key = tuple[str, ...]
"""Names of tables and field: `("submission", "file")`."""
Complaint = tuple[Key, str]


def read_declaration(name: str, path: Path) -> Dataset:
    """The data set that a dataset.toml declares.

    Raises:
        InputError: it is not valid TOML, or a field is unknown, missing, wrong, or contradicts another; says which.
    """
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, and lists in lists without end too
        raise InputError(f"{path} is not valid TOML ({error})") from error
    for key, complaint in _unknown_fields(values):
        raise _refusal(path, text, key, complaint)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        dataset = Dataset.model_validate({**given, "name": name}, strict=True)
    except ValidationError as error:
        raise _refusal(path, text, *_first_complaint(error, values)) from error
    for key, complaint in _contradictions(dataset, set(values)):
        raise _refusal(path, text, key, complaint)
    return dataset


def declaration_text(values: dict[str, Any]) -> str:
    """The text of a dataset.toml: a line for each field."""
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())


def toml_value(value: Any) -> str:
    """A text, number, list or table as TOML has it."""
    if isinstance(value, dict):
        pairs = [f"{toml_value(key)} = {toml_value(inner)}" for key, inner in value.items()]
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON leaves DEL as it is, TOML does not


def key_lines(text: str) -> dict[Key, int]:
    """Field -> the line that it starts in, counted from 1, of a valid TOML text.

    A statement is the least number of lines that are valid by themselves: tomllib keeps no lines.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    start, statement = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        goes_on = bool(statement)
        statement += line + "\n"
        if goes_on and not any(end in line for end in _ENDS):
            continue
        try:
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        keys = list(_keys(values))
        if statement.lstrip().startswith("["):
            table = keys[-1]
            keys = [table[: n + 1] for n in range(len(table))]
        else:
            keys = [(*table, *key) for key in keys]
        for key in keys:
            found.setdefault(key, start)
        start, statement = number + 1, ""
    return found


def _keys(values: dict[str, Any]) -> Iterator[Key]:
    """The keys of a table and of those in it, outer ones first."""
    for name, value in values.items():
        yield (name,)
        if isinstance(value, dict):
            for inner in _keys(value):
                yield (name, *inner)


def _refusal(path: Path, text: str, key: Key, complaint: str) -> InputError:
    """A complaint about a field, with the line that it, or the table around it, starts in."""
    lines = key_lines(text)
    while key and key not in lines:
        key = key[:-1]
    where = f"{path}, line {lines[key]}" if key else str(path)
    return InputError(f"{where}: {complaint}")


def refusal(dataset: Dataset, field: str, complaint: str) -> InputError:
    """A complaint about a field that is found later, with file and line where a person declared it."""
    path = input_dir() / dataset.name / "dataset.toml"
    if not path.exists():
        return InputError(f"{dataset.name}: {complaint}")
    return _refusal(path, read_text(path), (field,), complaint)


def _unknown_fields(values: dict[str, Any]) -> Iterator[Complaint]:
    known = {*Dataset.model_fields, *OLD_NAMES} - set(CATALOGUE_ONLY)
    for field in values:
        if field not in known:
            yield (field,), f"unknown field {field!r}{did_you_mean(field, known)}"
    inner = values.get("submission")
    for field in inner if isinstance(inner, dict) else ():
        if field not in Submission.model_fields:
            near = did_you_mean(field, Submission.model_fields)
            yield ("submission", field), f"unknown field {field!r} of submission{near}"
    divisions = values.get("subgroups")
    for title, division in divisions.items() if isinstance(divisions, dict) else ():
        for field in division if isinstance(division, dict) else ():
            if field not in Subgroup.model_fields:
                near = did_you_mean(field, Subgroup.model_fields)
                yield ("subgroups", title, field), f"unknown field {field!r} of subgroups.{title}{near}"


def _first_complaint(error: ValidationError, values: dict[str, Any]) -> Complaint:
    """What is wrong with the first wrong field."""
    first = error.errors()[0]
    key = tuple(map(str, first["loc"]))
    field = key[0]
    if first["type"] == "missing" and field not in values:
        return (), f"the field {field!r} is missing"
    if first["type"] == "extra_forbidden":
        return key, f"{field} is the old name of a field that is declared too; keep one of them"
    if field == "submission" and len(key) > 1:
        about = Submission.model_fields[key[1]].description
        return key, f"submission.{key[1]} is {about}, not {values[field][key[1]]!r:.200}"
    if field == "subgroups" and len(key) > 2:
        about = Subgroup.model_fields[key[2]].description
        given = values[field][key[1]][key[2]]
        return key, f"{'.'.join(key)} is {about}, not {given!r:.200}"
    if field not in values:  # these are the classes, which were filled in from the labels
        return ("labels",), f"labels is {Dataset.model_fields['classes'].description}, not {values['labels']!r:.200}"
    meaning = Dataset.model_fields["group" if field in OLD_NAMES else field].description
    return key, f"{field} is {meaning}, not {values[field]!r:.200}"


def _contradictions(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    """What is wrong with fields that are right by themselves."""
    yield from _of_classes(dataset, given)
    yield from _of_class_names(dataset)
    yield from _of_reader(dataset, given)
    yield from _of_labels(dataset, given)
    yield from _of_patients(dataset, given)
    yield from _of_columns(dataset)
    yield from _of_subgroups(dataset)
    yield from _of_channels(dataset)
    if dataset.value_range and dataset.ct_window:
        complaint = "value_range and ct_window both say what is black and white; keep one of them"
        yield ("ct_window",), complaint


def _of_channels(dataset: Dataset) -> Iterator[Complaint]:
    if complaint := what_is_missing(dataset):
        yield ("three_channels",), complaint


def _of_classes(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    several = dataset.task == "multilabel"
    if not dataset.classes:
        yield (), "the field 'classes' is missing"
    elif len(dataset.classes) < 2 and not several:
        yield ("classes",), f"classes is a list of two or more different texts, not {list(dataset.classes)!r}"
    if dataset.classes and not any(dataset.metric_weights.get(name, 1) for name in dataset.classes):
        yield (
            ("metric_weights",),
            "metric_weights is 0 for every class, so that nothing would count; name another weight",
        )
    if several and "positive" in given:
        yield ("positive",), "positive is not for several labels an image: each of them is; remove it"
    if not several and not dataset.positive:
        yield (), "the field 'positive' is missing"
    if not several and dataset.positive not in dataset.classes:
        yield ("positive",), f"positive is one of the classes ({', '.join(dataset.classes)}), not {dataset.positive!r}"
    try:
        create_task(dataset.task, dataset.classes, dataset.positive)
    except InputError as error:
        yield ("classes" if "classes" in given else "labels",), str(error)


def _of_class_names(dataset: Dataset) -> Iterator[Complaint]:
    if isinstance(dataset.labels, dict) and ANY_OTHER in dataset.classes:
        yield ("classes",), f"a class cannot be called {ANY_OTHER!r}; rename it"
    for field, names in _class_names(dataset).items():
        for name in names:
            if name not in dataset.classes:
                near = did_you_mean(name, dataset.classes)
                yield field, f"{'.'.join(field)}: {name!r} is not one of the classes{near}"


def _class_names(dataset: Dataset) -> dict[Key, list[str]]:
    """Field -> the classes that it names."""
    named = {
        ("metric_weights",): list(dataset.metric_weights),
        ("class_patterns",): list(dataset.class_patterns),
        ("submission", "columns"): list(dataset.submission.columns.values()),
    }
    if isinstance(dataset.labels, dict):
        nothing = {""} if dataset.task == "multilabel" else set()
        named[("labels",)] = [name for name in dataset.labels.values() if name not in nothing]
    return named


def _of_reader(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    if dataset.reader not in READERS:
        *some, last = READERS
        known = f"{', '.join(some)} or {last}"
        yield ("reader",), f"reader is {known}, not {dataset.reader!r} (one of your own is known by --hooks)"
    if dataset.reader not in ("folders", "npz"):
        return
    for field in TABLE_FIELDS:
        if field in given:
            yield (field,), f'{field} is for reader = "csv", not for {dataset.reader!r}; remove it'
    if dataset.reader == "folders":
        yield from _of_folders(dataset, given)


def _of_folders(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    for field in ("unknown", "no_finding"):
        if field in given:
            yield (field,), f"{field} is about cells, and class folders have none; remove it"
    if dataset.task == "multilabel" and not dataset.class_patterns:
        yield ("task",), "several labels an image cannot be read from one folder name; declare class_patterns"


def _of_labels(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    several = dataset.task == "multilabel"
    for field in ("separator", "no_finding"):
        if field in given and not several:
            yield (field,), f'{field} is for several labels an image: task = "multilabel"'
    if isinstance(dataset.labels, tuple):
        yield from _of_label_columns(dataset, dataset.labels, given)


def _of_label_columns(dataset: Dataset, labels: tuple[str, ...], given: set[str]) -> Iterator[Complaint]:
    if dataset.reader != "csv":
        yield ("labels",), 'labels is a list of columns only with reader = "csv"; else a table: value = class'
    for field in ("label", "separator"):
        if field in given:
            yield (field,), f"labels lists one column for each class, so that {field} has no meaning; keep one of them"
    if len(labels) != len(dataset.classes):
        counts = f"{len(labels)} columns for {len(dataset.classes)} classes"
        yield ("labels",), f"labels lists {counts}; each column is one class, in the same order"
    if len(set(labels)) != len(labels):
        yield ("labels",), "labels lists a column twice"


def _of_patients(dataset: Dataset, given: set[str]) -> Iterator[Complaint]:
    if "unknown_group" in given and not dataset.group:
        yield ("unknown_group",), "unknown_group is about the cells of a group column; declare group too"
    if "group" not in given:
        return
    if dataset.patient_pattern:
        yield ("patient_pattern",), "group and patient_pattern both say what a patient is; keep one of them"
    if dataset.reader == "folders" and dataset.group != FOLDER_IS_PATIENT:
        yield ("group",), f'class folders know one group, "{FOLDER_IS_PATIENT}", not {dataset.group!r}'
    if dataset.reader == "npz":
        yield ("group",), "an .npz names no patients; remove group"


def _of_subgroups(dataset: Dataset) -> Iterator[Complaint]:
    for title, subgroup in dataset.subgroups.items():
        key, name = ("subgroups", title), f"subgroups.{title}"
        if bool(subgroup.pattern) == bool(subgroup.column):
            yield key, f"{name} has a pattern or a column, one of them"
        if subgroup.column and dataset.reader in ("folders", "npz"):
            yield key, f'{name}: column is for reader = "csv", not for {dataset.reader!r}; take a pattern on the id'
        if subgroup.column in COLUMNS:
            yield key, f"{name}: a column of the index is called {subgroup.column!r} too; rename it in the table"


def _of_columns(dataset: Dataset) -> Iterator[Complaint]:
    labels = dataset.labels if isinstance(dataset.labels, tuple) else (dataset.label,)
    for name in dataset.tabular:
        if name in COLUMNS:
            yield ("tabular",), f"tabular: a column of the index is called {name!r} too; rename it in the table"
        if name in labels:
            yield ("tabular",), f"tabular: {name!r} holds the labels, which no network may see"
