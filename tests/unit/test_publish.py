"""Published results are the small files of a run, and RESULTS.md is made from them alone."""

import shutil

import pytest
from conftest import record_of, tiny_experiment

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import Locked, lock
from chestfold.evaluate import bootstrap, results
from chestfold.evaluate.results import FoldsOfResult
from chestfold.report.commands import command
from chestfold.report.publish import publish, rescore, write_results_page

FILES = {"scores.json", "oof.parquet", "corrupted.parquet", "test.parquet"}


def page(project) -> str:
    return (project.root / "RESULTS.md").read_text()


def test_results_page_is_made_from_the_published_results_alone(trained):
    publish("exp100")
    before = page(trained)
    for folder in ("runs", "input", "folds"):
        shutil.rmtree(trained.root / folder)
    write_results_page()
    assert page(trained) == before
    assert "| `python exps/exp100.py` |" in before and "exp101" not in before and "**tiny**" in before


def test_a_published_result_can_be_blended_and_sent_without_its_run(trained):
    publish("exp100")
    shutil.rmtree(trained.runs / "exp100")
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    main.main(["submit", "exp100", "--dry-run"])
    assert (trained.root / "submissions" / "001_exp100.csv").exists()


def test_publishing_twice_changes_nothing(trained):
    target = publish("exp100")
    first = {p.name: p.read_bytes() for p in target.iterdir()}
    before = page(trained)
    assert set(first) == FILES
    assert publish("exp100") == target
    assert {p.name: p.read_bytes() for p in target.iterdir()} == first and page(trained) == before


def test_another_result_of_the_same_name_is_refused_until_it_is_meant(trained):
    publish("exp100")
    shutil.rmtree(trained.runs / "exp100")
    trained.run(tiny_experiment(seed=2, epochs=1))
    with pytest.raises(InputError, match="holds another result of this name; add --overwrite to replace it"):
        publish("exp100")
    publish("exp100", overwrite=True)
    assert results.published_results()["exp100"].record.settings["seed"] == 2
    results.published_results()["exp100"].oof()


def test_published_predictions_are_scored_again_by_todays_rules(trained, monkeypatch, capsys):
    for name in ("exp100", "exp101"):
        publish(name)
    main.main(["publish", "--rescore"])
    assert "scored 2 published results again: 0 figures and 0 intervals are others" in capsys.readouterr().out
    before = results.published_results()["exp100"].record.scores.at_half["auc"]
    monkeypatch.setattr(bootstrap, "REPLICATES", bootstrap.REPLICATES + 7)
    main.main(["publish", "--rescore"])
    said = capsys.readouterr().out
    after = results.published_results()["exp100"].record.scores.at_half["auc"]
    assert "again: 0 figures and" in said and "and 0 intervals" not in said
    assert after.value == before.value and (after.low, after.high) != (before.low, before.high)


def test_damaged_predictions_are_not_scored_again(trained):
    path = publish("exp100") / "oof.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="oof.parquet"):
        rescore()


@pytest.mark.parametrize("left", [(), ("oof.parquet",), ("oof.parquet", "corrupted.parquet", "test.parquet")])
def test_a_publication_that_was_cut_off_is_completed(trained, left):
    target = publish("exp100")
    for path in target.iterdir():
        if path.name not in left:
            path.unlink()
    assert {p.name for p in publish("exp100").iterdir()} == FILES


def test_what_killed_publications_left_is_deleted(trained):
    target = publish("exp100")
    left = [target / ".oof.parquet.1-abcdef.tmp", trained.root / ".RESULTS.md.1-abcdef.tmp"]
    left.append(results.published_dir() / "figures" / ".a.png.1-abcdef.tmp")
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half of it")
    publish("exp101")
    assert not any(path.exists() for path in left)


def test_two_commands_do_not_publish_at_once(trained):
    with lock(results.published_dir()), pytest.raises(Locked, match="another process is working in"):
        publish("exp100")
    publish("exp100")


def test_a_debug_run_is_not_published(project):
    project.run(tiny_experiment(), "--debug")
    with pytest.raises(InputError, match="exp100-debug is a debug run"):
        publish("exp100-debug")
    assert not (project.root / "RESULTS.md").exists()


def test_a_run_that_is_not_collected_is_not_published(project):
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    (project.runs / "exp100" / "scores.json").unlink()
    with pytest.raises(InputError, match="holds no finished run; train all folds of exp100 first"):
        publish("exp100")


def test_a_run_with_folds_missing_is_published_as_such(project):
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    publish("exp100")
    assert results.published_results()["exp100"].record.folds.missing == [1, 2]
    assert "Of some folds only: 1 result, to be seen with `chestfold board`." in page(project)


@pytest.mark.parametrize(
    ("name", "changed", "trained", "typed"),
    [
        ("exp021", {"epochs": (10, 2)}, (0, 1, 2), "python exps/exp021.py"),
        ("exp034@phantom", {"data": ("phantom_marked", "phantom")}, (0, 1, 2), "python exps/exp034.py --data phantom"),
        (
            "exp009-scratch@iq_othnccd",
            {"pretrained": (True, False), "data": ("luna16_patches", "iq_othnccd"), "randaugment": (None, [2, 9])},
            (0, 2),
            "python exps/exp009.py --data iq_othnccd --tag scratch --pretrained false --randaugment 2 9 --fold 0 2",
        ),
    ],
)
def test_the_command_of_a_run_can_be_typed_again(name, changed, trained, typed):
    folds = FoldsOfResult(file="tiny", count=3, sha256="f" * 64, trained=trained)
    assert command(record_of(name, changed=changed, folds=folds)) == typed
