"""Every experiment file passes through everything, on a small phantom, and says what it is for."""

import ast
import importlib
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Project, enter

from chestfold import Experiment
from chestfold.cli import experiment
from chestfold.cli.experiment import read_command
from chestfold.core import checkpoint
from chestfold.core.config import debug_settings
from chestfold.core.files import read_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom

EXPERIMENTS = Path(__file__).resolve().parents[2] / "exps"
FILES = sorted(EXPERIMENTS.glob("exp*.py"))


@pytest.fixture(scope="module")
def _phantom(tmp_path_factory) -> Project:
    made = Project(tmp_path_factory.mktemp("debug"))
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        write_phantom(made.input / "phantom", patients=10, slices=2)
        folds.make(open_index("phantom"), "phantom", 4)
    return made


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """Experiments import each other by name."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    yield
    for path in FILES:
        sys.modules.pop(path.stem, None)


@pytest.fixture
def phantom(_phantom, monkeypatch) -> Iterator[Project]:
    """A project with 16 training and 4 test slices."""
    enter(monkeypatch, _phantom)
    # more steps, and a second epoch with its checkpoints, would show nothing more of large networks
    monkeypatch.setattr(experiment, "debug_settings", shorter)
    monkeypatch.setattr(checkpoint, "save_keeping_previous", lambda *_: None)  # gigabytes that nothing reads
    yield _phantom
    shutil.rmtree(_phantom.runs, ignore_errors=True)  # the checkpoints of all would be 5 GB


def shorter(exp: Experiment) -> Experiment:
    return replace(debug_settings(exp), epochs=1, max_steps=2, batch_size=4)


def test_there_are_experiments():
    assert len(FILES) >= 30


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_passes_a_debug_run(phantom, path):
    exp = importlib.import_module(path.stem).EXP
    began = time.monotonic()
    made = phantom.run(exp, "--data", "phantom", "--debug", "--fold", "0", name=path.stem)
    assert time.monotonic() - began < 120  # the help promises two minutes
    about = read_json(phantom.runs / made.name / "scores.json")
    assert made.name == (f"{path.stem}-debug" if exp.data == "phantom" else f"{path.stem}@phantom-debug")
    assert about["settings"]["backbone"] == exp.backbone and about["folds"]["trained"] == [0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_is_short_and_says_what_is_expected_of_it(path):
    text = path.read_text()
    assert len(text.splitlines()) < 30
    docstring = ast.get_docstring(ast.parse(text))
    assert "Parent: " in docstring and "Expectation: " in docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_parent_that_an_experiment_names_is_the_one_it_has(path):
    module = importlib.import_module(path.stem)
    named = re.search(r"Parent: (\w+)\.", module.__doc__)[1]
    parent = read_command(module.EXP, [], path).request.parent
    assert named == (parent or "none")
