"""Several data sets as one: ids, patients and notes carry the name of their part."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.core.files import input_dir
from chestfold.data import catalogue
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import folders_of, open_index
from chestfold.data.dataset import Dataset


def declare(monkeypatch, name: str, classes: tuple[str, ...], **fields) -> None:
    words = dict(about="", origin="", licence="", patient="", positive=classes[-1])
    monkeypatch.setitem(catalogue.catalogue(), name, Dataset(name=name, classes=classes, **(words | fields)))


def put(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8), grey, np.uint8))


@pytest.fixture
def both(project, monkeypatch):
    """Children in class folders with a test split, adults of a third class in a table; `both` is the two together."""
    for n, name in enumerate(("train/well/p1_a", "train/well/p2_a", "train/ill/p1_b", "test/u1")):
        put(project.input / "children" / f"{name}.png", 10 + n)
    (project.input / "children" / "train" / "ill" / "notes.txt").write_text("")
    for n, name in enumerate(("p1_a", "x2")):
        put(project.input / "adults" / "images" / f"{name}.png", 100 + n)
    (project.input / "adults" / "images.csv").write_text("id,who\np1_a,p1\nx2,p1\n")
    declare(monkeypatch, "kids", ("well", "ill"), reader="folders", folder="children", patient_pattern=r"^p\d")
    declare(monkeypatch, "adults", ("covid",), reader="csv", table="images.csv", group_column="who")
    parts = {"reader": "joined", "parts": ("kids", "adults")}
    declare(monkeypatch, "both", ("well", "ill", "covid"), **parts)
    return project


def test_ids_and_patients_carry_the_folder_of_their_part(both):
    index = open_index("both")
    assert list(index.table[["id", "label", "group", "split"]].itertuples(index=False, name=None)) == [
        ("adults/p1_a", "covid", "adults/p1", "train"),
        ("adults/x2", "covid", "adults/p1", "train"),
        ("children/train/ill/p1_b", "ill", "children/p1", "train"),
        ("children/train/well/p1_a", "well", "children/p1", "train"),
        ("children/train/well/p2_a", "well", "children/p2", "train"),
        ("children/u1", "", "children/u1", "test"),
    ]


def test_notes_carry_the_name_of_their_part(both):
    notes = open_index("both").notes
    assert "kids: ignored: 1 file(s) .txt in ill/" in notes
    assert all(note.startswith(("kids: ", "adults: ")) for note in notes)


def test_every_image_is_read_from_its_part(both):
    index = open_index("both")
    grey = [int(image.mean()) for image in open_cache(index, 8).images]
    assert dict(zip(index.table["id"], grey, strict=True)) == {
        "adults/p1_a": 100,
        "adults/x2": 101,
        "children/train/well/p1_a": 10,
        "children/train/well/p2_a": 11,
        "children/train/ill/p1_b": 12,
        "children/u1": 13,
    }


def test_a_joined_set_lies_in_the_folders_of_its_parts(both):
    assert folders_of(catalogue.find_dataset("both")) == [input_dir() / "children", input_dir() / "adults"]


def test_a_part_that_is_not_here_is_named(both):
    (both.input / "adults").rename(both.input / "elsewhere")
    with pytest.raises(InputError, match=r"adults does not exist; `chestfold data fetch adults`"):
        open_index("both")


def test_a_class_that_no_part_holds_is_refused(both, monkeypatch):
    declare(monkeypatch, "both", ("well", "ill", "covid", "cold"), reader="joined", parts=("kids", "adults"))
    with pytest.raises(InputError, match="class 'cold' has no training image"):
        open_index("both")


def test_the_real_four_classes(real_data, monkeypatch):
    monkeypatch.setenv("CHESTFOLD_INPUT", str(real_data))
    index = open_index("covid_4class")
    counts = index.train["label"].value_counts().to_dict()
    assert len(index.train) == 5475 and set(counts) == {"NORMAL", "BACTERIA", "VIRUS", "COVID19"}
    assert counts["COVID19"] == 243 and counts["NORMAL"] == 1349
    assert index.train.loc[index.train["label"] == "COVID19", "group"].str.startswith("hannover_covid/").all()
