"""Bad input gets one sentence that names the file, the row or the field, and exit code 2; what is computed stays."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import answers_of, tiny_experiment
from safetensors.torch import save_file

from chestfold.cli import main
from chestfold.core import files
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.identity import host
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.decode import decode
from chestfold.evaluate import predictions, results
from chestfold.integrations.kaggle import submission
from chestfold.models.timm_import import timm
from chestfold.train import loop, losses

CHECKOUT = Path(__file__).resolve().parents[2]
PREDICTIONS = ("best.ckpt", "oof.parquet", "corrupted.parquet", "test.parquet")


@pytest.fixture
def refused(capsys):
    """Call it with the words after `chestfold`: it proves exit code 2 and gives back the one sentence on stderr."""

    def call(*argv: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main.main([str(word) for word in argv])
        assert stopped.value.code == 2
        return one_sentence(capsys.readouterr().err, prefix="error: ")

    return call


@pytest.fixture
def reference(_trained_once):
    """The folder of an undisturbed run of `tiny_experiment()`, exp100."""
    return _trained_once.runs / "exp100"


def one_sentence(text: str, prefix: str = "") -> str:
    assert text.startswith(prefix) and len(text.rstrip("\n").splitlines()) == 1, text
    return text.removeprefix(prefix).rstrip("\n")


def run_refused(project, exp, *argv: str, name: str = "exp100") -> str:
    with pytest.raises(ChestfoldError) as refusal:
        project.run(exp, *argv, name=name)
    return one_sentence(str(refusal.value))


def contents(folder: Path, names=PREDICTIONS) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def edit_line(path: Path, line: int, text: str | None) -> None:
    """Replace a line, counted from 1 as an editor does; None takes it out."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


# Images


def encoded(suffix: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (80, 80), np.uint8)
    return cv2.imencode(suffix, noise)[1].tobytes()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t004.jpg", encoded(".jpg")[:2000], "is truncated"),
        ("t004.png", encoded(".png")[:2000], "is truncated"),
        ("t004.bmp", encoded(".bmp")[:2000], "is damaged"),
        ("t004.png", b"", "is empty"),
        ("t004.png", b"id,label\n1,2\n", "is not an image"),
        ("t004.png", cv2.imencode(".png", np.full((8, 8), 4000, np.uint16))[1].tobytes(), "declare its value_range"),
    ],
    ids=["truncated JPEG", "truncated PNG", "truncated BMP", "empty", "text", "16-bit"],
)
def test_an_image_that_cannot_be_read(project, refused, capsys, name, content, complaint):
    images = project.input / "tiny" / "images"
    (images / "t004.png").unlink()
    (images / name).write_bytes(content)
    sentence = refused("folds", "make", "tiny", "--name", "again")
    assert str(images / name) in sentence and complaint in sentence
    assert not list(project.root.glob("folds/again*"))
    with pytest.raises(SystemExit):
        main.main(["data", "check", "tiny"])
    assert f"{images / name} " in capsys.readouterr().out


def test_all_unreadable_images_are_counted(project, refused):
    for n in range(3):
        (project.input / "tiny" / "images" / f"t00{n}.png").write_bytes(b"")
    assert "t000.png is empty" in (sentence := refused("folds", "make", "tiny", "--name", "again"))
    assert "and 2 more: `chestfold data check tiny`" in sentence
    assert refused("data", "check", "tiny").startswith("3 unreadable file(s)")


# Folders and tables


@pytest.fixture
def wards(project) -> Path:
    """A data set in class folders, `wards`, with two images a class."""
    folder = project.input / "wards"
    for name in ("healthy", "ill"):
        (folder / name).mkdir(parents=True)
        for n in range(2):
            (folder / name / f"{name}{n}.png").write_bytes(encoded(".png"))
    (folder / "dataset.toml").write_text('classes = ["healthy", "ill"]\npositive = "ill"\nreader = "folders"\n')
    return folder


def test_a_class_folder_without_images(wards, refused):
    for path in (wards / "ill").iterdir():
        path.unlink()
    assert refused("data", "check", "wards").startswith(f"{wards / 'ill'} holds no images")


