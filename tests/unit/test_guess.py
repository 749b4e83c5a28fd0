"""`chestfold data init`: what is guessed from a folder is read again, or fails with the line to confirm."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from layouts import put, table

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data.declaration import read_declaration
from chestfold.data.guess import guess_declaration, write_declaration
from chestfold.data.guess.lines import with_counts
from chestfold.data.guess.patients import file_name_pattern
from chestfold.data.readers import read_index

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
    ],
)
def test_a_patient_at_the_beginning_of_names(names, pattern):
    assert file_name_pattern(names) == pattern


@pytest.mark.parametrize(("kinds", "end"), [(8, "'h' (1)"), (9, "'h' (1), and 1 more")])
def test_many_texts_are_counted_and_the_first_are_named(kinds, end):
    counts = dict.fromkeys("abcdefghi"[:kinds], 1)
    assert with_counts(counts) == ", ".join(f"'{name}' (1)" for name in "abcdefg") + ", " + end


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
