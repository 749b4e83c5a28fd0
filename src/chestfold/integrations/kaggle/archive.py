"""A downloaded zip becomes a folder: wholly or not at all, nothing outside it, and with the checksum of every file.

The checksums lie in the folder as `.sha256.json`, so that one rename makes both appear.
"""

import hashlib
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from chestfold.core.console import progress
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, read_json, sha256_file, write_json

MANIFEST = ".sha256.json"
_CHUNK = 1 << 20
_BLOCK = 4096


@dataclass(frozen=True)
class Plan:
    """What of a zip is unpacked: place in the folder -> member; how much is left out; the bytes on disk it takes."""

    members: dict[PurePosixPath, ZipInfo]
    shadows: int
    copies: int
    bytes: int

    @property
    def left_out(self) -> list[str]:
        """In words, for a person; empty where everything is unpacked."""
        said = [(self.copies, "of a second copy of the same"), (self.shadows, "hidden or of macOS")]
        return [f"left out: {count} file(s) {what}" for count, what in said if count]


def is_whole(path: Path) -> bool:
    """Whether `path` is a zip with its end: one that was cut off has no table of contents."""
    try:
        with ZipFile(path):
            return True
    except (BadZipFile, OSError):
        return False


def unpack(path: Path, folder: Path, about: dict[str, Any]) -> Plan:
    """Unpack the zip `path` as `folder`, which appears when all is there; `about` goes into its manifest.

    Raises:
        InputError: the zip is damaged, would write outside `folder`, or is larger than the free space.
    """
    work = path.parent / "unpacked"
    shutil.rmtree(work, ignore_errors=True)
    try:
        with explained_disk_errors(folder), ZipFile(path) as archive:
            plan = make_plan(archive, path, folder.name)
            _require_space(plan, path)
            files = {str(place): _extract(archive, plan.members[place], work / place) for place in _shown(plan, folder)}
    except (BadZipFile, zlib.error, EOFError, RuntimeError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path} is damaged or encrypted ({error}); delete it and fetch again") from error
    write_json(work / MANIFEST, {**about, "left_out": plan.left_out, "files": files})
    os.sync()  # the folder must not appear before its files are on the disk
    work.replace(folder)
    return plan


def _shown(plan: Plan, folder: Path) -> Iterable[PurePosixPath]:
    return progress(plan.members, f"unpacking {folder.name}", len(plan.members))


def make_plan(archive: ZipFile, path: Path, name: str) -> Plan:
    """Which members go where, below a folder called `name`; an outer folder of that name is not repeated.

    Raises:
        InputError: a member is no plain file, leaves the folder, or two are the same file.
    """
    infos = [info for info in archive.infolist() if not info.is_dir()]
    places = [_place(info, path) for info in infos]
    kept = {place: info for place, info in zip(places, infos, strict=True) if not _is_shadow(place)}
    if len(set(places)) < len(places):
        raise InputError(f"{path} holds two files of one name; it was not unpacked")
    if not kept:
        raise InputError(f"{path} holds no files; fetch it again")
    shadows = len(infos) - len(kept)
    if all(len(place.parts) > 1 and place.parts[0] == name for place in kept):
        kept = {PurePosixPath(*place.parts[1:]): info for place, info in kept.items()}
    members = {place: info for place, info in kept.items() if not _is_copy(place, info, kept, name)}
    size = sum(-(-info.file_size // _BLOCK) * _BLOCK for info in members.values())
    return Plan(members, shadows, len(kept) - len(members), size)


def _place(info: ZipInfo, path: Path) -> PurePosixPath:
    """Where a member wants to lie, as long as that is inside."""
    place, kind = PurePosixPath(info.filename), stat.S_IFMT(info.external_attr >> 16)
    outside = place.is_absolute() or ".." in place.parts or re.search(r"[\\:\0]", info.filename) or not place.parts
    if outside or kind not in (0, stat.S_IFREG):
        what = "leads outside its folder" if outside else "is a link or a device"
        raise InputError(
            f"{path} is not to be trusted: {info.filename!r} {what}; nothing was unpacked, delete the file"
        )
    return place


def _is_shadow(place: PurePosixPath) -> bool:
    """What macOS and other systems leave beside the files that a person put there."""
    return any(part == "__MACOSX" or part.startswith(".") for part in place.parts)


def _is_copy(place: PurePosixPath, info: ZipInfo, kept: dict[PurePosixPath, ZipInfo], name: str) -> bool:
    """Whether it lies in an inner folder `name` and stands outside of that with the same content too."""
    if place.parts[0] != name or len(place.parts) == 1:
        return False
    baseline = kept.get(PurePosixPath(*place.parts[1:]))
    return baseline is not None and (baseline.file_size, baseline.CRC) == (info.file_size, info.CRC)


def _require_space(plan: Plan, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if plan.bytes > free:
        raise InputError(
            f"unpacking {path.name} takes {format_bytes(plan.bytes)} and {path.parent} has {format_bytes(free)} free; "
            "make room, then run the same command again (the download is kept)"
        )


def format_bytes(count: float) -> str:
    """`1.2 GB`, in powers of 1000."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _extract(archive: ZipFile, info: ZipInfo, target: Path) -> dict[str, Any]:
    """Write one member; its CRC is checked on the way."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(info) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return {"sha256": digest.hexdigest(), "bytes": info.file_size}


def verify(folder: Path) -> int:
    """How many files the manifest of `folder` names, all of them there with their checksums.

    Raises:
        InputError: one is missing or changed; names it.
    """
    files: dict[str, dict[str, Any]] = read_json(folder / MANIFEST)["files"]
    for name in progress(files, f"checking {folder.name}", len(files)):
        path = folder / name
        if not path.is_file() or sha256_file(path) != files[name]["sha256"]:
            state = "has changed since it was fetched" if path.exists() else "is missing"
            raise InputError(f"{path} {state}; delete {folder} and fetch it again, or restore the file")
    return len(files)
