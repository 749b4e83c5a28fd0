"""A table beside images, as competitions and hospitals write them."""

import unicodedata
from pathlib import Path

import pytest
from layouts import declared, put, rows, table

from chestfold.core.errors import InputError
from chestfold.data.dataset import Index, Subgroup, Submission
from chestfold.data.readers import read_index

NAMES = ("a", "b", "c", "d")


def competition(root: Path, *lines: str, suffix: str = ".tif", sample: str = "id,label") -> Path:
    """train/, test/, train_labels.csv and the sample submission, as Kaggle delivers them."""
    put(root, *[f"train/{name}{suffix}" for name in NAMES], *[f"test/x{n}{suffix}" for n in range(3)])
    table(root, "train_labels.csv", *(lines or ("id,label", "a,0", "b,1", "c,0", "d,1")))
    table(root, "sample_submission.csv", sample, *[f"x{n},0" for n in (2, 0, 1)])
    return root


def read(root: Path, **changes) -> Index:
    fields = dict(reader="csv", table="train_labels.csv", labels={"0": "healthy", "1": "ill"}, images="train/{id}.tif")
    return read_index(declared(**(fields | {"test_images": "test/{id}.tif"} | changes)), root)


def several(root: Path, *lines: str, **changes) -> dict[str, str]:
    """Id -> labels of train.csv, of several labels an image."""
    put(root, *[f"images/{name}.png" for name in NAMES])
    table(root, "train.csv", *lines)
    fields = dict(reader="csv", task="multilabel", classes=("A", "B"), positive="")
    return dict(rows(read_index(declared(**(fields | changes)), root), "id", "label"))


# Where the images lie


def test_a_competition_where_its_files_lie(tmp_path):
    index = read(competition(tmp_path))
    assert rows(index, "id", "path", "label", "split") == [
        ("a", "train/a.tif", "healthy", "train"),
        ("b", "train/b.tif", "ill", "train"),
        ("c", "train/c.tif", "healthy", "train"),
        ("d", "train/d.tif", "ill", "train"),
        ("x0", "test/x0.tif", "", "test"),
        ("x1", "test/x1.tif", "", "test"),
        ("x2", "test/x2.tif", "", "test"),
    ]
    assert index.notes == ()


@pytest.mark.parametrize(
    ("template", "places", "ids"),
    [
        ("train/{id}.png", "train/{}.png", "{}"),
        ("train/{id}.png", "train/{}.PNG", "{}"),
        ("train/{id}.png", "train/{}.png", "{}.png"),
        ("train/{id}.png", "train/{}.png", "{}.PNG"),
        ("train/{id}", "train/{}.jpeg", "{}"),
        ("train/{id}", "train/{}.jpeg", "{}.jpeg"),
        ("{id}", "{}.png", "{}"),
        ("{id}", "p/{}/view1.jpg", "p/{}/view1.jpg"),
        ("./{id}", "p/{}/view1.jpg", "./p//{}/view1.jpg"),
        ("{id}", "p/{}/view1.jpg", "p\\{}\\view1.jpg"),
        ("{id}.png", "p\\{}.png", "p\\{}"),
        ("images_*/images/{id}", "images_00{}/images/{}.png", "{}.png"),
        ("*/{id}.png", "p{}/{}.png", "{}"),
        ("{id}/{id}.png", "{}/{}.png", "{}"),
        ("{id}/image.png", "{}/image.png", "{}"),
        ("train/{id}_frontal.png", "train/{}_frontal.png", "{}"),
        ("train/{id}.png", "train/p1/{}.png", "p1/{}"),
        ("tr+ain (1)/[x]{id}.png", "tr+ain (1)/[x]{}.png", "{}"),
        ("images/{id}", "images/1.2.{}.png", "1.2.{}"),
        ("images/{id}", "images/p1/study1/{}.png", "p1/study1/{}"),
    ],
)
def test_templates_and_ids_with_and_without_suffix(tmp_path, template, places, ids):
    found = [places.replace("{}", name) for name in NAMES]
    put(tmp_path, *found)
    written = [ids.replace("{}", name) for name in NAMES]
    table(tmp_path, "train_labels.csv", "id,label", *[f"{image},{n % 2}" for n, image in enumerate(written)])
    index = read(tmp_path, images=template, test_images="")
    assert rows(index, "id", "path") == list(zip(written, found, strict=True))


