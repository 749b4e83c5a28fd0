"""The folder for a code competition: its script, run as Kaggle runs it, predicts what chestfold submits."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment
from forked import run_script
from kaggle_server import Kaggle

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.evaluate.calibrated import calibrate
from chestfold.integrations.kaggle.kernel import write_kernel
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.predict.competition import predict_competition

OFFLINE = Path(__file__).resolve().parents[1] / "offline_kernel.py"
VARIABLES = ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME")
EXP = tiny_experiment(epochs=1, precision="fp32")
RECIPES = {
    "averaged epochs": ("exp100", EXP.but(epochs=2, head_width=8, tta="crops", average_last=2)),
    "own network": ("exp101", EXP.but(backbone="five_block_cnn", tta="d4", frame="border")),
    "another size": ("exp102", EXP.but(image_size=24, seed=1)),
}


@pytest.fixture(scope="module")
def _runs(tmp_path_factory) -> Project:
    """Three runs, and an ensemble of each kind whose blend is fitted or weighted."""
    made = make_project(tmp_path_factory.mktemp("kernel") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds(2)
        for name, recipe in RECIPES.values():
            made.run(recipe, name=name)
        for method in ("greedy", "stack", "rank"):
            main.main(["ensemble", "exp101", "exp102", "--name", f"by_{method}", "--method", method])
        for name in ("exp101", "by_stack"):
            calibrate(name)
    return made


@pytest.fixture
def runs(_runs, monkeypatch) -> Project:
    enter(monkeypatch, _runs)
    return _runs


def kaggle_inputs(folder: Path, data: Path, target: Path) -> Path:
    """What a kernel finds below /kaggle/input: the competition's files and the data set with the weights."""
    contest = target / "competitions" / "chest-contest"
    shutil.copytree(data / "images", contest / "images")
    shutil.copy(data / "sample_submission.csv", contest)
    shutil.copytree(folder / "weights", target / "weights")
    return target


def run_offline(folder: Path, inputs: Path, work: Path, forked: bool = True) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHESTFOLD_")}
    environment = kept | {"PYTHONPATH": ""}
    words = [str(OFFLINE), str(folder / "infer.py"), str(inputs)]
    if forked:
        return run_script(words, work, environment)
    return subprocess.run([sys.executable, *words], cwd=work, capture_output=True, text=True, env=environment)


def require_equal(name: str, folder: Path, inputs: Path, work: Path, forked: bool = True) -> None:
    """The kernel's submission is that of `chestfold submit`."""
    done = run_offline(folder, inputs, work, forked)
    assert done.returncode == 0, done.stderr[-1500:]
    own = pd.read_csv(write_submission(name, partial=True)[0])
    pd.testing.assert_frame_equal(pd.read_csv(work / "submission.csv"), own, atol=1.01e-6, rtol=0)


@pytest.mark.parametrize("name", ["exp100", "exp101-calibrated", "by_greedy", "by_stack-calibrated"])
def test_the_kernel_predicts_what_chestfold_submits(runs, tmp_path, name):
    folder = write_kernel(name, "chest-contest", "someone")
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    require_equal(name, folder, inputs, tmp_path, forked=name != "by_greedy")


def test_lungs_are_masked_in_a_kernel_too(tmp_path, monkeypatch):
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    data = made.input / "phantom"
    write_phantom(data, patients=8, slices=2)
    folds.make(open_index("phantom"), "phantom", 2)
    made.run(EXP.but(data="phantom", image_size=64, lung_mask="zero"), "--fold", "0")
    folder = write_kernel("exp100", "chest-contest", "someone")
    inputs = kaggle_inputs(folder, data, tmp_path / "kaggle" / "input")
    require_equal("exp100", folder, inputs, tmp_path)


def test_a_package_that_kaggle_has_unpacked_works_too(runs, tmp_path):
    folder = write_kernel("exp101", "chest-contest", "someone")
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    package = inputs / "weights" / "chestfold.pyz"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(inputs / "weights" / "unpacked")
    package.unlink()
    require_equal("exp101", folder, inputs, tmp_path)


def test_a_run_in_half_precision_is_predicted_in_single(runs, tmp_path):
    """A T4 has no bfloat16: what a kernel answers must not depend on its accelerator."""
    name = "exp103"
    runs.run(EXP.but(precision="bf16"), "--fold", "0", name=name)
    folder = write_kernel(name, "chest-contest", "someone")
    assert read_json(folder / "weights" / f"runs__{name}__fold0__config.json")["settings"]["precision"] == "fp32"


