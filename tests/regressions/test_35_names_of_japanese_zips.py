"""Bug: names in a zip that Windows had written in Japan were read as those of DOS: no id of the table was found, or
another file was.

Here the encoding is told by the names themselves, and said.
"""

from zipfile import ZipFile

from chestfold.integrations.kaggle import archive

NAME = "肺炎画像/画像壱号.jpeg"


def test_they_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "set.zip"
    stand_in = "x" * len(NAME.encode("cp932"))
    with ZipFile(path, "w") as made:
        made.writestr(stand_in, b"pixels")
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), NAME.encode("cp932")))
    plan = archive.unpack(path, tmp_path / "set", {})
    assert (tmp_path / "set" / NAME).read_bytes() == b"pixels"
    assert "read as Japanese of Windows (cp932)" in plan.notes[0]
