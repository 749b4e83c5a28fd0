"""A downloaded zip becomes a folder: completely or not at all, nothing outside it, with the checksum of every file.

The checksums are kept in the folder as `.sha256.json`, so that one rename makes both appear.
"""

import re
import shutil
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from rich.filesize import decimal

from chestfold.core.console import progress
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, put_folder, read_json, sha256_file, write_json

MANIFEST = ".sha256.json"
_BLOCK = 4096


@dataclass(frozen=True)
class Plan:
    """What of a zip is unpacked: path in the folder -> member; how many files are left out; bytes on disk."""

    members: dict[PurePosixPath, ZipInfo]
    shadows: int
    copies: int
    bytes: int

    @property
    def left_out(self) -> list[str]:
        """A line for each kind; empty where everything is unpacked."""
        lines = []
        if self.copies:
            lines.append(f"left out: {self.copies} file(s) of a second copy of the same")
        if self.shadows:
            lines.append(f"left out: {self.shadows} file(s) hidden or of macOS")
        return lines


def unpack(path: Path, folder: Path, about: dict[str, Any]) -> Plan:
    """Unpack the zip `path` as `folder`, which appears when all is there; `about` goes into its manifest.

    Raises:
        InputError: the zip is damaged, would write outside `folder`, or is larger than the free space.
    """
    work = path.parent / "unpacked"
    shutil.rmtree(work, ignore_errors=True)
    files = {}
    try:
        with explained_disk_errors(folder), ZipFile(path) as archive:
            plan = make_plan(archive, path, folder.name)
            _require_space(plan, path)
            for place in progress(plan.members, f"unpacking {folder.name}", len(plan.members)):
                files[str(place)] = _extract(archive, plan.members[place], work / place)
    except (BadZipFile, zlib.error, EOFError, RuntimeError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path} is damaged or encrypted ({error}); delete it and fetch again") from error
    write_json(work / MANIFEST, {**about, "left_out": plan.left_out, "files": files})
    put_folder(work, folder)
    return plan


def make_plan(archive: ZipFile, path: Path, name: str) -> Plan:
    """Which members go where, below a folder of the given `name`; an outer folder of that name is not repeated.

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
    """The path of a member below the folder, as long as it is inside."""
    place = PurePosixPath(info.filename)
    what = ""
    if place.is_absolute() or ".." in place.parts or re.search(r"[\\:\0]", info.filename) or not place.parts:
        what = "leads outside its folder"
    elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        what = "is a link or a device"
    if what:
        raise InputError(
            f"{path} is not to be trusted: {info.filename!r} {what}; nothing was unpacked, delete the file"
        )
    return place


def _is_shadow(place: PurePosixPath) -> bool:
    """What macOS and other systems leave beside the files that a person put there."""
    return any(part == "__MACOSX" or part.startswith(".") for part in place.parts)


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
    files: dict[str, dict[str, Any]] = read_json(folder / MANIFEST)["files"]
    for name in progress(files, f"checking {folder.name}", len(files)):
        path = folder / name
        if not path.is_file() or sha256_file(path) != files[name]["sha256"]:
            state = "has changed since it was fetched" if path.exists() else "is missing"
            raise InputError(f"{path} {state}; delete {folder} and fetch it again, or restore the file")
    return len(files)
