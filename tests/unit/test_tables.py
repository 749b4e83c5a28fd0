"""Tables that people bring: encodings, lines as an editor counts them, columns."""

from pathlib import Path

import pytest

from chestfold.core.errors import InputError
from chestfold.data.tables import each_cell, open_table, read_table

TEXT = "id,label\na,正常\nb,肺炎\n"


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\n\n"),
        TEXT.replace("\n", ",\n"),
        TEXT.replace("label\n", "label\n,,\n"),
        TEXT.replace("id,label", " id , label "),
        'id,label\n"a",正常\n"b","肺炎"\n',
    ],
    ids=[
        "plain",
        "BOM",
        "CRLF",
        "CR",
        "no-end",
        "blank-lines",
        "trailing-commas",
        "empty-row",
        "header-spaces",
        "quotes",
    ],
)
def test_the_forms_of_the_same_table(tmp_path, content):
    table = open_table(written(tmp_path, content))
    assert table.columns == ["id", "label"]
    assert table.frame.to_numpy().tolist() == [["a", "正常"], ["b", "肺炎"]]


@pytest.mark.parametrize("encoding", ["cp932", "utf-16", "euc-jp", "latin-1"])
def test_another_encoding_is_one_sentence(tmp_path, encoding):
    text = TEXT if encoding != "latin-1" else "id,label\na,gesund\nb,Entzündung\n"
    with pytest.raises(InputError, match="train.csv is not a readable text: it is not in UTF-8; save it as UTF-8"):
        open_table(written(tmp_path, text.encode(encoding)))


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("separator", "plural"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_other_separators_are_named(tmp_path, separator, plural, quote):
    rows = [line.split(",") for line in TEXT.split()]
    text = "\n".join(separator.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    with pytest.raises(InputError, match=f"its cells are separated by {plural}"):
        open_table(written(tmp_path, text))


def test_a_separator_inside_a_quoted_name_is_none(tmp_path):
    assert open_table(written(tmp_path, '"a;b","c|d"\n1,2\n')).columns == ["a;b", "c|d"]
    assert open_table(written(tmp_path, '"a;b"\n1\n')).columns == ["a;b"]


def test_lines_are_those_of_an_editor(tmp_path):
    table = open_table(written(tmp_path, 'id,label\n\n"a\nb",x\n\n,\nc,y\n'))
    assert table.lines == [3, 7]
    assert table.where(1) == f"{table.path}, line 7"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not a readable CSV: it is empty"),
        ("\n\n", "is not a readable CSV: it is empty"),
        ("id,label,label\na,x,y\n", "has 2 columns called 'label'; rename or remove all but one"),
        ("id,label, label\na,x,y\n", "has 2 columns called 'label'"),
        ("id,label\na,x\n\nb,y,z\n", "line 4 has 3 cells, its header 2"),
        (
            "My patients\n\nid,label\na,x\n",
            "line 3 has 2 cells, its header 1; its first line, 'My patients', has to name",
        ),
        ('id,label\na,x\nb,"y\n', "the row that begins in line 3"),
        ('id,"label\na,x\n', "the row that begins in line 1: "),
        ('id,label\na,"x"y\n', "the row that begins in line 2"),
    ],
)
def test_what_is_no_table(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        open_table(written(tmp_path, text))


def test_cells_stay_the_texts_that_they_are(tmp_path):
    words = ["007", "NA", "nan", "None", "1e5", "True", "", "+5", "1_000", " x "]
    path = written(tmp_path, "id,b\n" + "".join(f"{word},-\n" for word in words))
    assert read_table(path)["id"].tolist() == words


def test_short_rows_and_nameless_columns(tmp_path):
    table = open_table(written(tmp_path, ",id,label\n0,a\n1,b,x\n"))
    assert table.columns == ["Unnamed: 0", "id", "label"]
    assert table.cells("label") == ["", "x"]


def test_a_cell_may_be_longer_than_csv_allows(tmp_path):
    mask = "1 2 " * 131_072
    assert open_table(written(tmp_path, f"id,mask\na,{mask}\n")).cells("mask") == [mask]


def test_the_way_on_where_a_column_is_missing_is_said_where_there_is_one(tmp_path):
    table = open_table(written(tmp_path, "a,b\n1,2\n"))
    table.require("a", "b")
    with pytest.raises(InputError, match="has no column 'c'"):
        table.cells("c")
    with pytest.raises(InputError, match=r"has no column 'c' \(it has a, b\)$"):
        table.require("a", "c")
    with pytest.raises(InputError, match=r"has no column 'c' \(it has a, b\); name the right one in dataset.toml$"):
        table.require("c", declared_in="dataset.toml")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,b,,", ["a", "b"]),
        (",a", ["Unnamed: 0", "a"]),
        ("a,,b,", ["a", "Unnamed: 1", "b"]),
        ("a,b;c", ["a", "b;c"]),
    ],
)
def test_names_of_columns(tmp_path, header, columns):
    assert open_table(written(tmp_path, f"{header}\n1\n")).columns == columns


@pytest.mark.parametrize(("row", "cells"), [("1", ["1", ""]), ("1,2", ["1", "2"]), ("1,2,,", ["1", "2"])])
def test_a_row_has_as_many_cells_as_there_are_columns(tmp_path, row, cells):
    assert open_table(written(tmp_path, f"a,b\n{row}\n")).frame.to_numpy().tolist() == [cells]


def test_a_header_of_several_columns_is_not_said_to_be_a_title(tmp_path):
    with pytest.raises(InputError, match="line 2 has 3 cells, its header 2$"):
        open_table(written(tmp_path, "a,b\n1,2,3\n"))


@pytest.mark.parametrize("start", ["", "\n", "\r\n\n"])
def test_the_first_line_with_a_text_says_the_separator(tmp_path, start):
    with pytest.raises(InputError, match="separated by semicolons"):
        open_table(written(tmp_path, f"{start}a;b\n1;2,5\n"))


def test_what_a_text_means_is_asked_once():
    asked = []

    def meaning(cell: str) -> int:
        asked.append(cell)
        return len(asked)

    assert each_cell(["a", "b", "a", "c", "b"], meaning, str) == [1, 2, 1, 3, 2]
    assert asked == ["a", "b", "c"]


def test_the_column_of_ids_may_have_any_name(tmp_path):
    path = written(tmp_path, "Image Index,x\na,1\n")
    assert read_table(path, "Image Index")["x"].tolist() == ["1"]
    with pytest.raises(InputError, match="has no column 'id' \\(it has Image Index, x\\)"):
        read_table(path)


def test_a_complaint_names_the_first_line_of_its_cell():
    def meaning(cell: str) -> int:
        if cell == "x":
            raise ValueError("x is wrong")
        return len(cell)

    assert each_cell(["a", "bb", "a"], meaning, str) == [1, 2, 1]
    with pytest.raises(InputError, match="^row 2: x is wrong$"):
        each_cell(["a", "a", "x", "x"], meaning, lambda n: f"row {n}")
