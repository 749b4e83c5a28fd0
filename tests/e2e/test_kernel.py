"""The folder for a code competition: its script, run as Kaggle runs it, predicts what chestfold submits."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment
from forked import run_script
from kaggle_kernels import KaggleWithKernels
from kernel_inputs import CONTEST, kaggle_inputs, predicted_in_a_kernel

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.evaluate.calibrated import calibrate
from chestfold.integrations.kaggle.kernel import describe, write_kernel
from chestfold.integrations.kaggle.submission import write_submission

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
        main.main(["ensemble", "by_greedy", "exp100", "--name", "nested"])
        for name in ("exp101", "by_stack"):
            calibrate(name)
    return made


@pytest.fixture
def runs(_runs, monkeypatch) -> Project:
    enter(monkeypatch, _runs)
    return _runs


def run_offline(folder: Path, inputs: Path, work: Path, forked: bool = True) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHESTFOLD_")}
    environment = kept | {"PYTHONPATH": ""}
    words = [str(OFFLINE), str(folder / "infer.py"), str(inputs)]
    if forked:
        return run_script(words, work, environment)
    return subprocess.run([sys.executable, *words], cwd=work, capture_output=True, text=True, env=environment)


def require_equal(name: str, folder: Path, inputs: Path, work: Path, forked: bool = True, full: bool = False) -> None:
    """The kernel's submission is that of `chestfold submit`, byte for byte."""
    done = run_offline(folder, inputs, work, forked)
    assert done.returncode == 0, done.stderr[-1500:]
    own = write_submission(name, partial=True, full=full)[0]
    assert (work / "submission.csv").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("name", ["exp100", "exp101-calibrated", "by_greedy", "by_stack-calibrated"])
def test_the_kernel_predicts_what_chestfold_submits(runs, tmp_path, name):
    folder = write_kernel(name, CONTEST, "someone").folder
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    require_equal(name, folder, inputs, tmp_path, forked=name != "by_greedy")


def test_lungs_are_masked_in_a_kernel_too(tmp_path, monkeypatch):
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    data = made.input / "phantom"
    write_phantom(data, patients=8, slices=2)
    folds.make(open_index("phantom"), "phantom", 2)
    made.run(EXP.but(data="phantom", image_size=64, lung_mask="zero"), "--fold", "0")
    folder = write_kernel("exp100", CONTEST, "someone").folder
    inputs = kaggle_inputs(folder, data, tmp_path / "kaggle" / "input")
    require_equal("exp100", folder, inputs, tmp_path)


def test_a_package_that_kaggle_has_unpacked_works_too(runs, tmp_path):
    folder = write_kernel("exp101", CONTEST, "someone").folder
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
    made = write_kernel(name, CONTEST, "someone")
    (line,) = [line for line in describe(made) if "fp32" in line]
    assert "exp103 was trained in bf16, and a kernel predicts in fp32" in line
    assert read_json(made.weights / f"runs__{name}__fold0__config.json")["settings"]["precision"] == "fp32"


@pytest.mark.parametrize("name", ["by_stack", "by_rank", "nested"])
def test_ensembles_of_each_kind_are_blended_as_at_home(runs, tmp_path, name):
    """Ranks too: a kernel has the whole test set."""
    made = write_kernel(name, CONTEST, "someone")
    inputs = kaggle_inputs(made.folder, runs.input / "tiny", tmp_path / "input")
    assert predicted_in_a_kernel(made, inputs, tmp_path / "work") == write_submission(name)[0].read_bytes()
    with_tables = list(made.weights.glob("*oof.parquet"))
    assert bool(with_tables) == (name == "by_stack"), "patients and labels are sent to a stack alone"


