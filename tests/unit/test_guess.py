"""`chestfold data init`: what is guessed from a folder is read again, or fails with the line to confirm."""

import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import put, table

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data.declaration import read_declaration
from chestfold.data.guess import columns, guess_declaration, write_declaration
from chestfold.data.guess.columns import Column, label_lines, ordered, patient_column, positive_line
from chestfold.data.guess.lines import Line, with_counts
from chestfold.data.guess.patients import file_name_pattern
from chestfold.data.guess.templates import Match, Names
from chestfold.data.readers import read_index
from chestfold.data.tables import Table

NAMES = [f"t{n}" for n in range(8)]


def guessed(root: Path, name: str = "mine") -> dict:
    """The guesses as TOML reads them; they are valid, and the reader finds its images by them."""
    path = write_declaration(root, name)
    index = read_index(read_declaration(name, path), root)
    assert len(index.train) == len(NAMES)
    return tomllib.loads(path.read_text(encoding="utf-8"))


def images(root: Path, places: str, names=NAMES) -> None:
    put(root, *[places.replace("{}", name) for name in names])


def lines(header: str, *cells: list[str]) -> list[str]:
    return [header, *[",".join([name, *row]) for name, *row in zip(NAMES, *cells, strict=True)]]


BINARY = ["0", "1"] * 4
WHO = [f"p{n // 2}" for n in range(8)]


def test_a_competition(tmp_path):
    images(tmp_path, "train/{}.tif")
    images(tmp_path, "test/{}.tif", ["x0", "x1"])
    table(tmp_path, "train_labels.csv", *lines("id,label", BINARY))
    table(tmp_path, "sample_submission.csv", "id,label", "x0,0", "x1,0")
    assert guessed(tmp_path) == {
        "reader": "csv",
        "table": "train_labels.csv",
        "id": "id",
        "images": "train/{id}.tif",
        "test_images": "test/{id}.tif",
        "task": "multiclass",
        "label": "label",
        "classes": ["0", "1"],
        "positive": "1",
    }


def test_one_hot_columns_that_the_sample_asks_for(tmp_path):
    images(tmp_path, "train/{}.png")
    images(tmp_path, "test/{}.png", ["x0"])
    edema = ["1", "0", "-1", "0", "1", "0", "1", "0"]
    table(tmp_path, "train.csv", *lines("StudyInstanceUID,Edema,Effusion,PatientID,marker", edema, BINARY, WHO, BINARY))
    table(tmp_path, "stage_1_sample_submission.csv", "Study,Edema,Effusion", "x0,0,0")
    found = guessed(tmp_path)
    assert found["task"] == "multilabel" and found["labels"] == ["Edema", "Effusion"] and found["unknown"] == ["-1"]
    assert found["id"] == "StudyInstanceUID" and found["group"] == "PatientID" and "positive" not in found
    assert found["submission"] == {"file": "stage_1_sample_submission.csv", "id": "Study"}


def test_two_columns_that_the_sample_asks_for_are_the_labels_whatever_they_are_called(tmp_path):
    images(tmp_path, "train/{}.png")
    images(tmp_path, "test/{}.png", ["x0"])
    other = ["1", "1"] + ["0"] * 6
    table(tmp_path, "train.csv", *lines("id,label_a,label_b", BINARY, other))
    table(tmp_path, "sample_submission.csv", "id,label_a,label_b", "x0,0,0")
    assert guessed(tmp_path)["labels"] == ["label_a", "label_b"]


def test_answers_of_a_sample_that_are_not_the_columns_of_the_labels(tmp_path):
    images(tmp_path, "train/{}.png")
    images(tmp_path, "test/{}.png", ["x0"])
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    table(tmp_path, "sample_submission.csv", "id,none,some", "x0,0,0")
    guessed(tmp_path)
    declared = (tmp_path / "dataset.toml").read_text()
    assert '# submission.columns = { "none" = "" }  # column = class, for: none, some' in declared
    table(tmp_path, "sample_submission.csv", "id,some", "x0,0")
    (tmp_path / "dataset.toml").unlink()
    guessed(tmp_path)
    assert "submission.columns" not in (tmp_path / "dataset.toml").read_text()


