"""Checkpoints that are complete or known not to be: written aside, synced, renamed, with their hash at the end.

torch.load does not check what it reads; a flipped byte would load silently. A file here is torch's own archive
followed by the 32 bytes of its SHA-256, and loads with `weights_only=True`.
"""

import hashlib
import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from chestfold.core.errors import InputError
from chestfold.core.files import DAMAGED_ARCHIVE, move, remove, write_bytes

_HASH = 32


class Damaged(Exception):
    """A checkpoint whose bytes are not those that were written."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Atomically write `state` (tensors, numbers, texts, containers of these)."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    write_bytes(path, data + hashlib.sha256(data).digest())


def save_keeping_previous(path: Path, state: dict[str, Any]) -> None:
    """`save`, with the file that stood there kept as `<name>.previous`."""
    if path.exists():
        move(path, previous(path))
    save(path, state)


def previous(path: Path) -> Path:
    """Where the checkpoint before `path` is kept."""
    return path.with_name(path.name + ".previous")


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU.

    Raises:
        Damaged: the hash does not fit: torn, flipped, or no checkpoint.
        InputError: its bytes are those that were written, and they are no tensors and plain values; nothing is run.
    """
    data = path.read_bytes()
    if hashlib.sha256(data[:-_HASH]).digest() != data[-_HASH:]:
        raise Damaged(f"{path} is damaged (its hash does not fit)")
    try:
        state = torch.load(io.BytesIO(data[:-_HASH]), map_location="cpu", weights_only=True)
    except (*DAMAGED_ARCHIVE, UnpicklingError, AttributeError, IndexError, AssertionError) as error:
        raise InputError(
            f"{path} holds something else than tensors, or is of another version of torch ({type(error).__name__}); "
            "nothing of it was used: restore the file"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no table of tensors; restore the file")
    return state


def load_newest(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest complete state of `path` and its predecessor or None, and a sentence for each that is damaged."""
    complaints: list[str] = []
    for candidate in (path, previous(path)):
        if candidate.exists():
            try:
                return load(candidate), complaints
            except Damaged as error:
                complaints.append(f"{error}; going on from the one before it")
                remove(candidate)  # or the next save would keep it in the place of the good one
    return None, complaints


def load_weights(path: Path) -> dict[str, Any]:
    """As `load`, for a finished fold; a damaged file is the user's to mend."""
    if not path.exists():
        raise InputError(f"{path} does not exist; restore it, or train this fold again with --overwrite")
    try:
        return load(path)
    except Damaged as error:
        raise InputError(f"{error}; train this fold again with --overwrite, or restore the file") from error
