"""Which font draws a name, and what stands for a name that none can draw."""

import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.font_manager import FontEntry
from PIL import ImageFont

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


def test_fonts_are_tried_in_the_order_of_how_usual_they_are(monkeypatch):
    known = [Font("Odd", "odd"), Font("Meiryo", "m"), Font("Noto Sans JP", "n"), Font("Other", "other")]
    monkeypatch.setattr(fonts, "installed_fonts", lambda: known)
    monkeypatch.setattr(fonts, "packaged_fonts", lambda: [Font("packaged", "p")])
    monkeypatch.setattr(fonts, "fonts_installed_lately", lambda: (Font("late", "l"),))
    found = [font.family for font in fonts.candidates()]
    assert found == ["DejaVu Sans", "Noto Sans JP", "Meiryo", "packaged", "Odd", "Other", "late"]


def test_without_the_package_there_is_no_packaged_font(monkeypatch):
    monkeypatch.setattr(fonts, "find_spec", lambda name: None)
    assert fonts.packaged_fonts() == []


@pytest.mark.parametrize("text", ["विकार", "طبيعي", "שלום", "١٢", "e\u0308"])
def test_letters_that_change_by_context_are_not_drawn_even_by_a_font_that_has_them(monkeypatch, text):
    monkeypatch.setattr(fonts, "_has", lambda font, letters: True)
    assert fonts.find_font(text) is None and fonts.drawable("正常") == "正常"


def test_one_letter_needs_no_other_to_be_told_from(no_fonts):
    assert letter(["Ж", "ill"]).shown == {"Ж": "Ж", "ill": "ill"}
    assert fonts._has(fonts.default_font(), "Ж") and fonts._has(fonts.default_font(), "Ж Я")
    assert not fonts._has(fonts.default_font(), "Ж肺")


@pytest.mark.parametrize(("text", "is_plain"), [("ill", True), ("Œdème", False), ("肺", True)])
def test_plain_english_and_what_no_font_has_are_drawn_by_pillow(no_fonts, text, is_plain):
    font = fonts.pillow_font(text, 14)
    assert isinstance(font, ImageFont.FreeTypeFont) and font.size == 14
    assert (font.getname()[0] != "DejaVu Sans") is is_plain


def test_a_class_has_its_text_and_other_words_their_own(no_fonts):
    lettering = letter(["healthy", "肺炎"])
    assert (lettering.text("肺炎"), lettering.text("healthy"), lettering.text("Œdème")) == (
        "class 2",
        "healthy",
        "Œdème",
    )


def test_a_legend_is_left_beside_numbers_only(no_fonts, tmp_path, capsys):
    letter(["healthy", "ill"]).write_legend(tmp_path)
    assert list(tmp_path.iterdir()) == [] and not capsys.readouterr().out
    letter(["healthy", "肺炎"]).write_legend(tmp_path)
    assert (tmp_path / "class_names.txt").read_text(encoding="utf-8") == "class 2 = 肺炎\n"
    assert "pictures: class 2 is 肺炎 (also in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a\ufe0fb", "ab"), ("a\ufe00b", "ab"), ("a\ufdffb", "a\ufdffb"), ("a\ufe10b", "a\ufe10b"), ("\u00adill", "ill")],
)
def test_marks_without_a_shape_are_left_out(text, cleaned):
    assert fonts.clean(text) == cleaned


def test_the_families_are_named_once_and_matplotlib_s_own_first(monkeypatch):
    monkeypatch.setattr(fonts, "find_font", lambda text: Font(text, "") if text else None)
    assert fonts.families(["b", "", "a", "b"]) == ["DejaVu Sans", "b", "a"]


def test_a_font_of_a_collection_is_that_of_its_number():
    assert fonts._font(SimpleNamespace(name="n", fname="f", index=2)) == Font("n", "f", 2)
    assert fonts._font(SimpleNamespace(name="n", fname="f")) == Font("n", "f", 0)
    with pytest.raises(OSError, match="invalid argument|cannot open|unknown"):
        Font("DejaVu Sans", fonts.default_font().path, 5).of_size(14)


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ({"a": 399, "b": 401}, "ab"),
        ({"a": 401, "b": 399}, "ab"),
        ({"a": "book", "b": 400}, "ab"),
        ({"a": 402, "b": 399}, "ba"),
    ],
)
def test_fonts_as_far_from_regular_are_in_the_order_of_their_names(weights, order):
    entries = [FontEntry(name=name, style="normal", weight=weight) for name, weight in weights.items()]
    assert [entry.name for entry in sorted(entries, key=fonts._fitness)] == list(order)