def test_one_hot_columns_that_exclude_each_other(tmp_path):
    images(tmp_path, "images/{}.jpg")
    columns = [[str(float(n % 3 == k)) for n in range(8)] for k in range(3)]
    table(tmp_path, "train.csv", *lines("image,MEL,NV,BCC", *columns))
    found = guessed(tmp_path)
    assert found["task"] == "multiclass" and found["labels"] == ["MEL", "NV", "BCC"] and found["positive"] == "BCC"


def test_labels_with_a_separator_in_folders_that_differ(tmp_path):
    for n, name in enumerate(NAMES):
        put(tmp_path, f"images_00{n % 3}/images/{name}.png")
    findings = ["No Finding", "Effusion", "Edema|Effusion", "Edema"] * 2
    table(
        tmp_path,
        "Data_Entry.csv",
        "Image Index,Finding Labels,Patient ID,Patient Age",
        *[f"{name}.png,{finding},{who},60" for name, finding, who in zip(NAMES, findings, WHO, strict=True)],
    )
    found = guessed(tmp_path)
    assert found["images"] == "images_00*/images/{id}" and found["id"] == "Image Index"
    assert found["task"] == "multilabel" and found["separator"] == "|" and found["no_finding"] == ["No Finding"]
    assert found["classes"] == ["Edema", "Effusion"] and found["group"] == "Patient ID"


def test_boxes_have_several_rows_an_image(tmp_path):
    images(tmp_path, "stage_2_train_images/{}.dcm")
    rows = [f"{name},{n},{n},{n % 2}" for n, name in enumerate(NAMES) for _ in range(1 + n % 2)]
    table(tmp_path, "stage_2_train_labels.csv", "patientId,x,width,Target", *rows)
    found = guessed(tmp_path)
    assert found["id"] == "patientId" and found["label"] == "Target" and found["task"] == "multiclass"
    assert "group" not in found


def test_a_row_for_each_finding(tmp_path):
    images(tmp_path, "train/{}.png")
    rows = [f"{name},{finding},R1" for name in NAMES[:4] for finding in ("Mass", "Nodule")]
    table(tmp_path, "train.csv", "image_id,class_name,rad", *rows, *[f"{name},No finding,R1" for name in NAMES[4:]])
    found = guessed(tmp_path)
    assert found["task"] == "multilabel" and found["classes"] == ["Mass", "Nodule"]
    assert found["no_finding"] == ["No finding"] and "separator" not in found


def test_paths_as_ids(tmp_path):
    places = [f"train/{who}/study1/{n}.jpg" for n, who in enumerate(WHO)]
    put(tmp_path, *places)
    table(tmp_path, "train.csv", "Path,Sex,Diagnosis", *[f"{place},F,{n % 2}.0" for n, place in enumerate(places)])
    found = guessed(tmp_path)
    assert found["images"] == "{id}" and found["id"] == "Path" and found["label"] == "Diagnosis"


def test_a_table_in_japanese(tmp_path):
    images(tmp_path, "画像/{}.png")
    table(tmp_path, "一覧.csv", *lines("画像,患者番号,診断", WHO, ["正常", "肺炎"] * 4))
    found = guessed(tmp_path, "胸部")
    assert found["group"] == "患者番号" and found["label"] == "診断" and found["images"] == "画像/{id}.png"
    assert found["classes"] == ["正常", "肺炎"] and found["positive"] == "肺炎"


@pytest.mark.parametrize("below", ["", "train/"])
@pytest.mark.parametrize("names", [("正常", "悪性(肺がん)"), ("NORMAL", "PNEUMONIA"), ("Not_Nodule", "Nodule")])
def test_class_folders(tmp_path, below, names):
    put(tmp_path, *[f"{below}{names[n % 2]}/{n}.png" for n in range(8)])
    found = guessed(tmp_path)
    assert found["reader"] == "folders"
    assert found["classes"] == list(names) and found["positive"] == names[1]
    assert "group" not in found and "# patient_pattern = " in (tmp_path / "dataset.toml").read_text()


def test_a_folder_for_each_patient(tmp_path):
    put(tmp_path, *[f"train/{('well', 'ill')[n % 2]}/{who}/{n}.png" for n, who in enumerate(WHO)])
    assert guessed(tmp_path)["group"] == "folder"