def test_the_training_on_all_images_predicts_where_it_is_asked_for(runs, tmp_path):
    runs.run(RECIPES["own network"][1], "--fold", "full", name="exp101")
    made = write_kernel("exp101", CONTEST, "someone", full=True)
    inputs = kaggle_inputs(made.folder, runs.input / "tiny", tmp_path / "input")
    predicted = predicted_in_a_kernel(made, inputs, tmp_path / "work")
    assert predicted == write_submission("exp101", full=True)[0].read_bytes()
    assert predicted != write_submission("exp101")[0].read_bytes()
    for name, sentence in (("exp102", "full is not finished; train it"), ("by_rank", "by_rank is an ensemble")):
        with pytest.raises(InputError, match=sentence):
            write_kernel(name, CONTEST, "someone", full=True)


# What a hidden test set may hold


def predict(runs, tmp_path: Path, harm) -> pd.DataFrame:
    """The answers of exp101, by id, where something was done to the kernel's inputs."""
    made = write_kernel("exp101", CONTEST, "someone")
    inputs = kaggle_inputs(made.folder, runs.input / "tiny", tmp_path / "input")
    harm(inputs / "competitions" / CONTEST)
    predicted_in_a_kernel(made, inputs, tmp_path / "work")
    return pd.read_csv(tmp_path / "work" / "submission.csv").set_index("id")


def lose(data: Path) -> None:
    (data / "images" / "x003.png").unlink()


def truncate(data: Path) -> None:
    path = data / "images" / "x003.png"
    path.write_bytes(path.read_bytes()[:100])


def empty(data: Path) -> None:
    (data / "images" / "x003.png").write_bytes(b"")


def double(data: Path) -> None:
    shutil.copy(data / "images" / "x003.png", data / "images" / "x003.jpg")


@pytest.mark.parametrize("harm", [lose, truncate, empty, double])
def test_an_image_that_cannot_be_read_costs_its_own_row(runs, tmp_path, capsys, harm):
    answers = predict(runs, tmp_path, harm)
    own = pd.read_csv(write_submission("exp101")[0]).set_index("id")
    assert answers.index.tolist() == own.index.tolist()
    assert answers.loc["x003", "ill"] == 0.5 != own.loc["x003", "ill"]  # half of the training images are ill
    others = own.index != "x003"
    np.testing.assert_allclose(answers[others], own[others], atol=1.01e-6)
    said = capsys.readouterr().out
    assert "not predicted: 1 of 12 images; they are answered with the training images' healthy 0.500, ill 0.500" in said
    assert "not predicted: x003: " in said


def test_folders_beside_the_images_and_a_second_sample_do_no_harm(runs, tmp_path):
    """Masks and thumbnails are called like the images that they are of; the phantom has some."""

    def add(data: Path) -> None:
        for place in ("masks", "images/small", "thumbnails/test"):
            (data / place).mkdir(parents=True)
            for path in (data / "images").glob("x*.png"):
                cv2.imwrite(str(data / place / path.name), np.zeros((8, 8), np.uint8))
        (data.parents[1] / "other").mkdir()
        (data.parents[1] / "other" / "sample_submission.csv").write_text("id,ill\nx999,0.5\n")

    answers = predict(runs, tmp_path, add)
    own = pd.read_csv(write_submission("exp101")[0]).set_index("id")
    pd.testing.assert_frame_equal(answers, own)


def test_ids_may_have_the_suffix_of_their_files(runs, tmp_path):
    def add(data: Path) -> None:
        sample = data / "sample_submission.csv"
        sample.write_text(sample.read_text().replace(",0.5", ".png,0.5"))

    answers = predict(runs, tmp_path, add)
    own = pd.read_csv(write_submission("exp101")[0]).set_index("id")
    assert answers.index.tolist() == [f"{image_id}.png" for image_id in own.index]
    assert answers["ill"].tolist() == own["ill"].tolist()


def lose_the_sample(data: Path) -> None:
    (data / "sample_submission.csv").unlink()


def empty_the_sample(data: Path) -> None:
    (data / "sample_submission.csv").write_text("id,ill\n")


def ask_for_another_class(data: Path) -> None:
    sample = data / "sample_submission.csv"
    lines = sample.read_text().splitlines()
    sample.write_text("\n".join(["id,Malignant,Benign", *(f"{line},0.5" for line in lines[1:])]))