def test_a_template_with_another_suffix_names_what_is_there(tmp_path):
    competition(tmp_path)
    with pytest.raises(InputError, match=r"train_labels\.csv, line 2: no image 'a' as .*train/\{id\}\.png"):
        read(tmp_path, images="train/{id}.png")
    table(tmp_path, "train_labels.csv", "id,label", "a.jpg,0")
    with pytest.raises(InputError, match=r"line 2: no image 'a\.jpg' .*, but there is a\.tif"):
        read(tmp_path)


def test_an_image_that_is_missing_and_a_folder_that_is(tmp_path):
    competition(tmp_path, "id,label", "a,0", "", "nobody,1")
    with pytest.raises(InputError, match=r"train_labels\.csv, line 4: no image 'nobody'"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"images does not exist; put .* or declare where they lie: images = "):
        read(tmp_path, images="images/{id}")


@pytest.mark.parametrize("image_id", ["../train/a", "..\\train\\a", "/etc/passwd", "x/../../a", "", "train/.."])
def test_an_id_that_climbs_out(tmp_path, image_id):
    competition(tmp_path, "id,label", f"{image_id},0")
    with pytest.raises(InputError, match="line 2: id .* is not a plain file name, nor a path in the data folder"):
        read(tmp_path)


def test_two_files_of_one_id_need_the_suffix(tmp_path):
    put(tmp_path, *[f"images/{name}.png" for name in NAMES], "images/a.jpg", "images/a.tif")
    table(tmp_path, "train_labels.csv", "id,label", "a,0", "b,1")
    with pytest.raises(InputError, match=r"line 2: images/a\.jpg and images/a\.png have the same id 'a'"):
        read(tmp_path, images="images/{id}")
    table(tmp_path, "train_labels.csv", "id,label", "a.png,0", "b,1")
    assert rows(read(tmp_path, images="images/{id}", test_images=""), "path")[0] == ("images/a.png",)


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_compared_in_composed_letters(tmp_path, on_disk, in_table):
    names = ["がん", "é"]
    put(tmp_path, *[f"images/{unicodedata.normalize(on_disk, name)}.png" for name in names])
    lines = [f"{unicodedata.normalize(in_table, name)},{n}" for n, name in enumerate(names)]
    table(tmp_path, "train_labels.csv", "id,label", *lines)
    assert len(read(tmp_path, images="images/{id}", test_images="").table) == 2


def test_what_no_table_names_is_counted(tmp_path):
    put(competition(tmp_path), "train/spare.tif", "test/deep/spare.tif", "train/readme.txt", "train/.hidden/a.tif")
    notes = read(tmp_path).notes
    assert "ignored: 2 image(s) that no table names" in notes
    assert "ignored: 1 file(s) .txt in train/" in notes and "ignored: 1 folder(s) .hidden in train/" in notes


# Columns


def test_columns_are_called_as_declared(tmp_path):
    competition(tmp_path, "Image Index,Finding,Who", "a,0,p1", "b,1,p1", "c,0,p2", "d,1,", sample="image,target")
    index = read(tmp_path, id="Image Index", label="Finding", group="Who")
    assert rows(index, "id", "label", "group")[:4] == [
        ("a", "healthy", "p1"),
        ("b", "ill", "p1"),
        ("c", "healthy", "p2"),
        ("d", "ill", "d"),
    ]
    assert "train_labels.csv: 1 row(s) name no patient; each such image is its own" in index.notes


@pytest.mark.parametrize(("field", "missing"), [("id", "'x'"), ("label", "'x'"), ("group", "'x'")])
def test_a_column_that_is_missing(tmp_path, field, missing):
    with pytest.raises(InputError, match=rf"has no column {missing} \(it has id, label\); name the right one in"):
        read(competition(tmp_path), **{field: "x"})


