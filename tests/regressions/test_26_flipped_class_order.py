"""Bug: the classes were numbered by the order in which a folder or a table showed them: one way in training, the other
way at prediction, and every probability was in the wrong column.

Here the order is declared once, written into every run, and columns carry the names of their classes.
"""

import pandas as pd
import pytest
from conftest import enter, make_project, make_tiny_folds, tiny_experiment
from sklearn.metrics import roc_auc_score

from chestfold.core.files import read_json
from chestfold.data.catalogue import find_dataset
from chestfold.evaluate import predictions, results
from chestfold.integrations.kaggle.submission import write_submission

ORDERS = [("healthy", "ill"), ("ill", "healthy")]


@pytest.fixture(scope="module", params=ORDERS, ids="-".join)
def ordered(request, tmp_path_factory):
    """A finished run of `tiny` with the classes declared in this order."""
    with pytest.MonkeyPatch.context() as patch:
        made = make_project(tmp_path_factory.mktemp("order") / "project")
        declaration = made.input / "tiny" / "dataset.toml"
        lines = declaration.read_text().replace('["healthy", "ill"]', str(list(request.param)).replace("'", '"'))
        declaration.write_text(lines)
        enter(patch, made)
        make_tiny_folds()
        made.run(tiny_experiment(epochs=5))
        yield made, request.param


def truth(ids) -> list[bool]:
    """Whether an image of `tiny` shows a disc."""
    return [int(i[1:]) % 6 >= 3 if i.startswith("t") else int(i[1:]) % 2 == 1 for i in ids]


def test_columns_are_in_the_declared_order_everywhere(ordered):
    project, classes = ordered
    run = project.runs / "exp100"
    for path in [*run.glob("fold*/*.parquet"), *run.glob("*.parquet")]:
        assert tuple(predictions.class_columns(predictions.read(path)[0])) == classes
    assert read_json(run / "fold0" / "config.json")["classes"] == list(classes)


def test_a_high_probability_means_the_class_that_it_names(ordered):
    result = results.find_result("exp100")
    for table, _ in (result.oof(), result.test()):
        assert roc_auc_score(truth(table["id"]), table["ill"]) > 0.75


def test_a_submission_holds_the_probability_of_the_named_class(ordered):
    submitted = pd.read_csv(write_submission("exp100")[0])
    assert list(submitted.columns) == ["id", "ill"]
    assert roc_auc_score(truth(submitted["id"]), submitted["ill"]) > 0.75


def test_scores_are_those_of_the_named_class(ordered):
    result = results.find_result("exp100")
    table, _ = result.oof()
    ill, predicted = table["label"] == "ill", table["ill"] >= 0.5
    assert result.score("at_half", "recall").value == pytest.approx((ill & predicted).sum() / ill.sum())
    assert result.score("at_half", "auc").value == pytest.approx(roc_auc_score(ill, table["ill"]))


def test_the_positive_class_is_named_and_not_the_second_folder_in_the_alphabet():
    dataset = find_dataset("nodule_slices")
    assert dataset.classes == ("Not_Nodule", "Nodule") and dataset.positive == "Nodule"
    assert list(dataset.classes) != sorted(dataset.classes)
