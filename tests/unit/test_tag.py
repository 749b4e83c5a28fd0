"""A variant under a name of its own, compared with the experiment that it varies."""

from pathlib import Path

import pytest
from conftest import record_of, tiny_experiment

from chestfold.cli.experiment import read_command
from chestfold.core.errors import InputError
from chestfold.evaluate import leaderboard, results
from chestfold.report.commands import command

EXP = tiny_experiment().but(augment="plain")


def request(*argv: str, exp=EXP):
    return read_command(exp, list(argv), Path("exp100.py")).request


def test_a_tag_names_the_run_and_its_parent_is_the_experiment_itself():
    made = request("--tag", "slow_2", "--lr", "0.001")
    assert (made.name, made.parent) == ("exp100-slow_2", "exp100")
    assert made.changed == {"lr": (EXP.lr, 0.001)}


def test_without_a_tag_the_parent_is_that_of_the_file():
    made = request("--lr", "0.001")
    assert made.name == "exp100" and set(made.changed) == {"augment", "lr"}


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["--tag", "x", "--data", "other"], "exp100-x@other"),
        (["--tag", "x", "--debug"], "exp100-x-debug"),
        (["--tag", "x", "--data", "other", "--debug"], "exp100-x@other-debug"),
        (["--tag", "x", "--data", "tiny"], "exp100-x"),
    ],
)
def test_a_tag_comes_before_the_data_and_debug(argv, name):
    assert request(*argv).name == name


@pytest.mark.parametrize("tag", ["lr0.001", "lr1e-3", "slow_2", "2-fold.b"])
def test_dots_dashes_and_underscores_are_allowed(tag):
    assert request("--tag", tag).name == f"exp100-{tag}"


@pytest.mark.parametrize("tag", ["debug", "lr-debug", "A/B", "../b", "..", "Big", "a b", "a@b", "é", ".", "_a"])
def test_a_tag_that_is_no_plain_word_is_refused(project, tag):
    with pytest.raises(InputError, match=r"small letters, digits, '_', '\.' and '-' make a tag, .* 'debug'") as refusal:
        project.run(EXP, "--tag", tag)
    assert str(refusal.value).startswith(f"--tag {tag}: ") and not project.runs.exists()


@pytest.mark.parametrize("tag", ["-x", "--x"])
def test_a_tag_that_looks_like_an_option_is_refused(project, tag):
    with pytest.raises(InputError, match="--tag"):
        project.run(EXP, "--tag", tag)
    assert not project.runs.exists()


def test_a_tag_with_a_dash_can_be_typed_again():
    """RESULTS.md prints the command of a run from its name."""
    made = request("--tag", "lr1e-3", "--lr", "0.001")
    record = record_of(made.name, changed=made.changed)
    assert command(record) == "python exps/exp100.py --tag lr1e-3 --lr 0.001"


def test_the_board_compares_a_variant_with_its_experiment(trained):
    trained.run(tiny_experiment(), "--tag", "slow", "--lr", "0.001", "--epochs", "1")
    assert {p.name for p in trained.runs.iterdir()} == {"exp100", "exp100-slow", "exp101"}
    (rows,) = leaderboard.rows_by_folds(results.all_results()).values()
    (row,) = (row for row in rows if row.result.name == "exp100-slow")
    assert row.what == "exp100 but epochs 1, lr 0.001"
    aucs = [results.find_result(name).score("at_half", "auc").value for name in ("exp100-slow", "exp100")]
    assert row.gain.value == pytest.approx(aucs[0] - aucs[1])
