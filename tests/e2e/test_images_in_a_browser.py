"""The page's images, viewer, curves and charts in a real browser; the page is made of records, nothing is trained."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import axe_core_python
import cv2
import numpy as np
import pytest
from chromium import Browser, find_chromium
from scipy.stats import spearmanr
from sklearn.calibration import calibration_curve
from tasks import drawn, drawn_probs, exclusive, graded, labelled

from chestfold.core.task import Task
from chestfold.report.data import quantised
from chestfold.report.page import html
from chestfold.report.records import Cases, Grid, Jpeg, Maps, Page, Run, Shown, Table, Unfinished, array

ROWS = 60
PICTURED = 40
NAMES = ("one", "two", "three")
WIDE = (60, 40)
"""Pixels of a picture, across and down."""
TASKS = {
    "two classes": exclusive(),
    "the first of two is positive": exclusive(positive=0),
    "three classes": exclusive(3),
    "four grades": graded(),
    "labels": labelled(),
}
PIXELS = "[...document.querySelectorAll('.stage canvas')].map(c => c.toDataURL())"
TITLE = "document.querySelector('#viewer-title')?.textContent"
CARDS = "[...document.querySelectorAll('.image')]"
SEEN = "document.querySelector('.images') !== null"
SAID = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


class Drawn:
    """A page of three runs with drawn predictions, and what these are."""

    def __init__(self, task: Task, withheld: int = 0) -> None:
        self.task = task
        self.labels, first = drawn(task, ROWS)
        self.probs = {"one": first}
        for name in NAMES[1:]:
            self.probs[name] = drawn_probs(task, self.labels, 0.8, name)
        if withheld:
            self.labels[:withheld] = -1 if task.sums_to_one else np.nan
        picture = np.tile(np.linspace(40, 200, WIDE[0], dtype=np.uint8), (WIDE[1], 1))
        jpeg = Jpeg(cv2.imencode(".jpg", picture)[1].tobytes())
        shown = [Shown(row, f"folder/image{row:02d}", "picture") for row in range(PICTURED)]
        folds = np.arange(ROWS) % 3
        cases = Cases(
            n=ROWS,
            labels=array(self.labels, "uint8"),
            groups=array(np.arange(ROWS) // 2, "uint32"),
            folds=array(folds, "uint8"),
            subgroups=[],
            shown=shown,
        )
        table = Table(
            id="drawn",
            title="drawn, 3 folds",
            data="drawn",
            warning="",
            task=task.name,
            classes=list(task.classes),
            positive=task.positive_number if task.sums_to_one else -1,
            metric={"key": "auc", "title": "AUC", "higher_is_better": True},
            images=ROWS,
            patients=ROWS // 2,
            counts={},
            base=None,
            black=None,
            cases="cases",
            folds=[0, 1, 2],
            fold_count=3,
            fold_file="drawn",
            fold_hash="",
            own=0,
            runs=[self._run(n, name) for n, name in enumerate(NAMES)],
        )
        self.page = Page(
            version="1",
            made="2026-01-02T03:04:05",
            refresh=0,
            defaults={"epochs": 10, "lr": 0.001, "augment": "none"},
            tables=[table],
            cases={"cases": cases},
            thumbs={"picture": jpeg},
        )

    def _run(self, number: int, name: str) -> Run:
        auc = 0.9 - 0.1 * number
        shown = ("auc", "recall", "specificity", "accuracy", "f1")
        scores: dict[str, tuple[float, float, float] | None] = {}
        scores |= dict.fromkeys(shown, (auc, auc - 0.02, auc + 0.02))
        maps = np.zeros((2, 4, 5))
        maps[1, 1, 3] = 1  # for the positive class in row 1, column 3; of the predicted class there is none
        return Run(
            name=name,
            own=False,
            kind="experiment",
            what="",
            date="2026-01-02",
            minutes=1.0,
            machine="",
            command="",
            commit="",
            parent="",
            members=[],
            settings={"lr": 0.01, "epochs": 3 + number, "augment": ("none", "plain", "none")[number]},
            scores=scores,
            gain=None,
            p_false=None,
            gain_images=0,
            marks=[],
            fold_scores=[],
            confusion=[],
            thresholds={},
            probs=array(quantised(self.task, self.probs[name]), "uint16"),
            history={fold: [{"epoch": e, "loss": 1 / e, "auc": 0.6} for e in (1, 2, 3)] for fold in (0, 1, 2)},
            best_epochs=[3, 2, 3],
            leaderboard={"competition": "contest", "public": (0.8, 0.9, 0.7)[number], "private": 0.5 + auc / 10},
            attention=[Grid("Map", ["measure", "all"], [["border", "0.2 [0.1, 0.3]"]], 1, "A note.")],
            maps=Maps(4, 5, 1.0, "ill", {row: array(maps * 255, "uint8") for row in range(PICTURED)}),
        )

    def wrong(self, name: str, threshold: float) -> np.ndarray:
        """Which images a run decides wrongly, bool (N,)."""
        truth = self.task.truth(self.labels)
        return ((self.task.decide(self.probs[name], threshold) != truth) & ~np.isnan(truth)).any(axis=1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    made = Browser(program, tmp_path_factory.mktemp("profile"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open a page with a state."""

    def opened(page: Page, state: str = "", width: int = 1280, scheme: str = "light", lang: str = "en") -> Browser:
        path = tmp_path / "page.html"
        path.write_text(html(page), encoding="utf-8")
        browser.resize(width, scheme=scheme)
        browser.open("about:blank")
        browser.open(f"{path.as_uri()}#lang={lang}&{state}")
        return browser

    return opened


