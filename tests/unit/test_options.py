"""The options of an experiment file: named in the help with their choices, and near misses are corrected."""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from conftest import tiny_experiment

from chestfold.cli import main
from chestfold.cli.experiment import read_command
from chestfold.core.config import field_types
from chestfold.core.errors import InputError


def read(*argv: str):
    return read_command(tiny_experiment(), list(argv), Path("exp100.py"))


@pytest.fixture
def help_text(capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_the_help_shows_every_setting_with_its_choices(help_text):
    for name, kind in field_types().items():
        option = f"--{name.replace('_', '-')}"
        if get_origin(kind) is Literal:
            option += " {" + ",".join(map(str, get_args(kind))) + "}"
        assert f" {option}" in help_text


def test_the_help_names_each_option_once_and_tells_numbers_from_texts(help_text):
    assert help_text.count("--image-size") == 1 and "--image_size" not in help_text
    for shown in ("--lr X ", "--epochs N ", "--backbone TEXT ", "--pretrained [{true,false}]", "--randaugment N "):
        assert shown in help_text


def test_the_help_shows_the_value_of_this_experiment(help_text):
    assert "[test_resnet]" in help_text and "[0.003]" in help_text


@pytest.mark.parametrize("argv", [["--image-size", "64"], ["--image_size", "64"], ["--image_size=64"]])
def test_dashes_and_underscores_spell_the_same_option(argv):
    assert read(*argv).request.exp.image_size == 64


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("--mixup-alhpa", "--mixup-alpha"),
        ("--mixup_alhpa", "--mixup-alpha"),
        ("--epoch", "--epochs"),
        ("--job", "--jobs"),
        ("--overwite", "--overwrite"),
    ],
)
def test_a_mistyped_option_names_the_nearest_one(typed, near):
    with pytest.raises(InputError, match=f"did you mean {near}?"):
        read(typed, "3")
    with pytest.raises(InputError, match=f"did you mean {near}?"):
        read(f"{typed}=3")


def test_an_option_that_resembles_none_gets_no_hint():
    with pytest.raises(InputError) as refusal:
        read("--zzz", "3")
    assert "did you mean" not in str(refusal.value)


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["--frame", "center"], "one of none, centre, border"),
        (["--channels", "2"], "one of 1, 3"),
        (["--depth", "12"], "one of 8, 16"),
        (["--wandb", "offlin"], "did you mean offline?"),
    ],
)
def test_a_mistyped_choice_names_the_right_ones(argv, near):
    with pytest.raises(InputError, match=near.replace("?", r"\?")):
        read(*argv)


def test_a_mistyped_verb_names_the_nearest_one(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["bord"])
    assert stop.value.code == 2
    assert "did you mean board?" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--jobs", "--threads"])
@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_or_threads_is_above_0(option, count):
    with pytest.raises(InputError, match=f"{option}: .*number above 0"):
        read(f"{option}={count}")


def test_a_choice_of_numbers_is_a_number():
    exp = read("--channels", "3", "--depth", "16").request.exp
    assert (exp.channels, exp.depth) == (3, 16)


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        (["--epochs=2.0"], "epochs", 2),
        (["--epochs=1e1"], "epochs", 10),
        (["--seed", "3.0"], "seed", 3),
        (["--channels=3.0"], "channels", 3),
        (["--lr=0.001"], "lr", 0.001),
        (["--lr=1e-05"], "lr", 1e-05),
        (["--pretrained=False"], "pretrained", False),
        (["--freeze"], "freeze", True),
        (["--freeze", "--epochs", "3"], "freeze", True),
        (["--randaugment=[2, 9]"], "randaugment", (2, 9)),
        (["--randaugment", "(2.0, 9.0)"], "randaugment", (2, 9)),
        (["--randaugment=None"], "randaugment", None),
        (["--lr_milestones=[0.5, 0.8]"], "lr_milestones", (0.5, 0.8)),
        (["--tabular=['age', 'sex']"], "tabular", ("age", "sex")),
        (["--tabular=[]"], "tabular", ()),
        (["--mixup_alpha=0.2"], "mixup_alpha", 0.2),
        (["--synthetic", "2.0"], "synthetic", "2.0"),
    ],
)
def test_values_are_read_as_a_sweep_writes_them(typed, name, value):
    assert getattr(read(*typed).request.exp, name) == value


def test_folds_and_seeds_may_be_a_list():
    assert read("--fold=[0, 1]").request.folds == (0, 1)
    assert [one.exp.seed for one in read("--seeds=[4, 5]").seeds] == [4, 5]


@pytest.mark.parametrize(
    "typed", ["--epochs=2.5", "--epochs=1e-1", "--randaugment=[2, 9", "--randaugment=[2]", "--lr=[x]"]
)
def test_what_is_no_value_of_the_type_is_refused(typed):
    with pytest.raises(InputError, match=typed.partition("=")[0]):
        read(typed)


@pytest.mark.parametrize(
    ("run", "name"),
    [("k3x9ab1c", "exp100-k3x9ab1c"), ("My Run", "exp100-"), ("x-debug", "exp100-"), ("../../x", "exp100-")],
)
def test_a_trial_of_a_sweep_is_a_run_of_its_own(monkeypatch, run, name):
    monkeypatch.setenv("WANDB_RUN_ID", run)
    assert read().request.name == "exp100"  # outside a sweep the variable means nothing here
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    made = read("--fold=0", "--lr=0.01").request
    assert made.name.startswith(name) and re.fullmatch(r"exp100-[a-z0-9]{8}", made.name)
    assert made.parent == "exp100" and set(made.changed) == {"lr"}
    assert read("--tag", "mine").request.name == "exp100-mine"
