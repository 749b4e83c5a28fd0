"""What a kernel finds below /kaggle/input, and its submission, predicted in this process."""

import os
import shutil
from pathlib import Path

import pytest

from chestfold.integrations.kaggle.kernel import Kernel
from chestfold.predict.competition import predict_competition

CONTEST = "chest-contest"


def kaggle_inputs(folder: Path, data: Path, target: Path) -> Path:
    """The competition's files, all of them, and the data set with the weights."""
    shutil.copytree(data, target / "competitions" / CONTEST)
    shutil.copytree(folder / "weights", target / "weights")
    return target


def predicted_in_a_kernel(kernel: Kernel, inputs: Path, work: Path) -> bytes:
    """submission.csv; `work` is a new folder, and the project of the test is another one meanwhile."""
    project = work / "restored"
    project.mkdir(parents=True)
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHESTFOLD_PROJECT", str(project))
        patch.chdir(work)
        predict_competition(inputs, inputs / "weights" / kernel.contents, kernel.competition.slug, project)
    assert Path.cwd() == before and os.environ["CHESTFOLD_PROJECT"] != str(project)
    return (work / "submission.csv").read_bytes()


def keep_precision(inputs: Path, runs: Path) -> None:
    """Predict in the precision of the training, and not in fp32: then the numbers are the same."""
    for kind in ("config", "manifest"):
        for path in inputs.glob(f"weights/runs__*__{kind}.json"):
            _, name, fold, file = path.name.split("__")
            path.write_bytes((runs / name / fold / file).read_bytes())
