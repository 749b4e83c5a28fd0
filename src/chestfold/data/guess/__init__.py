"""A first dataset.toml for a folder of images: guesses with their reasons, for a person to confirm."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import write_text
from chestfold.data.dataset import FOLDER_IS_PATIENT, tidy
from chestfold.data.guess.columns import columns_of, label_lines, ordered, patient_column, positive_line
from chestfold.data.guess.lines import CONFIRM, Line, with_counts
from chestfold.data.guess.patients import file_name_pattern
from chestfold.data.guess.templates import Match, Names
from chestfold.data.readers.files import SPLITS, folders_in, list_images
from chestfold.data.readers.folders import descend, split_folders
from chestfold.data.readers.npz import IMAGES, LABELS, load_arrays
from chestfold.data.readers.table import TEST_TABLE
from chestfold.data.tables import Table, open_table

DECLARATION = "dataset.toml"
SAMPLE = "sample_submission.csv"
ENOUGH = 0.5
"""Share of a column's cells that must name images to be taken for their ids."""


def write_declaration(folder: Path, name: str) -> Path:
    """Write the guesses about `folder` into its dataset.toml, which must not be there yet.

    Raises:
        InputError: it is there; the folder is missing, or holds nothing that any reader could read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; name the one that holds the images")
    path = folder / DECLARATION
    if path.exists():
        raise InputError(f"{path} exists and is not written over; edit it, or move it away")
    write_text(path, guess_declaration(folder, name))
    return path


def guess_declaration(folder: Path, name: str) -> str:
    """The text of a dataset.toml for the images in `folder`.

    Raises:
        InputError: there is nothing that any reader could read.
    """
    lines = [line.text for line in _guesses(folder, name)]
    head = [
        "# Guessed from the files by `chestfold data init`: confirm each line (docs/reference/data.md has all fields).",
        f"# Then: chestfold data check {name}",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _guesses(folder: Path, name: str) -> Iterator[Line]:
    archives = sorted(folder.glob("*.npz"))
    if archives:
        return _from_npz(archives, name)
    images = list_images(folder).images
    if not images:
        raise InputError(f"{folder} holds neither images nor an .npz; name the folder that does")
    names = Names(folder, images)
    tables = [open_table(path) for path in sorted(folder.glob("*.csv"))]
    sample = next((t for t in tables if _is_sample(t)), None)
    matches = [_id_column(table, names) for table in tables if not _is_sample(table)]
    matches = [found for found in matches if found[2].share >= ENOUGH]
    training = [found for found in matches if not _is_test(found[0])]
    if training:
        best = max(training, key=lambda found: ("train" in found[0].path.name.lower(), found[2].found))
        return _from_table(best, [found for found in matches if _is_test(found[0])], sample, names)
    return _from_folders(folder)


def _is_sample(table: Table) -> bool:
    return "submission" in table.path.name.lower()


def _is_test(table: Table) -> bool:
    return "test" in table.path.stem.lower() and "train" not in table.path.stem.lower()


def _id_column(table: Table, names: Names) -> tuple[Table, str, Match]:
    """The column of a table whose cells name most images, and these images."""
    found = [(names.match(table.cells(name)), name) for name in table.columns]
    match, name = max(found, key=lambda one: (one[0].share, one[0].found))
    return table, name, match


def _from_table(
    best: tuple[Table, str, Match], tests: list[tuple[Table, str, Match]], sample: Table | None, names: Names
) -> Iterator[Line]:
    """The reader csv."""
    table, id_column, match = best
    columns = columns_of(table)
    patient = patient_column(columns, id_column)
    answers = sample.columns[1:] if sample else []
    yield Line("reader", "csv", f"{table.path.name} names {plural(match.found, 'image')} of {match.cells} looked for")
    yield Line("table", table.path.name, plural(len(table.lines), "row"))
    yield Line("id", id_column, f"{len(columns[id_column].counts)} different ids")
    yield Line("images", match.template, "where the ids of the table lie")
    yield from _test_lines(tests, sample, names, match)
    yield from label_lines(table, id_column, patient, answers)
    yield from _patient_lines(columns[patient].counts if patient else {}, patient, list(columns[id_column].counts))
    if sample:
        yield from _submission_lines(sample, id_column)


def _test_lines(
    tests: list[tuple[Table, str, Match]], sample: Table | None, names: Names, train: Match
) -> Iterator[Line]:
    """Where the test images are named, and where they lie."""
    match = names.match(sample.cells(sample.columns[0])) if sample else None
    if tests:
        table, _, match = tests[0]
        if table.path.name != TEST_TABLE:
            yield Line("test_table", table.path.name, plural(len(table.lines), "row"))
    if match and match.template and match.template != train.template:
        yield Line("test_images", match.template, "where the ids of the test images lie")


def _patient_lines(counts: dict[str, int], column: str, ids: list[str]) -> Iterator[Line]:
    if column:
        yield Line("group", column, CONFIRM + f"the column that names the patient: {len(counts)} different texts")
        unknown = [text for text in counts if text.lower() in ("-1", "nan", "unknown", "不明", "none")]
        if unknown:
            yield Line("unknown_group", unknown, CONFIRM + "these mean that the patient is not known")
        return
    why = "if ids begin with the patient; else each image is its own"
    yield Line("patient_pattern", file_name_pattern(ids), why, idea=True)


def _submission_lines(sample: Table, id_column: str) -> Iterator[Line]:
    """The sample submission, where it is not what is expected anyway."""
    first, *answers = sample.columns
    if sample.path.name != SAMPLE:
        yield Line("submission.file", sample.path.name, "the sample of what is to be sent")
    if first != id_column:
        yield Line("submission.id", first, "its column of ids")
    if len(answers) > 1:  # a single one is the positive class's, whatever it is called
        named = ", ".join(answers)
        yield Line("submission.columns", dict.fromkeys(answers[:1], ""), f"column = class, for: {named}", idea=True)


def _from_folders(folder: Path) -> Iterator[Line]:
    """The reader folders."""
    base = descend(folder)
    splits = split_folders(base, ())
    training = [path for path, split in splits.items() if split == "train"] or [base]
    counts: Counter[str] = Counter()
    names: list[str] = []
    deep = 0
    for path in (class_folder for one in training for class_folder in folders_in(one)):
        images = list_images(path).images
        counts[tidy(path.name)] += len(images)
        deep += sum(image.parent != path for image in images)
        names += [image.name for image in images]
    classes = ordered([name for name, count in counts.items() if count])
    read = ", ".join(path.name for path in splits) or "no train, val or test folders"
    yield Line("reader", "folders", f"a folder for each class; {read}")
    if len(classes) < 2:
        yield Line("classes", classes, CONFIRM + "two or more folders, each called like its class, are needed")
        return
    yield Line("task", "multiclass", "each image lies in one folder")
    yield Line("classes", classes, f"{with_counts(dict(counts))}; in the order of the prediction columns")
    yield positive_line(classes)
    if deep:
        why = f"{plural(deep, 'image')} in folders below the class folders: is each such folder a patient?"
        yield Line("group", FOLDER_IS_PATIENT, CONFIRM + why)
        return
    pattern = file_name_pattern(names)
    yield Line("patient_pattern", pattern, "if file names begin with the patient; else each image is its own", True)


def _from_npz(archives: list[Path], name: str) -> Iterator[Line]:
    """The reader npz."""
    path = next((path for path in archives if path.stem == name), archives[0])
    arrays = load_arrays(path)
    labels = arrays.get("train" + LABELS)
    parts = [part for part in SPLITS if part + IMAGES in arrays]
    if labels is None or not parts:
        raise InputError(f"{path} has no train{IMAGES} and train{LABELS} (it has {', '.join(arrays)})")
    where = f"{path.name}: {', '.join(parts)}"
    yield Line("reader", "npz", where if path.stem == name else CONFIRM + f"{where}; rename it to {name}.npz")
    width = labels.size // max(1, len(labels))
    if width > 1:
        classes = [f"label{n}" for n in range(width)]
        yield Line("task", "multilabel", f"{width} labels an image")
        yield Line("classes", classes, CONFIRM + "their names, in the order of the columns")
        return
    counts = Counter(map(str, labels.ravel().tolist()))
    classes = ordered(list(counts))
    yield Line("task", "multiclass", "one label an image")
    yield Line("classes", classes, f"{with_counts(dict(counts))}; to rename them: labels = {{ text = class }}")
    yield positive_line(classes)
