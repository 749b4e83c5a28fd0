"""--seeds: a run with each seed, and their mean as one result."""

from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_experiment

from chestfold.cli.experiment import read_command, run_command
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.evaluate import predictions
from chestfold.evaluate.ensemble import ensemble, find_blend
from chestfold.evaluate.leaderboard import describe
from chestfold.evaluate.results import find_result
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.predict.predictor import Predictor
from chestfold.report.commands import command

EXP = tiny_experiment(epochs=1, max_steps=1)


def read(*argv: str, exp=EXP):
    return read_command(exp, list(argv), Path("exp100.py"))


def run(*argv: str) -> None:
    run_command(read(*argv, "--jobs", "1"))


def names(*argv: str) -> list[str]:
    made = read(*argv)
    return [made.request.name, *(request.name for request in made.seeds)]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ((), "exp100-seeds exp100-seed0 exp100-seed2"),
        (("--tag", "big"), "exp100-big-seeds exp100-big-seed0 exp100-big-seed2"),
        (("--data", "other"), "exp100-seeds@other exp100-seed0@other exp100-seed2@other"),
        (("--debug",), "exp100-seeds-debug exp100-seed0-debug exp100-seed2-debug"),
        (
            ("--tag", "big", "--data", "other", "--debug"),
            "exp100-big-seeds@other-debug exp100-big-seed0@other-debug exp100-big-seed2@other-debug",
        ),
    ],
)
def test_each_seed_has_a_run_of_its_own(argv, expected):
    assert names("--seeds", "0", "2", *argv) == expected.split()


def test_each_run_has_its_seed_and_all_else_that_was_given():
    made = read("--seeds", "0", "7", "--lr", "0.5", "--fold", "1", "--overwrite")
    assert [request.exp.seed for request in made.seeds] == [0, 7]
    for request in made.seeds:
        assert (request.exp.lr, request.folds, request.overwrite) == (0.5, (1,), True)


@pytest.mark.parametrize(
    ("argv", "parent", "changed"),
    [
        ((), "exp100", {"seed": (3, 3)}),
        (("--lr", "0.5"), "exp100", {"seed": (3, 3), "lr": (3e-3, 0.5)}),
        (("--tag", "big", "--lr", "0.5"), "exp100", {"seed": (3, 3), "lr": (3e-3, 0.5)}),
        (("--data", "other"), "exp100@other", {"seed": (3, 3)}),
    ],
    ids=str,
)
def test_it_is_compared_with_the_experiment(argv, parent, changed):
    first, second = read("--seeds", "3", "4", *argv, exp=tiny_experiment(seed=3).but(patience=0)).seeds
    assert (first.parent, first.changed) == (parent, changed)
    assert (second.parent, second.changed) == (parent, changed | {"seed": (3, 4)})


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("--seeds", "0", "1", "--seed", "2"), "--seed and --seeds"),
        (("--seeds", "0"), "--seeds 0: two or more different seeds"),
        (("--seeds", "1", "1"), "--seeds 1 1: two or more different seeds"),
        (("--seeds", "0", "1", "--fold", "full"), "--seeds and --fold full"),
        (("--seeds", "0", "-1"), "seed = -1 is outside"),
        (("--seeds", "0", "x"), "--seeds"),
    ],
    ids=str,
)
def test_what_contradicts_is_one_sentence(argv, complaint):
    with pytest.raises(InputError, match=complaint):
        read(*argv)


def test_the_seeds_are_blended_by_mean_and_nothing_is_done_twice(project, capsys, monkeypatch):
    run("--seeds", "0", "1", "--fold", "0")
    result = find_result("exp100-seeds")
    assert (result.record.kind, result.record.method) == ("ensemble", "mean")
    assert result.record.members == ("exp100-seed0", "exp100-seed1")
    tables = [predictions.read(project.runs / name / "oof.parquet")[0] for name in result.record.members]
    assert not tables[0].equals(tables[1])
    expected = np.mean([predictions.probabilities(table) for table in tables], axis=0)
    np.testing.assert_allclose(predictions.probabilities(result.oof()[0]), expected)
    record = find_result("exp100-seed1").record
    assert describe(record) == "exp100 but seed 1"
    assert command(record) == "python exps/exp100.py --tag seed1 --seed 1 --fold 0"

    before = (project.runs / "exp100-seeds" / "scores.json").stat().st_mtime_ns
    capsys.readouterr()
    run("--seeds", "0", "1", "--fold", "0")
    said = capsys.readouterr().out
    assert "exp100-seed0/fold0 is finished" in said and "exp100-seeds is finished" in said
    assert (project.runs / "exp100-seeds" / "scores.json").stat().st_mtime_ns == before


def test_it_is_a_result_like_any_other(trained):
    """exp100 and exp101 in the place of two seeds: what is made of them is predicted with and submitted."""
    for n in range(2):
        (trained.runs / f"exp10{n}").rename(trained.runs / f"exp900-seed{n}")
    ensemble(["exp900-seed0", "exp900-seed1"], "exp900-seeds", "mean")
    assert write_submission("exp900-seeds")[0].name == "001_exp900-seeds.csv"
    assert len(Predictor("exp900-seeds").runs) == 2
    names = ["exp900-seed0", "exp900-seed1"]
    assert find_blend("exp900-seeds", names, "mean") and not find_blend("exp900-seeds", names[::-1], "mean")
    assert not find_blend("exp900-seeds", names, "rank") and not find_blend("exp901-seeds", names, "mean")


def test_a_member_that_was_trained_again_is_blended_again(trained):
    ensemble(["exp100", "exp101"], "both", "mean")
    path = trained.runs / "exp101" / "scores.json"
    record = read_json(path)
    write_json(path, record | {"files": record["files"] | {"oof.parquet": "0" * 64}})
    assert find_blend("both", ["exp100", "exp101"], "mean") is None