@pytest.fixture(scope="module")
def two() -> Drawn:
    return Drawn(exclusive())


def see(browser: Browser, section: str) -> None:
    """Scroll to a section, which is drawn then."""
    browser.value(f"document.getElementById('{section}').scrollIntoView()")
    browser.until(f"!document.getElementById('{section}').classList.contains('waiting')")


def counts(browser: Browser) -> list[int]:
    texts = browser.value("[...document.querySelectorAll('#images .chips button')].map(b => b.textContent)")
    return [int(text.split(" · ")[1]) for text in texts]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("withheld", [0, 5])
def test_the_filters_count_what_python_counts_at_every_cutoff(show, name, withheld):
    made = Drawn(TASKS[name], withheld)
    for cut in (50, 31):
        wrong = np.stack([made.wrong(run, cut / 100) for run in NAMES])
        only = [int((wrong[n] & (wrong.sum(axis=0) == 1)).sum()) for n in range(len(NAMES))]
        page = show(made.page, f"t={cut}")
        see(page, "images")
        assert counts(page) == [ROWS, int(wrong.all(axis=0).sum()), *only]


def test_the_filters_follow_the_cutoff(show, two):
    page = show(two.page)
    see(page, "images")
    before = counts(page)
    page.value("app.set({t: 90})")
    wrong = np.stack([two.wrong(run, 0.9) for run in NAMES])
    page.until(f"document.querySelector('#filter-1').textContent.endsWith('· {wrong.all(axis=0).sum()}')")
    assert counts(page) != before


@pytest.mark.parametrize("name", TASKS)
def test_a_filter_leaves_its_images_the_hardest_first(show, name):
    made = Drawn(TASKS[name])
    page = show(made.page)
    see(page, "images")
    given = np.mean([made.task.of_truth(made.probs[run], made.labels) for run in NAMES], axis=0)
    for button, rows in ((0, np.ones(ROWS, bool)), (2, made.wrong("one", 0.5) & ~made.wrong("two", 0.5))):
        page.click(f"document.querySelector('#filter-{button}')")
        expected = np.flatnonzero(rows if button == 0 else rows & ~made.wrong("three", 0.5))
        listed = page.value(f"{CARDS}.map(card => Number(card.id.split('-')[1]))")
        assert sorted(listed) == [row for row in expected if row < PICTURED]
        assert (np.diff(given[listed]) >= -1e-3).all()


