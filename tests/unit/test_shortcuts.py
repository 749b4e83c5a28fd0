"""RESULTS.md's tables of what is told without the lungs, and of what leaks would have added."""

import pytest
from conftest import Project, copy_project, enter, leave_figures_out, tiny_experiment

from chestfold.cli import main
from chestfold.evaluate.leaderboard import format_score
from chestfold.evaluate.leak_cost import leak_cost
from chestfold.evaluate.published_baselines import Line, results_of
from chestfold.evaluate.results import find_result, published_results
from chestfold.report import shortcuts
from chestfold.report.publish import publish, write_results_page


def test_nothing_is_said_where_no_such_run_was_made(trained: Project):
    publish("exp100")
    assert shortcuts.chapters(published_results()) == []


@pytest.fixture(scope="module")
def _checked(_trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copy_project(_trained_once, tmp_path_factory.mktemp("checked") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        leave_figures_out(patch)
        main.main(["folds", "cost", "exp100"])
        made.run(tiny_experiment(folds="tiny_leaky"), "--tag", "leaky", name="exp100")
        made.run(tiny_experiment(frame="lungs_black"), "--tag", "black", name="exp100")
        for name in ("exp100", "exp100-leaky", "exp100-black"):
            publish(name)
    return made


@pytest.fixture
def checked(_checked: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """exp100, and it again without the lungs and on folds that leak, published."""
    enter(monkeypatch, _checked)
    return _checked


def auc_of(name: str) -> str:
    return format_score(find_result(name).score("at_half", "auc"))


def test_each_check_stands_beside_the_run_that_it_is_about(checked: Project):
    text = write_results_page().read_text()
    lungs = text.split(f"## {shortcuts.LUNGS_TITLE}")[1].split("\n## ")[0]
    assert f"| tiny | exp100 | {auc_of('exp100')} | {auc_of('exp100-black')} | 0 |" in lungs
    leaks = text.split(f"## {shortcuts.LEAKS_TITLE}")[1].split("\n## ")[0]
    added = leak_cost(find_result("exp100"), find_result("exp100-leaky")).added
    assert "| tiny | exp100 | AUC | " in leaks and f"| {added.format_gain()} |" in leaks


def test_a_check_of_the_data_is_on_no_line_of_a_source(checked: Project):
    found = results_of(Line(what="first", experiment="exp100"), published_results())
    assert [result.name for result in found] == ["exp100"]


def test_a_run_without_lungs_of_other_settings_has_no_partner(checked: Project):
    results = dict(published_results())
    black = results["exp100-black"]
    settings = black.record.settings | {"lr": 0.5}
    results["exp100-black"] = type(black)(black.folder, black.record.model_copy(update={"settings": settings}))
    assert not any(shortcuts.LUNGS_TITLE in part for part in shortcuts.chapters(results))


def test_a_record_that_is_older_than_a_setting_is_a_partner(checked: Project):
    """Settings are added with defaults that change nothing: a record without them is of the same run."""
    results = dict(published_results())
    whole = results["exp100"]
    older = {name: value for name, value in whole.record.settings.items() if name not in ("frame", "depth")}
    results["exp100"] = type(whole)(whole.folder, whole.record.model_copy(update={"settings": older}))
    lungs, leaks = (part for part in shortcuts.chapters(results) if part.startswith("| data set"))
    assert "| tiny | exp100 |" in lungs and "| tiny | exp100 |" in leaks
