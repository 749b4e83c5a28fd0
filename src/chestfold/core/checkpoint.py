"""Checkpoints that are complete or known not to be: written aside, synced, renamed, with their hash at the end.

torch.load does not check what it reads; a flipped byte would load silently. A file here is torch's own archive
followed by the 32 bytes of its SHA-256, and loads with `weights_only=True`.
"""

import hashlib
import io
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch

from chestfold.core.errors import InputError
from chestfold.core.files import move, remove, write_bytes

_HASH = 32
_EMPTY_END = b"PK\x05\x06" + bytes(18)
"""What a zip ends with: four letters, and numbers."""


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
    """The state in a checkpoint, on the CPU. It takes no more memory than a few times the file's size.

    Raises:
        Damaged: the hash does not fit: torn, flipped, or no checkpoint.
        InputError: it holds something else than `save` writes, such as code.
    """
    _require_end(path)
    data = path.read_bytes()
    if hashlib.sha256(data[:-_HASH]).digest() != data[-_HASH:]:
        raise Damaged(f"{path} is damaged (its hash does not fit)")
    archive = io.BytesIO(data[:-_HASH])
    try:
        _require_stored(path, archive)
        state = torch.load(archive, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch's reader says nowhere what a file of a stranger makes it raise
        reason = " ".join(str(error).split())[:100]
        complaint = f"cannot be read without running code, or does not fit into memory ({reason})"
        raise InputError(f"{path} {complaint}") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no training of this program; restore it")
    return state


def _require_end(path: Path) -> None:
    """Raise `Damaged` where the file does not end like a checkpoint, whatever its size."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _HASH - len(_EMPTY_END)))
        end = file.read()
    if not end.startswith(_EMPTY_END[:4]):
        raise Damaged(f"{path} is damaged (it does not end like a checkpoint)")


def _require_stored(path: Path, archive: io.BytesIO) -> None:
    """Raise `InputError` where the archive announces more than it holds: torch packs nothing."""
    with ZipFile(archive) as opened:
        entries = opened.infolist()
    announced = sum(entry.file_size for entry in entries)
    if announced > archive.getbuffer().nbytes or any(entry.compress_type != ZIP_STORED for entry in entries):
        raise InputError(f"{path} announces {announced / 1e6:,.0f} MB, which it does not hold")
    archive.seek(0)


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
