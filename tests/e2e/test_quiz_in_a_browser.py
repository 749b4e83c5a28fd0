"""The readers' quiz in a real browser: played with keys and with touch, its figures held against Python's."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe import violations
from chromium import Browser, find_chromium
from conftest import enter, make_project
from drawn_results import store
from sklearn.metrics import roc_auc_score
from small_patches import write_patches
from tasks import exclusive

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data.catalogue import open_index
from chestfold.synth.blend.dataset import BlendRequest, blend
from chestfold.synth.study.blended_quiz import blended_quiz, draw_samples
from chestfold.synth.study.blended_set import open_blended_set
from chestfold.synth.study.class_quiz import class_quiz
from chestfold.synth.study.quiz import Quiz, outline, write_quiz
from chestfold.synth.study.reader_figures import Answers, Reading, load_answers, read_answers

COUNT = 12
NAMES = ("auc", "accuracy", "sensitivity", "specificity", "d_prime")
PAGES = {
    "synthetic": ["synth", "quiz", "made"],
    "blind": ["synth", "quiz", "made", "--blind"],
    "model": ["quiz", "tiny", "--run", "reader"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Path]:
    """A project with the set `made`, a result on `tiny`, and a page of each kind."""
    project = make_project(tmp_path_factory.mktemp("quiz") / "project")
    write_patches(project.input / "patches")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, project)
        blend(BlendRequest("made", "patches", "patches", count=16))
        rows = open_index("tiny").train.assign(fold=0)
        rows["fold"] = rows["group"].map(lambda group: int(group[1:]) % 3)
        store(project, "reader", exclusive(), rows)
        for name, words in PAGES.items():
            main.main([*words, "--count", str(COUNT), "--out", str(project.root / f"{name}.html")])
        yield project.root


def quiz_of(name: str) -> Quiz:
    """What the page `name` was made of."""
    if name == "model":
        return class_quiz("tiny", [], COUNT, 0, run="reader")
    return blended_quiz("made", COUNT, 0)


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
    """The page of real and synthetic nodules as it opens for the first time, in English."""
    return open_new(window, made, "synthetic")


def open_new(window: Browser, made: Path, name: str) -> Browser:
    """A page as it opens for the first time, in English."""
    window.resize(1280)
    reopen(window, made, name)
    window.value("localStorage.clear()")
    reopen(window, made, name)
    window.click("document.querySelector('[data-language=en]')")
    return window


def reopen(window: Browser, made: Path, name: str) -> None:
    window.open("about:blank")
    window.open((made / f"{name}.html").as_uri())


def text(browser: Browser, element: str) -> str:
    return browser.value(f"document.getElementById('{element}').textContent")


def is_hidden(browser: Browser, element: str) -> bool:
    return browser.value(f"document.getElementById('{element}').hidden")


def click(browser: Browser, element: str) -> None:
    browser.click(f"document.getElementById('{element}')")


def play(browser: Browser, ratings: list[int], by_key: bool = True) -> list[str]:
    """Answer all images; what the page says after each."""
    click(browser, "begin")
    said = []
    for rating in ratings:
        browser.press(str(rating)) if by_key else click(browser, f"rating_{rating}")
        said.append(text(browser, "verdict"))
        if not browser.value("data.blind"):
            browser.press("Enter") if by_key else click(browser, "next")
    return said


def reading_of(quiz: Quiz, ratings: list[int]) -> Reading:
    """Python's figures of the same answers."""
    truth = np.array([question.truth == quiz.classes[1] for question in quiz.questions])
    models = [question.model for question in quiz.questions]
    model = None if None in models else np.array(models, float)
    return read_answers(Answers(truth, np.array(ratings) >= 4, np.array(ratings), model))


ALL_STEPS = [1, 2, 3, 4, 5, 5, 2, 4, 1, 3, 5, 2]


@pytest.mark.parametrize("name", list(PAGES))
@pytest.mark.parametrize("by_key", [True, False], ids=["keys", "touch"])
def test_a_whole_quiz_gives_the_figures_that_python_gives(window, made, name, by_key):
    browser = open_new(window, made, name)
    play(browser, ALL_STEPS, by_key)
    quiz = quiz_of(name)
    reading, shown = reading_of(quiz, ALL_STEPS), browser.value("readerFigures()")
    for figure in NAMES:
        score = getattr(reading, figure)
        assert shown[figure] == pytest.approx([score.value, score.low, score.high], abs=1e-9), figure
    assert shown["chance"] == pytest.approx([reading.p_chance])
    truth = [question.truth == quiz.classes[1] for question in quiz.questions]
    assert shown["auc"][0] == pytest.approx(roc_auc_score(truth, ALL_STEPS))
    rows = browser.value("[...document.querySelectorAll('#figures tr')].map(r => [r.dataset.figure, r.innerText])")
    assert f"{reading.auc.value:.2f}" in dict(rows)["auc"] and len(rows) == 6