def test_enter_opens_an_image_escape_closes_it_and_the_focus_comes_back(show, two):
    page = show(two.page)
    see(page, "images")
    card = page.value(f"{CARDS}[3].focus(), {CARDS}[3].id")
    page.press("Enter")
    page.until(f"{PIXELS}.length === 3")
    assert page.value(TITLE) == f"folder/image{int(card.split('-')[1]):02d}"
    assert page.value("location.hash.includes('img=')")
    assert page.value("document.activeElement.className") == "stage"
    page.press("Escape")
    page.until("document.querySelector('dialog') === null")
    assert not page.value("location.hash.includes('img=')")
    assert page.value("document.activeElement.id") == card


def test_the_back_button_closes_an_image(show, two):
    page = show(two.page)
    see(page, "images")
    page.click(f"{CARDS}[0]")
    page.until("document.querySelector('.stage') !== null")
    page.value("history.back()")
    page.until("document.querySelector('dialog') === null")


def test_arrow_keys_go_through_the_list_but_not_while_they_move_a_slider(show, two):
    page = show(two.page)
    see(page, "images")
    order = page.value(f"{CARDS}.map(card => card.title.split(':')[0])")
    page.click(f"{CARDS}[0]")
    page.until(f"{PIXELS}.length === 3")
    page.press("ArrowLeft")  # there is none before the first
    page.press("ArrowRight")
    page.until(f"{TITLE} === '{order[1]}'")
    page.press("ArrowLeft")
    page.until(f"{TITLE} === '{order[0]}'")
    page.value("document.getElementById('level').focus()")
    page.press("ArrowRight")
    assert page.value(TITLE) == order[0]
    assert page.value("document.getElementById('level').value") == "129"


def move(page: Browser, slider: str, value: float) -> None:
    put = f"(s => {{ s.value = {value}; s.dispatchEvent(new Event('input')); }})"
    page.value(f"{put}(document.getElementById('{slider}'))")


def test_level_window_and_zoom_change_the_pixels_and_a_button_brings_them_back(show, two):
    page = show(two.page, "img=2")
    page.until(f"{PIXELS}.length === 3")
    untouched = page.value(PIXELS)
    seen = [untouched]
    for change in (("level", 60), ("window", 80)):
        move(page, *change)
        seen.append(page.value(PIXELS))
    page.click("document.getElementById('zoom_in')")
    seen.append(page.value(PIXELS))
    for before, after in pairwise(seen):
        assert all(one != other for one, other in zip(before, after, strict=True))
    page.click("document.getElementById('as_it_was')")
    page.until("document.getElementById('level').value === '128'")
    assert page.value(PIXELS) == untouched


def grey(page: Browser, panel: int, x: float, y: float) -> list[int]:
    """Red, green and blue of a panel at a place in shares of its sides."""
    canvas = f"document.querySelectorAll('.stage canvas')[{panel}]"
    at = f"{x} * c.width, {y} * c.height, 1, 1"
    return page.value(f"(c => [...c.getContext('2d').getImageData({at}).data.slice(0, 3)])({canvas})")


def test_the_window_maps_grey_levels_as_a_radiographer_knows_it(show, two):
    page = show(two.page, "img=2")
    page.until(f"{PIXELS}.length === 3")
    before = grey(page, 0, 0.5, 0.5)[0]
    move(page, "level", before + 10)
    move(page, "window", 80)
    assert abs(grey(page, 0, 0.5, 0.5)[0] - 256 * (40 - 10) / 80) <= 4
    assert grey(page, 0, 0.02, 0.5) == [0, 0, 0] and grey(page, 0, 0.98, 0.5) == [255, 255, 255]


def test_a_picture_keeps_its_shape(show, two):
    page = show(two.page, "img=2")
    page.until(f"{PIXELS}.length === 3")
    box = "document.querySelector('.stage canvas').getBoundingClientRect()"
    assert page.value(f"{box}.width / {box}.height") == pytest.approx(WIDE[0] / WIDE[1], rel=0.02)


def test_dragging_moves_a_picture_that_is_zoomed(show, two):
    page = show(two.page, "img=2")
    page.until(f"{PIXELS}.length === 3")
    page.click("document.getElementById('zoom_in')")
    before = page.value(PIXELS)
    place = page.value(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('canvas').getBoundingClientRect())"
    )
    for kind, aside in (("mousePressed", 0), ("mouseMoved", 40), ("mouseReleased", 40)):
        page.call("Input.dispatchMouseEvent", type=kind, x=place[0] + aside, y=place[1], button="left", buttons=1)
    page.until(f"JSON.stringify({PIXELS}) !== {json.dumps(json.dumps(before, separators=(',', ':')))}")


