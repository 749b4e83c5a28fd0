"""The commands of the README, run: from a zip in Kaggle's layout to a submission, on a handful of small images."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest
import torch
from conftest import VARIABLES, draw_image
from forked import run_script
from safetensors.torch import save_file

from chestfold.core.rng import generator

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_HERE = {"make setup", "source .venv/bin/activate"}  # .ci/run and `make test` have done these


def block(heading: str) -> list[str]:
    """The lines of the first bash block under a heading."""
    text = (CHECKOUT / "README.md").read_text().split(f"## {heading}\n")[1]
    found = re.search(r"```bash\n(.*?)```", text, re.S)
    assert found is not None, f"no commands under {heading}"
    return found[1].splitlines()


def write_kaggle_zip(path: Path) -> None:
    """archive.zip as Kaggle gives it: train, val and test, all of it a second time, and macOS's shadows."""
    rng = generator("kaggle")
    with zipfile.ZipFile(path, "w") as archive:
        for copy in ("chest_xray", "chest_xray/chest_xray"):
            for split, count in (("train", 10), ("val", 1), ("test", 3)):
                for n in range(count):
                    for name, ill in (
                        (f"NORMAL/IM-{n:04d}-{split}.jpeg", 0),
                        (f"PNEUMONIA/person{n}_virus_{split}.jpeg", 1),
                    ):
                        data = cv2.imencode(".jpg", draw_image(rng, bool(ill)))[1].tobytes()
                        archive.writestr(f"{copy}/{split}/{name}", data)
        archive.writestr("__MACOSX/chest_xray/._train", b"shadow")


def python_script(line: str) -> list[str]:
    """The words after `python` of a command that is a script: it is forked, which takes no seconds; else none."""
    words = shlex.split(line)
    if words[0] == "chestfold":
        return [str(Path(sys.executable).parent / "chestfold"), *words[1:]]
    if words[0] == "python" and words[1].endswith(".py"):
        return words[1:]
    return []


@pytest.fixture
def newcomer(tmp_path):
    """An empty project with the experiments, ImageNet-shaped weights, and archive.zip; a function that runs a line."""
    shutil.copytree(CHECKOUT / "exps", tmp_path / "exps", ignore=shutil.ignore_patterns("results", "__pycache__"))
    first = tmp_path / "exps" / "exp021.py"
    first.write_text(first.read_text().replace("epochs=10,", "epochs=2,").replace("image_size=96,", "image_size=32,"))
    (tmp_path / "weights").mkdir()
    from chestfold.models.timm_import import timm

    torch.manual_seed(0)
    save_file(timm.create_model("mobilenetv2_100").state_dict(), tmp_path / "weights" / "mobilenetv2_100.safetensors")
    write_kaggle_zip(tmp_path / "archive.zip")
    env = {k: v for k, v in os.environ.items() if k not in {f"CHESTFOLD_{v}" for v in VARIABLES}}
    env |= {"CHESTFOLD_PROJECT": str(tmp_path), "CHESTFOLD_WEIGHTS": str(tmp_path / "weights")}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"

    def run(line: str) -> str:
        words = python_script(line)
        if words:
            done = run_script(words, tmp_path, env)
        else:
            done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stdout[-500:]} {done.stderr[-500:]}"
        return done.stdout

    run.root = tmp_path
    return run


def test_from_a_zip_to_a_submission(newcomer):
    lines = [line for line in block("I compete") if line not in NOT_HERE]
    assert 5 <= len(lines) <= 10
    unpacked = lines.index("python -m zipfile -e archive.zip input")
    for line in lines[: unpacked + 1]:
        newcomer(line)
    newcomer("chestfold folds make chest_xray --folds 2")  # the committed fold file is that of the real images
    said = [newcomer(line) for line in lines[unpacked + 1 :]]
    assert "ignored: chest_xray/" in said[0]
    submission = (newcomer.root / "submissions" / "001_exp021.csv").read_text().splitlines()
    assert submission[0] == "id,PNEUMONIA" and len(submission) == 1 + 6


def test_every_file_that_the_reference_names_for_a_fold_is_left(_trained_once):
    text = (CHECKOUT / "docs" / "reference" / "files.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| one fold"))
    named = set(
        re.findall(r"`([a-z]+\.(?:json|jsonl|ckpt|parquet|npz|txt|png))`", row.partition("of the folds so far")[0])
    )
    left = {p.name for p in (_trained_once.runs / "exp100" / "fold0").iterdir() if not p.name.startswith(".")}
    assert named == left
