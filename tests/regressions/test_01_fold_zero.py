"""Bug: 0 counted as "no fold given", so that `--fold 0` also wrote fold 0's predictions as those of the last fold.

Here the fold is a number that is compared, never a truth value; it is a folder, a field of the configuration and a
column of the predictions, and the predictions are held against the fold file before they are written.
"""

import pandas as pd
from conftest import tiny_experiment

from chestfold.evaluate import predictions


def folds_by_id(root) -> pd.Series:
    return pd.read_csv(root / "folds" / "tiny.csv").set_index("id")["fold"]


def test_fold_zero_writes_fold_zero_and_nothing_else(project):
    project.run(tiny_experiment(epochs=1, max_steps=1), "--fold", "0")
    run = project.runs / "exp100"
    assert [p.name for p in run.iterdir() if p.is_dir()] == ["fold0"]
    _, origin = predictions.read(run / "fold0" / "oof.parquet")
    assert origin["fold"] == 0
    folds = folds_by_id(project.root)
    for place in (run / "fold0", run):
        table, _ = predictions.read(place / "oof.parquet")
        assert set(table["id"]) == set(folds[folds == 0].index) and set(table["fold"]) == {0}


def test_every_fold_of_a_whole_run_predicts_its_own_images(trained):
    folds = folds_by_id(trained.root)
    for fold in range(3):
        table, _ = predictions.read(trained.runs / "exp100" / f"fold{fold}" / "oof.parquet")
        assert set(table["id"]) == set(folds[folds == fold].index)