@pytest.mark.parametrize(("part", "hot"), [(1.0, (0.7, 0.375)), (0.8, (0.66, 0.4))])
def test_a_heat_map_lies_where_the_network_looked(show, two, part, hot):
    table = two.page.tables[0]
    runs = [replace(run, maps=replace(run.maps, part=part)) for run in table.runs]
    page = show(replace(two.page, tables=[replace(table, runs=runs)]), "img=2&a=one&b=two")
    page.until(f"{PIXELS}.length === 3")
    picture, heated = grey(page, 0, *hot), grey(page, 1, *hot)
    assert picture[0] == picture[2] and heated[0] > heated[2] + 60  # orange
    assert grey(page, 1, 0.05, 0.95) == grey(page, 0, 0.05, 0.95)
    cold = grey(page, 1, hot[0], 0.8)
    assert cold == grey(page, 0, hot[0], 0.8)
    move(page, "opacity", 0)
    page.click("document.getElementById('contours')")
    assert grey(page, 1, *hot) == picture


def test_outlines_lie_over_the_picture_until_they_are_switched_off(show, two):
    cases = two.page.cases["cases"]
    mask = np.zeros((8, 8), bool)
    mask[2:6, 1:4] = True  # its left edge is at 1 / 8, its right one at 4 / 8
    outlines = {"lungs": np.packbits(mask).tobytes()}
    shown = [replace(image, outlines=outlines if image.row == 2 else {}) for image in cases.shown]
    page = show(replace(two.page, cases={"cases": replace(cases, shown=shown)}), "img=2&a=one&b=two")
    page.until(f"{PIXELS}.length === 3")
    for panel in range(3):
        for x in (1 / 8, 4 / 8):
            red, _, blue = grey(page, panel, x, 0.5)
            assert blue > red + 60
    plain = [grey(page, 0, *place) for place in ((0.3, 0.5), (0.5, 0.9), (0.9, 0.5))]
    assert all(red == blue for red, _, blue in plain)
    assert page.value("document.querySelector('dialog .legend').textContent") == "lungs"
    page.click("document.getElementById('outlines')")
    red, _, blue = grey(page, 0, 1 / 8, 0.5)
    assert red == blue
    page.press("Escape")
    page.until("document.querySelector('dialog') === null")
    page.value("app.openImage(3)")
    page.until(f"{TITLE} === 'folder/image03' && {PIXELS}.length === 3")
    assert page.value("document.getElementById('outlines') === null")  # not known


def test_an_empty_map_says_so_and_a_panel_can_be_hidden(show, two):
    page = show(two.page, "img=2&a=one&b=two")
    page.until(f"{PIXELS}.length === 3")
    captions = "[...document.querySelectorAll('.stage figcaption')].map(c => c.textContent)"
    assert page.value(captions)[1] == "A one: evidence for ill · 2026-01-02"
    select = "document.getElementById('target')"
    page.value(f"{select}.selectedIndex = 0, {select}.dispatchEvent(new Event('change'))")
    assert all("empty" in caption for caption in page.value(captions)[1:])
    page.click("document.getElementById('panel_1')")
    assert len(page.value(captions)) == 2
    for panel in (0, 2):
        page.click(f"document.getElementById('panel_{panel}')")
    assert len(page.value(captions)) == 1  # something is always seen


def test_without_pictures_the_list_says_why_and_has_the_probabilities(show, two):
    cases = two.page.cases["cases"]
    shown = [replace(image, thumb=None) for image in cases.shown]
    page = show(replace(two.page, thumbs={}, cases={"cases": replace(cases, shown=shown)}))
    see(page, "images")
    assert "not in the input folder" in page.value("document.getElementById('images').textContent")
    first = int(page.value(f"{CARDS}[0].id.split('-')[1]"))
    assert f"one {two.probs['one'][first, 1]:.2f}" in page.value(f"{CARDS}[0].textContent")
    page.click(f"{CARDS}[0]")
    page.until(f"{TITLE} === 'folder/image{first:02d}'")
    assert page.value("document.querySelectorAll('dialog tbody tr').length") == 3


