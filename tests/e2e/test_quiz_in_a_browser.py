"""The readers' quiz in a real browser: played with keys and with touch, its figures held against Python's."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import Browser, find_chromium
from conftest import enter, make_project
from small_patches import write_patches

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.synth.blend.dataset import BlendRequest, blend
from chestfold.synth.study.blended_set import open_blended_set
from chestfold.synth.study.quiz import draw_samples, outline, write_quiz
from chestfold.synth.study.reader_figures import load_answers, read_answers

COUNT = 12
NAMES = ("accuracy", "sensitivity", "specificity", "d_prime")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Path]:
    """A project with the set `made` and the page of its quiz."""
    project = make_project(tmp_path_factory.mktemp("quiz") / "project")
    write_patches(project.input / "patches")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, project)
        blend(BlendRequest("made", "patches", "patches", count=16))
        main.main(["synth", "quiz", "made", "--count", str(COUNT), "--out", str(project.root / "quiz.html")])
        yield project.root


@pytest.fixture(scope="module")
def window(made, tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def browser(window, made) -> Browser:
    """The page as it opens, in English."""
    window.resize(1280)
    window.open((made / "quiz.html").as_uri())
    window.click("document.querySelector('[data-language=en]')")
    return window


def text(browser: Browser, element: str) -> str:
    return browser.value(f"document.getElementById('{element}').textContent")


def click(browser: Browser, element: str) -> None:
    browser.click(f"document.getElementById('{element}')")


def play(browser: Browser, choices: list[str], by_key: bool) -> list[str]:
    """Answer all images; what the page says after each."""
    click(browser, "begin")
    said = []
    for n, choice in enumerate(choices):
        if by_key:
            browser.press({"real": ("1", "ArrowLeft"), "synthetic": ("2", "ArrowRight")}[choice][n % 2])
        else:
            click(browser, choice)
        said.append(text(browser, "verdict"))
        assert browser.value("document.querySelector('#outline path').getAttribute('d').length > 20")
        browser.press("Enter") if by_key else click(browser, "next")
    return said


@pytest.mark.parametrize("by_key", [True, False], ids=["keys", "touch"])
def test_a_whole_quiz_gives_the_figures_that_python_gives(browser, made, by_key):
    truth = [sample.truth for sample in draw_samples(open_blended_set("made"), COUNT, 0)]
    choices = ["synthetic" if n % 3 else "real" for n in range(COUNT)]
    said = play(browser, choices, by_key)
    assert [s.startswith("Right") for s in said] == [a == b for a, b in zip(truth, choices, strict=True)]
    assert [("synthetic" in s) for s in said] == [t == "synthetic" for t in truth]
    reading, shown = read_answers(truth, choices), browser.value("figures()")
    for name in NAMES:
        figure = getattr(reading, name)
        assert shown[name] == pytest.approx([figure.value, figure.low, figure.high], abs=1e-9), name
    assert shown["chance"] == pytest.approx([reading.p_chance])
    rows = browser.value("[...document.querySelectorAll('#figures tr')].map(r => [r.dataset.figure, r.innerText])")
    assert f"{reading.d_prime.value:.2f}" in dict(rows)["d_prime"] and len(rows) == 5
    assert browser.value("document.querySelectorAll('#review .right').length") == sum(s[:5] == "Right" for s in said)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_finite_figures(browser, right):
    truth = [sample.truth for sample in draw_samples(open_blended_set("made"), COUNT, 0)]
    choices = truth if right else [{"real": "synthetic", "synthetic": "real"}[t] for t in truth]
    play(browser, choices, by_key=True)
    found, reading = browser.value("figures()"), read_answers(truth, choices)
    assert found["d_prime"] == pytest.approx([reading.d_prime.value, reading.d_prime.low, reading.d_prime.high])
    assert ("better" if right else "worse") in text(browser, "sentence")


def test_the_saved_answers_are_scored_by_the_command(browser, tmp_path, capsys):
    play(browser, ["real"] * COUNT, by_key=True)
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    click(browser, "save")
    saved, deadline = tmp_path / "quiz_made.csv", time.monotonic() + 30
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    table = load_answers(saved)
    assert len(table) == COUNT and set(table["answer"]) == {"real"} and table["seconds"].astype(float).min() >= 0
    main.main(["synth", "answers", str(saved)])
    assert "0.50 [" in capsys.readouterr().out


def test_the_language_changes_in_the_middle_and_nothing_is_lost(browser):
    click(browser, "begin")
    browser.press("1")
    browser.click("document.querySelector('[data-language=ja]')")
    assert "正解" in text(browser, "verdict") and browser.value("document.documentElement.lang") == "ja"
    assert f"{COUNT} 枚中 1 枚目" in text(browser, "progress")
    keys = browser.value("[Object.keys(TEXTS.en), Object.keys(TEXTS.ja)]")
    assert keys[0] == keys[1]
    holes = browser.value("[TEXTS.en, TEXTS.ja].map(t => Object.values(t).map(s => s.match(/\\{\\w+\\}/g) || []))")
    assert [sorted(h) for h in holes[0]] == [sorted(h) for h in holes[1]]


def test_an_answer_counts_once(browser):
    click(browser, "begin")
    for key in ("1", "2", "1", "ArrowRight"):
        browser.press(key)
    assert browser.value("answers.length") == 1
    browser.press("Enter")
    assert text(browser, "progress") == f"Image 2 of {COUNT}" and text(browser, "verdict") == ""


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (340, 600)])
def test_images_are_large_and_every_pixel_is_the_same_size(browser, width, height):
    browser.resize(width, height, scale=2 if width < 600 else 1)
    click(browser, "begin")
    box = browser.value("(({width, height, right}) => [width, height, right])($('stage').getBoundingClientRect())")
    times = box[0] * browser.value("devicePixelRatio") / 40
    assert times == pytest.approx(round(times)) and box[0] == pytest.approx(box[1]) and box[2] <= width
    assert box[0] >= (0.75 * height if width > 860 else 0.6 * min(width, height - 290))
    assert browser.value("getComputedStyle($('image')).imageRendering") == "pixelated"
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_day_and_night_differ_and_nothing_leaves_the_page(browser, made):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(paper)
    browser.resize(1280, scheme="dark")
    assert browser.value(paper) != light
    asked = [p["request"]["url"] for m, p in browser.events if m == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert not [m for m, _ in browser.events if m in ("Runtime.exceptionThrown", "Log.entryAdded")]
    source = (made / "quiz.html").read_text()
    assert "default-src 'none'" in source and "Not for clinical use" in source
    for sample in draw_samples(open_blended_set("made"), COUNT, 0):
        assert sample.id not in source, "the answers are not in plain sight"


# Without a browser


def test_the_images_are_balanced_seeded_and_of_different_nodules(made):
    blended_set = open_blended_set("made")
    samples = draw_samples(blended_set, COUNT, 3)
    ids = [s.id for s in samples]
    assert (
        ids
        == [s.id for s in draw_samples(blended_set, COUNT, 3)]
        != [s.id for s in draw_samples(blended_set, COUNT, 4)]
    )
    assert [s.truth for s in samples].count("real") == COUNT // 2 and len(set(ids)) == COUNT


def test_no_nodule_is_shown_both_where_it_was_found_and_where_it_was_put(made):
    blended_set = open_blended_set("made")
    blended_set.real["real"] = blended_set.blended["parents"]
    for seed in range(5):
        samples = draw_samples(blended_set, COUNT, seed)
        put = {sample.id[1:] for sample in samples if sample.truth == "synthetic"}
        found = {sample.id[1:] for sample in samples if sample.truth == "real"}
        assert len(put) == len(found) == COUNT // 2 and not put & found


def test_an_outline_runs_along_the_edges_of_the_masks_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    steps = re.findall(r"M(\d+) (\d+)([hv])1", outline(mask))
    assert len(steps) == 2 * (2 + 3)
    drawn = np.zeros((60, 70), np.uint8)
    for x, y, way in steps:
        end = (int(x) + (way == "h"), int(y) + (way == "v"))
        cv2.line(drawn, (10 * int(x), 10 * int(y)), (10 * end[0], 10 * end[1]), 255)
    found, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    assert len(found) == 1 and cv2.boundingRect(found[0]) == (20, 10, 31, 21)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["made", "--count", "13"], "--count 13: an even number"),
        (["made", "--count", "200"], "images for this quiz; ask for --count"),
        (["tiny"], "is no data set of synthetic nodules"),
        (["../made"], "is no data set of synthetic nodules"),
    ],
)
def test_bad_input_is_one_sentence(made, capsys, words, said):
    with pytest.raises(SystemExit) as stop:
        main.main(["synth", "quiz", *words, "--out", str(made / "no.html")])
    complaint = capsys.readouterr().err
    assert stop.value.code == 2 and said in complaint and complaint.count("\n") == 1 and not (made / "no.html").exists()


def test_a_changed_table_and_a_folder_as_a_page_are_refused(made):
    with pytest.raises(InputError, match="a file is needed"):
        write_quiz("made", made, 12, 0)
    path = made / "input" / "made" / "real.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"r99,q000,p00,\n")
    with pytest.raises(InputError, match=r"real.csv is not the table that was made"):
        open_blended_set("made")
    path.write_bytes(before)
