"""A damaged checkpoint is noticed, and loading one runs no code."""

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch

from chestfold.core import checkpoint
from chestfold.core.errors import InputError

STATE = {"module": {"w": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "losses": [0.5, 0.25], "ema": None}


@pytest.fixture
def path(tmp_path) -> Path:
    checkpoint.save(tmp_path / "last.ckpt", STATE)
    return tmp_path / "last.ckpt"


def test_what_was_saved_comes_back(path):
    state = checkpoint.load(path)
    assert torch.equal(state.pop("module")["w"], STATE["module"]["w"])
    assert state == {"epoch": 3, "losses": [0.5, 0.25], "ema": None}


def test_the_same_state_has_the_same_bytes(path, tmp_path):
    checkpoint.save(tmp_path / "again.ckpt", STATE)
    assert (tmp_path / "again.ckpt").read_bytes() == path.read_bytes()


def test_any_flipped_byte_is_noticed(path):
    data = path.read_bytes()
    for place in [*range(0, len(data), 97), len(data) - 1]:
        flipped = bytearray(data)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        with pytest.raises(checkpoint.Damaged, match=r"last\.ckpt is damaged"):
            checkpoint.load(path)


@pytest.mark.parametrize("keep", [0, 10, 40, -1])
def test_a_truncated_file_is_noticed(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(checkpoint.Damaged):
        checkpoint.load(path)


def test_the_one_before_is_kept_and_used_when_the_newest_is_damaged(path):
    checkpoint.save_keeping_previous(path, STATE | {"epoch": 4})
    assert checkpoint.load_newest(path)[0]["epoch"] == 4
    path.write_bytes(b"torn")
    state, complaints = checkpoint.load_newest(path)
    assert state["epoch"] == 3 and len(complaints) == 1 and str(path) in complaints[0]
    checkpoint.save_keeping_previous(path, STATE | {"epoch": 5})
    path.write_bytes(b"torn again")
    assert checkpoint.load_newest(path)[0]["epoch"] == 3, "the damaged file did not take the good one's place"


def test_without_an_undamaged_file_there_is_nothing_to_resume_from(tmp_path):
    assert checkpoint.load_newest(tmp_path / "last.ckpt") == (None, [])
    for name in ("last.ckpt", "last.ckpt.previous"):
        (tmp_path / name).write_bytes(b"torn")
    state, complaints = checkpoint.load_newest(tmp_path / "last.ckpt")
    assert state is None and len(complaints) == 2


@pytest.mark.parametrize("content", [None, b"torn"], ids=["missing", "damaged"])
def test_missing_or_damaged_weights_of_a_finished_fold_are_one_sentence(tmp_path, content):
    if content:
        (tmp_path / "best.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"best\.ckpt .*--overwrite"):
        checkpoint.load_weights(tmp_path / "best.ckpt")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def bare_pickle(state: dict, file: io.BytesIO) -> None:
    pickle.dump(state, file, protocol=2)


@pytest.mark.parametrize("write", [torch.save, bare_pickle])
def test_a_file_with_code_in_it_is_not_run(tmp_path, write):
    buffer = io.BytesIO()
    write({"module": Bomb(tmp_path / "ran")}, buffer)
    data = buffer.getvalue()
    (tmp_path / "last.ckpt").write_bytes(data + hashlib.sha256(data).digest())
    with pytest.raises((InputError, checkpoint.Damaged)):
        checkpoint.load(tmp_path / "last.ckpt")
    assert not (tmp_path / "ran").exists()
