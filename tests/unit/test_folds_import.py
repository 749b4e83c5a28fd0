"""Folds of others are taken over if they are sound: all ids once, no patient and no duplicate in two folds."""

import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DECLARATION
from fold_tables import index_of

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.folds.imported import read_given_folds


@pytest.fixture
def given(project) -> dict[str, str]:
    """Id -> fold, three folds of the patients of `tiny` in turn."""
    train = open_index("tiny").train
    return {row.id: str(int(row.group[1:]) % 3) for row in train.itertuples()}


def write(project, rows, header: str = "id,fold", name: str = "given.csv", encoding: str = "utf-8") -> Path:
    path = project.root / name
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding=encoding)
    return path


def refused(path: Path, **options: str) -> str:
    with pytest.raises(InputError) as refusal:
        folds.import_folds(open_index("tiny"), path, "own", **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


# What is taken over


def test_the_folds_of_a_competition_are_written_like_ours(project, given, capsys):
    path = write(project, reversed(given.items()))
    main.main(["folds", "import", str(path), "--data", "tiny", "--name", "own"])
    said = capsys.readouterr().out
    assert "own.csv: 60 images in 3 folds, no leak" in said and "images of each fold: 21, 21, 18" in said
    made = folds.load("own", open_index("tiny"))
    assert dict(zip(made.table["id"], made.table["fold"].astype(str), strict=True)) == given
    assert list(made.table.columns) == ["id", "group", "label", "fold"]
    about = read_json(project.root / "folds" / "own.json")
    assert about["scheme"] == f"imported from given.csv ({sha256_file(path)})" and "seed" not in about
    assert about["leaks"]["straddling"] == {"exact duplicates": 0, "near duplicates": 0, "groups": 0}
    assert folds.same_images("own", "tiny")
    main.main(["folds", "import", str(path), "--data", "tiny", "--name", "own"])
    assert "is there already, the same" in capsys.readouterr().out
    main.main(["folds", "check", "tiny", "--name", "own"])


def test_without_a_name_it_is_the_data_sets(project, given):
    for path in (project.root / "folds").glob("tiny.*"):
        path.unlink()
    main.main(["folds", "import", str(write(project, given.items())), "--data", "tiny"])
    assert folds.load("tiny", open_index("tiny")).count == 3


@pytest.mark.parametrize("name", ["{}", "{}.png", "{}.dcm", "images/{}.png", "images/{}", " {} "])
def test_an_image_is_known_by_its_id_or_its_path_with_or_without_the_suffix(project, given, name):
    path = write(project, [(name.format(image), fold) for image, fold in given.items()])
    made, new, notes = folds.import_folds(open_index("tiny"), path, "own")
    assert new and not notes and dict(zip(made.table["id"], made.table["fold"].astype(str), strict=True)) == given


@pytest.mark.parametrize(
    ("column", "header"), [("fold", "id,fold"), ("split", "fold,image_id,split,note"), ("分割", '"id",分割')]
)
def test_the_columns_can_be_named(project, given, column, header):
    names = header.replace('"', "").split(",")
    place = {"id": 0, "image_id": 1}
    id_column = next(name for name in names if name in place)
    rows = [["x" for _ in names] for _ in given]
    for row, (image, fold) in zip(rows, given.items(), strict=True):
        row[names.index(id_column)], row[names.index(column)] = image, fold
    made, *_ = folds.import_folds(open_index("tiny"), write(project, rows, header), "own", column, id_column)
    assert made.count == 3


@pytest.mark.parametrize(("form", "first"), [("{}", 0), ("{}.0", 0), ("0{}", 0), ("{}", 1), ("{}.0", 1)])
def test_folds_are_numbered_from_0_or_from_1(project, given, form, first):
    path = write(project, [(image, form.format(int(fold) + first)) for image, fold in given.items()])
    made, _, notes = folds.import_folds(open_index("tiny"), path, "own")
    assert dict(zip(made.table["id"], made.table["fold"].astype(str), strict=True)) == given
    assert notes == (["folds 1 to 3 of given.csv are numbered 0 to 2"] if first else [])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_and_lines_without_cells_are_no_hindrance(project, given, encoding):
    rows = [row for image in given.items() for row in (image, (), ("", ""))]
    made, *_ = folds.import_folds(open_index("tiny"), write(project, rows, encoding=encoding), "own")
    assert made.count == 3


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_the_same_however_it_is_composed(project, form):
    """macOS takes letters apart; a table has them as they were typed."""
    folder = project.input / "wards"
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text(DECLARATION)
    train = open_index("tiny").train
    names = {row.id: unicodedata.normalize("NFC", f"が{row.id}é") for row in train.itertuples()}
    for row in train.itertuples():
        shutil.copy(project.input / "tiny" / row.path, folder / "images" / f"{names[row.id]}.png")
    lines = [f"{names[row.id]},{row.label},{row.group}" for row in train.itertuples()]
    (folder / "train.csv").write_text("\n".join(["id,label,patient", *lines]) + "\n")
    rows = [(unicodedata.normalize(form, names[row.id]), str(int(row.group[1:]) % 3)) for row in train.itertuples()]
    made, *_ = folds.import_folds(open_index("wards"), write(project, rows), "wards")
    assert set(made.table["id"]) == set(names.values())


# What is refused


@pytest.mark.parametrize(
    ("numbers", "pair"), [("012", "'t000' (fold 2) and 't001' (fold 0)"), ("123", "'t000' (fold 3)")]
)
def test_a_patient_in_two_folds_is_refused_with_the_first_two_images(project, given, numbers, pair):
    given |= {"t000": "2", "t007": "0"}
    path = write(project, [(image, numbers[int(fold)]) for image, fold in given.items()])
    sentence = refused(path)
    assert (
        sentence.startswith(f"{path} leaks: {pair}") and "are of one patient, 'p00', and 1 more like them" in sentence
    )
    assert sentence.endswith("put them in one fold, or let chestfold folds make tiny split them")
    assert not list(project.root.glob("folds/own*"))


def test_a_duplicate_in_two_folds_is_refused_with_the_two_images(project, given):
    images = project.input / "tiny" / "images"
    shutil.copy(images / "t031.png", images / "t000.png")  # patients 10 and 0, folds 1 and 0
    path = write(project, given.items())
    assert refused(path) == (
        f"{path} leaks: 't000' (fold 0) and 't031' (fold 1) are the same image, byte for byte; put them in one fold, "
        "or let chestfold folds make tiny split them"
    )


def test_a_class_missing_from_a_fold_is_refused(project, given):
    labels = open_index("tiny").train.set_index("id")["label"]
    by_label = {image: {"healthy": "1", "ill": "2"}[labels[image]] for image in given}
    sentence = refused(write(project, by_label.items()))
    assert "given.csv: fold 1 has no image of class 'ill', and could not be scored; add patients, or deal" in sentence


def changed(given: dict[str, str], **rows: str | None) -> list[tuple[str, str]]:
    """The rows with other folds for some images, None: left out."""
    return [(image, fold) for image, fold in (given | rows).items() if fold is not None]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"t004": None, "t007": None}, "has no row for 2 training image(s), the first is 't004'; add them"),
        ({"x000": "1"}, "line 62: 'x000' is no training image of tiny"),
        ({"t000.jpg": "1"}, "line 62: 't000.jpg' was in line 2 already; every image has one fold"),
        ({"t003": ""}, "line 5: fold is ''; a whole number is needed, 0 for the first fold"),
        ({"t003": "val"}, "line 5: fold is 'val'; a whole number is needed, 0 for the first fold"),
        ({"t003": "0.5"}, "line 5: fold is '0.5'; a whole number is needed, 0 for the first fold"),
        ({"t003": "nan"}, "line 5: fold is 'nan'; a whole number is needed, 0 for the first fold"),
        ({"t003": "-1"}, "has the folds -1, 0, 1, 2; number them from 0 (or 1) on without a gap"),
        ({"t003": "2024"}, "has the folds 0, 1, 2, 2024; number them from 0 (or 1) on without a gap"),
    ],
    ids=str,
)
def test_a_row_that_is_wrong_is_refused_with_its_line(project, given, rows, sentence):
    path = write(project, changed(given, **rows))
    comma = "," if sentence.startswith("line") else ""
    assert refused(path) == f"{path}{comma} {sentence}"


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 8], "0, 1, 2, 3, 4, 5, 6, 8"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 9], "0, 1, 2, 3, 4, 5, 6, 7, ..."),
        ([2, 3], "2, 3"),
    ],
)
def test_of_many_folds_with_a_gap_eight_are_named(project, given, numbers, shown):
    path = write(project, [(image, str(numbers[n % len(numbers)])) for n, image in enumerate(given)])
    assert refused(path) == f"{path} has the folds {shown}; number them from 0 (or 1) on without a gap"


