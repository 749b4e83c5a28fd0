"""RESULTS.md's last chapter: a command for each recipe; trials and checks of the data are not mixed with them."""

import pytest
from conftest import Project, tiny_experiment

from chestfold.evaluate.results import Result, published_results
from chestfold.report import all_results
from chestfold.report.publish import publish


@pytest.fixture
def results(trained: Project) -> dict[str, Result]:
    trained.run(tiny_experiment(frame="lungs_black"), "--tag", "black", name="exp100")
    for name in ("exp100", "exp101", "exp100-black"):
        publish(name)
    return dict(published_results())


def test_each_recipe_has_its_command_and_its_cost(results):
    text = "\n".join(all_results.chapter(results))
    minutes = f"{results['exp100'].record.minutes:.0f}"
    auc = str(results["exp100"].score("at_half", "auc")).split(" ")[0]
    assert f"| `python exps/exp100.py` | {auc} | " in text and f" | {minutes} |" in text
    assert "`python exps/exp101.py`" in text
    assert f"| **tiny** (3 folds, {results['exp100'].record.folds.sha256[:8]}) |" in text
    assert f"Made on {results['exp100'].record.machine}" in text


def test_runs_that_measure_the_data_stand_elsewhere(results):
    assert "black" not in "\n".join(all_results.chapter(results))


def test_trials_on_some_folds_are_counted_and_not_ranked(results):
    trial = results["exp101"]
    folds = trial.record.folds.model_copy(update={"trained": (0,)})
    results["exp101"] = Result(trial.folder, trial.record.model_copy(update={"folds": folds}))
    text = "\n".join(all_results.chapter(results))
    assert "`python exps/exp101.py" not in text
    assert "Of some folds only: 1 result, to be seen with `chestfold board`." in text


def test_another_metric_has_a_table_with_a_column_of_its_own(results):
    other = results["exp101"]
    changed = {"data": "wards", "metric": "f1", "folds": other.record.folds.model_copy(update={"sha256": "a" * 64})}
    results["exp101"] = Result(other.folder, other.record.model_copy(update=changed))
    lines = "\n".join(all_results.chapter(results)).splitlines()
    headers = [line for line in lines if line.startswith("| command")]
    assert headers == ["| command | AUC | AUC, shifted | minutes |", "| command | F1 | AUC | AUC, shifted | minutes |"]
    place = lines.index("| **wards** (3 folds, aaaaaaaa) |  |  |  |  |")
    assert "exp101" in lines[place + 1] and lines[place + 1].count("|") == 6


def test_results_on_other_folds_of_a_data_set_stand_apart(results):
    other = results["exp101"]
    folds = other.record.folds.model_copy(update={"file": "tiny_again", "sha256": "b" * 64})
    results["exp101"] = Result(other.folder, other.record.model_copy(update={"folds": folds}))
    lines = "\n".join(all_results.chapter(results)).splitlines()
    place = lines.index("| **tiny** (3 folds, bbbbbbbb) |  |  |  |")
    assert "exp101" in lines[place + 1] and "exp100" not in lines[place + 1]
    assert len([line for line in lines if line.startswith("| **tiny**")]) == 2


def test_no_results_are_no_table():
    assert all_results.chapter({}) == [f"## {all_results.TITLE}", all_results.ABOUT]
