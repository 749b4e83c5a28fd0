"""A submission is written in the sample's order, numbered, and described."""

import pandas as pd
import pytest
from conftest import answers_of

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file
from chestfold.evaluate import predictions, results
from chestfold.integrations.kaggle.submission import submission_csv, write_submission
from chestfold.predict.competition import find_sample


@pytest.fixture
def sample(trained):
    return trained.input / "tiny" / "sample_submission.csv"


def predicted(name: str = "exp100") -> pd.Series:
    return results.find_result(name).test()[0].set_index("id")["ill"]


def written(path) -> pd.Series:
    return pd.read_csv(path).set_index("id")["ill"]


def test_ids_stand_as_in_the_sample_with_their_own_predictions(sample):
    head, *lines = sample.read_text().splitlines()
    sample.write_text("\n".join([head, *lines[::-1]]) + "\n")
    path, new = write_submission("exp100")
    assert new and written(path).index.tolist() == [f"x{n:03d}" for n in reversed(range(12))]
    pd.testing.assert_series_equal(written(path).sort_index(), predicted().sort_index(), atol=1e-6, check_index=True)


def test_ids_that_the_index_calls_by_their_paths_are_matched_with_those_of_the_sample():
    table = pd.DataFrame({"id": ["test/a", "x0", "p/c", "q/c"], "ill": [0.1, 0.2, 0.3, 0.4]})
    table = table.assign(rest=1 - table["ill"], group="", fold=-1, label="")[
        ["id", "group", "fold", "label", "rest", "ill"]
    ]
    sample = pd.DataFrame({"id": ["x0", "a.png", "q/c", "p/c"], "ill": "0"})
    sent = submission_csv(table, "exp100", sample, answers_of("ill")).decode().split()
    assert sent == ["id,ill", "x0,0.200000", "a.png,0.100000", "q/c,0.400000", "p/c,0.300000"]
    with pytest.raises(InputError, match="differ in 2 ids, the first is 'c'"):
        submission_csv(table, "exp100", sample.assign(id=["x0", "a", "c", "p/c"]), answers_of("ill"))


def test_the_same_content_keeps_its_number_and_another_gets_the_next(trained):
    first, _ = write_submission("exp100")
    again, new = write_submission("exp100")
    assert (again, new) == (first, False)
    second, _ = write_submission("exp101")
    assert [first.name, second.name] == ["001_exp100.csv", "002_exp101.csv"]
    assert write_submission("exp100") == (first, False)


@pytest.mark.parametrize("name", ["both [1]", "a*b?", "[!x]", "両方 #2"])
def test_a_name_of_any_characters_keeps_its_number(trained, name):
    main.main(["ensemble", "exp100", "exp101", "--name", name])
    first, _ = write_submission(name)
    assert write_submission(name) == (first, False)


def test_a_sample_of_any_characters_is_found_in_the_competition_s_folder(tmp_path):
    sample = tmp_path / "scans" / "tables" / "sample [1].csv"
    sample.parent.mkdir(parents=True)
    sample.touch()
    assert find_sample(tmp_path, "tables/sample [1].csv", "scans") == (sample, tmp_path / "scans")


def test_new_content_of_the_same_name_gets_a_new_number(trained):
    first, _ = write_submission("exp100")
    first.write_text(first.read_text().replace("0.", "0.0", 1))
    second, new = write_submission("exp100")
    assert new and second.name == "002_exp100.csv"


def test_a_name_that_ends_like_another_has_its_own_file(trained):
    folder = trained.runs / "my_exp100"
    (trained.runs / "exp100").rename(folder)
    first, _ = write_submission("my_exp100")
    folder.rename(trained.runs / "exp100")
    second, new = write_submission("exp100")
    assert new and (first.name, second.name) == ("001_my_exp100.csv", "002_exp100.csv")


def test_its_json_says_what_it_was_made_of(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both", "--method", "greedy"])
    path, _ = write_submission("both")
    about, result = read_json(path.with_suffix(".json")), results.find_result("both")
    assert about["members"] == ["exp100", "exp101"] and sum(about["weights"]) == pytest.approx(1)
    assert about["cv_auc"]["value"] == result.score("at_half", "auc").value
    assert about["sha256"] == sha256_file(path)
    assert about["files"]["test.parquet"] == sha256_file(result.folder / "test.parquet")
    assert about["uploads"] == []


def test_without_a_sample_the_test_ids_with_the_positive_class(trained, sample):
    ids = pd.read_csv(sample)["id"]
    sample.rename(sample.with_name("test.csv"))
    path, _ = write_submission("exp100")
    assert list(pd.read_csv(path).columns) == ["id", "ill"]
    assert written(path).index.tolist() == ids.tolist()


def test_the_sample_decides_which_classes_are_sent_and_in_which_order(sample):
    sample.write_text(sample.read_text().replace("id,ill", "id,ill,healthy").replace(",0.5", ",0.5,0.5"))
    table = pd.read_csv(write_submission("exp100")[0])
    assert list(table.columns) == ["id", "ill", "healthy"]
    pd.testing.assert_series_equal(table["ill"] + table["healthy"], pd.Series([1.0] * 12), check_names=False, atol=2e-6)
    assert predictions.class_columns(results.find_result("exp100").test()[0]) == ["healthy", "ill"]


@pytest.mark.parametrize("column", ["image_id", "patientId", "StudyInstanceUID", "ID", "画像", "row"])
def test_the_first_column_of_the_sample_may_have_any_name(sample, column):
    sample.write_text(sample.read_text().replace("id,ill", f"{column},ill"))
    table = pd.read_csv(write_submission("exp100")[0])
    assert list(table.columns) == [column, "ill"]
    pd.testing.assert_series_equal(
        table.set_index(column)["ill"].sort_index(), predicted().sort_index(), atol=1e-6, check_names=False
    )


def test_a_result_is_enough_the_experiment_and_its_folds_may_be_gone(trained):
    for fold in range(3):
        for file in (trained.runs / "exp100" / f"fold{fold}").iterdir():
            file.unlink()
    assert write_submission("exp100")[1]