def test_pictures_that_are_left_out_are_counted_and_listed_last(show, two):
    cases = two.page.cases["cases"]
    shown = [replace(image, thumb=None if image.row < 3 else image.thumb) for image in cases.shown]
    page = show(replace(two.page, cases={"cases": replace(cases, shown=shown)}))
    see(page, "images")
    assert "3 of them have no picture here" in page.value("document.getElementById('images').textContent")
    pictured = page.value(f"{CARDS}.map(card => card.querySelector('img') !== null)")
    assert pictured == sorted(pictured, reverse=True) and pictured.count(False) == 3


def test_an_image_that_the_page_does_not_list_opens_without_a_picture(show, two):
    page = show(two.page, f"img={ROWS - 1}")
    page.until("document.querySelector('dialog p') !== null")
    assert page.value(TITLE) == f"Image number {ROWS}"
    for state in (f"img={ROWS}", "img=-1", "img=x"):
        assert not show(two.page, state).value("document.querySelector('dialog') !== null")


@pytest.mark.parametrize(
    ("width", "scheme", "lang"), [(1280, "light", "en"), (1280, "dark", "ja"), (360, "light", "ja")]
)
@pytest.mark.parametrize("state", ["img=2", ""])
def test_axe_finds_nothing(show, two, width, scheme, lang, state):
    page = show(two.page, state, width, scheme, lang)
    if state:
        page.until(f"{PIXELS}.length > 0")
    for section in page.value("views.map(view => view.id)"):
        see(page, section)
    page.value(AXE + "; true")
    part = "'dialog'" if state else "document"
    found = page.value(f"axe.run({part}).then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html)))")
    assert found == []
    assert page.value("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_leaves_the_page_and_the_console_stays_empty(show, two):
    browser = show(two.page)
    browser.events.clear()
    page = show(two.page, "img=2")
    for section in page.value("views.map(view => view.id)"):
        see(page, section)
    asked = {p["request"]["url"] for method, p in page.events if method == "Network.requestWillBeSent"}
    assert all(url.startswith(("file:", "data:", "about:")) for url in asked)
    assert [event for event in page.events if event[0] in SAID] == []


def test_the_rank_correlation_is_scipys(show, two):
    page = show(two.page)
    rng = np.random.default_rng(0)
    for count, steps in ((3, 1), (3, 100), (20, 1), (20, 4), (20, 100)):
        x = np.round(rng.normal(size=count) * steps) / steps
        y = np.round((x + rng.normal(size=count)) * steps) / steps
        found = page.value(f"spearman({x.tolist()}, {y.tolist()})")
        assert found == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    for x, y in (([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])):
        assert page.value(f"Number.isNaN(spearman({x}, {y}))")


def test_the_leaderboard_says_the_correlation_and_changes_its_axis(show, two):
    page = show(two.page)
    see(page, "leaderboard")
    text = "document.getElementById('leaderboard').textContent"
    assert "LB public: rank correlation (Spearman) 0.50, n = 3" in page.value(text)
    assert "LB private: rank correlation (Spearman) 1.00, n = 3" in page.value(text)
    select = "document.getElementById('choose-across')"
    page.value(f"{select}.value = 'f1', {select}.dispatchEvent(new Event('change'))")
    assert page.value("location.hash.includes('across=f1')")
    runs = [replace(run, leaderboard=None) for run in two.page.tables[0].runs]
    page = show(replace(two.page, tables=[replace(two.page.tables[0], runs=runs)]))
    see(page, "leaderboard")
    assert "Nothing of this data set was submitted." in page.value(text)


@pytest.mark.parametrize("name", ["two classes", "the first of two is positive", "labels"])
def test_reliability_is_sklearns(show, name):
    made = Drawn(TASKS[name], withheld=4)
    found = show(made.page).value("reliabilityBins(reliabilityPairs(app.run('one')))")
    truth, probs = made.task.truth(made.labels), made.probs["one"]
    scored = made.task.scored_classes
    known = ~np.isnan(truth[:, scored])
    so, prob = truth[:, scored][known], probs[:, scored][known]
    shares, means = calibration_curve(so, prob, n_bins=15)
    assert [one["count"] for one in found] == [int(n) for n in np.histogram(prob, 15, (0, 1))[0] if n]
    assert [one["share"] for one in found] == pytest.approx(shares.tolist())
    assert [one["mean"] for one in found] == pytest.approx(means.tolist(), abs=1e-4)


def test_curves_of_what_is_chosen_and_of_what_is_still_training(show, two):
    begun = Unfinished(
        "live", "drawn", [{"fold": 0, "done": 2, "epochs": 9, "finished": False}], {0: [{"epoch": 1, "loss": 0.7}]}
    )
    other = replace(begun, name="elsewhere", data="another")
    new = replace(begun, name="new", data="without results")
    tables = [*two.page.tables, replace(two.page.tables[0], id="another", data="another", runs=[])]
    page = show(replace(two.page, tables=tables, unfinished=[begun, other, new]), "a=one&b=two")
    see(page, "training")
    legend = "[...document.querySelectorAll('#training .legend span')].map(s => s.textContent)"
    assert page.value(legend) == ["one", "two", "live", "new"]
    text = page.value("document.getElementById('training').textContent")
    assert "fold 0: 2 of 9 epochs" in text and "elsewhere" not in text
    assert page.value("document.querySelectorAll('#training svg g[fill=none] path').length") >= 7
    kept, lonely = 6, 2
    assert page.value("document.querySelectorAll('#training svg circle').length") == kept + lonely
    page.value("app.set({epochs_of: 'auc'})")
    assert "AUC" in page.value("document.querySelector('#training svg').getAttribute('aria-label')")


def test_a_page_without_results_shows_the_curves_of_what_is_training(show, two):
    begun = Unfinished(
        "live", "drawn", [{"fold": 0, "done": 1, "epochs": 9, "finished": False}], {0: [{"epoch": 1, "loss": 0.7}]}
    )
    browser = show(two.page)
    browser.events.clear()
    page = show(replace(two.page, tables=[], cases={}, thumbs={}, unfinished=[begun]))
    see(page, "training")
    assert page.value("document.querySelectorAll('#training svg circle').length") == 1  # a line needs two epochs
    assert [event for event in page.events if event[0] in SAID] == []


def test_a_published_run_has_no_curve_and_says_so(show, two):
    table = two.page.tables[0]
    runs = [replace(table.runs[0], history=None), *table.runs[1:]]
    page = show(replace(two.page, tables=[replace(table, runs=runs)]), "a=one&b=")
    see(page, "training")
    text = page.value("document.getElementById('training').textContent")
    assert "one: published without its epochs" in text
    assert page.value("document.querySelector('#training svg') === null")


def test_the_settings_that_vary_have_an_axis_each(show, two):
    page = show(two.page)
    see(page, "parallel")
    texts = page.value("[...document.querySelectorAll('#parallel text')].map(t => t.textContent)")
    assert {"epochs", "augment", "AUC", "3", "4", "5", "none", "plain", "0.7000", "0.9000"} <= set(texts)
    assert "lr" not in texts


def test_a_table_of_attention_is_drawn_when_it_is_opened(show, two):
    page = show(two.page, "a=one&b=")
    see(page, "attention")
    assert page.value("document.querySelectorAll('#attention td').length") == 0
    page.value("dispatchEvent(new Event('beforeprint'))")  # what is drawn above it later would move it
    page.click("document.querySelector('#attention summary')")
    page.until("document.querySelectorAll('#attention td').length === 1")
    assert page.value("document.querySelector('#attention td small').textContent") == "[0.1, 0.3]"


def test_a_live_page_is_renewed_but_not_while_an_image_is_open(show, two):
    page = show(replace(two.page, refresh=0.4), "img=2&a=two&b=one")
    page.until(f"{PIXELS}.length === 3")
    page.value("window.isOld = true, new Promise(done => setTimeout(done, 1000))")
    assert page.value("window.isOld")
    page.value("document.querySelector('dialog').close()")
    kept = "app.state.a === 'two' && app.state.img === ''"
    page.until(f"window.isOld === undefined && document.readyState === 'complete' && {kept}")