def drawn_index(*places: tuple[str, str]) -> Index:
    """Images by id and path, without their files."""
    index = index_of("multiclass", "AB", ["A", "B"], "pq")
    table = index.table.assign(id=[image for image, _ in places], path=[place for _, place in places])
    return replace(index, table=table)


def test_a_name_that_fits_two_images_is_none_but_for_an_id(tmp_path):
    index = drawn_index(("p", "images/a.png"), ("q", "images/a.jpg"))
    path = tmp_path / "given.csv"
    path.write_text("id,fold\nimages/a.png,0\nimages/a.jpg,1\n")
    assert read_given_folds(index, path, "fold", "id").fold_of.tolist() == [0, 1]
    path.write_text("id,fold\nimages/a,0\nq,1\n")
    with pytest.raises(InputError, match="line 2: 'images/a' is no training image of drawn"):
        read_given_folds(index, path, "fold", "id")
    path.write_text("id,fold\np,0\na,1\n")
    named = drawn_index(("p", "a.png"), ("a", "b.png"))
    assert read_given_folds(named, path, "fold", "id").fold_of.tolist() == [0, 1]


def test_a_single_fold_is_refused(project, given):
    path = write(project, [(image, "0") for image in given])
    assert refused(path) == f"{path} has all images in fold 0; at least 2 folds are needed"


