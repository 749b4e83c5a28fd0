"""Bug: images in a folder below their class folder were left out, and nothing was said: a data set was half as large.

Here they are read, and their number is said.
"""

from layouts import declared, put

from chestfold.data.readers import read_index


def test_they_are_read_and_counted(tmp_path):
    put(tmp_path, "train/healthy/a.png", "train/ill/b.png", "train/ill/more/c.png", "train/ill/more/again/d.png")
    index = read_index(declared(reader="folders"), tmp_path)
    assert len(index.train) == 4
    assert any("2 image(s) lie in folders below their class folder" in note for note in index.notes)
