"""Fonts for the text in images: those of matplotlib and Pillow have no Japanese."""

from typing import Any

JAPANESE = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "Meiryo")
"""In order of preference: the usual ones of Linux, macOS and Windows."""


def japanese_fonts() -> list[Any]:
    """matplotlib's entries (`name`, `fname`) of those of `JAPANESE` that are installed, in regular weight."""
    from matplotlib.font_manager import fontManager

    found = [
        font for font in fontManager.ttflist if font.name in JAPANESE and font.weight in (400, "normal", "regular")
    ]
    return sorted(found, key=lambda font: JAPANESE.index(font.name))
