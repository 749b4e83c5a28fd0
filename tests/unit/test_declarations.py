"""A dataset.toml: what it may say, and the line of what is wrong with it."""

import pytest

from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Dataset, Submission
from chestfold.data.declaration import declaration_text, key_lines, read_declaration

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
        ("[submission]\nanswer = 'yes'", "submission.answer is probability or class, not 'yes'"),
        ("[submission]\nfile = '../x.csv'", "submission.file is a path in the data folder, not '../x.csv'"),
        ("[submission]\nclumns = {}", "unknown field 'clumns' of submission; did you mean columns?"),
        ("[submission]\ncolumns = { x = 'c' }", "submission.columns: 'c' is not one of the classes"),
        ("submission = 3", "submission is a table: file, id, columns, answer, not 3"),
        ("subgroups = 3", "subgroups is a table: title = { pattern = ... } or { column = ... }, not 3"),
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
    sentence = refused(BASE + "# a comment\n\nabout = '''two\nlines'''\n" + line + "\n")
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
    assert dataset.metric_weights == {"A": 2, "B": 0.5} and dataset.group == "p"


def test_what_is_not_said(read):
    dataset = read(BASE + 'group_column = "who"\n')
    assert (dataset.task, dataset.id, dataset.label, dataset.images) == ("multiclass", "id", "label", "images/{id}")
    assert dataset.group == "who" and dataset.submission == Submission()
    assert read(CSV + 'task = "ordinal"\n').positive == "b"
    assert read(CSV + 'task = "ordinal"\npositive = "a"\n').positive == "a"
    assert read('task = "multilabel"\nreader = "csv"\nlabels = ["x"]\n').classes == ("x",)


@pytest.mark.parametrize("name", ['x"y', "a\\b", "日本", "tab\there", "\x7f"])
def test_texts_that_are_written_are_read_again(read, name):
    values = {"classes": ["a", name], "reader": "csv", "positive": name, "labels": {name: "a"}}
    dataset = read(declaration_text(values))
    assert dataset.classes == ("a", name.strip()) and dataset.labels == {name: "a"}


def test_the_catalogue_has_the_chest_x_rays_with_several_labels():
    dataset = find_dataset("chest_xray_multilabel")
    assert dataset.task == "multilabel" and dataset.classes == ("PNEUMONIA", "BACTERIA", "VIRUS")
    assert dataset.input_folder == "chest_xray" and "CONFOUNDED" in find_dataset("covid_4class").warning