@pytest.mark.parametrize("width", [1, 3])
def test_an_npz(tmp_path, width):
    labels = np.arange(8 * width).reshape(8, width) % 2
    labels[0] = 1 - labels[1]
    np.savez(tmp_path / "mine.npz", train_images=np.zeros((8, 4, 4), np.uint8), train_labels=labels)
    found = guessed(tmp_path)
    assert found["reader"] == "npz" and len(found["classes"]) == max(2, width)
    assert found["task"] == ("multilabel" if width > 1 else "multiclass")


def test_of_several_npz_the_one_that_is_called_like_the_data_set_is_read(tmp_path):
    for name, labels in (("a", [0, 1, 2, 0]), ("mine", [0, 1, 1, 0]), ("z", [0, 1, 2, 0])):
        np.savez(
            tmp_path / f"{name}.npz", train_images=np.zeros((8, 4, 4), np.uint8), train_labels=np.array(2 * labels)
        )
    assert len(guessed(tmp_path)["classes"]) == 2
    declaration = tmp_path / "dataset.toml"
    assert "rename it" not in declaration.read_text()
    declaration.unlink()
    (tmp_path / "mine.npz").rename(tmp_path / "b.npz")
    write_declaration(tmp_path, "mine")
    assert "a.npz: train; rename it to mine.npz" in declaration.read_text()


@pytest.mark.parametrize(
    ("places", "csv"),
    [(["a.png", "b.png"], []), (["x/a.png", "x/b.png"], ["id,remark", "a,good", "b,better"])],
    ids=["no classes", "no labels"],
)
def test_what_cannot_be_guessed_fails_at_the_line_to_confirm(tmp_path, places, csv):
    put(tmp_path, *places)
    if csv:
        table(tmp_path, "train.csv", *csv[:1], "a,same", "b,same")
    path = write_declaration(tmp_path, "mine")
    with pytest.raises(InputError) as refusal:
        read_declaration("mine", path)
    line = int(str(refusal.value).split("line ")[1].split(":")[0])
    assert "CONFIRM" in path.read_text().splitlines()[line - 1]


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["p1_1", "p1_2", "p2_1", "p3_1"], r"^(.+?)[_ -]"),
        (["a1", "a2"], r"^([^_]+)_"),
        (["x_1", "x_2", "x_3"], r"^([^_]+)_"),
        (["p1_1", "p1-2", "p2_1", "p3 1"], r"^(.+?)[_ -]"),
        (["p1_1", "p1_2", "p2_1", "p2_2"], r"^([^_]+)_"),
        (["p1_1", "p2_1", "p3_1", "p4_1"], r"^([^_]+)_"),
        (["p1_1", "p1_2", "p2_1", "p3"], r"^([^_]+)_"),
    ],
)
def test_a_patient_at_the_beginning_of_names(names, pattern):
    assert file_name_pattern(names) == pattern


@pytest.mark.parametrize(("kinds", "end"), [(8, "'h' (1)"), (9, "'h' (1), and 1 more")])
def test_many_texts_are_counted_and_the_first_are_named(kinds, end):
    counts = dict.fromkeys("abcdefghi"[:kinds], 1)
    assert with_counts(counts) == ", ".join(f"'{name}' (1)" for name in "abcdefg") + ", " + end


def test_of_more_texts_so_many_are_named_as_are_asked_for():
    assert with_counts({"a": 3, "b": 2}, 1) == "'a' (3), and 1 more" and with_counts({"a": 3, "b": 2}, 2) == (
        "'a' (3), 'b' (2)"
    )


@pytest.mark.parametrize(("text", "is_one"), [("xAB", True), ("CD", True), ("acb", False), ("", False)])
def test_a_name_with_one_of_some_words(text, is_one):
    assert bool(columns._words("ab", "^c").search(text)) == is_one


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (Line("id", "x", "because"), 'id = "x"' + 26 * " " + "  # because"),
        (Line("id", "x", "two\n lines", idea=True), '# id = "x"' + 24 * " " + "  # two lines"),
        (Line("classes", ["a" * 20, "b" * 20], "why"), f'classes = ["{"a" * 20}", "{"b" * 20}"]  # why'),
    ],
)
def test_a_line_and_its_reason(line, text):
    assert line.text == text