def test_tabular_columns_are_carried_on_as_texts(tmp_path):
    competition(tmp_path, "id,label,age,sex", "a,0,07,F", "b,1,,M", "c,0,9.0,F", "d,1,x,")
    with pytest.raises(InputError, match=r"sample_submission\.csv has no columns age, sex: declare the test_table"):
        read(tmp_path, tabular=("age", "sex"))
    table(tmp_path, "test.csv", "sex,id,age", "F,x0,1")
    index = read(tmp_path, tabular=("age", "sex"))
    assert rows(index, "id", "age", "sex") == [
        ("a", "07", "F"),
        ("b", "", "M"),
        ("c", "9.0", "F"),
        ("d", "x", ""),
        ("x0", "1", "F"),
    ]
    assert index.sha256() == read(tmp_path).sha256()


def test_a_column_that_divides_images_is_needed_of_training_images_alone(tmp_path):
    competition(tmp_path, "id,label,sex", "a,0,F", "b,1,M", "c,0,F", "d,1,M")
    table(tmp_path, "test.csv", "id,age", "x0,1")
    index = read(tmp_path, subgroups={"sex": Subgroup(column="sex")})
    assert rows(index, "id", "sex")[3:] == [("d", "M"), ("x0", "")]
    with pytest.raises(InputError, match=r"train_labels\.csv has no column 'age'"):
        read(tmp_path, subgroups={"age": Subgroup(column="age")})
    with pytest.raises(InputError, match=r"test\.csv has no column 'sex'"):
        read(tmp_path, tabular=("sex",))


# Test images


@pytest.mark.parametrize("cells", [["0", "0", "0"], ["0.5", "0.5", "0.5"], ["", "", ""], ["1", "word", "nan"]])
def test_of_a_sample_submission_only_the_ids_are_read(tmp_path, cells):
    competition(tmp_path)
    lines = [f"x{n},{cell}" for n, cell in enumerate(cells)]
    table(tmp_path, "sample_submission.csv", "id,label", *lines, "x0,again")
    assert rows(read(tmp_path), "id", "label")[4:] == [("x0", ""), ("x1", ""), ("x2", "")]


@pytest.mark.parametrize(
    ("sample", "fields"),
    [
        ("id,label", {}),
        ("image_name,target", {}),
        ("target,picture", {"submission": Submission(id="picture")}),
        ("id,label", {"submission": Submission(file="wanted.csv")}),
    ],
)
def test_the_ids_of_a_sample_submission(tmp_path, sample, fields):
    competition(tmp_path)
    is_first = not sample.endswith("picture")
    name = fields["submission"].file if fields else "sample_submission.csv"
    (tmp_path / "sample_submission.csv").unlink()
    table(tmp_path, name, sample, *[f"x{n},0" if is_first else f"0,x{n}" for n in range(3)])
    assert rows(read(tmp_path, **fields), "id")[4:] == [("x0",), ("x1",), ("x2",)]


def test_a_declared_id_column_of_the_sample_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"\[submission\] id = 'x': .*sample_submission\.csv has no such column"):
        read(competition(tmp_path), submission=Submission(id="x"))


def test_labels_of_test_images_come_from_their_table_alone(tmp_path):
    competition(tmp_path)
    table(tmp_path, "holdout.csv", "id,label", "x0,1", "x1,?")
    index = read(tmp_path, test_table="holdout.csv", unknown=("?",))
    assert rows(index, "id", "label")[4:] == [("x0", "ill"), ("x1", "")]
    table(tmp_path, "holdout.csv", "id", "x0")
    assert rows(read(tmp_path, test_table="holdout.csv"), "id", "label")[4:] == [("x0", "")]
    with pytest.raises(InputError, match=r"gone\.csv does not exist"):
        read(tmp_path, test_table="gone.csv")
    assert len(read(tmp_path, test_table="sample_submission.csv").test) == 3


