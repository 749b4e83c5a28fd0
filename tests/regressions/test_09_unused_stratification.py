"""Bug: a column to stratify by was computed and never given to the splitter; a fold then lacked the rare class.

Here the split is stratified by label, and a fold file in which a fold lacks a class is refused.
"""

import pytest
from conftest import make_project

from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index


@pytest.fixture
def rare(tmp_path, monkeypatch):
    """60 patients with one image each, of whom 6 are ill."""
    root = make_project(tmp_path / "project").root
    rows = [f"t{n:03d},{'ill' if n < 6 else 'healthy'},p{n:02d}" for n in range(60)]
    (root / "input" / "tiny" / "train.csv").write_text("\n".join(["id,label,patient", *rows]) + "\n")
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(root))
    return open_index("tiny")


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_class_is_spread_evenly(rare, seed):
    table = folds.split(rare, 3, seed).table
    counts = table.groupby(["fold", "label"]).size().unstack()
    assert counts["ill"].tolist() == [2, 2, 2]
    assert counts["healthy"].tolist() == [18, 18, 18]


def test_folds_that_lack_a_class_are_refused(rare):
    table = folds.split(rare, 3, seed=0).table
    table.loc[table["label"] == "ill", "fold"] = 1
    with pytest.raises(InputError, match="fold 0 has no image of class 'ill'"):
        folds.assert_sound(table, rare, 3)


def test_more_folds_than_patients_of_a_class_are_refused(rare):
    with pytest.raises(InputError, match="7 folds need 7 patients of class 'ill'; there are 6: make fewer folds"):
        folds.split(rare, 7, seed=0)
