"""A member of an .npz that is no array: numpy returns its bytes, which have no shape."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.core.files import load_npz
from chestfold.models import ood
from chestfold.report import attention


def write(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)


def with_bytes_for(path: Path, name: str, arrays: dict[str, np.ndarray]) -> Path:
    """An .npz of `arrays`, of which one is a few bytes."""
    write(path, {each: array for each, array in arrays.items() if each != name})
    with ZipFile(path, "a") as archive:
        archive.writestr(f"{name}.npy", b"no array")
    return path


def test_the_arrays_come_back(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.arange(3))
    assert load_npz(tmp_path / "a.npz")["one"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["mean", "precision", "threshold", "layer"])
def test_a_detector_with_another_member_is_damaged(tmp_path, name):
    arrays = {
        "mean": np.zeros(2, np.float32),
        "scale": np.ones(2, np.float32),
        "precision": np.eye(2, dtype=np.float32),
        "threshold": np.float32(1),
        "checkpoint": np.array("f" * 64),
        "layer": np.array("head"),
    }
    write(tmp_path / "whole.npz", arrays)
    assert ood.read(tmp_path / "whole.npz").layer == "head"
    with pytest.raises(InputError, match="is damaged; restore it"):
        ood.read(with_bytes_for(tmp_path / "ood.npz", name, arrays))


@pytest.mark.parametrize("name", ["ids", "maps"])
def test_maps_with_another_member_are_damaged(tmp_path, monkeypatch, name):
    monkeypatch.setattr(attention, "require_explained", lambda path: None)
    arrays = {"ids": np.array(["a"]), "maps": np.zeros((1, 2, 2, 2), np.float32)}
    with_bytes_for(tmp_path / "maps-fold0.npz", name, arrays)
    with pytest.raises(InputError, match="is damaged; explain the run again"):
        attention.read_maps(tmp_path)