def test_a_test_image_of_a_training_image_s_id_is_called_by_its_path(tmp_path):
    put(competition(tmp_path), "test/a.tif")
    table(tmp_path, "sample_submission.csv", "id,label", "x0,0", "a,0")
    index = read(tmp_path)
    assert rows(index, "id", "path", "group")[4:] == [("test/a", "test/a.tif", "test/a"), ("x0", "test/x0.tif", "x0")]
    assert "1 test image(s) have the id of a training image, and are called by their paths, as 'test/a'" in index.notes
    assert index.train["id"].tolist() == ["a", "b", "c", "d"]


def test_an_image_in_training_and_test_table_is_refused(tmp_path):
    competition(tmp_path)
    table(tmp_path, "test.csv", "id", "a")
    with pytest.raises(InputError, match=r"train/a\.tif is named as a training image and as a test image \('a'\)"):
        read(tmp_path, test_images="train/{id}.tif")


# Labels of one class


@pytest.mark.parametrize(
    "cells",
    [("0", "1"), ("0.0", "1.0"), ("0.", "01"), (" 0", "1 "), ("+0", "1")],
)
def test_numbers_are_compared_by_value(tmp_path, cells):
    lines = ["id,label", *[f"{name},{cells[n % 2]}" for n, name in enumerate(NAMES)]]
    assert read(competition(tmp_path, *lines)).train["label"].tolist() == ["healthy", "ill"] * 2
    index = read(competition(tmp_path, *lines), labels={"0.0": "healthy", "1.0": "ill"})
    assert index.train["label"].tolist() == ["healthy", "ill"] * 2
    index = read(competition(tmp_path, *lines), labels={}, classes=("0", "1"), positive="1")
    assert index.train["label"].tolist() == ["0", "1"] * 2


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("", r"the label is missing; fill it in, or declare what \"\" means \(unknown in dataset.toml\)"),
        ("  ", "the label is missing"),
        ("Ill", "unknown class 'Ill'; declared are healthy, ill; did you mean ill?"),
        ("ill|healthy", "unknown class 'ill|healthy'; .*; several labels in a cell: task = "),
        ("-1", "unknown class '-1'; .* those for \"not known\" in unknown"),
    ],
)
def test_a_cell_that_is_no_class(tmp_path, cell, complaint):
    competition(tmp_path, "id,label", "a,healthy", "", "b,ill", f"c,{cell}")
    with pytest.raises(InputError, match=f"line 5: {complaint}".replace("|", r"\|")):
        read(tmp_path, labels={})


@pytest.mark.parametrize(
    ("cell", "complaint"), [("NO", "declared are no, yes; did you mean no"), ("x", "declared are no, yes; words")]
)
def test_a_cell_that_is_none_of_the_declared_words(tmp_path, cell, complaint):
    competition(tmp_path, "id,label", "a,no", "b,yes", f"c,{cell}")
    with pytest.raises(InputError, match=f"line 4: unknown class '{cell}'; {complaint}"):
        read(tmp_path, labels={"no": "healthy", "yes": "ill"})


def test_a_set_of_one_class_needs_no_column_of_labels_and_one_of_one_label_does(tmp_path):
    competition(tmp_path, "id", "a", "b")
    one = dict(labels={}, classes=("ill",), positive="ill")
    assert rows(read(tmp_path, **one), "id", "label") == [
        ("a", "ill"),
        ("b", "ill"),
        ("x0", ""),
        ("x1", ""),
        ("x2", ""),
    ]
    with pytest.raises(InputError, match="has no column 'label'"):
        read(tmp_path, **(one | {"task": "multilabel", "positive": ""}))
    table(tmp_path, "train_labels.csv", "id,label", "a,well", "b,ill")
    table(tmp_path, "test.csv", "id,label", "x0,ill")
    assert rows(read(tmp_path, **one), "id", "label") == [("a", "ill"), ("b", "ill"), ("x0", "ill")]


def test_a_table_without_a_row(tmp_path):
    with pytest.raises(InputError, match=r"train_labels\.csv has no row below its header; add one for each training"):
        read(competition(tmp_path, "id,label"))