# The lines


def said(cells: dict[str, list[str]], *answered: str, patient: str = "") -> dict[str, object]:
    """Field -> value that is guessed of the labels of a table; ideas have a `#` before their field."""
    found = Table(Path("train.csv"), pd.DataFrame(cells, dtype="str"), list(range(2, 2 + len(cells["id"]))))
    lines = label_lines(found, "id", patient, list(answered))
    return {("# " if line.idea else "") + line.key: line.value for line in lines}


IDS = list("abcdefgh")


@pytest.mark.parametrize(
    ("cells", "unknown", "is_binary"),
    [
        ("0 1 0", [], True),
        ("0.0 1.0", [], True),
        ("no yes", [], True),
        ("FALSE TRUE", [], True),
        ("1 1", [], True),
        ("0 0", [], False),
        ("0 1 2", [], False),
        ("0 1 -1", ["-1"], True),
        ("0 1 -1.0 ?", ["-1.0", "?"], True),
        ("0 1 NaN N/A NA Unknown", ["NaN", "N/A", "NA", "Unknown"], True),
        ("-1 -1", ["-1"], False),
    ],
)
def test_what_a_column_holds(cells, unknown, is_binary):
    column = Column("x", dict(Counter(cells.split())))
    assert column.unknown == unknown and column.is_binary == is_binary
    assert set(column.known) == set(cells.split()) - set(unknown)


@pytest.mark.parametrize(
    ("classes", "order"),
    [
        (["10", "9", "1"], ["1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["b", "Normal", "a"], ["Normal", "a", "b"]),
        (["b", "abnormal", "healthy"], ["healthy", "abnormal", "b"]),
        (["tumour", "no tumour"], ["no tumour", "tumour"]),
        (["unhealthy", "benign"], ["benign", "unhealthy"]),
    ],
)
def test_the_order_of_classes(classes, order):
    assert ordered(classes) == order


@pytest.mark.parametrize(
    ("classes", "positive"),
    [(["a", "b"], "b"), (["a", "normal"], "a"), (["normal", "none"], "none"), (["normal", "a", "b"], "b")],
)
def test_the_positive_class_is_the_last_that_is_not_normal(classes, positive):
    assert positive_line(classes).value == positive


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["case", "PatientID"], "PatientID"),
        (["study_uid", "case"], "case"),
        (["scan", "group"], "scan"),
        (["patient_id", "subject"], "subject"),
        (["age"], ""),
        (["patient alone"], ""),
    ],
)
def test_the_surest_name_of_a_column_of_patients(names, found):
    counts = {name: {"p1": 2, "p2": 2} if "alone" not in name else {"p1": 4} for name in names}
    columns = {name: Column(name, counts[name]) for name in names}
    assert patient_column(columns, "patient_id") == found


def test_a_column_with_the_name_of_labels_goes_before_two_of_0_and_1():
    cells = {"id": IDS, "label": list("xyxyxyxy"), "m": BINARY, "n": BINARY[::-1]}
    assert said(cells)["label"] == "label"
    assert said(cells | {"o": BINARY})["labels"] == ["m", "n", "o"]
    assert said(cells, "m", "n")["labels"] == ["m", "n"]
    assert said({"id": IDS, "m": BINARY, "n": BINARY[::-1]})["labels"] == ["m", "n"]


def test_columns_that_are_no_labels_are_left_out():
    cells = {"id": IDS, "sex": list("FMFMFMFM"), "who": WHO, "remark": list("aabbccdd")}
    assert said(cells, patient="who")["label"] == "remark"
    assert said(cells) == {"# label": "", "classes": []}, "who and remark may both be labels"


