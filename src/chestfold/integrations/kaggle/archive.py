"""A downloaded zip becomes a folder: completely or not at all, nothing outside it, with the checksum of every file.

The checksums are kept in the folder as `.sha256.json`, so that one rename makes both appear.
"""

import errno
import lzma
import shutil
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from rich.filesize import decimal

from chestfold.core.console import plural, progress, say
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, put_folder, read_json, sha256_file, write_json
from chestfold.integrations.kaggle.archive_names import Untrusted, encoding_of, is_shadow, place_of, why_unfit

MANIFEST = ".sha256.json"
LARGEST_MANIFEST = 4 << 30
"""Bytes of a data set's manifest, of millions of files."""
_BLOCK = 4096
_DAMAGE = (BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, UnicodeDecodeError)


@dataclass(frozen=True)
class Plan:
    """What of a zip is unpacked: path in the folder -> member; how many files are left out, and why; bytes on disk.

    `unfit`: reason -> the names that no file can have; `notes`: what else is worth knowing.
    """

    members: dict[PurePosixPath, ZipInfo]
    shadows: int
    copies: int
    unfit: dict[str, list[str]]
    notes: list[str]
    bytes: int

    @property
    def left_out(self) -> list[str]:
        """A line for each kind; empty where everything is unpacked."""
        lines = []
        if self.copies:
            lines.append(f"left out: {self.copies} file(s) of a second copy of the same")
        if self.shadows:
            lines.append(f"left out: {self.shadows} file(s) hidden or of macOS")
        for reason, names in self.unfit.items():
            lines.append(f"left out: {len(names)} file(s) with {reason}, the first is {names[0][:60]!r}")
        return lines


def unpack(path: Path, folder: Path, about: dict[str, Any]) -> Plan:
    """Unpack the zip `path` as `folder`, which appears when all is there; `about` goes into its manifest.

    Raises:
        InputError: the zip is damaged or empty (it is deleted), would write outside `folder`, cannot be unpacked here,
            or is larger than the free space.
    """
    work = path.parent / "unpacked"
    shutil.rmtree(work, ignore_errors=True)
    page = about.get("source", "its page")
    files = {}
    with _explained_errors(path, folder, page):
        encoding = encoding_of(path)
    with _explained_errors(path, folder, page), ZipFile(path, metadata_encoding=encoding) as archive:
        plan = make_plan(archive, path, folder)
        plan.notes.extend(_encoding_notes(encoding, plan))
        _require_space(plan, path)
        say(f"unpacking {plural(len(plan.members), 'file')}, {decimal(plan.bytes)}")
        for place in progress(plan.members, f"unpacking {folder.name}", len(plan.members)):
            files[str(place)] = _extract(archive, plan.members[place], work / place)
    if not files:
        path.unlink()
        inside = f" but these ({'; '.join(plan.left_out)})" if plan.left_out else ""
        raise InputError(f"{path.name} holds no files{inside}; it was deleted, look at {page} where they are")
    write_json(work / MANIFEST, {**about, "left_out": plan.left_out, "files": files})
    put_folder(work, folder)
    return plan


@contextmanager
def _explained_errors(path: Path, folder: Path, page: str) -> Iterator[None]:
    """Turn what can go wrong with a zip into one sentence; one that is damaged is deleted."""
    try:
        with explained_disk_errors(folder, "the download is kept"):
            yield
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{path} holds files whose names the disk cannot tell apart ({error.filename}); {_by_hand(folder)}"
        ) from error
    except RuntimeError as error:  # a password, or a way of compression that Python does not know
        raise InputError(f"{path} cannot be unpacked here ({error}); {_by_hand(folder)}") from error
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # it says a place before its start
            raise
        path.unlink()
        raise InputError(
            f"{path.name} is damaged ({error}) and was deleted; run the same command again to download it anew, and "
            f"where that is damaged too, get the files one by one at {page}"
        ) from error


