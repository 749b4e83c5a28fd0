"""An experiment whose weights cannot be had leaves a note of it, which goes when it has run."""

import importlib
import time
from pathlib import Path

import pytest
import torch
from conftest import tiny_experiment
from huggingface_hub import constants
from safetensors.torch import save_file

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, runs_dir, sha256_file
from chestfold.evaluate import results
from chestfold.models import MissingWeights
from chestfold.models.timm_import import timm

EXP = tiny_experiment(pretrained=True, epochs=1, max_steps=2)


@pytest.fixture
def weights(project, monkeypatch) -> Path:
    """An empty folder of weight files, in use."""
    folder = project.root / "weights"
    folder.mkdir()
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(folder))
    return folder


def note(project) -> Path:
    return project.runs / "exp100" / results.NOT_RUN


def put_weights(folder: Path) -> None:
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet").state_dict(), folder / "test_resnet.safetensors")


def test_missing_weights_leave_a_note(project, weights):
    with pytest.raises(MissingWeights) as refusal:
        project.run(EXP, "--fold", "0")
    about = read_json(note(project))
    assert str(refusal.value).startswith(f"{weights / 'test_resnet.safetensors'} does not exist")
    assert (about["name"], about["why"], about["data"]) == ("exp100", "weights", "tiny")
    assert about["settings"] == EXP.to_dict() | {"monitor": "auc"}, "that of the data set"
    assert str(project.root) not in note(project).read_text(), "the note is published"
    assert set(results.not_run(runs_dir())) == {"exp100"} and results.all_results() == []


def test_the_note_goes_when_the_experiment_has_run(project, weights):
    with pytest.raises(MissingWeights):
        project.run(EXP, "--fold", "0")
    put_weights(weights)
    project.run(EXP, "--fold", "0")
    assert not note(project).exists() and results.not_run(runs_dir()) == {}
    assert results.find_result("exp100").record.folds.trained == (0,)


def test_weights_that_are_there_and_damaged_leave_no_note(project, weights):
    put_weights(weights)
    path = weights / "test_resnet.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="is not a readable safetensors file"):
        project.run(EXP, "--fold", "0")
    assert not note(project).exists()


def test_a_network_that_has_no_weights_leaves_a_note_too(project):
    with pytest.raises(MissingWeights, match="weights of five_block_cnn could not be had"):
        project.run(tiny_experiment(backbone="five_block_cnn", pretrained=True), "--fold", "0")
    assert read_json(note(project))["settings"]["backbone"] == "five_block_cnn"


@pytest.fixture
def no_hub(monkeypatch, tmp_path) -> None:
    """A model hub that does not answer, and an empty cache of it."""
    monkeypatch.setattr(importlib.import_module("chestfold.models.create"), "HUB", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # and put back after the test: it is switched on for good


def test_a_hub_that_does_not_answer_is_not_tried_again_and_again(project, no_hub):
    began = time.monotonic()
    with pytest.raises(MissingWeights) as refusal:
        project.run(EXP, "--fold", "0")
    assert time.monotonic() - began < 20  # its own library would try for a minute
    sentence = str(refusal.value)
    assert len(sentence.splitlines()) == 1
    assert f"put test_resnet.safetensors into {project.input / 'weights'}" in sentence
    assert "run the same command again, or train with --pretrained false" in sentence


def test_weights_put_where_the_sentence_says_are_taken_by_the_same_command(project, no_hub):
    with pytest.raises(MissingWeights):
        project.run(EXP, "--fold", "0")
    config = project.runs / "exp100" / "fold0" / "config.json"
    assert read_json(config)["fingerprint"]["weights"] == "hub"  # begun, with nothing to resume from
    folder = project.input / "weights"
    folder.mkdir()
    put_weights(folder)
    project.run(EXP, "--fold", "0")
    assert read_json(config)["fingerprint"]["weights"] == sha256_file(folder / "test_resnet.safetensors")
    assert results.find_result("exp100").record.folds.trained == (0,)


def test_a_fold_with_a_checkpoint_keeps_the_weights_that_it_was_begun_with(project, weights):
    put_weights(weights)
    project.run(EXP, "--fold", "0")
    (project.runs / "exp100" / "fold0" / "manifest.json").unlink()  # begun and not finished
    save_file(timm.create_model("test_resnet").state_dict(), weights / "test_resnet.safetensors")
    with pytest.raises(InputError, match=r"was begun with other settings \(weights: \w{64} -> \w{64}\)"):
        project.run(EXP, "--fold", "0")
