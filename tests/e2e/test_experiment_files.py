"""Experiment files as a person writes them: their mistakes are one sentence, and a network of their own trains."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project
from forked import run_script

from chestfold import Predictor
from chestfold.cli import main
from chestfold.evaluate import results

RUN = """
if __name__ == "__main__":
    run(EXP)
"""
OWN_NETWORK = (
    '''"""A network of one's own."""
from torch import nn

from chestfold import Experiment, register_model, run


class SmallNet(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_chans, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, num_classes)

    def get_classifier(self):
        return self.head

    def forward(self, images):
        return self.head(self.features(images).flatten(1))


@register_model
def small_net(in_chans=1, num_classes=2, **options):
    return SmallNet(in_chans, num_classes)


EXP = Experiment(data="tiny", backbone="small_net", image_size=32, epochs=1)
'''
    + RUN
)


def write(project: Project, name: str, text: str) -> Path:
    path = project.root / "exps" / f"{name}.py"
    path.write_text(text)
    return path


def python(project: Project, *words: str) -> subprocess.CompletedProcess:
    """`python WORDS` in the project's folder."""
    environment = os.environ | {"CHESTFOLD_PROJECT": str(project.root)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=project.root, env=environment, timeout=120
    )


PARENT = "from chestfold import Experiment, run\n\nEXP = Experiment(data='tiny', backbone='test_resnet')" + RUN


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("lrr=0.1", "unknown setting 'lrr'; did you mean lr? (--help lists them)"),
        ("lr='fast'", "lr = 'fast' is not a number"),
        ("epochs=2.5", "epochs = 2.5 is not a whole number"),
        ("image_size=4", "image_size = 4 is outside 8 to 4096"),
        (
            "sampling='over', class_weights='balanced'",
            "sampling = over and class_weights = balanced: choose one of the two",
        ),
    ],
)
def test_a_wrong_setting_in_a_file_is_one_sentence(project, change, sentence):
    write(project, "exp200", PARENT)
    write(
        project,
        "exp201",
        f"from chestfold import run\nfrom exp200 import EXP as PARENT\n\nEXP = PARENT.but({change})" + RUN,
    )
    done = python(project, "exps/exp201.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: exps/exp201.py, line 4: {sentence}\n"


def test_the_file_that_is_named_is_the_one_with_the_mistake(project):
    write(project, "exp200", PARENT.replace("'test_resnet'", "'test_resnet', epochs='ten'"))
    write(project, "exp201", "from chestfold import run\nfrom exp200 import EXP as PARENT\n\nEXP = PARENT" + RUN)
    done = python(project, "exps/exp201.py")
    assert done.returncode == 2
    assert done.stderr == "error: exps/exp200.py, line 3: epochs = 'ten' is not a whole number\n"


def test_a_mistake_that_is_not_about_settings_keeps_its_stack_trace(project):
    write(project, "exp200", PARENT.replace("EXP = ", "EXP = undefined_name or "))
    done = python(project, "exps/exp200.py")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "NameError: name 'undefined_name' is not defined" in done.stderr


def test_a_network_of_ones_own_trains_and_is_missed_elsewhere_in_a_sentence(project, capsys, monkeypatch):
    path = write(project, "exp200", OWN_NETWORK)
    done = run_script([str(path), "--fold", "0"], project.root, os.environ | {"CHESTFOLD_PROJECT": str(project.root)})
    assert done.returncode == 0, done.stderr
    assert results.find_result("exp200").record.settings["backbone"] == "small_net"

    image = project.input / "tiny" / "images" / "x000.png"
    for words in (["predict", "exp200", str(image)], ["explain", "exp200"]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main.main(words)
        assert stopped.value.code == 2
        assert capsys.readouterr().err == (
            "error: unknown backbone 'small_net'; one of your own is known by --hooks (a table MODELS), "
            "or once the file is imported that registers it "
            "(chestfold.register_model)\n"
        )

    monkeypatch.syspath_prepend(str(path.parent))
    importlib.import_module("exp200")
    assert Predictor("exp200")(image).label in ("healthy", "ill")