@pytest.mark.parametrize(
    ("columns", "ideas"), [({"who": WHO, "remark": list("aabbccdd")}, "who, remark"), ({}, "none fits")]
)
def test_where_no_column_is_surely_that_of_the_labels_those_that_may_be_are_said(columns, ideas):
    found = Table(Path("train.csv"), pd.DataFrame({"id": IDS} | columns, dtype="str"), list(range(2, 10)))
    idea, classes = label_lines(found, "id", "", [])
    assert idea.why == f"no column is surely that of the labels ({ideas})"
    assert idea.text.startswith('# label = ""') and classes.text.startswith("classes = []")


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"id": list("abc"), "finding": ["x", "y", "x|y"]}, "some cells hold several labels, with '|' between them"),
        ({"id": list("aab"), "finding": ["x", "y", "x"]}, "some images have rows with different labels"),
        ({"id": list("abb"), "finding": ["x", "y", "y"]}, "each image has one label"),
        ({"id": list("ab"), "m": ["0", "1"], "n": ["1", "0"]}, "each image has exactly one of them"),
        ({"id": list("abc"), "m": ["1", "1", "0"], "n": ["1", "0", "1"]}, "an image may have several of them, or none"),
    ],
)
def test_why_a_task_is_guessed(cells, why):
    found = Table(Path("train.csv"), pd.DataFrame(cells, dtype="str"), [2, 3, 4])
    (task,) = [line for line in label_lines(found, "id", "", []) if line.key == "task"]
    assert task.why == why


@pytest.mark.parametrize(("texts", "is_label"), [(1, False), (2, True), (50, True), (51, False)])
def test_from_two_to_fifty_texts_may_be_classes(texts, is_label):
    cells = {"id": [f"i{n}" for n in range(60)], "x": [f"c{n % texts:02d}" for n in range(60)]}
    assert ("label" in said(cells)) == is_label


@pytest.mark.parametrize(("values", "task"), [("01010101", "multiclass"), ("00010101", "multilabel")])
def test_columns_of_0_and_1_exclude_each_other_where_each_image_has_one(values, task):
    other = ["1" if value == "0" else "0" for value in BINARY]
    found = said({"id": IDS, "m": list(values), "n": other})
    assert found["task"] == task and ("positive" in found) == (task == "multiclass")


def test_columns_with_unknown_cells_do_not_exclude_each_other():
    found = said({"id": IDS, "m": ["-1", *BINARY[1:]], "n": ["1", *BINARY[::-1][1:]]})
    assert found["task"] == "multilabel" and found["unknown"] == ["-1"] and "positive" not in found


@pytest.mark.parametrize(
    ("grades", "is_idea"), [("01230123", True), ("01201201", False), ("0123012x", False), ("0123-123", False)]
)
def test_four_numbers_may_be_grades(grades, is_idea):
    found = said({"id": IDS, "grade": list(grades)})
    assert found["task"] == "multiclass" and found.get("# task") == ("ordinal" if is_idea else None)


def test_what_is_unknown_is_no_class():
    found = said({"id": IDS, "label": ["a", "b", "?", "a", "b", "", "a", "b"]})
    assert found["classes"] == ["a", "b"] and found["unknown"] == ["?", ""] and "no_finding" not in found


@pytest.mark.parametrize(
    ("texts", "separator"),
    [
        (["a", "b", "a|b"], "|"),
        (["a", "b", "a;b"], ";"),
        (["a", "b", "a/b"], "/"),
        (["a|b", "b|a"], ""),
        (["a|b", "b|a", "a|c", "c|a"], "|"),
        (["a|b", "c|d"], ""),
        (["|a", "b"], ""),
        (["a", "b"], ""),
    ],
)
def test_what_stands_between_labels(texts, separator):
    column = {"id": IDS[: len(texts)], "finding": texts}
    assert said(column).get("separator", "") == separator


def test_more_than_fifty_parts_are_no_labels():
    few, many = ([f"c{n}" for n in range(count)] for count in (50, 51))
    for texts, separator in ((few, "|"), (many, "")):
        cells = {"id": [f"i{n}" for n in range(len(texts) + 1)], "finding": [*texts, "c0|c1"]}
        assert said(cells).get("separator", "") == separator


def test_a_part_counts_in_every_cell_that_holds_it():
    found = Table(Path("t.csv"), pd.DataFrame({"id": list("abcd"), "finding": ["x", "x|y", "x|y|", "y"]}), [2, 3, 4, 5])
    (line,) = [line for line in label_lines(found, "id", "", []) if line.key == "label"]
    assert line.why == "2 different texts: 'x' (3), 'y' (3)"


