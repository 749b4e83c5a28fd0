"""Bug: "p1" and "p1 ", or full-width digits, were two patients, whose images straddled the folds; "no leak", it said.

Here spellings that a reader would take for one are one group, and that is said.
"""

import pytest
from layouts import declared, put, table

from chestfold.data.readers import read_index


@pytest.mark.parametrize("other", ["p1 ", "\u3000p1", "ｐ１", "p１"])
def test_both_are_one_group(tmp_path, other):
    put(tmp_path, *[f"images/{name}.png" for name in "abc"])
    table(tmp_path, "train.csv", "id,label,who", "a,healthy,p1", f"b,ill,{other}", "c,ill,p2")
    index = read_index(declared(reader="csv", group="who"), tmp_path)
    assert index.train["group"].tolist() == ["p1", "p1", "p2"] and "joined" in " ".join(index.notes)
