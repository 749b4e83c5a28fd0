"""Where files are, and writing them so that a crash at any moment leaves the old file or the new one."""

import errno
import glob
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from filelock import FileLock, Timeout

from chestfold.core.errors import InputError, ServiceError
from chestfold.core.identity import machine, start_time

if TYPE_CHECKING:
    import numpy as np

DAMAGED_ARCHIVE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    BadZipFile,
    TokenError,
    zlib.error,
    struct.error,
)
"""What a damaged .npz or zip raises: an unknown compression is `NotImplementedError`, a wild shape `MemoryError`, a
header that is cut `TokenError` or `struct.error`."""


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


LONGEST_NAME = 200
"""Bytes; what is added to a name must fit into the 255 of file systems."""
LARGEST_NPZ = 1 << 29
"""Bytes that the arrays of an .npz of this program take at most."""
LARGEST_TEXT = 32 << 20
"""Bytes of a JSON file, a log or a file of hooks at most: what Python makes of it takes up to twenty times as many."""


def is_plain_name(name: str) -> bool:
    """Whether `name` is that of one file or folder, without folders before it."""
    plain = Path(name).name == name and not name.startswith(".") and "\0" not in name
    return plain and 0 < len(name.encode(errors="replace")) <= LONGEST_NAME


def require_plain_name(name: str, what: str) -> None:
    """Raise `InputError` when `name` is no plain one."""
    if not is_plain_name(name):
        raise InputError(f"{what} {name!r}: a plain name is needed, without folders or a dot in front")


def require_size(path: Path, most: int = LARGEST_TEXT) -> None:
    """Raise `InputError` where a file has more bytes than one of its kind."""
    size = path.stat().st_size
    if size > most:
        raise InputError(
            f"{path} has {size / 1e6:,.0f} MB, and a file of its kind has at most {most / 1e6:,.0f}; it is damaged, or "
            "not what it is called"
        )


def require_npz_size(path: Path) -> None:
    """Raise `InputError` where the arrays of an .npz of this program take more memory than any that it writes.

    A damaged archive raises one of `DAMAGED_ARCHIVE`.
    """
    with ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > LARGEST_NPZ:
        raise InputError(f"{path} announces arrays of {unpacked / 1e6:,.0f} MB, which no file of its kind holds")


def load_npz(path: Path) -> "dict[str, np.ndarray]":
    """The arrays of an .npz, none of them pickled objects.

    A damaged archive raises one of `DAMAGED_ARCHIVE`: numpy returns the bytes of a member that is no array, and one
    bare array is no archive.
    """
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name!r} in it is no array")
    return arrays


_linked: list[Path] = []
"""Folders that runs may be linked into, because this process has made the links."""


def allow_links_into(folder: Path) -> None:
    """From now on the files of runs may be links into `folder`."""
    _linked.append(folder.resolve())


def require_own_files(folder: Path) -> None:
    """Raise `InputError` where something in a folder leads out of it, or is neither a file nor a folder.

    A run may come from elsewhere, and a link in it would have this program read or write anywhere.
    """
    homes = [folder.resolve(), *_linked]
    for entry in _entries(folder):
        is_plain = entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        if entry.is_symlink():
            if not _leads_into(Path(entry.path), homes):
                raise InputError(f"{entry.path} is a link that leads out of {folder}; put the file itself there")
        elif not is_plain and os.path.lexists(entry.path):  # a temporary file may have been renamed meanwhile
            raise InputError(f"{entry.path} is neither a file nor a folder; remove it")


def _entries(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """All that is in a folder and its subfolders; links are not followed."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except FileNotFoundError:  # deleted meanwhile
        return
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path)


def _leads_into(link: Path, homes: list[Path]) -> bool:
    try:
        target = link.resolve()
        return any(target.is_relative_to(home) for home in homes)
    except (OSError, RuntimeError):  # a link to itself
        return False


def require_file(path: Path) -> None:
    """Raise `InputError` where `path`, given as `--out` for a page, cannot be a file, or is one that is no page."""
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        is_page = b"<!doctype html" in file.read(4096).lower()
    if not is_page:
        raise InputError(f"--out {path}: it is there already, and is no page to be written over; name another")


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(each for each in (folder, *folder.parents) if each.exists() or each.is_symlink())
        raise InputError(f"{file} is a file, not a folder, and nothing can be written into it; name another") from error
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
    """Where this process makes a file or folder before it is renamed to `path`; other processes do so elsewhere."""
    return path.with_name(f".{path.name}.{os.getpid()}-{machine()}.tmp")


def remove_left_beside(path: Path) -> None:
    """Delete what processes of this machine that are gone have left where they were to make `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*-{machine()}.*"):
        pid = left.name.split(".")[-2].partition("-")[0]
        if start_time(int(pid)) is not None:
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`, else removed.

    What a killed process has left of it is deleted by the next one that writes the same file.
    """
    temporary = temporary_beside(path)
    with explained_disk_errors(path):
        make_folder(path.parent)
        remove_left_beside(path)
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


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder, still to be made; on success it is renamed to `folder`, else removed.

    What a killed process has left of it is deleted by the next one that makes the same folder.
    """
    temporary = temporary_beside(folder)
    with explained_disk_errors(folder):
        remove_left_beside(folder)
        try:
            yield temporary
            put_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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


CHECKSUM = "checksum"
"""Last key of a JSON file of this program: the hash of all others. Files of before it was written have none."""


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Atomically replace `path` by indented JSON, with a checksum that `read_json` proves."""
    plain = json.loads(json.dumps(values))  # keys that are numbers become texts, and are sorted as such
    write_plain_json(path, values | {CHECKSUM: sha256_json(plain)})


def write_plain_json(path: Path, value: Any) -> None:
    """Atomically replace `path` by indented JSON without a checksum, for another program."""
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


def read_json(path: Path, most: int = LARGEST_TEXT) -> Any:
    """The value in a JSON file of so many bytes at most, without its checksum.

    Raises:
        InputError: it is damaged: no JSON, or not what was written. A file without a checksum is taken as it is.
    """
    require_size(path, most)
    try:
        value = _parsed(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); restore it or delete it") from error
    if isinstance(value, dict) and CHECKSUM in value:
        checksum = value.pop(CHECKSUM)
        if checksum != sha256_json(value):
            raise InputError(
                f"{path} is not what was written there (its checksum differs): it is damaged, or was edited; restore "
                "the file, or make it again"
            )
    return value


def _parsed(text: str) -> Any:
    """The value of a JSON text. Half a character (`"\\ud800"` alone), which nothing could print, is no valid one."""
    value = json.loads(text)
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # raises UnicodeEncodeError, a ValueError
    return value


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
