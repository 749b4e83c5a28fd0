"""A dataset.toml: what it may say, and the line of what is wrong with it."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from chestfold.core.errors import InputError
from chestfold.core.records import Record
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import (
    Dataset,
    Index,
    Submission,
    comparable,
    declared,
    id_column_of,
    make_index,
    stays_inside,
    subgroup_values,
)
from chestfold.data.declaration import declaration_text, key_lines, read_declaration, refusal
from chestfold.data.readers import read_index

TWO = 'classes = ["a", "b"]\n'
CSV = TWO + 'reader = "csv"\n'
BASE = CSV + 'positive = "b"\n'
SEVERAL = CSV + 'task = "multilabel"\n'


@pytest.fixture
def read(tmp_path):
    """Reads a text as a dataset.toml."""

    def call(text: str | bytes) -> Dataset:
        path = tmp_path / "dataset.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_declaration("mine", path)

    return call


@pytest.fixture
def refused(read, tmp_path):
    """The one sentence about a text, without the path."""

    def call(text: str | bytes) -> str:
        with pytest.raises(InputError) as refusal:
            read(text)
        sentence = str(refusal.value)
        assert sentence.startswith(f"{tmp_path / 'dataset.toml'}") and "\n" not in sentence
        return sentence.removeprefix(str(tmp_path / "dataset.toml"))

    return call


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("grop = 'p'", "unknown field 'grop'; did you mean group?"),
        ("metric = 3", "metric is a text, not 3"),
        ("task = 'multiclas'", "task is one of multiclass, multilabel, ordinal, not 'multiclas'"),
        ("unknown = [-1]", "unknown is a list of texts, not [-1]"),
        ("labels = [1, 2]", "labels is a table of texts, or a list of columns, not [1, 2]"),
        ("labels = { 0 = 1 }", "labels is a table of texts, or a list of columns"),
        ("labels = { 0 = 'c' }", "labels: 'c' is not one of the classes"),
        ("labels = { 0 = '' }", "labels: '' is not one of the classes"),
        ("labels = ['x', 'y']\nlabel = 'z'", "labels lists one column for each class, so that label has no meaning"),
        ("labels = ['x']", "labels lists 1 columns for 2 classes"),
        ("labels = ['x', 'x']", "labels lists a column twice"),
        ("separator = '|'", 'separator is for several labels an image: task = "multilabel"'),
        ("no_finding = ['-']", 'no_finding is for several labels an image: task = "multilabel"'),
        ("metric_weights = { b = 2, c = 1 }", "metric_weights: 'c' is not one of the classes"),
        ("metric_weights = { b = 'x' }", "metric_weights is a table of numbers"),
        ("metric_weights = { b = -1.0 }", "metric_weights is a table of numbers, 0 or more: class = weight, not"),
        ("metric_weights = { b = nan }", "metric_weights is a table of numbers, 0 or more"),
        ("metric_weights = { b = inf }", "metric_weights is a table of numbers, 0 or more"),
        ("metric_weights = { a = 0.0, b = 0.0 }", "metric_weights is 0 for every class"),
        ("images = 'train/x.png'", "images is a path in the data folder with {id} in it"),
        ("images = '/data/{id}.png'", "images is a path in the data folder"),
        ("images = '../{id}.png'", "images is a path in the data folder"),
        ("images = 'a/../../{id}.png'", "images is a path in the data folder"),
        ("images = '{id}/{patient}.png'", "images is a path in the data folder"),
        ("test_images = 'test'", "test_images is a path in the data folder with {id} in it"),
        ("table = '../train.csv'", "table is a path in the data folder, not '../train.csv'"),
        ("test_table = '/etc/passwd'", "test_table is a path in the data folder"),
        ("unknown_group = ['-1']", "unknown_group is about the cells of a group column; declare group too"),
        ("patient_pattern = 'p'\ngroup = 'who'", "group and patient_pattern both say what a patient is"),
        ("group_column = 'a'\ngroup = 'who'", "group_column is the old name of a field that is declared too"),
        ("tabular = ['age', 'group']", "tabular: a column of the index is called 'group' too"),
        ("tabular = ['label']", "tabular: a column of the index is called 'label' too"),
        ("label = 'y'\ntabular = ['y']", "tabular: 'y' holds the labels"),
        ("value_range = [0, 1]\nct_window = 'lung'", "value_range and ct_window both say"),
        ("patient_pattern = '('", "patient_pattern is a regular expression, not '('"),
        ("class_patterns = { b = ')' }", "class_patterns is a table of regular expressions, not"),
        ("pixel_mm = 0", "pixel_mm is a number above 0, not 0"),
        ("pixel_mm = '0.5'", "pixel_mm is a number above 0, not '0.5'"),
        ("hu_window = [1.0, 2.0]", "hu_window is two whole numbers, black below white, not [1.0, 2.0]"),
        ("value_range = [3, 3]", "value_range is two different whole numbers, not [3, 3]"),
        ("hu_window = [3, 3]", "hu_window is two whole numbers, black below white, not [3, 3]"),
        ("hu_window = [3, 2]", "hu_window is two whole numbers, black below white, not [3, 2]"),
        ("windows = 3", "windows is a list of three: names of CT windows"),
        ("windows = ['lung', 'bone']", "windows is a list of three: names of CT windows"),
        ("windows = ['lung', 'bone', 'brain']", "windows is a list of three: names of CT windows"),
        ("windows = ['lung', 'bone', [7, 7]]", "windows is a list of three: names of CT windows"),
        ("slice_pattern = '(a)'", "slice_pattern is a regular expression with two groups"),
        ("slice_pattern = '(a)(b)(c)'", "slice_pattern is a regular expression with two groups"),
        ("slice_pattern = '(a)('", "slice_pattern is a regular expression with two groups"),
        ("three_channels = 'windows'", "three_channels"),
        ("classes = ['*', 'b']", "a class cannot be called '*'; rename it"),
        ("kaggle = 'a/b'", "unknown field 'kaggle'"),
        ("name = 'x'", "unknown field 'name'"),
        ("[submission]\nanswer = 'yes'", "submission.answer is probability or class, not 'yes'"),
        ("[submission]\nfile = '../x.csv'", "submission.file is a path in the data folder, not '../x.csv'"),
        ("[submission]\nclumns = {}", "unknown field 'clumns' of submission; did you mean columns?"),
        ("[submission]\ncolumns = { x = 'c' }", "submission.columns: 'c' is not one of the classes"),
        ("submission = 3", "submission is a table: file, id, columns, answer, not 3"),
        ("subgroups = 3", "subgroups is a table: title = { pattern = ... } or { column = ... }, not 3"),
        ("[subgroups]\nsex = 3", "subgroups is a table: title = { pattern = ... } or { column = ... }, not {'sex': 3}"),
        ("[subgroups]\nsex = { colunm = 'Sex' }", "unknown field 'colunm' of subgroups.sex; did you mean column?"),
        ("[subgroups]\nsex = {}", "subgroups.sex has a pattern or a column, one of them"),
        ("[subgroups]\nsex = { column = 'Sex', pattern = '(a)' }", "subgroups.sex has a pattern or a column"),
        ("[subgroups]\nsex = { column = 'split' }", "subgroups.sex: a column of the index is called 'split' too"),
        ("[subgroups]\nsex = { column = 1 }", "subgroups.sex.column is a text, not 1"),
        ("[subgroups]\nkind = { pattern = 'virus' }", "subgroups.kind.pattern is a regular expression with a group"),
        ("[subgroups]\nkind = { pattern = '(' }", "subgroups.kind.pattern is a regular expression with a group"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(refused, line, complaint):
    base = BASE if not line.startswith("classes") else BASE.replace(TWO, "# another line\n")
    sentence = refused(base + "# a comment\n\nabout = '''two\nlines'''\n" + line + "\n")
    where, _, text = sentence.partition(": ")
    assert text.startswith(complaint)
    assert where in (", line 8", ", line 9")  # of two fields that contradict each other, either


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (CSV, ": the field 'positive' is missing"),
        ('reader = "csv"\npositive = "b"\n', ": the field 'classes' is missing"),
        (TWO + 'positive = "b"\n', ": the field 'reader' is missing"),
        ('classes = [\n"a"]\nreader = "csv"\npositive = "a"\n', ", line 1: classes is a list of two or more"),
        (BASE + "classes = []\n", " is not valid TOML"),
        ("x = 1\nx = 2\n", " is not valid TOML"),
        ('classes = ["a", " b"]\nreader = "csv"\n', ", line 1: classes is a list of different texts"),
        ('classes = ["a", ""]\nreader = "csv"\n', ", line 1: classes is a list of different texts"),
        ('classes = ["\u00e9", "e\u0301"]\nreader = "csv"\n', ", line 1: classes is a list of different texts"),
        (CSV + 'positive = "c"\n', ", line 3: positive is one of the classes (a, b), not 'c'"),
        (TWO + 'positive = "b"\nreader = "xls"\n', ", line 3: reader is folders, csv or npz, not 'xls'"),
        (TWO + 'positive = "b"\nreader = "joined"\n', ", line 3: reader is folders, csv or npz, not 'joined'"),
        (SEVERAL + 'positive = "b"\n', ", line 4: positive is not for several labels an image"),
        (SEVERAL + 'labels = ["x", "y"]\nseparator = "|"\n', ", line 5: labels lists one column for each class"),
        (TWO + 'task = "multilabel"\nreader = "folders"\n', ", line 2: several labels an image cannot be read from"),
        (TWO + 'positive = "b"\nreader = "folders"\nimages = "{id}"\n', ", line 4: images is for reader"),
        (TWO + 'positive = "b"\nreader = "npz"\nid = "x"\n', ", line 4: id is for reader"),
        (TWO + 'positive = "b"\nreader = "folders"\nunknown = [""]\n', ", line 4: unknown is about cells"),
        (
            TWO + 'positive = "b"\nreader = "folders"\ngroup = "who"\n',
            ', line 4: class folders know one group, "folder"',
        ),
        (TWO + 'positive = "b"\nreader = "npz"\ngroup = "who"\n', ", line 4: an .npz names no patients"),
        (TWO + 'positive = "b"\nreader = "npz"\nlabels = ["x", "y"]\n', ", line 4: labels is a list of columns only"),
        (BASE + "class_patterns.c = 'x'\n", ", line 4: class_patterns: 'c' is not one of the classes"),
        (BASE + '[submission]\ncolumns = { "x" = "a" }\nanswer = 3\n', ", line 6: submission.answer is"),
    ],
)
def test_a_contradiction_or_a_gap(refused, text, complaint):
    assert refused(text).startswith(complaint)


@pytest.mark.parametrize("name", ["id", "group", "fold", "label", "corruption", "true:x"])
def test_a_class_that_is_called_like_a_column(refused, name):
    text = f'reader = "csv"\npositive = "b"\nclasses = ["b",\n  "{name}"]\n'
    assert refused(text).startswith(f", line 3: a class cannot be called {name!r}")


@pytest.mark.parametrize("name", ["A|B", "A?", "-"])
def test_a_label_that_its_text_could_not_be_read_from(refused, name):
    assert refused(f'task = "multilabel"\nreader = "csv"\nlabels = ["b", "{name}"]\n').startswith(", line 3: ")


def test_cp932_and_a_byte_order_mark(read, refused):
    text = 'classes = ["正常", "肺炎"]\npositive = "肺炎"\nreader = "csv"\n'
    assert read(b"\xef\xbb\xbf" + text.encode()).classes == ("正常", "肺炎")
    assert read(text.replace("\n", "\r\n")).positive == "肺炎"
    assert "is not in UTF-8; save it as UTF-8" in refused(text.encode("cp932"))


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("pixel_mm = 0.5", "pixel_mm", 0.5),
        ("value_range = [3, 2]", "value_range", (3, 2)),
        ("hu_window = [2, 3]", "hu_window", (2, 3)),
        ("windows = ['lung', [7, 6], 'bone']", "windows", ("lung", (7, 6), "bone")),
        ("windows = []", "windows", ()),
        ("slice_pattern = '(a)(b)'", "slice_pattern", "(a)(b)"),
        ("patient_pattern = 'p'", "patient_pattern", "p"),
        ("class_patterns = { b = 'p' }", "class_patterns", {"b": "p"}),
        ("test_table = ''", "test_table", ""),
        ("test_images = ''", "test_images", ""),
        ("metric_weights = { a = 0, b = 1 }", "metric_weights", {"a": 0, "b": 1}),
        ("metric_weights = { a = 0 }", "metric_weights", {"a": 0}),
        ("labels = { 0 = 'a', '*' = 'b' }", "labels", {"0": "a", "*": "b"}),
        ("labels = ['x', 'y']", "labels", ("x", "y")),
        ("unknown_group = ['?']\ngroup = 'g'", "group", "g"),
        ("tabular = ['age', 'sex']", "tabular", ("age", "sex")),
        ("subgroups = { sex = { column = 'Sex' } }", "carried", ("Sex",)),
        ("ct_window = 'lung'", "levels", (None, "lung")),
        ("value_range = [1, 2]\nwindows = ['lung', 'bone', [7, 6]]", "levels", ((1, 2), "")),
        ("windows = ['lung', 'bone', [7, 6]]", "levels", (None, "lung")),
        ("windows = [[7, 6], 'lung', 'bone']", "levels", ((7, 6), "")),
        ("about = 'x'", "levels", (None, "")),
        ("folder = 'elsewhere'", "input_folder", "elsewhere"),
    ],
)
def test_what_is_right_stays_as_it_is_written(read, line, field, value):
    assert getattr(read(BASE + line + "\n"), field) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TWO + 'task = "multilabel"\nreader = "npz"\nno_finding = ["-"]\nseparator = "|"\n', "separator is for reader"),
        (TWO + 'positive = "b"\nreader = "folders"\ntest_table = "t.csv"\n', "test_table is for reader"),
        (TWO + 'positive = "b"\nreader = "npz"\ntabular = ["x"]\n', "tabular is for reader"),
        (TWO + 'positive = "b"\nreader = "npz"\nsubgroups = { s = { column = "S" } }\n', "subgroups.s: column is for"),
        (TWO + 'positive = "b"\nreader = "folders"\nno_finding = [""]\n', "no_finding is about cells, and class"),
        (TWO + 'positive = "b"\nreader = "folders"\ngroup = "folder"\npatient_pattern = "p"\n', "group and patient_p"),
        ('classes = "ab"\nreader = "csv"\ntask = "ordinal"\n', "classes is a list of different texts, not 'ab'"),
        (
            'labels = ["a", 1]\nreader = "csv"\ntask = "ordinal"\n',
            "labels is a list of different texts, not ['a', 1]",
        ),
        ('labels = ["x", "x"]\nreader = "csv"\ntask = "multilabel"\n', "labels is a list of different texts, not ["),
        (
            'classes = ["a", 1]\nreader = "csv"\ntask = "ordinal"\n',
            "classes is a list of different texts, not ['a', 1]",
        ),
        (TWO + 'positive = "b"\nreader = 3\n', "reader is a text, not 3"),
        (CSV + 'positive = "b"\ngroup_column = 3\n', "group_column is a text, not 3"),
    ],
)
def test_fields_that_do_not_belong_together_and_wrong_ones_that_others_are_filled_in_from(refused, text, complaint):
    assert refused(text).partition(": ")[2].startswith(complaint)


@pytest.mark.parametrize("reader", ["folders", "npz"])
def test_a_pattern_on_the_id_divides_the_images_of_every_reader(read, reader):
    text = f'{TWO}positive = "b"\nreader = "{reader}"\nsubgroups = {{ s = {{ pattern = "(x)" }} }}\n'
    assert read(text).subgroups["s"].value_in("axb") == "x" and read(text).carried == ()


def test_what_is_found_later_is_said_with_the_line_where_a_person_declared_it(project):
    path = project.input / "mine" / "dataset.toml"
    dataset = Dataset(name="mine", reader="csv")
    assert str(refusal(dataset, "metric", "metric is wrong")) == "mine: metric is wrong"
    path.parent.mkdir()
    path.write_text(BASE + 'metric = "x"\n')
    assert str(refusal(dataset, "metric", "metric is wrong")) == f"{path}, line 4: metric is wrong"
    assert str(refusal(dataset, "about", "about is wrong")) == f"{path}: about is wrong"


def test_a_field_has_its_default_its_limits_and_the_words_for_a_wrong_value():
    class Small(Record):
        number: int = declared(3, "a number above 2", gt=2)

    assert Small().number == 3 and Small.model_fields["number"].description == "a number above 2"
    with pytest.raises(ValidationError, match="greater than 2"):
        Small(number=2)


# Texts as they are compared


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1.", "1"),
        ("+01.00", "1"),
        ("-1.0", "-1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-00", "0"),
        ("000", "0"),
        ("100", "100"),
        ("1.50", "1.50"),
        (" x ", "x"),
        ("1e3", "1e3"),
        ("--1", "--1"),
        ("e\u0301", "\u00e9"),
    ],
)
def test_whole_numbers_are_compared_by_value(cell, same):
    assert comparable(cell) == same


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a", True),
        ("a/b.png", True),
        ("./a", True),
        ("a..b", True),
        ("", False),
        (".", False),
        ("/a", False),
        ("..", False),
        ("a/../b", False),
        ("a\0b", False),
    ],
)
def test_a_path_that_stays_in_the_folder(path, inside):
    assert stays_inside(path) == inside


@pytest.mark.parametrize(
    ("pattern", "name", "patient"),
    [
        ("^(p[0-9]+)_(l|r)?", "p1_l", "p1_l"),
        ("^(p[0-9]+)_(l|r)?", "p1_x", "p1"),
        ("^p[0-9]+", "p1_x", "p1"),
        ("^p[0-9]+", "x", ""),
        ("^(q)?p", "p1", "p"),
    ],
)
def test_a_patient_in_a_name(pattern, name, patient):
    dataset = Dataset(name="mine", reader="csv", patient_pattern=pattern)
    assert dataset.patient_in(name) == patient
    if patient:
        assert dataset.patient_of(name, "here") == patient
    else:
        with pytest.raises(InputError, match="^here: no patient can be read from this name"):
            dataset.patient_of(name, "here")


@pytest.mark.parametrize(
    ("header", "named", "column"),
    [
        (["x", "id"], "", "id"),
        (["x", "y"], "", "x"),
        (["x", "id"], "x", "x"),
    ],
)
def test_the_column_of_ids_of_a_sample_submission(header, named, column):
    dataset = Dataset(name="mine", reader="csv", submission=Submission(id=named))
    assert id_column_of(header, "sample.csv", dataset) == column
    other = Dataset(name="mine", reader="csv", submission=Submission(id="z"))
    with pytest.raises(InputError, match=r"^\[submission\] id = 'z': sample.csv has no such column \(it has x, "):
        id_column_of(header, "sample.csv", other)


# The index


def indexed(dataset: Dataset, *ids: str) -> Index:
    rows = [
        {"id": image, "path": f"{image}.png", "label": "ab"[n % 2], "group": image, "split": "train"}
        for n, image in enumerate(ids)
    ]
    return make_index(dataset, Path("root"), rows, ["a note"])


AB = dict(name="mine", reader="csv", classes=("a", "b"), positive="b")


def test_an_index_is_of_at_least_one_image_of_each_class():
    dataset = Dataset.model_validate(AB)
    with pytest.raises(InputError, match="^root holds no images for mine; its README in input/ says how to get them$"):
        indexed(dataset)
    with pytest.raises(InputError, match="^root: class 'b' has no training image"):
        indexed(dataset, "x")
    with pytest.raises(InputError, match=r"^root: id 'y' occurs twice \(y.png and y.png\); ids must be unique$"):
        indexed(dataset, "x", "y", "z", "y", "y")
    index = indexed(dataset, "y", "x")
    assert index.train["id"].tolist() == ["x", "y"] and index.notes == ("a note",) and len(index.test) == 0


def test_the_parts_of_an_index_are_numbered_anew_and_have_its_columns():
    rows = [
        {"id": name, "path": f"{name}.png", "label": "ab"[n % 2], "group": name, "split": ("test", "train")[n // 2]}
        for n, name in enumerate("wxyz")
    ]
    index = make_index(Dataset.model_validate(AB), Path("root"), rows, [])
    for table, ids in ((index.table, list("yzwx")), (index.train, ["y", "z"]), (index.test, ["w", "x"])):
        assert list(table.columns) == ["id", "path", "label", "group", "split"]
        assert table["id"].tolist() == ids and table.index.tolist() == list(range(len(ids)))


def test_an_image_of_its_own_is_no_reason_to_leave_other_spellings_apart():
    groups = {"x": "x", "y": "p1", "z": "P1 ", "w": "p 1"}
    rows = [
        {"id": name, "path": f"{name}.png", "label": "ab"[n % 2], "group": group, "split": "train"}
        for n, (name, group) in enumerate(groups.items())
    ]
    index = make_index(Dataset.model_validate(AB), Path("root"), rows, [])
    assert dict(zip(index.train["id"], index.train["group"], strict=True)) == groups | {"z": "p1"}
    assert index.notes == ("patients: 1 other spelling(s) of the same name were joined, as 'P1 ' and 'p1'",)


def test_a_division_by_a_column_is_left_out_where_there_are_only_ids():
    dataset = Dataset.model_validate(AB | {"subgroups": {"s": {"column": "sex"}, "t": {"pattern": "(x)|y"}}})
    ids = pd.DataFrame({"id": ["x1", "y1", "z1"]})
    assert {title: found.tolist() for title, found in subgroup_values(dataset, ids).items()} == {"t": ["x", "", ""]}
    found = subgroup_values(dataset, ids.assign(sex=[" F", "", "M"]))
    assert list(found) == ["s", "t"] and found["s"].tolist() == ["F", "", "M"]


@pytest.mark.parametrize("parts", [12, 13])
def test_a_division_has_at_most_twelve_parts(parts):
    dataset = Dataset.model_validate(AB | {"subgroups": {"s": {"pattern": "s([0-9]+)"}}})
    ids = [*(f"s{n:02d}" for n in range(parts)), "none"]
    if parts == 12:
        assert indexed(dataset, *ids).notes == ("a note",)
    else:
        with pytest.raises(
            InputError, match="subgroups.s divides the images into 13 parts, as '00' and '01'; a division"
        ):
            indexed(dataset, *ids)
    assert indexed(dataset, "x", "y").notes[1].startswith("subgroups.s: no image is of any")


@pytest.mark.parametrize(
    ("reader", "error", "sentence"),
    [
        ("joined", ValueError, "mine is read by its parts"),
        ("xls", InputError, "mine: no reader 'xls' .folders, csv, npz"),
    ],
)
def test_a_reader_that_is_none(tmp_path, reader, error, sentence):
    with pytest.raises(error, match=f"^{sentence}"):
        read_index(Dataset(name="mine", reader=reader), tmp_path)


def test_lines_of_keys():
    text = "# 1\na = 1\n\n'b.c' = [\n  1, # 5\n]\nd.e = '''\n[x]\n'''\nf = { g = 1 }\n[h]\n\ni = 1\n[h.\"j k\"]\nl=1\n"
    assert key_lines(text.replace("\n", "\r\n")) == key_lines(text)
    assert key_lines(text) == {
        ("a",): 2,
        ("b.c",): 4,
        ("d",): 7,
        ("d", "e"): 7,
        ("f",): 10,
        ("f", "g"): 10,
        ("h",): 11,
        ("h", "i"): 13,
        ("h", "j k"): 14,
        ("h", "j k", "l"): 15,
    }


def test_all_that_a_declaration_may_say(read):
    dataset = read(
        'reader = "csv"\ntask = "multilabel"\ntable = "t.csv"\nid = "i"\nlabels = ["A", "B"]\nunknown = ["-1"]\n'
        'no_finding = [""]\ngroup = "p"\nunknown_group = ["?"]\nimages = "a/{id}.png"\ntest_images = "b/{id}.png"\n'
        'test_table = "u.csv"\nmetric = "macro_auc"\nmetric_weights = { A = 2, B = 0.5 }\nwarning = "w"\n'
        'tabular = ["age"]\n[submission]\nfile = "s.csv"\nid = "i"\ncolumns = { x = "A" }\nanswer = "class"\n'
    )
    assert dataset.classes == ("A", "B") and dataset.positive == ""
    assert dataset.submission == Submission(file="s.csv", id="i", columns={"x": "A"}, answer="class")
    assert dataset.submission.file == "s.csv"
    assert dataset.metric_weights == {"A": 2, "B": 0.5} and dataset.group == "p"


def test_what_is_not_said(read):
    dataset = read(BASE + 'group_column = "who"\n')
    assert (dataset.task, dataset.id, dataset.label, dataset.images) == ("multiclass", "id", "label", "images/{id}")
    assert dataset.group == "who" and dataset.submission == Submission()
    assert read(CSV + 'task = "ordinal"\n').positive == "b"
    assert read(CSV + 'task = "ordinal"\npositive = "a"\n').positive == "a"
    assert read('task = "multilabel"\nreader = "csv"\nlabels = ["x"]\n').classes == ("x",)


@pytest.mark.parametrize("name", ['x"y', "a\\b", "日本", "\U0001fac1", "tab\there", "\x7f"])
def test_texts_that_are_written_are_read_again(read, name):
    values = {"classes": ["a", name], "reader": "csv", "positive": name, "labels": {name: "a"}}
    dataset = read(declaration_text(values))
    assert dataset.classes == ("a", name.strip()) and dataset.labels == {name: "a"}


def test_the_catalogue_has_the_chest_x_rays_with_several_labels():
    dataset = find_dataset("chest_xray_multilabel")
    assert dataset.task == "multilabel" and dataset.classes == ("PNEUMONIA", "BACTERIA", "VIRUS")
    assert dataset.input_folder == "chest_xray" and "CONFOUNDED" in find_dataset("covid_4class").warning