# Places


def matched(root: Path, places: list[str], cells: list[str]) -> Match:
    return Names(root, [root / place for place in places]).match(cells)


@pytest.mark.parametrize(
    ("places", "cells", "template"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"], "a/{id}.png"),
        (["a/x.png", "a/y.PNG"], ["x", "y"], "a/{id}.png"),
        (["a/x.png", "a/y.jpg"], ["x", "y"], "a/{id}"),
        (["a/x.png", "a/y.png"], ["x.png", "y.png"], "a/{id}"),
        (["a1/x.png", "a2/y.png"], ["x", "y"], "a*/{id}.png"),
        (["a1/x.png", "a2/y.png", "a3/z.png"], ["x", "y", "z"], "a*/{id}.png"),
        (["a/x.png", "b/c/y.png"], ["x", "y"], "a/{id}.png"),
        (["a/b/x.png", "c/y.png"], ["x", "y"], "a/b/{id}.png"),
        (["x/x.png", "y/y.png"], ["x", "y"], "{id}/{id}.png"),
        (["a/p/x.png", "a/q/y.png"], ["p/x", "q/y"], "a/{id}.png"),
        (["x.png", "y.png"], ["x", "y"], "{id}.png"),
        (["{a}/x.png"], ["x"], "*a*/{id}.png"),
    ],
)
def test_the_template_of_what_cells_name(tmp_path, places, cells, template):
    assert matched(tmp_path, places, cells).template == template


@pytest.mark.parametrize(
    ("cells", "found", "share"),
    [(["x", "y"], 2, 1.0), (["x", "z"], 1, 0.5), (["x", "x", "z"], 1, 0.5), (["z"], 0, 0.0), ([], 0, 0.0)],
)
def test_the_share_of_the_cells_that_name_an_image(tmp_path, cells, found, share):
    match = matched(tmp_path, ["a/x.png", "a/y.png"], cells)
    assert (match.found, match.cells, match.share) == (found, len(set(cells)), share)
    assert bool(match.template) == bool(found)


@pytest.mark.parametrize("cell", ["../a/x", "/x", "", "a/../x", "other/x"])
def test_a_cell_that_leads_elsewhere_names_nothing(tmp_path, cell):
    assert matched(tmp_path, ["a/x.png"], [cell]).found == 0


@pytest.mark.parametrize(("cells", "looked_at"), [(1999, 1999), (2000, 1000), (4100, 1367)])
def test_of_many_cells_some_from_all_over_the_column_are_looked_at(tmp_path, cells, looked_at):
    assert matched(tmp_path, ["a/x.png"], [f"i{n}" for n in range(cells)]).cells == looked_at


def test_without_a_column_of_patients_a_pattern_is_proposed_and_not_set(tmp_path):
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    images(tmp_path, "train/{}.png", names)
    table(tmp_path, "train.csv", "id,label", *[f"{name},{n % 2}" for n, name in enumerate(names)])
    text = write_declaration(tmp_path, "mine").read_text(encoding="utf-8")
    assert '# patient_pattern = "^([^_]+)_"' in text and "patient_pattern" not in tomllib.loads(text)


def test_names_cannot_break_the_file(tmp_path):
    names = ('"quo"', "new\nline")
    put(tmp_path, *[f"{names[n % 2]}/{n}.png" for n in range(8)])
    assert sorted(guessed(tmp_path)["classes"]) == sorted(names)


@pytest.mark.parametrize("folder", ["ct{1}", "{id}", "a*b"])
def test_folders_that_are_called_like_a_template(tmp_path, folder):
    put(tmp_path, *[f"{folder}/{name}.png" for name in NAMES])
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    assert "*" in guessed(tmp_path)["images"]


# The tables


def texts(root: Path, name: str = "mine") -> dict[str, str]:
    """Field -> the line that is guessed, of those that are no ideas."""
    found = guess_declaration(root, name).splitlines()
    return {line.partition(" = ")[0]: line for line in found if not line.startswith("#")}