def test_a_class_folder_that_is_not_there(wards, refused):
    (wards / "ill").rename(wards / ".ill")
    assert "class 'ill' has no training image" in refused("data", "check", "wards")


def test_a_folder_that_is_no_class(wards, refused):
    (wards / "ill").rename(wards / "sick")
    assert "'sick' is not a declared class (healthy, ill)" in refused("data", "check", "wards")


@pytest.mark.parametrize(
    ("line", "row", "complaint"),
    [
        (5, "t002,ill,p00", "lines 4 and 5: image 't002' has two values of class, 'healthy' and 'ill'"),
        (5, "t003,,p01", "line 5: the label is missing"),
        (5, "t003", "line 5: the label is missing"),
        (5, "t003,sick,p01", "line 5: unknown class 'sick'; declared are healthy, ill"),
        (5, "../../etc/passwd,ill,p01", "line 5: id '../../etc/passwd' is not a plain file name"),
        (5, "/etc/passwd,ill,p01", "line 5: id '/etc/passwd' is not a plain file name"),
        (5, "t999,ill,p01", "line 5: no image 't999' in"),
        (5, "t003,ill,p01,p02,p03", "is not a readable CSV"),
        (1, "image,label,patient", "has no column 'id' (it has image, label, patient)"),
        (1, "id,class,patient", "has no column 'label'"),
        (1, "id,label,who", "has no column 'patient'"),
    ],
)
def test_a_wrong_row_of_the_table(project, refused, line, row, complaint):
    table = project.input / "tiny" / "train.csv"
    edit_line(table, line, row)
    sentence = refused("data", "check", "tiny")
    assert complaint in sentence and (str(table) in sentence or "images/t002.png" in sentence)


def test_a_row_without_its_patient_stands_for_itself(project):
    table = project.input / "tiny" / "train.csv"
    for line in (2, 5):
        edit_line(table, line, table.read_text().splitlines()[line - 1].rpartition(",")[0])
    groups = open_index("tiny").train.set_index("id")["group"]
    assert (groups["t000"], groups["t003"]) == ("t000", "t003")


def test_two_files_for_one_id(project, refused):
    images = project.input / "tiny" / "images"
    (images / "t004.jpg").write_bytes(encoded(".jpg"))
    assert "t004.jpg" in (sentence := refused("data", "check", "tiny")) and "t004.png" in sentence


@pytest.mark.parametrize(
    ("declaration", "complaint"),
    [
        ("classes = [", "is not valid TOML"),
        ('classes = ["a", "b"]\nreader = "csv"', "the field 'positive' is missing"),
        ('classes = ["a", "b"]\nreader = "csv"\npositive = "a"\nfloder = "x"', "unknown field 'floder'"),
        ('classes = ["a", "b"]\nreader = "csv"\npositive = "c"', "positive is one of the classes"),
        ('classes = ["a", "b"]\nreader = "xls"\npositive = "a"', "reader is folders, csv or npz"),
        ('classes = "ab"\nreader = "csv"\npositive = "a"', "classes"),
        ('classes = ["a", "b"]\nreader = "csv"\npositive = "a"\nfolder = 3', "folder is a text, not 3"),
        ('classes = ["a", "b"]\nreader = "csv"\npositive = "a"\nvalue_range = 3', "value_range"),
        ('classes = ["a", "b"]\nreader = "csv"\npositive = "a"\nvalue_range = [3, 3]', "value_range"),
        ('classes = ["a", "b"]\nreader = "folders"\npositive = "a"\npatient_pattern = "("', "patient_pattern"),
    ],
)
def test_a_wrong_declaration(project, refused, declaration, complaint):
    (project.input / "tiny" / "dataset.toml").write_text(declaration + "\n")
    sentence = refused("data", "check", "tiny")
    assert complaint in sentence and "dataset.toml" in sentence


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"],
    ids=["empty", "text", "cut off", "one array"],
)
def test_an_npz_that_cannot_be_read(project, refused, content):
    path = project.input / "pneumoniamnist" / "pneumoniamnist.npz"
    path.parent.mkdir()
    path.write_bytes(content)
    assert refused("data", "check", "pneumoniamnist").startswith(f"{path} is not a readable .npz")


