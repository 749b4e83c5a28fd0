"""Letters for the names in pictures: a font that has them, or numbers and a legend. matplotlib and Pillow share it.

The fonts that these two bring have no Japanese, Chinese or Korean: they would draw each such name as the same boxes.
"""

import string
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import ImageFont

from chestfold.core.console import say
from chestfold.core.files import write_text

PREFERRED = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "BIZ UDGothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Noto Sans CJK KR",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "PingFang SC",
)
"""The usual ones of Linux, macOS and Windows, the Japanese first; every other installed font comes after them."""
PACKAGE = "noto_cjk_sans_jp_regular"
"""The package behind the extra `fonts`: a font file of Japanese, Chinese and Korean, which is never imported."""
LAST_RESORT = "lastresort"
"""Fonts of this name have a box for every letter there is."""
LEGEND = "class_names.txt"
"""Beside pictures that hold numbers: which class each number is."""
BESIDE_NAMES = string.ascii_letters + string.digits + ".,-|?"
"""What is drawn in one line with a name: a font has these too."""
SIZE = 32
"""Pixels at which letters are compared."""


@dataclass(frozen=True)
class Font:
    """A font file; `index` is the number of the font in a collection."""

    family: str
    path: str
    index: int = 0

    def of_size(self, pixels: int) -> ImageFont.FreeTypeFont:
        """It for Pillow; `OSError` where that cannot draw with it."""
        return ImageFont.truetype(self.path, pixels, index=self.index)


@dataclass(frozen=True)
class Lettering:
    """How the classes are written in pictures. `shown`: class -> text, each different and each with a font."""

    shown: dict[str, str]

    def text(self, words: str) -> str:
        """A class as it is shown. Other words stay, or are spelled as `\\u80ba` where no font has their letters."""
        if words in self.shown:
            return self.shown[words]
        return drawable(words) or words.encode("ascii", "backslashreplace").decode()

    @property
    def numbered(self) -> dict[str, str]:
        """`class 2` -> the name of each class that is shown as a number."""
        return {text: name for name, text in self.shown.items() if text != clean(name)}

    def write_legend(self, folder: Path) -> None:
        """Leave class_names.txt beside pictures that hold numbers, and say so; nothing where all hold names."""
        if not self.numbered:
            return
        write_text(folder / LEGEND, "".join(f"{text} = {name}\n" for text, name in self.numbered.items()))
        meanings = ", ".join(f"{text} is {name}" for text, name in self.numbered.items())
        say(
            f"pictures: {meanings} (also in {folder / LEGEND}), because no font here has these letters; "
            "pip install 'chestfold[fonts]' or any font that has them, and the names are drawn"
        )


def letter(classes: Sequence[str]) -> Lettering:
    """The text of each class: its name; `class N`, counted from 1, where no font has it or two would look alike."""
    numbers = {name: f"class {n}" for n, name in enumerate(classes, start=1)}
    shown = {name: drawable(name) or numbers[name] for name in classes}
    return Lettering(numbers if _look_alike(list(shown.values())) else shown)


def drawable(text: str) -> str:
    """`text` as it can be drawn; empty where no font has all of its letters."""
    cleaned = clean(text)
    return cleaned if find_font(cleaned) else ""


def clean(text: str) -> str:
    """Composed letters (macOS takes them apart), without marks that have no shape of their own."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(c for c in composed if unicodedata.category(c) != "Cf" and not "\ufe00" <= c <= "\ufe0f")


def find_font(text: str) -> Font | None:
    """The first font that has all letters of `text`; None where there is none, or where letters change by context.

    Arabic, Hebrew and Indic scripts are drawn right by libraries that are not everywhere: they count as not there.
    """
    if text.isascii() and text.isprintable():
        return default_font()
    if any(_needs_shaping(letter) for letter in text):
        return None
    letters = "".join(sorted(set(text)))
    return next((font for font in candidates() if _has(font, letters)), None)


def families(texts: Sequence[str]) -> list[str]:
    """Names for matplotlib's `font.family`, which takes each letter from the first one that has it."""
    found = [default_font(), *map(find_font, texts)]
    return list(dict.fromkeys(font.family for font in found if font))