@pytest.mark.parametrize(("there", "reader"), [(4, "csv"), (3, "folders")])
def test_a_table_is_taken_where_half_of_its_cells_name_images(tmp_path, there, reader):
    put(tmp_path, *[f"{'ab'[n % 2]}/{name}.png" for n, name in enumerate(NAMES[:there])])
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    assert texts(tmp_path)["reader"].startswith(f'reader = "{reader}"')


def test_the_column_that_names_most_images_is_that_of_the_ids(tmp_path):
    images(tmp_path, "train/{}.png")
    other = [*NAMES[:5], "u", "v", "w"]
    cells = [f"{first},{name},{n % 2}" for n, (first, name) in enumerate(zip(other, NAMES, strict=True))]
    table(tmp_path, "train.csv", "first,second,label", *cells)
    found = texts(tmp_path)
    assert found["id"].startswith('id = "second"') and "8 different ids" in found["id"]
    assert "train.csv names 8 images of 8 looked for" in found["reader"] and "8 rows" in found["table"]


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (("a.csv", 8), ("train.csv", 6), "train.csv"),
        (("a.csv", 8), ("b.csv", 6), "a.csv"),
        (("a.csv", 6), ("b.csv", 8), "b.csv"),
        (("train_a.csv", 6), ("train_b.csv", 8), "train_b.csv"),
        (("Test_of_Train.csv", 6), ("test.csv", 8), "Test_of_Train.csv"),
        (("latest.csv", 8), ("z.csv", 6), "z.csv"),
    ],
)
def test_of_several_tables_that_of_training_is_taken(tmp_path, first, second, chosen):
    images(tmp_path, "train/{}.png")
    for name, rows in (first, second):
        table(tmp_path, name, *lines("id,label", BINARY)[: rows + 1])
    assert texts(tmp_path)["table"].startswith(f'table = "{chosen}"')


@pytest.mark.parametrize(("name", "is_said"), [("test.csv", False), ("test_labels.csv", True)])
def test_a_table_of_test_images_is_named_where_it_is_not_called_as_expected(tmp_path, name, is_said):
    images(tmp_path, "train/{}.png")
    images(tmp_path, "other/{}.png", ["x0", "x1"])
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    table(tmp_path, name, "id", "x0", "x1", "x0")
    found = texts(tmp_path)
    assert found["test_images"].startswith('test_images = "other/{id}.png"')
    assert ("test_table" in found) == is_said
    if is_said:
        assert found["test_table"].startswith(f'test_table = "{name}"') and found["test_table"].endswith("3 rows")


def test_a_table_of_test_images_goes_before_the_sample_and_one_place_is_said_once(tmp_path):
    images(tmp_path, "train/{}.png")
    images(tmp_path, "train/{}.png", ["x0"])
    images(tmp_path, "sample/{}.png", ["y0"])
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    table(tmp_path, "test.csv", "id", "x0")
    table(tmp_path, "sample_submission.csv", "id,label", "y0,0")
    assert "test_images" not in texts(tmp_path)
    (tmp_path / "test.csv").unlink()
    assert texts(tmp_path)["test_images"].startswith('test_images = "sample/{id}.png"')
    table(tmp_path, "sample_submission.csv", "id,label", "gone,0")
    assert "test_images" not in texts(tmp_path)


def test_a_sample_that_is_called_as_expected_is_not_said(tmp_path):
    images(tmp_path, "train/{}.png")
    table(tmp_path, "train.csv", *lines("id,label", BINARY))
    table(tmp_path, "sample_submission.csv", "id,label", "x0,0")
    assert not {"submission.file", "submission.id"} & set(texts(tmp_path))
    table(tmp_path, "sample_submission.csv", "image,label", "x0,0")
    assert "submission.file" not in texts(tmp_path) and "submission.id" in texts(tmp_path)


@pytest.mark.parametrize("word", ["-1", "NaN", "unknown", "不明", "None"])
def test_words_for_a_patient_that_is_not_known_are_said(tmp_path, word):
    images(tmp_path, "train/{}.png")
    table(tmp_path, "train.csv", *lines("id,label,patient", BINARY, [word, word, *WHO[2:]]))
    found = texts(tmp_path)
    assert found["unknown_group"].startswith(f'unknown_group = ["{word}"]') and "4 different texts" in found["group"]
    table(tmp_path, "train.csv", *lines("id,label,patient", BINARY, WHO))
    assert "unknown_group" not in texts(tmp_path)