def test_the_model_stands_beside_the_reader(window, made):
    browser = open_new(window, made, "model")
    play(browser, ALL_STEPS)
    quiz = quiz_of("model")
    reading = reading_of(quiz, ALL_STEPS)
    shown = browser.value("modelFigures()")
    assert shown["auc"] == pytest.approx([reading.model_auc.value, reading.model_auc.low, reading.model_auc.high])
    gain = browser.value("areaDifference(isSignal, readerFigures().scores, modelFigures().scores)")
    paired = reading.against_model
    assert gain == pytest.approx([paired.value, paired.low, paired.high], abs=1e-12)
    right = sum((q.model >= 0.5) == (q.truth == "ill") for q in quiz.questions)
    assert shown["accuracy"][0] == pytest.approx(right / COUNT)
    assert f"{paired.value:.2f}".replace("-", "−") in text(browser, "difference")
    assert browser.value("document.querySelectorAll('#roc polyline').length") == 2


def test_every_answer_is_followed_by_the_truth_and_an_undecided_one_is_neither_right_nor_wrong(browser):
    truth = [question.truth for question in quiz_of("synthetic").questions]
    ratings = [3 if n % 3 == 0 else 5 for n in range(COUNT)]
    said = play(browser, ratings)
    for kind, rating, words in zip(truth, ratings, said, strict=True):
        begins = "Undecided" if rating == 3 else "Right" if kind == "synthetic" else "Wrong"
        assert words.startswith(begins) and kind in words
    counts = browser.value(
        "['right', 'wrong', 'undecided'].map(k => document.querySelectorAll('#review .' + k).length)"
    )
    assert counts == [sum(words.startswith(b) for words in said) for b in ("Right", "Wrong", "Undecided")]


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_an_interval(browser, right):
    truth = [question.truth == "synthetic" for question in quiz_of("synthetic").questions]
    ratings = [5 if is_signal == right else 1 for is_signal in truth]
    play(browser, ratings)
    found, reading = browser.value("readerFigures()"), reading_of(quiz_of("synthetic"), ratings)
    for figure in ("d_prime", "auc"):
        score = getattr(reading, figure)
        assert found[figure] == pytest.approx([score.value, score.low, score.high])
        assert score.high - score.low > 0.1
    assert ("better" if right else "worse") in text(browser, "sentence")


# What is kept


def test_a_reload_loses_no_answer_and_a_new_start_asks_first(window, made):
    browser = open_new(window, made, "synthetic")
    browser.value("document.getElementById('reader').value = ' Ann '")
    click(browser, "begin")
    for key in ("5", "Enter", "3", "Enter", "1"):
        browser.press(key)
    reopen(browser, made, "synthetic")
    browser.click("document.querySelector('[data-language=en]')")
    assert text(browser, "kept") == f"3 of {COUNT} answers of Ann are kept." and text(browser, "begin") == "Go on"
    assert browser.value("answers.map(a => a.rating)") == [5, 3, 1]
    click(browser, "begin")
    assert text(browser, "progress") == f"Image 4 of {COUNT}"
    reopen(browser, made, "synthetic")
    click(browser, "restart")
    click(browser, "keep")
    assert browser.value("answers.length") == 3 and not browser.value("document.getElementById('sure').open")
    click(browser, "restart")
    click(browser, "discard")
    reopen(browser, made, "synthetic")
    assert browser.value("answers.length") == 0 and is_hidden(browser, "kept")


def test_a_finished_quiz_opens_its_result_again(browser, made):
    play(browser, ALL_STEPS)
    before = text(browser, "figures")
    reopen(browser, made, "synthetic")
    browser.click("document.querySelector('[data-language=en]')")
    click(browser, "begin")
    assert not is_hidden(browser, "result") and text(browser, "figures") == before


def test_the_answers_of_another_quiz_are_not_taken(window, made):
    play(open_new(window, made, "synthetic"), [5] * COUNT)
    for name in ("blind", "model"):
        reopen(window, made, name)
        assert window.value("answers.length") == 0


