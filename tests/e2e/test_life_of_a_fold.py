"""From images to a submission, in one project."""

import pytest
from conftest import tiny_experiment
from signed_config import sign_config

from chestfold.core import console
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import predictions, results
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.train import prepare

FOLD_FILES = {
    "config.json",
    "inputs.png",
    "manifest.json",
    "last.ckpt",
    "best.ckpt",
    "metrics.jsonl",
    "oof.parquet",
    "corrupted.parquet",
    "test.parquet",
    "ood.npz",
    "log.txt",
}
RUN_FILES = {"oof.parquet", "corrupted.parquet", "test.parquet", "scores.json", "curves.png", "confusion.png"}


def test_a_fold_leaves_what_the_design_names(_trained_once):
    left = {p.name for p in (_trained_once.runs / "exp100" / "fold0").iterdir() if not p.name.startswith(".")}
    assert left == FOLD_FILES


def test_a_run_leaves_what_the_design_names(trained):
    left = {p.name for p in (trained.runs / "exp100").iterdir() if p.is_file() and not p.name.startswith(".")}
    assert left == RUN_FILES


def test_from_images_to_submission(trained):
    result = results.find_result("exp100")
    table, origin = result.oof()
    assert len(table) == 60 and table["id"].is_unique
    assert origin["folds_sha256"] == read_json(trained.root / "folds" / "tiny.json")["sha256"]
    path, new = write_submission("exp100")
    assert new and path.name == "001_exp100.csv"
    assert path.read_text().splitlines()[1].startswith("x000,0.")


def test_learns(project):
    project.run(tiny_experiment(epochs=8))
    assert results.find_result("exp100").score("at_half", "auc").value > 0.9


def test_a_finished_fold_is_not_trained_again(trained, capsys):
    before = (trained.runs / "exp100" / "fold1" / "manifest.json").stat().st_mtime_ns
    trained.run(tiny_experiment())
    assert "fold1 is finished" in capsys.readouterr().out
    assert (trained.runs / "exp100" / "fold1" / "manifest.json").stat().st_mtime_ns == before


def forget_settings(folder, *names: str) -> None:
    """Make config.json one from before these settings were added to `Experiment`."""
    config = read_json(folder / "config.json")
    for name in names:
        del config["settings"][name]
    sign_config(folder, config)


def test_a_fold_from_before_a_setting_was_added_is_finished_too(trained, capsys):
    for fold in range(3):
        forget_settings(trained.runs / "exp100" / f"fold{fold}", "head_width", "freeze", "average_last")
    trained.run(tiny_experiment())
    said = capsys.readouterr().out
    assert all(f"exp100/fold{fold} is finished" in said for fold in range(3))


def test_a_setting_that_was_added_later_is_not_changed_unnoticed(trained):
    forget_settings(trained.runs / "exp100" / "fold0", "head_width")
    with pytest.raises(InputError, match=r"was begun with other settings \(head_width: 0 -> 8\)"):
        trained.run(tiny_experiment(head_width=8), "--fold", "0")


@pytest.mark.parametrize("argv", [("--debug",), ("--fold", "1", "--debug")])
def test_debug_runs_in_a_folder_of_its_own(project, argv):
    project.run(tiny_experiment(), *argv)
    assert (project.runs / "exp100-debug" / "fold1" / "manifest.json").exists()
    assert not (project.runs / "exp100").exists()


def test_a_debug_run_predicts_a_sample_with_a_bar_in_every_phase(project, monkeypatch):
    sent = []
    monkeypatch.setattr(console, "_forward", sent.append)
    monkeypatch.setattr(prepare, "DEBUG_IMAGES", 8)
    project.run(tiny_experiment(), "--fold", "0", "--debug")
    folder = project.runs / "exp100-debug" / "fold0"
    for kind, images in (("oof", 8), ("test", 8), ("corrupted", 8 * len(CORRUPTIONS))):
        assert len(predictions.read(folder / f"{kind}.parquet")[0]) == images

    (last_epoch,) = (n for n, message in enumerate(sent) if message[0] == "say" and "epoch  2/2" in message[1])
    bars = list(dict.fromkeys(message[1:3] for message in sent[last_epoch:] if message[0] == "bar"))
    count = len(CORRUPTIONS)
    assert bars == [
        ("fold 0 predicting: validation", 8),
        *((f"fold 0 predicting: shifted {n}/{count}", 8) for n in range(1, count + 1)),
        ("fold 0 predicting: test", 8),
        ("fold 0 predicting: similarity to training images", 2 * 8),
    ]