def make_plan(archive: ZipFile, path: Path, folder: Path) -> Plan:
    """Which members go where below `folder`; an outer folder of its name is not repeated.

    Raises:
        InputError: a member is no plain file or leaves the folder, or two different ones are to be one file.
    """
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    places, repeated = _places(infos, path, folder)
    kept = {place: info for place, info in places.items() if not is_shadow(place)}
    shadows = len(places) - len(kept)
    unfit: dict[str, list[str]] = defaultdict(list)
    for place in list(kept):
        reason = why_unfit(place, path.parent)
        if reason:
            unfit[reason].append(str(place))
            del kept[place]
    if kept and all(len(place.parts) > 1 and place.parts[0] == folder.name for place in kept):
        kept = {PurePosixPath(*place.parts[1:]): info for place, info in kept.items()}
    members = {place: info for place, info in kept.items() if not _is_copy(place, info, kept, folder.name)}
    for place in members:
        if any(parent in members for parent in place.parents):
            raise InputError(f"{path} holds a file and a folder of one name, above {str(place)!r}; {_by_hand(folder)}")
    size = sum(-(-info.file_size // _BLOCK) * _BLOCK for info in members.values())
    copies = repeated + len(kept) - len(members)
    return Plan(members, shadows, copies, dict(unfit), _notes(members, folder), size)


def _places(infos: list[ZipInfo], path: Path, folder: Path) -> tuple[dict[PurePosixPath, ZipInfo], int]:
    """Path in the folder -> member, and how many more members are the same file once again."""
    places: dict[PurePosixPath, ZipInfo] = {}
    repeated = 0
    for info in infos:
        try:
            place = place_of(info)
        except Untrusted as error:
            raise InputError(
                f"{path} is not to be trusted: {info.orig_filename!r} {error}; nothing was unpacked, look into it, and "
                f"unpack what you trust yourself into {folder}"
            ) from error
        before = places.setdefault(place, info)
        if (before.file_size, before.CRC) != (info.file_size, info.CRC):
            raise InputError(f"{path} holds two different files called {str(place)!r}; {_by_hand(folder)}")
        repeated += before is not info
    return places, repeated


def _notes(members: dict[PurePosixPath, ZipInfo], folder: Path) -> list[str]:
    """What was done to names, and what is still packed."""
    notes = []
    divided = [info.orig_filename for info in members.values() if "\\" in info.orig_filename]
    if divided:
        notes.append(f"a backslash was read as a folder in {len(divided)} name(s), the first is {divided[0]!r}")
    packed = [str(place) for place in members if place.suffix.lower() == ".zip"]
    if packed:
        notes.append(f"{len(packed)} zip(s) inside stay packed, the first is {packed[0]}; unzip them in {folder}")
    return notes


def _encoding_notes(encoding: str, plan: Plan) -> list[str]:
    """How names were read that are not ASCII, and do not say in which encoding they are."""
    names = [str(place) for place in plan.members if not str(place).isascii()]
    if encoding != "cp932" or not names:
        return []
    return [f"names without an encoding were read as Japanese of Windows (cp932), the first is {names[0]}"]


def _by_hand(folder: Path) -> str:
    """The way on where no choice can be made for the user."""
    return f"nothing was unpacked: unpack it yourself into {folder}, or delete it to download it anew"


def _is_copy(place: PurePosixPath, info: ZipInfo, kept: dict[PurePosixPath, ZipInfo], name: str) -> bool:
    """Whether it is in an inner folder `name`, and the same file is outside of that too."""
    if place.parts[0] != name or len(place.parts) == 1:
        return False
    outer = kept.get(PurePosixPath(*place.parts[1:]))
    return outer is not None and (outer.file_size, outer.CRC) == (info.file_size, info.CRC)


def _require_space(plan: Plan, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if plan.bytes > free:
        raise InputError(
            f"unpacking {path.name} takes {decimal(plan.bytes)} and {path.parent} has {decimal(free)} free; "
            "free some space, then run the same command again (the download is kept)"
        )


def _extract(archive: ZipFile, info: ZipInfo, target: Path) -> dict[str, Any]:
    """Write one member; its CRC is checked on the way."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file)
    return {"sha256": sha256_file(target), "bytes": info.file_size}


def verify(folder: Path) -> int:
    """How many files the manifest of `folder` names, all of them there with their checksums.

    Raises:
        InputError: one is missing or changed; names it.
    """
    files: dict[str, dict[str, Any]] = read_json(folder / MANIFEST, LARGEST_MANIFEST)["files"]
    for name in progress(files, f"checking {folder.name}", len(files)):
        path = folder / name
        if not path.is_file() or sha256_file(path) != files[name]["sha256"]:
            state = "has changed since it was fetched" if path.exists() else "is missing"
            raise InputError(f"{path} {state}; delete {folder} and fetch it again, or restore the file")
    return len(files)