@pytest.mark.parametrize(
    "written", ["ill ", "\u3000ill", unicodedata.normalize("NFD", "é")], ids=["space", "wide space", "decomposed"]
)
def test_spaces_and_decomposed_letters_make_no_other_class(tmp_path, written):
    competition(tmp_path, "id,label", "a,healthy", f"b,{written}")
    ill = unicodedata.normalize("NFC", written).strip()
    assert read(tmp_path, labels={}, classes=("healthy", ill), positive=ill).train["label"].tolist()[1] == ill


@pytest.mark.parametrize("cell", ["-1", "-1.0", "", "?"])
def test_an_image_of_unknown_class_is_left_out_and_counted(tmp_path, cell):
    competition(tmp_path, "id,label", "a,0", "b,1", f"c,{cell}", f"d,{cell}")
    index = read(tmp_path, unknown=("-1", "", "?"))
    assert index.train["id"].tolist() == ["a", "b"]
    assert "left out: 2 image(s) of train_labels.csv whose class is not known" in index.notes


def test_any_other_value_and_an_empty_one(tmp_path):
    competition(tmp_path, "id,label", "a,0", "b,7", "c,x", "d,0.0")
    assert read(tmp_path, labels={"0": "healthy", "*": "ill"}).train["label"].tolist() == [
        "healthy",
        "ill",
        "ill",
        "healthy",
    ]
    competition(tmp_path, "id,label", "a,0", "b,7", "c,", "d,0")
    with pytest.raises(InputError, match="line 4: the label is missing"):
        read(tmp_path, labels={"0": "healthy", "*": "ill"})
    index = read(tmp_path, labels={"0": "healthy", "7": "ill", "": "ill"})
    assert index.train["label"].tolist() == ["healthy", "ill", "ill", "healthy"]


@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("true", "FALSE"), ("Yes", "no")]
)
def test_one_hot_columns_of_one_class(tmp_path, yes, no):
    lines = ["id,h,i", f"a,{yes},{no}", f"b,{no},{yes}", f"c,{yes},{no}", f"d,{no},{yes}"]
    index = read(competition(tmp_path, *lines), labels=("h", "i"))
    assert index.train["label"].tolist() == ["healthy", "ill"] * 2


@pytest.mark.parametrize(("h", "i", "count"), [("1", "1", 2), ("0", "0", 0)])
def test_one_hot_columns_that_name_no_or_two_classes(tmp_path, h, i, count):
    competition(tmp_path, "id,h,i", "a,1,0", f"b,{h},{i}")
    with pytest.raises(InputError, match=f"line 3: {count} of the columns h, i are 1, and an image has exactly one"):
        read(tmp_path, labels=("h", "i"))


def test_one_hot_columns_with_an_unknown_cell(tmp_path):
    competition(tmp_path, "id,h,i", "a,1,0", "b,0,1", "c,-1,0", "d,0,-1")
    index = read(tmp_path, labels=("h", "i"), unknown=("-1",))
    assert index.train["id"].tolist() == ["a", "b"]
    assert "left out: 2 image(s) of train_labels.csv whose class is not known" in index.notes


def test_grades_are_classes(tmp_path):
    index = read(competition(tmp_path), task="ordinal", classes=("0", "1"), positive="1", labels={})
    assert index.train["label"].tolist() == ["0", "1", "0", "1"]


# Several labels an image


@pytest.mark.parametrize("separator", ["|", ";", ", ", " ", "、"])
def test_one_column_with_a_separator(tmp_path, separator):
    both, none = separator.join("AB"), "No finding".replace(" ", "" if separator == " " else " ")
    lines = ["id,label", "a,A", f'b,"{both}"', f"c,{none}", f'd,"B{separator}"']
    found = several(tmp_path, *lines, separator=separator, no_finding=(none,))
    assert found == {"a": "A", "b": "A|B", "c": "-", "d": "B"}


def test_other_words_and_labels_that_do_not_count(tmp_path):
    lines = ["id,label", "a,1|9", "b,2.0", "c,9", "d,"]
    words = {"1": "A", "2": "B", "9": ""}
    found = several(tmp_path, *lines, separator="|", labels=words, unknown=("",))
    assert found == {"a": "A", "b": "B", "c": "-", "d": "A?|B?"}
    with pytest.raises(InputError, match="line 2: unknown class '9'"):
        several(tmp_path, *lines, separator="|", labels={"1": "A", "2": "B"}, unknown=("",))


