"""The names in a zip: which encoding they are in, and which path in a folder each stands for."""

import os
import posixpath
import re
import stat
import unicodedata
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

_UTF8_FLAG = 0x800
_JAPANESE = r"[\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uff66-\uff9f]"


class Untrusted(Exception):
    """A member that a zip of pictures has no reason to hold; the text says what is wrong with it."""


def encoding_of(path: Path) -> str:
    """The encoding of the names that are not marked as UTF-8: "utf-8", "cp932" (Windows in Japan), else "cp437".

    The format (APPNOTE 4.4.4, bit 11, and appendix D) knows the first and the last only; Windows writes its own.
    """
    with ZipFile(path) as archive:
        infos = archive.infolist()
    names = [info.orig_filename for info in infos if not info.flag_bits & _UTF8_FLAG]
    names = [name for name in names if not name.isascii()]
    for encoding in ("utf-8", "cp932"):
        try:
            decoded = [name.encode("cp437").decode(encoding) for name in names]
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8" or _are_japanese(names, decoded):
            return encoding
    return "cp437"


def _are_japanese(western: list[str], decoded: list[str]) -> bool:
    """Whether names mean more as cp932 than as cp437, in which accented letters make single characters of cp932."""
    if not all(re.search(_JAPANESE, name) for name in decoded):
        return False
    has_word = any(re.search(_JAPANESE + "{2}", name) for name in decoded)
    return has_word or any(not _is_western(name) for name in western)


def _is_western(name: str) -> bool:
    """Whether all that is not ASCII is a Latin letter."""
    return all(char.isascii() or unicodedata.name(char, "").startswith("LATIN") for char in name)


def place_of(info: ZipInfo) -> PurePosixPath:
    """The path of a member below the folder. A backslash divides folders, as the programs mean it that write one.

    Raises:
        Untrusted: it leads outside, or is no plain file.
    """
    name = info.orig_filename.replace("\\", "/")
    inside = posixpath.normpath(name)
    if inside.startswith("/") or re.match("[A-Za-z]:", name) or inside.split("/")[0] in ("..", "."):
        raise Untrusted("leads outside its folder")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise Untrusted("is a link or a device")
    return PurePosixPath(inside)


def is_shadow(place: PurePosixPath) -> bool:
    """Whether macOS or another system left it beside the files that a person put there."""
    return any(part == "__MACOSX" or part.startswith(".") for part in place.parts)


def why_unfit(place: PurePosixPath, folder: Path) -> str:
    """Why a file cannot have this name below `folder`, an existing one; empty where it can."""
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in str(place)):
        return "control characters in their names"
    longest = max(len(part.encode()) for part in place.parts)
    if longest > os.pathconf(folder, "PC_NAME_MAX"):
        return f"names of more than {os.pathconf(folder, 'PC_NAME_MAX')} bytes"
    if len(str(folder / place).encode()) >= os.pathconf(folder, "PC_PATH_MAX") - 1:
        return f"paths of more than {os.pathconf(folder, 'PC_PATH_MAX')} bytes"
    return ""
