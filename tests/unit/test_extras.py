"""Optional dependencies: where one is missing, the command that needs it says which extra to install."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import draw_image, tiny_experiment

from chestfold.cli.main import main
from chestfold.core import extras
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.dicom import read_dicom

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture
def without(monkeypatch):
    """A function that makes a module look as if it were not installed."""

    def hide(module: str) -> None:
        monkeypatch.setattr(extras, "find_spec", lambda name: None if name == module else find_spec(name))

    return hide


def test_a_module_that_is_there_is_no_complaint():
    extras.require("numpy", "all")


def test_a_missing_module_is_named_with_the_command_that_installs_it(without):
    without("wandb")
    with pytest.raises(InputError, match=r"^wandb is not installed; pip install 'chestfold\[wandb\]', or --none$"):
        extras.require("wandb", "wandb", "--none")


def test_training_with_wandb_names_the_extra(without, project):
    without("wandb")
    with pytest.raises(InputError, match=r"pip install 'chestfold\[wandb\]', or --wandb disabled"):
        project.run(tiny_experiment(), "--fold", "0", "--wandb", "offline")


def test_training_needs_no_extra(without, project):
    without("wandb")
    project.run(tiny_experiment(), "--fold", "0")


def test_dicom_names_the_extra(without):
    without("pydicom")
    with pytest.raises(InputError, match=r"pip install 'chestfold\[dicom\]'"):
        read_dicom(bytes(128) + b"DICM" + bytes(100), "slice.dcm")


def test_heat_maps_name_the_extra(without, trained, tmp_path, capsys):
    import cv2

    without("pytorch_grad_cam")
    cv2.imwrite(str(tmp_path / "image.png"), draw_image(generator("extras"), ill=True))
    with pytest.raises(SystemExit):
        main(["predict", "exp100", str(tmp_path / "image.png")])
    assert "pip install 'chestfold[explain]'" in capsys.readouterr().err
    main(["predict", "exp100", str(tmp_path / "image.png"), "--no-overlay"])


def test_kaggle_names_the_extra(without, trained, capsys):
    without("kagglesdk")
    with pytest.raises(SystemExit):
        main(["submit", "exp100", "--competition", "some-slug"])
    assert "pip install 'chestfold[kaggle]'" in capsys.readouterr().err


def test_every_extra_that_a_sentence_names_exists():
    named = set()
    for path in (CHECKOUT / "src").rglob("*.py"):
        for line in path.read_text().splitlines():
            if line.strip().startswith("require(") and line.count('"') >= 4:
                named.add(line.split('"')[3])
    assert named == {"wandb", "trackio", "cluster", "kaggle", "dicom", "explain", "app"}
    assert named <= set(EXTRAS)


def imported_modules() -> set[str]:
    """Top-level modules from elsewhere that src/ imports, at the top of a file or later."""
    found: set[str] = set()
    for path in (CHECKOUT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"chestfold"}


def plain_name(requirement: str) -> str:
    """`opencv_python_headless` of `opencv-python-headless>=4.10`."""
    found = re.match(r"[\w-]+", requirement)
    assert found is not None
    return found[0].lower().replace("-", "_")


def test_every_import_is_declared_and_pinned():
    of_extras = [requirement for extra in EXTRAS.values() for requirement in extra]
    declared = {plain_name(requirement) for requirement in [*PROJECT["dependencies"], *of_extras]}
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    pinned = {plain_name(line) for line in lines if "==" in line}
    distributions = packages_distributions()
    wanted = {
        module: {name.lower().replace("-", "_") for name in distributions[module]} for module in imported_modules()
    }
    assert {module for module, names in wanted.items() if not names & declared} == set()
    assert {module for module, names in wanted.items() if not names & pinned} == set()


def test_every_pin_has_its_reason():
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if "==" in line and not re.search(r"  # \w", line)] == []