@pytest.mark.parametrize("missing", ["train_labels", "val_labels"])
def test_an_npz_without_labels(project, refused, missing):
    path = project.input / "pneumoniamnist" / "pneumoniamnist.npz"
    path.parent.mkdir()
    arrays = {f"{part}_images": np.zeros((2, 8, 8), np.uint8) for part in ("train", "val")}
    arrays |= {f"{part}_labels": np.array([[0], [1]]) for part in ("train", "val")}
    np.savez(path, **{k: v for k, v in arrays.items() if k != missing})
    sentence = refused("data", "check", "pneumoniamnist")
    assert str(path) in sentence and missing in sentence


def test_an_unknown_data_set_and_its_neighbour(project, refused):
    assert "unknown data set 'phantm'; did you mean phantom?" in refused("folds", "make", "phantm")
    assert "unknown data set '../tiny'" in refused("data", "check", "../tiny")
    assert "unknown data set 'chest_xrai'" in run_refused(project, tiny_experiment(data="chest_xrai"))


def test_a_known_data_set_that_is_not_here(project, refused):
    sentence = refused("data", "check", "chest_xray")
    assert f"{project.input / 'chest_xray'} does not exist; `chestfold data fetch chest_xray`" in sentence


# Folds


def test_more_folds_than_patients_in_a_class(project, refused):
    sentence = refused("folds", "make", "tiny", "--folds", "11", "--name", "eleven")
    ways = "make fewer folds (--folds 10), or add patients"
    assert sentence == f"11 folds need 11 patients of class 'healthy'; there are 10: {ways}"
    assert refused("folds", "make", "tiny", "--folds", "1").startswith("--folds 1")


@pytest.mark.parametrize(
    ("fold", "complaint"),
    [("3", "fold 3 does not exist: folds/tiny.csv has folds 0 to 2"), ("-1", "invalid fold number value: '-1'")],
)
def test_a_fold_that_does_not_exist(project, fold, complaint):
    assert complaint in run_refused(project, tiny_experiment(), "--fold", fold)
    assert not project.runs.exists()


def test_a_fold_file_edited_by_hand(project, refused):
    path = project.root / "folds" / "tiny.csv"
    edit_line(path, 2, path.read_text().splitlines()[1][:-1] + "2")
    complaint = f"{path} was changed after it was made"
    assert refused("folds", "check", "tiny").startswith(complaint)
    assert run_refused(project, tiny_experiment()).startswith(complaint)


def test_a_fold_count_edited_by_hand(project, refused):
    path = project.root / "folds" / "tiny.json"
    write_json(path, read_json(path) | {"folds": 2})
    assert "fold" in refused("folds", "check", "tiny")


def test_a_fold_file_that_is_not_valid_json(project, refused):
    path = project.root / "folds" / "tiny.json"
    path.write_text(path.read_text()[:50])
    assert refused("folds", "check", "tiny").startswith(f"{path} is not valid JSON")


def test_a_fold_file_that_is_missing_or_another_data_sets(project, wards, refused):
    assert "make it: chestfold folds make wards" in refused("folds", "check", "wards")
    sentence = run_refused(project, tiny_experiment(data="wards", folds="tiny"))
    assert "belongs to the data set 'tiny', not to 'wards'" in sentence


def test_labels_that_changed_since_the_folds_were_made(project, refused):
    edit_line(project.input / "tiny" / "train.csv", 2, "t000,ill,p00")
    assert "the label of 't000' in the fold file is not that of the data set" in refused("folds", "check", "tiny")


def test_a_fold_file_is_never_written_over(project, refused):
    before = (project.root / "folds" / "tiny.csv").read_bytes()
    assert "fold files are never edited" in refused("folds", "make", "tiny", "--folds", "3", "--seed", "1")
    assert (project.root / "folds" / "tiny.csv").read_bytes() == before


def test_folds_of_others_that_leak(project, refused):
    path = project.root / "folds.csv"
    path.write_text("\n".join(["id,fold", *(f"t{n:03d},{n % 2}" for n in range(60))]) + "\n")
    sentence = refused("folds", "import", path, "--data", "tiny", "--name", "own")
    assert sentence.startswith(f"{path} leaks: 't000' (fold 0) and 't001' (fold 1) are of one patient, 'p00'")
    assert "--data" in refused("folds", "import", path)
    assert "a plain name is needed" in refused("folds", "import", path, "--data", "tiny", "--name", "../own")
    assert not list(project.root.glob("folds/own*"))


