"""Bug: folds were finished on a second machine and copied beside the others; what was submitted was the mean of the old
ones, and nothing said so.

Here finished folds that the scores do not know are collected first, and missing ones are named.
"""

import pytest

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.integrations.kaggle.submission import write_submission


@pytest.mark.parametrize("known", [[0, 1], [2]])
def test_folds_that_are_not_collected_are_not_left_out(trained, known):
    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    write_json(path, about | {"folds": about["folds"] | {"trained": known}})
    with pytest.raises(InputError, match="holds finished folds that are not collected"):
        write_submission("exp100", partial=True)
    for fold in {0, 1, 2} - set(known):
        (trained.runs / "exp100" / f"fold{fold}" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"train the others, or add --partial"):
        write_submission("exp100")
