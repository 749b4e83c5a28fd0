"""The options of an experiment file: named in the help with their choices, and near misses are corrected."""

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
    for shown in ("--lr X ", "--epochs N ", "--backbone TEXT ", "--pretrained {true,false}", "--randaugment N "):
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