def test_a_browser_that_keeps_nothing_is_named(browser, made):
    block = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } })"
    script = browser.call("Page.addScriptToEvaluateOnNewDocument", source=block)["identifier"]
    try:
        reopen(browser, made, "synthetic")
        browser.click("document.querySelector('[data-language=en]')")
        assert "do not close or reload" in text(browser, "storage")
        click(browser, "begin")
        browser.press("4")
        assert browser.value("answers.length") == 1
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_a_blind_quiz_says_nothing_before_the_end(window, made):
    browser = open_new(window, made, "blind")
    assert set(play(browser, ALL_STEPS)) == {""}
    assert browser.value("document.querySelectorAll('#review li').length") == COUNT


@pytest.mark.parametrize("name", list(PAGES))
def test_the_saved_answers_are_scored_by_the_command(window, made, tmp_path, capsys, name):
    browser = open_new(window, made, name)
    browser.value("document.getElementById('reader').value = '=山田, \"花子\"'")
    play(browser, ALL_STEPS)
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    click(browser, "save")
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (saved,) = tmp_path.glob("*.csv")
    assert saved.read_bytes().startswith(b"\xef\xbb\xbf"), "Excel takes the mark for UTF-8"
    quiz, table = quiz_of(name), load_answers(saved)
    assert read_answers(table) == reading_of(quiz, ALL_STEPS)
    assert '"=山田, ""花子"""' in saved.read_text("utf-8-sig")
    main.main(["answers" if name == "model" else "synth", *([] if name == "model" else ["answers"]), str(saved)])
    said = capsys.readouterr().out
    assert f"{reading_of(quiz, ALL_STEPS).auc.value:.2f} [" in said and ("AUC of the model" in said) == (
        name == "model"
    )


# The picture


def test_zoom_and_window_by_keys_buttons_and_sliders(browser):
    click(browser, "begin")
    width = "document.getElementById('stage').offsetWidth / document.getElementById('view').offsetWidth"
    browser.press("+")
    click(browser, "larger")
    assert browser.value(width) == pytest.approx(2.25, abs=0.02)
    assert browser.value("$('view').scrollLeft > 0"), "the middle stays in the middle"
    browser.press("-")
    assert browser.value(width) == pytest.approx(1.5, abs=0.02)
    browser.value("document.getElementById('width').focus()")
    for _ in range(5):
        browser.press("ArrowLeft")
    assert text(browser, "width_value") == "250"
    browser.press("0")
    assert browser.value(width) == pytest.approx(1) and text(browser, "width_value") == "255"
    assert browser.value("answers.length") == 0


@pytest.mark.parametrize(("level", "width"), [(128, 255), (100, 40), (40, 200), (200, 400)])
def test_a_window_shows_the_greys_that_it_says(browser, tmp_path, level, width):
    """level - width / 2 is black and level + width / 2 white, linear between them."""
    import cv2

    click(browser, "begin")
    ramp = "(c => { c.width = 256; c.height = 8; const x = c.getContext('2d');"
    ramp += " for (let v = 0; v < 256; v++) { x.fillStyle = `rgb(${v},${v},${v})`; x.fillRect(v, 0, 1, 8); }"
    ramp += " return c.toDataURL(); })(document.createElement('canvas'))"
    browser.value(f"cards[0] = {{ ...cards[0], uri: {ramp}, width: 256, height: 8 }}, showImage(0)")
    browser.value(f"$('level').value = {level}, $('width').value = {width}, setWindow()")
    browser.until("$('image').complete && $('image').naturalWidth === 256")
    browser.screenshot(tmp_path / "shot.png")
    box = browser.value("(({x, y, width, height}) => [x, y, width, height])($('stage').getBoundingClientRect())")
    row = cv2.imread(str(tmp_path / "shot.png"))[round(box[1] + box[3] / 2), :, 1].astype(int)
    values = np.arange(256)
    seen = row[np.round(box[0] + (values + 0.5) * box[2] / 256).astype(int)]
    wanted = np.clip(((values - level) / width + 0.5) * 255, 0, 255)
    assert np.abs(seen - wanted).max() <= 255 / width + 2


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


