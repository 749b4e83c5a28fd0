"""The declarations that the pages show are read, with the tables and folders that stand beside them on the page."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from layouts import put

from chestfold.core.task import create_task
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, Index, Submission
from chestfold.data.declaration import read_declaration
from chestfold.data.readers.files import split_suffix
from chestfold.data.tables import open_table
from chestfold.evaluate.metrics import require_metric
from chestfold.evaluate.results import Scores
from chestfold.integrations.kaggle.answers import answer_format

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
PAGES = ("how-to/own-data.md", "how-to/competition.md")
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ENTRY = re.compile(r"^([│├└─ \xa0]*)([^│├└─\s].*)$")


@dataclass
class Example:
    """A dataset.toml of a page; the tables (name -> text) and files (below input/) that are drawn beside it."""

    declaration: str = ""
    tables: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the data set: the first line of a declaration says where it lies."""
        found = re.match(r"# input/(\w+)/dataset.toml\n", self.declaration)
        assert found is not None, self.declaration
        return found[1]


def examples(page: Path) -> list[Example]:
    """The examples of a page, in order: what stands above a declaration under the same heading belongs to it."""
    found = []
    for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        example = Example()
        for language, name, text in BLOCK.findall(section):
            if language == "csv":
                example.tables[name] = text
            elif language == "text" and text.startswith("input/"):
                example.files = files_of_tree(text)
            elif language == "toml":
                example.declaration = text
        if example.declaration:
            found.append(example)
    return found


def files_of_tree(text: str) -> list[str]:
    """The files of a drawn tree, as paths."""
    files: list[str] = []
    folders: list[str] = []
    for line in text.splitlines():
        entry = ENTRY.match(line)
        assert entry is not None, line
        depth = len(entry[1]) // 4
        folders = [*folders[:depth], entry[2]]
        if not entry[2].endswith("/"):
            files.append("".join(folders))
    return files


def draw(example: Example, root: Path) -> None:
    """Write the example into input/NAME of `root`: its images where the tree shows them, or the template says."""
    folder = root / "input" / example.name
    put(root, *(file for file in example.files if split_suffix(file)[1]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.toml").write_text(example.declaration, encoding="utf-8")
    for name, text in example.tables.items():
        (folder / name).write_text(text, encoding="utf-8")
    if not example.files:
        put(folder, *images_of(example, folder))


def images_of(example: Example, folder: Path) -> list[str]:
    """Where the images that the tables name lie by the declared templates."""
    declared = tomllib.loads(example.declaration)
    training = declared.get("table", "train.csv")
    places = []
    for name in example.tables:
        test = name != training
        template = declared["test_images"] if test and "test_images" in declared else declared["images"]
        table = open_table(folder / name)
        column = declared["id"] if declared.get("id") in table.columns else table.columns[0]
        places += [place_of(template, image_id) for image_id in dict.fromkeys(table.cells(column))]
    return places


def place_of(template: str, image_id: str) -> str:
    place = template.replace("*", "001").replace("{id}", image_id)
    return place if split_suffix(place)[1] else f"{place}.png"


SHOWN = {example.name: example for page in PAGES for example in examples(DOCS / page)}


@pytest.fixture
def index_of(tmp_path, monkeypatch):
    """Draws an example and reads it."""

    def read(name: str) -> Index:
        monkeypatch.setenv("CHESTFOLD_PROJECT", str(tmp_path))
        draw(SHOWN[name], tmp_path)
        return open_index(name)

    return read


def test_the_pages_have_their_examples():
    assert list(SHOWN)[:3] == ["nodules", "xray", "ward"] and len(SHOWN) >= 12


@pytest.mark.parametrize("name", SHOWN)
def test_a_declaration_of_the_pages_is_read(index_of, name):
    index = index_of(name)
    dataset, shown = index.dataset, SHOWN[name]
    assert set(dataset.classes) and not [note for note in index.notes if note.startswith("ignored")]
    task = create_task(dataset.task, dataset.classes, dataset.positive)
    require_metric(dataset.metric or task.metric, task)
    ids = {cell for table in shown.tables.values() for cell in column(table, dataset)}
    assert not shown.tables or set(index.table["id"]) == ids, "every image of the tables is there"
    assert shown.tables or len(index.table) == len(shown.files)


def column(table: str, dataset: Dataset) -> list[str]:
    """The ids of a table: the column `id`, else the first."""
    header, *rows = [line.split(",") for line in table.splitlines()]
    number = header.index(dataset.id) if dataset.id in header else 0
    return [row[number] for row in rows]


@pytest.mark.parametrize("name", [name for name, shown in SHOWN.items() if any("sample" in n for n in shown.tables)])
def test_the_sample_beside_a_declaration_can_be_filled_in(index_of, name, tmp_path):
    dataset = index_of(name).dataset
    sample = open_table(tmp_path / "input" / name / dataset.submission.file).frame
    task = create_task(dataset.task, dataset.classes, dataset.positive)
    form = answer_format(sample, name, dataset, task, Scores(at_half={}, confusion=[]))
    assert {form.id_column, *form.columns} == set(sample.columns)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("nodules", {"nodule/0003/a": "nodule", "healthy/0002/a": "healthy"}),
        ("xray", {"train/肺炎/0003_1": "肺炎", "0005_1": ""}),
        ("ward", {"CT001/001": "-", "CT002/001": "結節|胸水"}),
        ("nih", {"00000001_001.png": "Cardiomegaly|Effusion", "00000002_000.png": "-"}),
        ("pneumonia", {"a153f228-400a": "opacity", "f62b1226-1c0f": ""}),
        ("pneumothorax", {"1.2.276.0.7230010.3.1.4.2": "pneumothorax", "1.2.276.0.7230010.3.1.4.3": "none"}),
        ("skin", {"ISIC_0000003": "BCC"}),
        ("grades", {"b20678c96248": "4"}),
    ],
)
def test_labels_are_what_the_page_says(index_of, name, labels):
    found = index_of(name).table.set_index("id")["label"]
    assert {image_id: found[image_id] for image_id in labels} == labels