def lose_all_images(data: Path) -> None:
    shutil.rmtree(data / "images")


def flip_a_byte(data: Path) -> None:
    path = next(data.parents[1].rglob("*best.ckpt"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lose_the_sample, "0 files are called sample_submission.csv; exactly one is needed: add the competition"),
        (empty_the_sample, "sample_submission.csv asks for no image: it has a header and no row"),
        (lose_all_images, "not one of 12 images can be read; the first: 0 images are called 'x000'"),
        (
            ask_for_another_class,
            "sample_submission.csv asks for 'Malignant', which is none of the classes",
        ),
        (flip_a_byte, r"is damaged \(its hash does not fit\)"),
    ],
)
def test_what_a_kernel_lacks_is_one_sentence(runs, tmp_path, harm, sentence):
    with pytest.raises(InputError, match=sentence) as refusal:
        predict(runs, tmp_path, harm)
    assert "\n" not in str(refusal.value) and not (tmp_path / "work" / "submission.csv").exists()


def test_a_kernel_that_cannot_predict_ends_with_an_exit_code_and_one_line(runs, tmp_path):
    folder = write_kernel("exp101", CONTEST, "someone").folder
    inputs = kaggle_inputs(folder, runs.input / "tiny", tmp_path / "kaggle" / "input")
    lose_the_sample(inputs / "competitions" / CONTEST)
    done = run_offline(folder, inputs, tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: 0 files are called") and "Traceback" not in done.stderr
    (contents,) = inputs.rglob("chestfold-*.json")
    for path, sentence in (
        (inputs / "weights" / "chestfold.pyz", "no chestfold.pyz"),
        (contents, "0 times chestfold-"),
    ):
        path.unlink()
        done = run_offline(folder, inputs, tmp_path, forked=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert sentence in done.stderr and "; add the data set with these weights to this kernel" in done.stderr


def test_kaggles_own_program_takes_the_folder(runs, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.delenv("KAGGLE_API_TOKEN", raising=False)
    main.main(["kernel", "exp101", "--competition", CONTEST])
    folder = runs.root / "submissions" / "kernel_exp101"
    said = capsys.readouterr().out
    assert "to the private data set someone/chestfold-exp101-weights: " in said and "2 networks with settings" in said
    assert "with a GPU, without internet" in said and "nothing was sent; the same command with --send" in said
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (folder / "weights").iterdir())
    server = KaggleWithKernels()
    env = os.environ | server.environment | {"KAGGLE_KEY": "planted", "TMPDIR": str(tmp_path)}
    said = ""
    for words in (["datasets", "create", "-p", str(folder / "weights")], ["kernels", "push", "-p", str(folder)]):
        words = [sys.executable, "-m", "kaggle", *words]
        said += subprocess.run(words, env=env, capture_output=True, text=True).stdout
    server.stop()
    assert "Your private Dataset is being created" in said, said
    assert "successfully pushed" in said and "does not resolve" not in said
    ((weights,),) = server.datasets.values()
    assert set(weights.content) == {path.name for path in (folder / "weights").iterdir()} - {"dataset-metadata.json"}
    (kernel,) = server.kernels
    assert kernel["competitionDataSources"] == [CONTEST]
    assert kernel["datasetDataSources"] == [read_json(folder / "weights" / "dataset-metadata.json")["id"]]
    assert kernel["enableGpu"] and not kernel.get("enableInternet")


def test_a_kernel_needs_an_owner_and_the_weights_of_a_run(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="--owner"):
        write_kernel("exp101", CONTEST)
    shutil.copytree(runs.runs / "exp101", runs.root / "exps" / "results" / "published")
    for fold in (runs.root / "exps" / "results" / "published").glob("fold*"):
        shutil.rmtree(fold)
    with pytest.raises(InputError, match="published holds no finished fold; train it first, or copy its folder here"):
        write_kernel("published", CONTEST, "someone")
