"""Where files are, and writing them so that a crash at any moment leaves the old file or the new one."""

import errno
import hashlib
import json
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

from filelock import FileLock, Timeout

from chestfold.core.errors import InputError, ServiceError

DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    TokenError,
    BadZipFile,
    zlib.error,
)
"""What a damaged .npz, .npy or zip raises: an unknown compression is `NotImplementedError`, a wild shape `MemoryError`,
and the header of an array is read as Python."""


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ[variable]).expanduser().resolve() if os.environ.get(variable) else default


def project_dir() -> Path:
    """The folder that holds exps/ and folds/: `CHESTFOLD_PROJECT`, else this checkout, else the current folder."""
    checkout = Path(__file__).resolve().parents[3]
    return _folder("CHESTFOLD_PROJECT", checkout if (checkout / "exps").is_dir() else Path.cwd())


def input_dir() -> Path:
    """Data sets, one folder each; only ever read."""
    return _folder("CHESTFOLD_INPUT", project_dir() / "input")


def cache_dir() -> Path:
    """Decoded images; may be deleted at any time."""
    return _folder("CHESTFOLD_CACHE", project_dir() / "input" / ".cache")


def runs_dir() -> Path:
    """Everything a training run leaves."""
    return _folder("CHESTFOLD_RUNS", project_dir() / "runs")


def submissions_dir() -> Path:
    """Numbered submission files."""
    return _folder("CHESTFOLD_SUBMISSIONS", project_dir() / "submissions")


def weights_dir() -> Path:
    """Pretrained weights, `<timm name>.safetensors`."""
    return _folder("CHESTFOLD_WEIGHTS", input_dir() / "weights")


def folds_dir() -> Path:
    """Committed fold files."""
    return project_dir() / "folds"


def published_dir() -> Path:
    """Committed results of finished runs."""
    return project_dir() / "exps" / "results"


def require_plain_name(name: str, what: str) -> None:
    """Raise `InputError` when `name` is not the name of one file or folder, without folders before it."""
    if Path(name).name != name or not name or name.startswith("."):
        raise InputError(f"{what} {name!r}: a plain name is needed, without folders or a dot in front")


def require_file(path: Path) -> None:
    """Raise `InputError` where `path`, given as `--out`, cannot be a file."""
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")


def sha256(data: bytes) -> str:
    """Hex digest, 64 characters."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex digest of a value's canonical JSON: the order of keys does not matter."""
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows which files are in `folder`: what was made, renamed or deleted there is so for good."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DiskFull(ServiceError):
    """No space is left, or no more may be used."""


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents where they are missing; a power cut takes no file with one of them."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def put_folder(work: Path, folder: Path) -> None:
    """Rename the complete folder `work` to `folder`, which must not appear before its files are on the disk."""
    os.sync()  # an fsync of each of a hundred thousand images would take an hour
    work.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def explained_disk_errors(path: Path, again: str = "it resumes from the last complete checkpoint") -> Iterator[None]:
    """Turn a full disk, a limit on file sizes or a forbidden folder into one sentence; `again`: what a repeat does."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"the disk is full (no space, no quota or no more files): {path} could not be written; free some and "
                f"run the same command again: {again}"
            ) from error
        if error.errno == errno.EFBIG:
            raise ServiceError(
                f"this shell allows no file as large as {path} needs (ulimit -f); lift the limit with "
                f"`ulimit -f unlimited` and run the same command again: {again}"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise ServiceError(f"no permission to write {path}; choose another folder (CHESTFOLD_*)") from error
        raise


_guards: dict[Path, Callable[[], None]] = {}
"""Folder -> what raises `Locked` where this process no longer is its writer (see `core.fence`)."""


def guard(folder: Path, require: Callable[[], None]) -> None:
    """From now on call `require` before each change of a file directly in `folder`."""
    _guards[folder.resolve()] = require


def release_guard(folder: Path) -> None:
    """Take back `guard`."""
    _guards.pop(folder.resolve(), None)


def require_writer(path: Path) -> None:
    """Raise `Locked` where this process was the writer of the folder of `path`, and another one has followed it."""
    require = _guards.get(path.parent.resolve()) if _guards else None
    if require:
        require()


def temporary_beside(path: Path) -> Path:
    """Where this process writes `path` before it is renamed; other processes, on any machine, write elsewhere."""
    mark = sha256(socket.gethostname().encode())[:6]
    return path.with_name(f".{path.name}.{os.getpid()}-{mark}.tmp")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`, else removed."""
    temporary = temporary_beside(path)
    with explained_disk_errors(path):
        make_folder(path.parent)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            require_writer(path)
            temporary.replace(path)
            sync_folder(path.parent)
        except FileNotFoundError:
            require_writer(path)  # who follows a writer deletes its temporary files
            raise
        finally:
            temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Rename a file, over one that is there."""
    require_writer(target)
    path.replace(target)


def remove(path: Path) -> None:
    """Delete a file where it is there."""
    require_writer(path)
    path.unlink(missing_ok=True)


def append_line(path: Path, text: str) -> None:
    """Add a line to a log."""
    require_writer(path)
    with explained_disk_errors(path), path.open("a") as file:
        file.write(text + "\n")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder, still to be made; on success it is renamed to `folder`, else removed."""
    temporary = temporary_beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed run with the same process id
    with explained_disk_errors(folder):
        try:
            yield temporary
            put_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_temporary(folder: Path, name: str = "*") -> None:
    """Delete the temporary files that killed writers of `name` left in `folder`; only under a lock that they held."""
    for left in folder.glob(f".{name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically replace `path` by `data`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Atomically replace `path` by UTF-8 text."""
    write_bytes(path, text.encode())


def write_csv(path: Path, text: str) -> None:
    """Atomically replace `path` by a CSV that people open: with the mark in front (BOM) by which Excel knows UTF-8.

    Without it Excel takes the file for the encoding of Windows, which in Japan is Shift_JIS.
    """
    write_bytes(path, text.encode("utf-8-sig"))


def write_json(path: Path, value: Any) -> None:
    """Atomically replace `path` by indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: Path) -> str:
    """The text of a file that a person wrote: UTF-8, without the mark that some editors put in front (BOM).

    Raises:
        InputError: it is missing, cannot be read, or is in another encoding.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f'{path} is not a readable text: it is not in UTF-8; save it as UTF-8 (in Excel: as "CSV UTF-8")'
        ) from error


def read_json(path: Path) -> Any:
    """The value in a JSON file; a damaged one is `InputError`."""
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it or delete it") from error


class Locked(InputError):
    """A folder in which another process is working."""


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. The kernel lets go when the process ends, however it ends."""
    with explained_disk_errors(folder):
        make_folder(folder)
    held = FileLock(folder / ".lock")
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise Locked(f"another process is working in {folder}; wait for it or stop it") from error
    try:
        yield
    finally:
        held.release()