@pytest.mark.parametrize(("option", "value"), [("--repeats", "1"), ("--repeats", "0"), ("--seed", "-1")])
def test_a_number_that_makes_no_split(project, refused, option, value):
    sentence = refused("folds", "make", "tiny", "--folds", "3", option, value, "--name", "other")
    assert sentence.startswith(f"{option} {value}: ")
    assert not list(project.root.glob("folds/other*"))


# The command line


def python(project, *argv: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"CHESTFOLD_PROJECT": str(project.root)}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=CHECKOUT, env=environment)


def test_a_mistyped_option_of_an_experiment_file(project):
    done = python(project, "exps/exp000.py", "--lrr", "1")
    assert done.returncode == 2 and done.stdout == ""
    assert "--lrr" in one_sentence(done.stderr, prefix="error: ")


@pytest.mark.parametrize("file", ["exps/exp000.py", "src/chestfold/cli/main.py"])
def test_help_imports_nothing_heavy(project, file):
    done = python(project, "-X", "importtime", file, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "chestfold" in imported
    assert not imported & {"torch", "timm", "albumentations", "pandas", "sklearn", "numpy", "cv2", "wandb"}


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--lr", "fast"], "--lr fast: lr takes a number"),
        (["--lr", "0"], "lr = 0.0 is outside"),
        (["--lr"], "expected one argument"),
        (["--epochs", "1.5"], "epochs takes a whole number"),
        (["--randaugment", "2"], "randaugment takes 2 values"),
        (["--monitor", "acuracy"], "unknown metric 'acuracy'; did you mean accuracy?; there are auc, precision"),
        (["--loss", "focl"], "loss = 'focl' is not one of ce, bce, focal, asymmetric; did you mean focal?"),
        (["--fold", "one"], "invalid fold number value: 'one'"),
        (["--backbone", "resnet81"], "unknown backbone 'resnet81'; near are"),
        (["--image-size", "4"], "image_size = 4 is outside 8 to 4096"),
        (["--image-size", "16", "--backbone", "five_block_cnn"], "five_block_cnn cannot take images of 16 px"),
    ],
)
def test_a_wrong_option(project, argv, complaint):
    assert complaint in run_refused(project, tiny_experiment(), *argv)


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "required: VERB"),
        (["fold", "make", "tiny"], "invalid choice: 'fold'"),
        (["submit", "exp900", "--dry-run"], "no finished result called 'exp900'"),
        (["publish", "exp900"], "holds no finished run"),
        (["ensemble", "exp900", "--name", "one"], "two or more different members"),
        (["ensemble", "exp900", "exp901", "--name", "two"], "no finished result called 'exp900'"),
        (["folds", "make", "tiny", "--name", "../tiny"], "a plain name is needed"),
        (["folds", "make", "tiny", "--name", ".cache"], "a plain name is needed"),
        (["ensemble", "exp900", "exp901", "--name", "../two"], "a plain name is needed"),
    ],
)
def test_a_wrong_command(project, refused, argv, complaint):
    assert complaint in refused(*argv)


# Weights


@pytest.fixture
def weights(project, monkeypatch) -> Path:
    """A folder of weight files, in use."""
    folder = project.root / "weights"
    folder.mkdir()
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(folder))
    return folder


def pretrained_refused(project, backbone: str) -> str:
    return run_refused(project, tiny_experiment(backbone=backbone, pretrained=True, epochs=1), "--fold", "0")


def test_weights_of_another_architecture(project, weights):
    save_file(timm.create_model("test_resnet").state_dict(), weights / "test_efficientnet.safetensors")
    sentence = pretrained_refused(project, "test_efficientnet")
    assert f"{weights / 'test_efficientnet.safetensors'} does not fit test_efficientnet" in sentence


def test_weights_that_are_not_there(project, weights):
    assert f"{weights / 'test_resnet.safetensors'} does not exist" in pretrained_refused(project, "test_resnet")


