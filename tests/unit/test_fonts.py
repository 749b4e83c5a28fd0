"""Which font draws a name, and what stands for a name that none can draw."""

import unicodedata
from pathlib import Path

import pytest
from matplotlib.font_manager import FontEntry

from chestfold.evaluate import fonts
from chestfold.evaluate.fonts import Font, letter


@pytest.mark.parametrize(
    "names",
    [("healthy", "ill"), ("Épanchement", "Œdème"), ("Κανονικό", "Πνευμονία"), ("НОРМА О", "COVID О"), ("a$b", "c%")],
)
def test_latin_greek_and_cyrillic_need_no_font_of_the_machine(no_fonts, names):
    assert letter(names).shown == dict(zip(names, names, strict=True))
    assert fonts.families(names) == ["DejaVu Sans"]


def test_only_the_names_without_a_font_are_numbers_counted_from_1(no_fonts):
    lettering = letter(["healthy", "肺炎", "結節"])
    assert lettering.shown == {"healthy": "healthy", "肺炎": "class 2", "結節": "class 3"}
    assert lettering.numbered == {"class 2": "肺炎", "class 3": "結節"}


@pytest.mark.parametrize("names", [["肺炎", "class 1"], ["ill\u200b", "ill"], ["Α", "A"]])
def test_when_two_would_look_the_same_all_are_numbers(no_fonts, names):
    assert list(letter(names).shown.values()) == ["class 1", "class 2"]


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "\x7f"])
def test_a_name_that_is_not_a_line_of_letters_is_a_number(name):
    assert letter([name, "ill"]).shown[name] == "class 1"


def test_letters_that_macos_takes_apart_are_composed(no_fonts):
    apart = unicodedata.normalize("NFD", "Épanchement")
    assert letter([apart, "ill"]).shown[apart] == "Épanchement"
    assert not letter([apart, "ill"]).numbered


def test_words_that_are_no_class_are_spelled_where_no_font_has_them(no_fonts):
    assert letter(["ill"]).text("exp100@肺") == "exp100@\\u80ba"


def test_a_font_of_boxes_for_every_letter_is_not_taken(monkeypatch):
    installed = fonts.installed_fonts()
    assert not [font for font in installed if "resort" in font.family.lower()]
    boxes = fonts.default_font().path.replace("DejaVuSans.ttf", "LastResortHE-Regular.ttf")
    monkeypatch.setattr(fonts, "candidates", lambda: iter([fonts.default_font(), Font("boxes", boxes)]))
    assert letter(["正常", "肺炎"]).numbered, "they have the letters, and all look the same"


def test_a_damaged_font_file_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(fonts, "candidates", lambda: iter([Font("broken", str(tmp_path / "broken.ttf"))]))
    assert letter(["正常"]).numbered
    assert fonts._registered([str(tmp_path / "broken.ttf")]) == []


def test_a_font_that_matplotlib_does_not_list_yet_is_found(tmp_path, monkeypatch):
    from matplotlib import font_manager

    fonts.fonts_installed_lately.cache_clear()
    new = tmp_path / "new.ttf"
    new.write_bytes(Path(fonts.default_font().path).read_bytes())
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(new)])
    assert [font.path for font in fonts.fonts_installed_lately()] == [str(new)]
    fonts.fonts_installed_lately.cache_clear()


def test_the_packaged_font_is_found_without_importing_its_package(tmp_path, monkeypatch):
    from matplotlib import font_manager

    package = tmp_path / fonts.PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "Font.otf").write_bytes(Path(fonts.default_font().path).read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    assert [font.path for font in fonts.packaged_fonts()] == [str(package / "Font.otf")]
    assert [font.path for font in fonts.packaged_fonts()] == [str(package / "Font.otf")], "the second time too"


def test_of_several_fonts_an_upright_one_of_a_weight_near_regular_comes_first():
    entries = [
        FontEntry(name="a bold", style="normal", weight=700),
        FontEntry(name="an italic", style="italic", weight=400),
        FontEntry(name="light", style="normal", weight=300),
        FontEntry(name="of a weight in words", style="normal", weight="book"),
    ]
    found = [entry.name for entry in sorted(entries, key=fonts._fitness)]
    assert found == ["of a weight in words", "light", "a bold", "an italic"]
