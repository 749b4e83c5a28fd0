"""The folder for a code competition: its script, run without chestfold, predicts what chestfold predicts."""

import ast
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import tiny_experiment
from kaggle_server import Kaggle

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.integrations.kaggle.kernel import write_kernel
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.models import timm_import

OFFERED = {"cv2", "numpy", "pandas", "PIL", "pydicom", "safetensors", "timm", "torch"}
"""What Kaggle's images have, beside Python's own."""
ALONE = """
import runpy, sys
kept = runpy.run_path(sys.argv[2])     # a torchvision that this torch cannot load is mended first
sys.modules["chestfold"] = None        # an import of it would fail
sys.argv = sys.argv[1:2] + sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(script, inputs, work) -> pd.DataFrame:
    words = [sys.executable, "-c", ALONE, str(script), timm_import.__file__, str(inputs)]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr[-1500:]
    return pd.read_csv(work / "submission.csv")


RECIPES = [dict(head_width=8, tta="crops", average_last=2), dict(backbone="five_block_cnn", tta="d4")]


@pytest.mark.parametrize("recipe", RECIPES, ids=["voting with a head", "own network"])
def test_the_script_predicts_what_chestfold_predicts(project, tmp_path, recipe):
    project.run(tiny_experiment(precision="fp32", **recipe), "--fold", "0", "1")
    folder = write_kernel("exp100", "chest-contest", "someone")
    inputs = tmp_path / "kaggle_input"
    inputs.mkdir()
    (folder / "weights").rename(inputs / "weights")
    shutil.copytree(project.input / "tiny", inputs / "chest-contest")
    table = run_alone(folder / "infer.py", inputs, tmp_path)
    own = pd.read_csv(write_submission("exp100")[0])
    pd.testing.assert_frame_equal(table, own, atol=1e-5, rtol=0)
    tree = ast.parse((folder / "infer.py").read_text())
    named = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    named |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert {m.split(".")[0] for m in named} <= OFFERED | sys.stdlib_module_names


def test_kaggle_takes_the_folder(trained, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.delenv("KAGGLE_API_TOKEN", raising=False)
    main.main(["kernel", "exp100", "--competition", "chest-contest"])
    folder = trained.root / "submissions" / "kernel_exp100"
    assert f"kaggle kernels push -p {folder}" in capsys.readouterr().out
    server = Kaggle()
    env = os.environ | server.environment | {"KAGGLE_KEY": "planted"}
    words = [sys.executable, "-m", "kaggle", "kernels", "push", "-p", str(folder)]
    said = subprocess.run(words, env=env, capture_output=True, text=True).stdout
    server.stop()
    assert "successfully pushed" in said and "does not resolve" not in said
    (kernel,) = server.kernels
    assert kernel["competitionDataSources"] == ["chest-contest"]
    assert kernel["datasetDataSources"] == [read_json(folder / "weights" / "dataset-metadata.json")["id"]]
    assert kernel["enableGpu"] and not kernel.get("enableInternet")


def test_a_kernel_needs_the_weights_of_a_run_and_an_owner(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_USERNAME", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--owner"):
        write_kernel("exp100", "chest-contest")
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    with pytest.raises(InputError, match="neither an ensemble nor a published result"):
        write_kernel("both", "chest-contest", "someone")