def test_a_blank_may_be_the_word_for_a_class(tmp_path):
    lines = ["id,label", "a,sick", "b,", "c, ", "d,sick"]
    index = read(competition(tmp_path, *lines), labels={"": "healthy", "sick": "ill"})
    assert index.train["label"].tolist() == ["ill", "healthy", "healthy", "ill"]


@pytest.mark.parametrize("unknown", ["-1", "-1.0", ""])
def test_one_hot_columns_of_several_labels(tmp_path, unknown):
    lines = ["id,A,B", "a,1,0", "b,1.0,True", "c,0,False", f"d,{unknown},1"]
    found = several(tmp_path, *lines, labels=("A", "B"), unknown=("-1", ""))
    assert found == {"a": "A", "b": "A|B", "c": "-", "d": "A?|B"}


def test_a_blank_may_be_declared_to_mean_no(tmp_path):
    lines = ["id,A,B", "a,1,", "b,-1.0,1"]
    found = several(tmp_path, *lines, labels=("A", "B"), unknown=("-1",), no_finding=("",))
    assert found == {"a": "A", "b": "A?|B"}


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("", r"the label is missing; .* \(unknown or no_finding in dataset.toml\)"),
        ("0.5", "'0.5' is neither 1 nor 0"),
        ("-1", "'-1' is neither 1 nor 0; if it means that the label is not known"),
        ("2", "'2' is neither"),
    ],
)
def test_a_cell_that_is_neither_yes_nor_no(tmp_path, cell, complaint):
    with pytest.raises(InputError, match=f"line 4, column 'B': {complaint}"):
        several(tmp_path, "id,A,B", "a,1,1", "", f"b,1,{cell}", labels=("A", "B"))


def test_withheld_labels_of_test_images_are_empty(tmp_path):
    table(tmp_path, "test.csv", "id,age", "c,1", "d,2")
    assert several(tmp_path, "id,label", "a,A", "b,B") == {"a": "A", "b": "B", "c": "", "d": ""}
    table(tmp_path, "test.csv", "id,label", "c,?", "d,A")
    found = several(tmp_path, "id,label", "a,A", "b,B", unknown=("?",))
    assert found == {"a": "A", "b": "B", "c": "", "d": "A"}


def test_a_label_column_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="has no column 'B'"):
        several(tmp_path, "id,A", "a,1", labels=("A", "B"))


# Several rows an image


def test_rows_of_one_image_that_agree(tmp_path):
    competition(tmp_path, "id,label,x", "a,0,", "b,1,10", "c,0,", "b.tif,1,20", "d,1,5", "b,1.0,20")
    index = read(tmp_path)
    assert index.train["id"].tolist() == ["a", "b", "c", "d"]
    assert "train_labels.csv: 6 rows name 4 images; they were merged" in index.notes


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("b,1,p1,9", "b,0,p1,9", "two values of class, 'ill' and 'healthy'"),
        ("b,1,p1,9", "b,-1,p1,9", "two values of class, 'ill' and ''"),
        ("b,1,p1,9", "b,1,p2,9", "two values of patient, 'p1' and 'p2'"),
        ("b,1,p1,9", "b,1,p1,8", "two values of age, '9' and '8'"),
    ],
)
def test_rows_of_one_image_that_contradict_each_other(tmp_path, first, second, complaint):
    competition(tmp_path, "id,label,who,age", "a,0,p1,9", first, "", "c,0,p1,9", second)
    table(tmp_path, "test.csv", "id,age", "x0,9")
    with pytest.raises(InputError, match=rf"train_labels\.csv, lines 3 and 6: image 'b' has {complaint}"):
        read(tmp_path, group="who", tabular=("age",), unknown=("-1",))


