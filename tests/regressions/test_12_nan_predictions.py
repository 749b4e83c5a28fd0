"""Bug: predictions that were not a number were replaced by 0 or 1 on their way into the file, and scored.

Here they stop the run at the first place where they appear, with the name of the image, and no file is written.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import answers_of, tiny_experiment
from tasks import exclusive

from chestfold.core.errors import ChestfoldError
from chestfold.data.loader import Images
from chestfold.evaluate import predictions, results
from chestfold.integrations.kaggle.submission import check_submission
from chestfold.models import create
from chestfold.models.runner import make_runner, predict

BAD = [np.nan, np.inf, -np.inf]


def test_a_network_that_predicts_nan_is_refused_with_the_image():
    exp = tiny_experiment()
    runner = make_runner(create(exp, 2), exp, exclusive())
    torch.nn.init.constant_(runner.module.get_classifier().bias, float("nan"))
    images = Images(np.zeros((3, 32, 32), np.uint8), np.arange(3), ["a", "b", "c"], np.zeros(3, np.int64))
    with pytest.raises(ChestfoldError, match="the prediction for 'a' is not a number"):
        predict(runner, images)


def test_a_loss_that_is_not_a_number_stops_the_fold(project):
    with pytest.raises(ChestfoldError, match=r"the loss of fold 0 became .* at epoch 1"):
        project.run(tiny_experiment(lr=1000.0, optimizer="sgd", epochs=1), "--fold", "0")
    assert not (project.runs / "exp100" / "fold0" / "oof.parquet").exists()


@pytest.mark.parametrize("value", BAD)
def test_a_prediction_file_with_nan_is_not_written(trained, tmp_path, value):
    table, origin = results.find_result("exp100").oof()
    table.loc[5, "ill"] = value
    with pytest.raises(ChestfoldError, match=f"the prediction for '{table['id'][5]}' is not a number"):
        predictions.write(tmp_path / "oof.parquet", table, origin)
    assert not (tmp_path / "oof.parquet").exists()


def test_a_prediction_file_with_nan_is_not_read(trained, tmp_path, monkeypatch):
    table, origin = results.find_result("exp100").oof()
    table.loc[5, ["healthy", "ill"]] = np.nan
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "check_probabilities", lambda *_: None)
        predictions.write(tmp_path / "oof.parquet", table, origin)
    with pytest.raises(ChestfoldError, match=f"the prediction for '{table['id'][5]}' is not a number"):
        predictions.read(tmp_path / "oof.parquet")


@pytest.mark.parametrize("cell", ["", "nan", "inf", "-inf", "?"])
def test_a_submission_with_nan_is_refused(tmp_path, cell):
    sample = pd.DataFrame({"id": ["a", "b", "c"], "ill": ["0.5"] * 3})
    path = tmp_path / "001.csv"
    path.write_text(f"id,ill\na,0.25\nb,{cell}\nc,0.75\n")
    with pytest.raises(ChestfoldError, match="is not a number"):
        check_submission(path, sample, answers_of("ill"))
    path.write_text("id,ill\na,0.25\nb,0.5\nc,0.75\n")
    check_submission(path, sample, answers_of("ill"))