@pytest.mark.parametrize(
    ("name", "patients"), [("nodules", 4), ("xray", 4), ("ward", 4), ("chexpert", 3), ("nih", 3), ("breast", 3)]
)
def test_patients_are_what_the_page_says(index_of, name, patients):
    assert index_of(name).train["group"].nunique() == patients


def test_uncertain_labels_are_unknown_and_empty_ones_are_not_there(index_of):
    labels = index_of("chexpert").train.set_index("id")["label"]
    path = "CheXpert-v1.0-small/train/patient0000{}/study{}/view1_frontal.jpg"
    assert labels[path.format(1, 1)] == "-"
    assert labels[path.format(2, 2)] == "Cardiomegaly|Edema?|Pleural Effusion?"


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_show_the_same_declarations(page):
    english, japanese = examples(DOCS / page), examples(DOCS / "ja" / page)
    assert [tomllib.loads(e.declaration) for e in english] == [tomllib.loads(e.declaration) for e in japanese]
    assert [(e.name, e.tables, e.files) for e in english] == [(e.name, e.tables, e.files) for e in japanese]


@pytest.mark.parametrize("page", ["reference/data.md", "ja/reference/data.md"])
def test_every_field_of_a_declaration_is_described(page):
    rows = [line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    described = set(re.findall(r"`(\w+)`", " ".join(row.split(" | ")[0] for row in rows)))
    only_in_the_catalogue = {"name", "kaggle", "parts", "submission"}
    assert described == {*Dataset.model_fields, *Submission.model_fields} - only_in_the_catalogue


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "input/README.md", "input/README.ja.md"])
def test_the_short_declarations_of_the_readmes_are_right(page, tmp_path):
    blocks = BLOCK.findall((CHECKOUT / page).read_text(encoding="utf-8"))
    shown = [text for language, _, text in blocks if language == "toml"]
    assert shown
    for text in shown:
        (tmp_path / "dataset.toml").write_text(text, encoding="utf-8")
        read_declaration("mine", tmp_path / "dataset.toml")