@pytest.mark.parametrize(
    ("cells", "union"),
    [
        (["1,0", "0,1"], "A|B"),
        (["0,0", "0,0"], "-"),
        (["1,0", "-1,-1"], "A|B?"),
        (["-1,0", "0,0"], "A?"),
        (["-1,-1", "0,0", "1,0"], "A|B?"),
    ],
)
def test_rows_of_several_labels_are_united(tmp_path, cells, union):
    lines = ["id,A,B", "b,1,1", *[f"a,{cell}" for cell in cells]]
    assert several(tmp_path, *lines, labels=("A", "B"), unknown=("-1",))["a"] == union
    assert several(tmp_path, lines[0], lines[1], *reversed(lines[2:]), labels=("A", "B"), unknown=("-1",))["a"] == union


def test_a_row_for_each_finding(tmp_path):
    lines = ["id,label,reader", "a,A,R1", "a,B,R2", "a,None,R3", "b,None,R1", "b,None,R1", "c,B,R1"]
    assert several(tmp_path, *lines, no_finding=("None",)) == {"a": "A|B", "b": "-", "c": "B"}


# Patients


@pytest.mark.parametrize(
    ("one", "other"),
    [("p1", other) for other in ("p1 ", " p1", "ｐ１", "p１", "\u3000p1", "P1", "p1\u200b", "\ufeffp1", "p1\u00a0")]
    + [("7", other) for other in ("007", "7.0", "７")]
    + [("A b-1", other) for other in ("A  b-1", "a b\u20101", "A B\u20131")],
)
def test_other_spellings_of_a_patient_are_joined(tmp_path, one, other):
    competition(tmp_path, "id,label,who", f"a,0,{one}", f"b,1,{other}", "c,0,p2", "d,1,70")
    index = read(tmp_path, group="who")
    assert index.train["group"].tolist() == [one, one, "p2", "70"]
    assert any("1 other spelling(s) of the same name were joined" in note for note in index.notes)


def test_one_spelling_alone_stays_as_it_is(tmp_path):
    competition(tmp_path, "id,label,who", "a,0,p1 ", "b,1,p1 ", "c,0,ｐ２", "d,1,p3")
    index = read(tmp_path, group="who")
    assert index.train["group"].tolist() == ["p1 ", "p1 ", "ｐ２", "p3"] and not index.notes


def test_images_without_a_patient_are_not_joined_by_their_names(tmp_path):
    put(tmp_path, "images/a1.png", "images/ａ１.png", "images/b.png")
    table(tmp_path, "train_labels.csv", "id,label,who", "a1,0,", "ａ１,1,", "b,1,p1")
    index = read(tmp_path, images="images/{id}", test_images="", group="who")
    assert sorted(index.train["group"]) == ["a1", "p1", "ａ１"]


@pytest.mark.parametrize("word", ["-1", "-1.0", "unknown", "nan", " unknown", "不明"])
def test_patients_that_are_not_known_are_each_their_own(tmp_path, word):
    competition(tmp_path, "id,label,who", f"a,0,{word}", f"b,1,{word}", "c,0,p1", "d,1,p1")
    index = read(tmp_path, group="who", unknown_group=("-1", "unknown", "nan", "不明"))
    assert index.train["group"].tolist() == ["a", "b", "p1", "p1"]
    assert "train_labels.csv: 2 row(s) name no patient; each such image is its own" in index.notes


def test_a_patient_in_the_id(tmp_path):
    put(tmp_path, *[f"images/{name}.png" for name in ("p1_1", "p1_2", "p2_1")], "images/x.png", "images/p2_9.png")
    table(tmp_path, "train_labels.csv", "id,label", "p1_1,0", "p1_2,0", "p2_1,1")
    table(tmp_path, "sample_submission.csv", "id,y", "x,0", "p2_9,0")
    index = read(tmp_path, images="images/{id}", test_images="", patient_pattern=r"^(p\d)_")
    assert index.table["group"].tolist() == ["p1", "p1", "p2", "p2", "x"]
    table(tmp_path, "train_labels.csv", "id,label", "p1_1,0", "x,1")
    with pytest.raises(InputError, match=r"train_labels\.csv, line 3: no patient can be read from this name"):
        read(tmp_path, images="images/{id}", test_images="", patient_pattern=r"^(p\d)_")