@pytest.mark.parametrize("keep", [0, 100, -100], ids=["empty", "head only", "tail cut"])
def test_weights_that_are_damaged(project, weights, keep):
    path = weights / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is not a readable safetensors file" in pretrained_refused(project, "test_resnet")


def test_weights_that_want_an_unknown_input(project, weights):
    path = weights / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path, metadata={"input": "BGR, x"})
    assert "wants an input that is not known here: 'BGR, x'" in pretrained_refused(project, "test_resnet")


def test_a_network_without_weights(project):
    assert "weights of five_block_cnn could not be had" in pretrained_refused(project, "five_block_cnn")


# While a fold trains: what is computed stays


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_disk_that_fills_up_under_a_checkpoint(project, reference, monkeypatch, nth):
    write, count = Path.write_bytes, 0

    def failing(path: Path, data: bytes) -> int:
        nonlocal count
        count += ".ckpt" in path.name
        if ".ckpt" in path.name and count == nth:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", failing)
        sentence = run_refused(project, tiny_experiment(), "--fold", "0")
    assert sentence.startswith("the disk is full") and ".ckpt could not be written" in sentence
    assert not list(project.runs.rglob("*.tmp"))
    project.run(tiny_experiment(), "--fold", "0")
    assert contents(project.runs / "exp100" / "fold0") == contents(reference / "fold0")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_for_the_log(project, monkeypatch):
    monkeypatch.setattr(files, "_linked", [Path("/dev")])  # else such a link is refused
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    log = project.runs / "exp100" / "fold0" / "log.txt"
    log.with_name("manifest.json").unlink()  # begun and not finished
    log.unlink()
    log.symlink_to("/dev/full")
    assert run_refused(project, tiny_experiment(epochs=1), "--fold", "0").startswith("the disk is full")


def test_a_disk_that_fills_up_under_the_cache(project, monkeypatch):
    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", failing)
        sentence = run_refused(project, tiny_experiment(image_size=24))
    assert "the disk is full" in sentence and "24px" in sentence
    assert not [p for p in (project.input / ".cache").rglob("*24px*") if p.suffix != ".lock"]


def test_a_loss_that_is_not_a_number(project, reference, monkeypatch):
    honest, calls = losses.F.cross_entropy, 0

    def bursting(*arguments, **options):
        nonlocal calls
        calls += 1
        return honest(*arguments, **options) * (float("nan") if calls == 8 else 1)

    with monkeypatch.context() as broken:
        broken.setattr(losses.F, "cross_entropy", bursting)
        sentence = run_refused(project, tiny_experiment(), "--fold", "0")
    assert sentence.startswith("the loss of fold 0 became nan at epoch 2, batch 4; lower --lr")
    project.run(tiny_experiment(), "--fold", "0")
    assert contents(project.runs / "exp100" / "fold0") == contents(reference / "fold0")


def test_a_learning_rate_that_bursts_the_weights(project):
    sentence = run_refused(project, tiny_experiment(optimizer="sgd", lr=1e3, warmup_epochs=0.0), "--fold", "0")
    assert "lower --lr" in sentence and "epoch 1" in sentence


def test_changed_settings_are_refused_and_both_ways_on_are_open(trained):
    folder = trained.runs / "exp100" / "fold0"
    before = contents(folder)
    sentence = run_refused(trained, tiny_experiment(lr=1e-3), "--fold", "0")
    assert sentence.startswith(f"{folder} was begun with other settings (lr: 0.003 -> 0.001); copy the experiment")
    assert contents(folder) == before

    trained.run(tiny_experiment(lr=1e-3), "--fold", "0", name="exp102")
    assert contents(folder) == before
    trained.run(tiny_experiment(lr=1e-3), "--fold", "0", "1", "2", "--overwrite")
    assert contents(folder, ["best.ckpt"]) == contents(trained.runs / "exp102" / "fold0", ["best.ckpt"])
    assert results.find_result("exp100").record.settings["lr"] == 1e-3


def test_overwriting_one_of_several_folds_with_other_settings_is_refused_before_anything_is_deleted(trained):
    folder = trained.runs / "exp100" / "fold0"
    before = contents(folder)
    sentence = run_refused(trained, tiny_experiment(lr=1e-3), "--fold", "0", "--overwrite")
    assert sentence.startswith(f"{folder.with_name('fold1')} was begun with other settings (lr: 0.003 -> 0.001)")
    assert contents(folder) == before
    assert [r.name for r in results.all_results()] == ["exp100", "exp101"]


