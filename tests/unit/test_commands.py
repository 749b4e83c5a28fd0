"""Commands that this program prints are words that a shell reads as they are meant, whatever a result is called."""

import re
import shlex

import pytest

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate.results import find_result
from chestfold.report.commands import command

NAME = "both $(id); [1] 'x'"


@pytest.fixture
def printed(trained, capsys) -> str:
    main.main(["ensemble", "exp100", "exp101", "--name", NAME, "--method", "mean"])
    main.main(["calibrate", NAME])
    main.main(["submit", NAME, "--dry-run"])
    return capsys.readouterr().out


def test_what_is_to_be_typed_next_names_the_result_as_one_word(printed):
    lines = [line.rpartition(": chestfold ")[2] for line in printed.splitlines() if ": chestfold " in line]
    assert len(lines) == 3
    for line in lines:
        assert NAME in shlex.split(line) or f"{NAME};" in shlex.split(line)


def test_the_command_of_a_result_makes_it_again(printed):
    words = ["chestfold", "ensemble", "exp100", "exp101", "--name", NAME, "--method", "mean"]
    assert shlex.split(command(find_result(NAME).record)) == words
    assert shlex.split(command(find_result(f"{NAME}-calibrated").record)) == ["chestfold", "calibrate", NAME]


def test_settings_of_several_values_are_several_words(trained):
    record = find_result("exp100").record
    changed = {"randaugment": (None, [2, 7]), "lr": (0.1, 0.0003), "pretrained": (True, False), "hooks": ("a", "")}
    record = record.model_copy(update={"name": "exp100-b@my set", "changed": changed})
    options = "--randaugment 2 7 --lr 0.0003 --pretrained false --hooks ''"
    assert command(record) == f"python exps/exp100.py --data 'my set' --tag b {options}"


def test_folds_that_are_missing_are_made_by_one_word(project):
    with pytest.raises(InputError, match=re.escape("folds make tiny --name 'my folds'")):
        folds.load("my folds", open_index("tiny"))