def pillow_font(text: str, pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font for plain English, and else one that has the letters of `text`."""
    font = None if text.isascii() else find_font(text)
    return font.of_size(pixels) if font else ImageFont.load_default(pixels)


def _needs_shaping(letter: str) -> bool:
    right_to_left = unicodedata.bidirectional(letter) in ("R", "AL", "AN")
    return right_to_left or unicodedata.category(letter)[0] == "M"


def _look_alike(texts: list[str]) -> bool:
    """Whether two of the texts are the same, or are the same pixels."""
    masks = [(find_font(text) or default_font()).of_size(SIZE).getmask(text) for text in texts]
    return len({(mask.size, bytes(mask)) for mask in masks}) < len(texts)


@cache
def _has(font: Font, letters: str) -> bool:
    """Whether a font has a visible glyph for each of `letters`, and not the same for all of them."""
    from matplotlib.ft2font import FT2Font

    try:
        face, drawn = FT2Font(font.path), font.of_size(SIZE)
    except (OSError, RuntimeError):  # a damaged file, or one of bitmaps
        return False
    if not all(face.get_char_index(ord(letter)) for letter in letters + BESIDE_NAMES):
        return False
    masks = [drawn.getmask(letter) for letter in letters if not letter.isspace()]
    shapes = {(mask.size, bytes(mask)) for mask in masks}
    return all(mask.getbbox() for mask in masks) and (len(masks) < 2 or len(shapes) > 1)


# Which fonts there are


def candidates() -> Iterator[Font]:
    """All fonts, in the order in which they are tried; looked for only as far as they are asked for."""
    yield default_font()
    known = installed_fonts()
    yield from sorted((font for font in known if font.family in PREFERRED), key=lambda f: PREFERRED.index(f.family))
    yield from packaged_fonts()
    yield from (font for font in known if font.family not in PREFERRED)
    yield from fonts_installed_lately()


def default_font() -> Font:
    """The one that matplotlib brings, and draws with."""
    import matplotlib

    return Font("DejaVu Sans", str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"))


def installed_fonts() -> list[Font]:
    """Those that matplotlib lists, upright and of regular weight first."""
    from matplotlib.font_manager import fontManager

    return [_font(entry) for entry in sorted(fontManager.ttflist, key=_fitness) if _is_real(entry)]


def packaged_fonts() -> list[Font]:
    """That of the extra `fonts`, where it is installed."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return _registered([str(path) for folder in folders or [] for path in sorted(Path(folder).glob("*.otf"))])


@cache
def fonts_installed_lately() -> tuple[Font, ...]:
    """Those that matplotlib does not list yet: it writes its list once, and keeps it for months."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {entry.fname for entry in fontManager.ttflist}
    return tuple(_registered(sorted(set(findSystemFonts()) - listed)))


def _registered(paths: list[str]) -> list[Font]:
    """The fonts of some files, which matplotlib knows from now on; files that it cannot read are left out."""
    from matplotlib.font_manager import fontManager

    found = []
    for path in paths:
        before = len(fontManager.ttflist)
        if not any(entry.fname == path for entry in fontManager.ttflist):
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError, NotImplementedError):  # damaged, or of bitmaps
                continue
        new = fontManager.ttflist[before:] or [e for e in fontManager.ttflist if e.fname == path]
        found += [_font(entry) for entry in new if _is_real(entry)]
    return found


def _font(entry: Any) -> Font:
    return Font(entry.name, entry.fname, getattr(entry, "index", 0))


def _is_real(entry: Any) -> bool:
    return LAST_RESORT not in entry.name.lower().replace(" ", "")


def _fitness(entry: Any) -> tuple[bool, int, str]:
    weight = entry.weight if isinstance(entry.weight, int) else 400
    return entry.style != "normal", abs(weight - 400), entry.name