# Folders and arrays


def test_of_class_folders_images_are_counted_and_those_below_them(tmp_path):
    put(tmp_path, "train/a/1.png", "train/a/p/2.png", "val/b/p/3.png", "val/b/q/4.png", "test/5.png")
    put(tmp_path, "train/b/6.png")
    (tmp_path / "train/empty").mkdir()
    found = texts(tmp_path)
    assert found["reader"].endswith("a folder for each class; train, val, test")
    assert found["classes"].startswith('classes = ["a", "b"]') and "'a' (2), 'b' (3)" in found["classes"]
    assert "3 images in folders below the class folders" in found["group"]


@pytest.mark.parametrize("count", [1, 2])
def test_two_class_folders_are_enough(tmp_path, count):
    put(tmp_path, *[f"c{n}/{k}.png" for n in range(count) for k in range(3)])
    found = texts(tmp_path)
    assert "no train, val or test folders" in found["reader"]
    assert ("positive" in found) == (count == 2) == ("CONFIRM: two or more" not in found["classes"])


def test_a_pattern_of_file_names_is_proposed(tmp_path):
    put(tmp_path, *[f"{'ab'[n % 2]}/p{n // 2}_{n}.png" for n in range(8)])
    assert '# patient_pattern = "^(.+?)[_ -]"' in guess_declaration(tmp_path, "mine")


@pytest.mark.parametrize("names", [["val_images", "val_labels"], ["train_images"], ["train_labels"], ["x"]])
def test_an_npz_without_images_and_labels_is_refused(tmp_path, names):
    arrays = {name: np.zeros((2, 4, 4) if name.endswith("images") else 2, np.uint8) for name in names}
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=rf"has no train_images and train_labels \(it has {', '.join(names)}\)"):
        guess_declaration(tmp_path, "mine")


@pytest.mark.parametrize("width", [1, 2])
def test_an_npz_of_several_labels_has_a_class_for_each_column(tmp_path, width):
    labels = np.array([[1, 0], [0, 1], [2, 0]])[:, :width]
    np.savez(tmp_path / "mine.npz", train_images=np.zeros((3, 4, 4), np.uint8), train_labels=labels)
    found = texts(tmp_path)
    assert ("2 labels an image" in found["task"]) == (width == 2) == ('["label0", "label1"]' in found["classes"])
    assert ("positive" in found) == (width == 1) == ("'1' (1), '0' (1), '2' (1)" in found["classes"])


def test_an_empty_folder_and_none(tmp_path):
    with pytest.raises(InputError, match="holds neither images nor an .npz"):
        guess_declaration(tmp_path, "mine")
    with pytest.raises(InputError, match="is not a folder"):
        write_declaration(tmp_path / "gone", "mine")


# The command


def test_the_command_says_how_to_go_on(project, tmp_path, capsys):
    put(tmp_path / "my wards", *[f"{('well', 'ill')[n % 2]}/{n}.png" for n in range(8)])
    main.main(["data", "init", str(tmp_path / "my wards"), "--name", "wards"])
    said = capsys.readouterr().out
    assert f"ln -s '{tmp_path / 'my wards'}' {project.input / 'wards'}" in said and "data check wards" in said
    (project.input / "wards").symlink_to(tmp_path / "my wards")
    main.main(["data", "check", "wards"])
    assert "train: 8 images" in capsys.readouterr().out


def test_a_declaration_is_never_written_over(project, capsys):
    before = (project.input / "tiny" / "dataset.toml").read_bytes()
    with pytest.raises(SystemExit):
        main.main(["data", "init", "tiny"])
    assert "exists and is not written over" in capsys.readouterr().err
    assert (project.input / "tiny" / "dataset.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["chest_xray", "../x", "a/b"])
def test_names_that_a_data_set_cannot_have(project, tmp_path, capsys, name):
    put(tmp_path / "wards", "ill/a.png")
    with pytest.raises(SystemExit):
        main.main(["data", "init", str(tmp_path / "wards"), "--name", name])
    assert "name" in capsys.readouterr().err and not (tmp_path / "wards" / "dataset.toml").exists()