def test_the_review_enlarges_an_image_with_its_outline_and_its_id(browser):
    questions = quiz_of("synthetic").questions
    play(browser, [5] * COUNT)
    small = "[...document.querySelectorAll('#review path')].map(p => p.getAttribute('d'))"
    assert browser.value(small) == [outline(question.mask) for question in questions]
    browser.click("document.querySelector('#review li:nth-child(3) button')")
    drawn = "document.querySelector('#outline path').getAttribute('d')"
    assert questions[2].id in text(browser, "progress") and browser.value(f"{drawn}.length") > 20
    click(browser, "outlined")
    assert browser.value(drawn) == ""
    browser.press("ArrowRight")
    assert questions[3].id in text(browser, "progress")
    for key in ("1", "5"):
        browser.press(key)
    assert browser.value("answers.map(a => a.rating)") == [5] * COUNT
    browser.press("Escape")
    assert not is_hidden(browser, "result") and browser.value("document.activeElement.parentElement.localName") == "li"


# Languages, looks, silence


def test_the_language_changes_in_the_middle_and_nothing_is_lost(browser):
    click(browser, "begin")
    browser.press("1")
    browser.click("document.querySelector('[data-language=ja]')")
    assert "正解" in text(browser, "verdict") and browser.value("document.documentElement.lang") == "ja"
    assert f"{COUNT} 枚中 1 枚目" in text(browser, "progress")
    pairs = "[TEXTS, ...Object.values(TEXTS_OF_KIND)].map(t => [t.en, t.ja])"
    for english, japanese in browser.value(pairs):
        assert list(english) == list(japanese)
        for name, words in english.items():
            holes = re.findall(r"\{\w+\}", words)
            more = {"data"} if name == "task" else {"a", "b"}
            missing = set(holes) ^ set(re.findall(r"\{\w+\}", japanese[name]))
            assert not missing - {f"{{{hole}}}" for hole in more}, name


def test_no_caption_breaks_inside_a_japanese_word(browser):
    browser.resize(360)
    browser.click("document.querySelector('[data-language=ja]')")
    play(browser, [3, 1, 5] * 4)
    places = """[...document.querySelectorAll('#review span')].flatMap(span => {
        const node = span.firstChild, range = document.createRange(), found = [];
        let above = null;
        for (let n = 0; n < node.length; n++) {
            range.setStart(node, n), range.setEnd(node, n + 1);
            const top = range.getBoundingClientRect().top;
            if (above !== null && top > above + 2) found.push(node.data.slice(n - 1, n + 1));
            above = top;
        }
        return found;
    })"""
    broken = browser.value(places)
    assert broken and all(before == "：" or after == "（" for before, after in broken)


def test_an_answer_counts_once(browser):
    click(browser, "begin")
    for key in ("1", "2", "1", "5"):
        browser.press(key)
    assert browser.value("answers.length") == 1
    browser.press("Enter")
    assert text(browser, "progress") == f"Image 2 of {COUNT}" and text(browser, "verdict") == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_on_any_of_its_views(window, made, width, scheme):
    browser = open_new(window, made, "model")
    browser.resize(width, scheme=scheme)
    found = violations(browser)
    click(browser, "begin")
    found += violations(browser)
    browser.press("4")
    found += violations(browser)
    browser.press("Enter")
    for _ in range(COUNT - 1):
        browser.press("2")
        browser.press("Enter")
    browser.click("document.querySelector('[data-language=ja]')")
    found += violations(browser)
    browser.click("document.querySelector('#review li button')")
    browser.press("+")
    found += violations(browser)
    browser.press("Escape")
    browser.click("document.querySelector('#result .restart')")
    found += violations(browser)
    assert found == [] and browser.value("document.documentElement.scrollWidth") <= width


def test_day_and_night_differ_and_nothing_leaves_the_page(browser, made):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(paper)
    browser.resize(1280, scheme="dark")
    assert browser.value(paper) != light
    asked = [p["request"]["url"] for m, p in browser.events if m == "Network.requestWillBeSent"]
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)
    assert not [m for m, _ in browser.events if m in ("Runtime.exceptionThrown", "Log.entryAdded")]


@pytest.mark.parametrize("name", list(PAGES))
def test_neither_ids_nor_answers_are_in_plain_sight(made, name):
    source = (made / f"{name}.html").read_text()
    assert "default-src 'none'" in source and "Not for clinical use" in source
    for question in quiz_of(name).questions:
        assert question.id not in source


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
        write_quiz(blended_quiz("made", COUNT, 0), made)
    path = made / "input" / "made" / "real.csv"
    before = path.read_bytes()
    path.write_bytes(before + b"r99,q000,p00,\n")
    with pytest.raises(InputError, match=r"real.csv is not the table that was made"):
        open_blended_set("made")
    path.write_bytes(before)