def lose_an_image(inputs: Path) -> None:
    next(inputs.rglob("x003.png")).unlink()


def double_an_image(inputs: Path) -> None:
    found = next(inputs.rglob("x003.png"))
    (inputs / "other").mkdir()
    shutil.copy(found, inputs / "other" / "x003.png")


def damage_an_image(inputs: Path) -> None:
    next(inputs.rglob("x003.png")).write_bytes(b"no image")


def lose_the_sample(inputs: Path) -> None:
    next(inputs.rglob("sample_submission.csv")).unlink()


def ask_for_another_class(inputs: Path) -> None:
    sample = next(inputs.rglob("sample_submission.csv"))
    lines = sample.read_text().splitlines()
    sample.write_text("\n".join(["id,Malignant,Benign", *(f"{line},0.5" for line in lines[1:])]))


def flip_a_byte(inputs: Path) -> None:
    path = next(inputs.rglob("*best.ckpt"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lose_an_image, "0 images were found for the id 'x003' of the sample submission; exactly one is needed"),
        (double_an_image, "2 images were found for the id 'x003'"),
        (damage_an_image, "x003.png"),
        (lose_the_sample, "0 files are called sample_submission.csv; exactly one is needed: add the input"),
        (
            ask_for_another_class,
            "sample_submission.csv asks for 'Malignant', which is none of the classes",
        ),
        (flip_a_byte, r"is damaged \(its hash does not fit\)"),
    ],
)
def test_what_a_kernel_lacks_is_one_sentence(runs, tmp_path, monkeypatch, harm, sentence):
    folder = write_kernel("exp101", "chest-contest", "someone")
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    harm(inputs)
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(tmp_path / "restored"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence) as refusal:
        predict_competition(inputs, tmp_path / "restored")
    assert "\n" not in str(refusal.value) and not (tmp_path / "submission.csv").exists()


def test_a_kernel_that_cannot_predict_ends_with_an_exit_code_and_one_line(runs, tmp_path):
    folder = write_kernel("exp101", "chest-contest", "someone")
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    lose_an_image(inputs)
    done = run_offline(folder, inputs, tmp_path, forked=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 0 images were found") and done.stderr.count("\n") == 1
    (inputs / "weights" / "chestfold.pyz").unlink()
    done = run_offline(folder, inputs, tmp_path, forked=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "holds no chestfold.pyz; add the data set with the weights to this kernel" in done.stderr


def test_images_in_a_test_folder_go_before_others(runs, tmp_path):
    folder = write_kernel("exp101", "chest-contest", "someone")
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    images = next(inputs.rglob("images"))
    images.rename(images.with_name("test_images"))
    cv2.imwrite(str(images.parent / "x003.png"), cv2.imread(str(images.with_name("test_images") / "x004.png")))
    require_equal("exp101", folder, inputs, tmp_path)


def test_kaggle_takes_the_folder(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.delenv("KAGGLE_API_TOKEN", raising=False)
    main.main(["kernel", "exp101", "--competition", "chest-contest"])
    folder = runs.root / "submissions" / "kernel_exp101"
    said = capsys.readouterr().out
    assert f"kaggle kernels push -p {folder}" in said and "2 networks; nothing was sent" in said
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (folder / "weights").iterdir())
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


def test_a_kernel_needs_an_owner_and_the_weights_of_a_run(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--owner"):
        write_kernel("exp101", "chest-contest")
    shutil.copytree(runs.runs / "exp101", runs.root / "exps" / "results" / "published")
    for fold in (runs.root / "exps" / "results" / "published").glob("fold*"):
        shutil.rmtree(fold)
    with pytest.raises(InputError, match="published holds no finished fold; train it first, or copy its folder here"):
        write_kernel("published", "chest-contest", "someone")


def test_what_no_kernel_can_predict_with_is_refused(runs, capsys):
    with pytest.raises(SystemExit):
        main.main(["kernel", "by_rank", "--competition", "chest-contest", "--owner", "someone"])
    assert "averages ranks within a whole test set" in capsys.readouterr().err
    assert not (runs.root / "submissions" / "kernel_by_rank").exists()