def test_overwriting_a_fold_takes_back_the_scores_of_its_run(trained, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained.run(tiny_experiment(), "--fold", "0", "--overwrite")
    assert [r.name for r in results.all_results()] == ["exp101"]


def test_folds_of_different_settings_are_not_collected(project):
    project.run(tiny_experiment(epochs=1), "--fold", "0", "1")
    before = contents(project.runs / "exp100", ["scores.json", "oof.parquet"])
    sentence = run_refused(project, tiny_experiment(epochs=1), "--fold", "2", "--lr", "0.001")
    assert "begun with other settings (lr: 0.003 -> 0.001)" in sentence
    assert contents(project.runs / "exp100", ["scores.json", "oof.parquet"]) == before
    assert results.find_result("exp100").record.folds.trained == (0, 1)


def test_images_that_changed_under_a_run(trained):
    cv2.imwrite(str(trained.input / "tiny" / "images" / "t000.png"), np.zeros((32, 32), np.uint8))
    assert "was begun with other settings (content_sha256" in run_refused(trained, tiny_experiment())


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_file_of_a_finished_fold_that_changed(trained, name):
    path = trained.runs / "exp100" / "fold1" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path} is not the file that the training finished with" in run_refused(trained, tiny_experiment())


def test_a_second_process_on_a_fold(project):
    folder = project.runs / "exp100" / "fold0"
    holding = f"""
from pathlib import Path
from chestfold.core.fence import hold
with hold(Path({str(folder)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        sentence = run_refused(project, tiny_experiment(epochs=1), "--fold", "0")
        who = f"{other.pid} on {host()}"
        assert sentence == f"another process ({who}) is working in {folder}; wait for it or stop it"
        other.kill()
    project.run(tiny_experiment(epochs=1), "--fold", "0")  # the lock went with its owner


# What comes after training


def test_no_weights_are_fitted_to_predictions_of_different_folds(trained, refused):
    folds.make(open_index("tiny"), "other", 3, seed=1)
    trained.run(tiny_experiment(folds="other", epochs=1, max_steps=1), name="exp102")
    sentence = refused("ensemble", "exp100", "exp102", "--name", "mixed", "--method", "greedy")
    assert sentence.startswith("--method greedy fits weights on other folds, and the members were trained on different")
    assert not (trained.runs / "mixed" / "scores.json").exists()


def test_an_ensemble_does_not_take_an_experiments_name(trained, refused):
    for options in ([], ["--overwrite"]):
        sentence = refused("ensemble", "exp100", "exp101", "--name", "exp100", *options)
        assert sentence == "exp100 is the name of an experiment's run; choose another --name"
    assert results.find_result("exp100").record.kind == "experiment"


def test_an_ensemble_does_not_replace_another_one(trained, refused, monkeypatch):
    words = ["ensemble", "exp100", "exp101", "--name", "both", "--method"]
    main.main([*words, "mean"])
    assert refused(*words, "greedy").endswith("holds another result; choose another --name or add --overwrite")
    assert results.find_result("both").record.method == "mean"
    main.main([*words, "greedy", "--overwrite"])
    assert results.find_result("both").record.method == "greedy"


def test_a_result_that_changed_after_it_was_scored(trained, refused):
    path = trained.runs / "exp100" / "oof.parquet"
    path.write_bytes((trained.runs / "exp101" / "oof.parquet").read_bytes())
    assert refused("ensemble", "exp100", "exp101", "--name", "both").startswith(f"{path} is not the file")
    path.write_bytes(b"PAR1")
    assert refused("publish", "exp100").startswith(f"{path} is not the file that scores.json is about")


@pytest.mark.parametrize(
    ("line", "row", "complaint"),
    [
        (5, None, "differ in 1 ids, the first is 'x003'"),
        (5, "x900,0.5", "differ in 2 ids, the first is 'x003'"),
        (5, "x003,0.5\nx003,0.5", "id 'x003' occurs twice"),
        (1, "id,sick,well", "asks for 'sick', which is none of the classes healthy, ill; say what it is in"),
        (1, "id", "line 2 has 2 cells, its header 1"),
    ],
)
def test_a_sample_that_does_not_fit(trained, refused, line, row, complaint):
    edit_line(trained.input / "tiny" / "sample_submission.csv", line, row)
    assert complaint in refused("submit", "exp100", "--dry-run")
    assert not list(trained.root.glob("submissions/*.csv"))


def test_a_constant_prediction_leaves_no_submission(trained, refused):
    folder = trained.runs / "exp100"
    table, origin = predictions.read(folder / "test.parquet")
    predictions.write(folder / "test.parquet", table.assign(healthy=0.25, ill=0.75), origin)
    about = read_json(folder / "scores.json")
    about["files"]["test.parquet"] = sha256_file(folder / "test.parquet")
    write_json(folder / "scores.json", about)
    assert "the column 'ill' is constant" in refused("submit", "exp100", "--dry-run")
    assert not list(trained.root.glob("submissions/*.csv"))


IDS = ["a", "b", "c"]
BINARY = pd.DataFrame({"id": IDS, "ill": ["0.1", "0.2", "0.3"]})
THREE = pd.DataFrame({"id": IDS, "x": ["0.2", "0.3", "0.1"], "y": ["0.3", "0.3", "0.1"], "z": ["0.5", "0.4", "0.8"]})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (BINARY[1:], "1 ids are missing, the first is 'a'"),
        (BINARY.assign(id=["a", "b", "b"]), "id 'b' occurs twice"),
        (BINARY.assign(id=["a", "b", "d"]), "1 ids are missing, the first is 'c'"),
        (pd.concat([BINARY, pd.DataFrame({"id": ["d"], "ill": ["0.4"]})]), "1 ids are not in the sample"),
        (BINARY[::-1], "the ids are in another order"),
        (BINARY.assign(ill=["0.1", "nan", "0.3"]), "the prediction for 'b' is not a number"),
        (BINARY.assign(ill=["0.1", "", "0.3"]), "not a number"),
        (BINARY.assign(ill=["0.1", "inf", "0.3"]), "the prediction for 'b' is not a number"),
        (BINARY.assign(ill=["0.1", "1.01", "0.3"]), "the prediction for 'b' lies outside 0 to 1"),
        (BINARY.assign(ill="0.5"), "the column 'ill' is constant"),
        (BINARY.rename(columns={"ill": "Ill"}), "columns are ['id', 'Ill'], not ['id', 'ill']"),
        (BINARY.assign(more="1"), "columns are ['id', 'ill', 'more'], not ['id', 'ill']"),
        (THREE.assign(z=["0.5", "0.4", "0.9"]), "the probabilities of 'c' do not sum to 1"),
    ],
)
def test_a_submission_that_would_be_refused(tmp_path, given, complaint):
    path = tmp_path / "001_x.csv"
    given.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"001_x\.csv") as refusal:
        if "x" in given:
            submission.check_submission(path, THREE, answers_of("x", "y", "z"))
        else:
            submission.check_submission(path, BINARY, answers_of("ill"))
    assert complaint in one_sentence(str(refusal.value))


@pytest.mark.parametrize("sample", [BINARY, THREE])
def test_a_submission_like_its_sample_passes(tmp_path, sample):
    sample.to_csv(tmp_path / "001_x.csv", index=False)
    submission.check_submission(tmp_path / "001_x.csv", sample, answers_of(*sample.columns[1:]))


# What a run cannot mean


def test_one_image_cannot_be_normalised_over_a_batch(project):
    said = run_refused(project, tiny_experiment(batch_size=1), "--fold", "0")
    assert "test_resnet cannot be trained on 1 image of 32 px at a time" in said and "--batch-size" in said


def test_an_image_that_may_not_be_opened(project, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match=r"t000\.png cannot be read \(Permission denied\)"):
        decode(project.input / "tiny", "images/t000.png", 32)


def test_debug_runs_are_not_blended_under_a_plain_name(trained, refused):
    assert "name it blend1-debug" in refused("ensemble", "exp100-debug", "exp101-debug", "--name", "blend1")
