"""`run(EXP, name=...)` from Python: the result, a callback that stops a fold, and what studies of settings need."""

import re
import sys
import types
from pathlib import Path

import optuna
import pandas as pd
import pytest
from conftest import tiny_experiment

from chestfold import run
from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.evaluate import predictions
from chestfold.integrations import tracker
from chestfold.train.collect import describe, finished_manifests, fold_tables
from chestfold.train.prepare import prepare

PAGES = [
    Path(__file__).resolve().parents[2] / page for page in ("docs/how-to/tracking.md", "docs/ja/how-to/tracking.md")
]


def test_a_run_by_name_gives_its_result(trained):
    parent = tiny_experiment()
    result = run(parent, name="exp100")  # finished: nothing is trained again
    assert result.name == "exp100" and result.value("auc") == result.record.scores.at_half["auc"].value
    with pytest.raises(InputError, match="did you mean auc?"):
        result.value("auk")
    with pytest.raises(InputError, match="was begun with other settings"):
        run(parent.but(lr=1.0), name="exp100")
    with pytest.raises(InputError, match="a plain name is needed"):
        run(parent, name="../exp100")


@pytest.mark.parametrize("change", [{"fold": 1}, {"folds_sha256": "0" * 64}], ids=str)
def test_predictions_of_another_fold_or_fold_file_are_not_collected(trained, change):
    ready = prepare(Request("exp100", tiny_experiment()))
    path = ready.run.fold(0).table_path("oof")
    assert list(fold_tables(ready, [0], "oof")) == [0]
    table, origin = predictions.read(path)
    predictions.write(path, table, origin | change)
    with pytest.raises(InputError, match=r"oof\.parquet belongs to fold \d of another run or fold file"):
        fold_tables(ready, [0], "oof")


def test_the_minutes_of_a_run_are_those_of_its_folds(trained):
    ready = prepare(Request("exp100", tiny_experiment()))
    manifests = finished_manifests(ready)
    longer = {fold: manifest.model_copy(update={"minutes": 1.23}) for fold, manifest in manifests.items()}
    assert describe(ready, longer)["minutes"] == 3.7


@pytest.mark.parametrize("quiet", ["", "1"])
def test_a_finished_run_says_what_comes_next_unless_it_is_to_be_quiet(trained, capsys, monkeypatch, quiet):
    monkeypatch.setenv("CHESTFOLD_QUIET", quiet)
    run(tiny_experiment(), name="exp100")
    said = capsys.readouterr().out
    following = "next: chestfold board; chestfold submit exp100 --dry-run; chestfold publish exp100"
    assert (following in said) == (not quiet)


def test_what_a_killed_collection_has_left_is_deleted(trained):
    folder = trained.runs / "exp100"
    left = [folder / f".{name}.123-0a1b2c.tmp" for name in ("corrupted.parquet", "scores.json", "curves.png")]
    of_a_tracker = folder / ".tracked_wandb.json.123-0a1b2c.tmp"
    for path in (*left, of_a_tracker):
        path.touch()
    run(tiny_experiment(), name="exp100")
    assert [path for path in (*left, of_a_tracker) if path.exists()] == [of_a_tracker]


class Refusal(Exception):
    """Of a callback."""


@pytest.mark.parametrize("how", ["returned", "raised"])
def test_a_callback_stops_a_fold_which_is_resumed_by_the_same_call(trained, monkeypatch, how):
    seen, closed = [], []
    monkeypatch.setattr(tracker.NoTracker, "close", lambda self: closed.append(True))

    def stop(fold, epoch, figures):
        seen.append((fold, epoch, figures["epoch"]))
        assert {"auc", "loss", "lr", "seconds"} <= set(figures)
        if how == "raised":
            raise Refusal
        return True

    exp, folder = tiny_experiment(), RunFolder("stopped")
    if how == "raised":
        with pytest.raises(Refusal):
            run(exp, name="stopped", folds=[0, 1], on_epoch=stop)
    else:
        assert run(exp, name="stopped", folds=[0, 1], on_epoch=stop) is None
    assert seen == [(0, 1, 1)] and closed
    assert folder.finished_folds() == [] and not (folder.path / "scores.json").exists()
    again = []
    result = run(exp, name="stopped", folds=[0], on_epoch=lambda fold, epoch, _: again.append(epoch))
    assert again == [2] and result.record.folds.trained == (0,)
    tables = [pd.read_parquet(trained.runs / name / "fold0" / "oof.parquet") for name in ("stopped", "exp100")]
    pd.testing.assert_frame_equal(*tables)


def test_overwriting_one_fold_is_refused_where_another_has_other_settings(trained):
    before = (trained.runs / "exp100" / "fold0" / "best.ckpt").read_bytes()
    with pytest.raises(
        InputError, match=r"fold1 was begun .* \(here it is for fold 0 alone: name all folds that differ\)"
    ):
        run(tiny_experiment(lr=0.01), name="exp100", folds=[0], overwrite=True)
    assert (trained.runs / "exp100" / "fold0" / "best.ckpt").read_bytes() == before


def test_the_documented_study_runs(project, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.DOTALL)
    module = types.ModuleType("exp021")
    module.EXP = tiny_experiment(epochs=1)
    monkeypatch.setitem(sys.modules, "exp021", module)
    monkeypatch.chdir(project.root)
    project.runs.mkdir()
    optuna.logging.disable_default_handler()
    names = {"__name__": "tune021"}
    exec(code.replace("n_trials=20", "n_trials=2"), names)
    assert [trial.state.name for trial in names["study"].trials] == ["COMPLETE"] * 2
    assert sorted(path.name for path in project.runs.glob("exp021-*")) == ["exp021-trial0", "exp021-trial1"]


def test_both_languages_document_the_same_code():
    english, japanese = [re.findall(r"```(?:python|yaml)\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES]
    assert english == japanese != []