@pytest.mark.parametrize(
    ("header", "options", "sentence"),
    [
        ("id,Fold", {}, "has no column 'fold' (it has id, Fold); name the right one in --fold-column"),
        ("image,fold", {}, "has no column 'id' (it has image, fold); name the right one in --id-column"),
        ("id,fold", {"fold_column": "split"}, "has no column 'split' (it has id, fold); name the right one in"),
        ("fold,fold", {"id_column": "fold"}, "has 2 columns called 'fold'; rename or remove all but one"),
    ],
)
def test_a_column_that_is_not_there_is_refused(project, given, header, options, sentence):
    assert f"given.csv {sentence}" in refused(write(project, given.items(), header), **options)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        (b"", "is not a readable CSV: it is empty"),
        ("id,fold\n正常,0\n".encode("cp932"), "is not a readable text: it is not in UTF-8; save it as UTF-8"),
        (b'id,fold\n"t000,0\nt001,0\n', "is not a readable CSV: the row that begins in line 2: unexpected end of data"),
        (b"id;fold\nt000;0\n", "its cells are separated by semicolons; save it as CSV with commas between them"),
        (b"id,fold\nt000,0\nt001,0,1\n", "is not a readable CSV: line 3 has 3 cells, its header 2"),
    ],
    ids=["missing", "empty", "cp932", "open quote", "semicolons", "a cell too many"],
)
def test_a_file_that_cannot_be_read_is_one_sentence(project, content, sentence):
    path = project.root / "given.csv"
    if content is not None:
        path.write_bytes(content)
    assert refused(path).startswith(str(path)) and sentence in refused(path)


def test_another_split_of_the_name_is_never_written_over(project, given):
    path = write(project, given.items())
    before = (project.root / "folds" / "tiny.csv").read_bytes()
    with pytest.raises(InputError, match="fold files are never edited, choose a new --name"):
        folds.import_folds(open_index("tiny"), path, "tiny")
    assert (project.root / "folds" / "tiny.csv").read_bytes() == before
