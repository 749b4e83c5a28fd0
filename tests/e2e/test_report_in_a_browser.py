"""The page in a real browser: sorting, opening, a narrow window, and that nothing leaves the file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, find_chromium
from conftest import Project, enter

from chestfold.cli import main
from chestfold.core.files import read_json, write_json
from chestfold.evaluate import results

NAMES = "[...document.querySelector('.board').tBodies[0].rows].map(row => row.querySelector('a').textContent)"
STRAYS = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll'))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def shown(_trained_once: Project, tmp_path_factory) -> Iterator[tuple[Browser, list[results.Result]]]:
    """A browser with the page of exp100, exp101 and their ensemble, and these results."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(_trained_once.root, folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, Project(folder / "project"))
        main.main(["ensemble", "exp100", "exp101", "--name", "both"])
        give_scores_of_a_leaderboard(folder / "project" / "submissions")
        main.main(["report", "--out", str(folder / "page.html")])
        found = results.all_results()
    browser = Browser(program, folder / "profile")
    try:
        browser.open((folder / "page.html").as_uri())
        yield browser, found
    finally:
        browser.close()


def give_scores_of_a_leaderboard(folder: Path) -> None:
    """Public and private ones: no leaderboard of the page is wider."""
    upload = {"competition": "chest-contest", "marker": "", "message": "", "public": "0.93125", "private": "0.92875"}
    for name in ("exp100", "exp101", "both"):
        main.main(["submit", name, "--dry-run"])
    for path in folder.glob("*.json"):
        write_json(path, read_json(path) | {"uploads": [upload]})


@pytest.fixture
def browser(shown) -> Browser:
    """The page as it was loaded."""
    page = shown[0]
    page.resize(1280)
    page.open(page.value("location.href.split('#')[0]"))
    return page


def header(name: str) -> str:
    """An expression for a column's button."""
    return f"[...document.querySelectorAll('.board button')].find(b => b.textContent === '{name}')"


def order(browser: Browser) -> dict[str, str]:
    """Column -> aria-sort."""
    cells = "[...document.querySelector('.board').tHead.rows[0].cells]"
    return dict(browser.value(f"{cells}.map(c => [c.textContent, c.getAttribute('aria-sort')])"))


def by(found: list[results.Result], metric: str) -> list[str]:
    return [r.name for r in sorted(found, key=lambda r: r.record.scores.at_half[metric].value)]


def test_a_click_on_a_header_sorts_and_another_turns_the_order(shown, browser):
    before = browser.value(NAMES)
    assert order(browser)["AUC"] == "descending" and set(before) == {"exp100", "exp101", "both"}
    browser.click(header("result"))
    assert browser.value(NAMES) == ["both", "exp100", "exp101"]
    browser.click(header("result"))
    assert browser.value(NAMES) == ["exp101", "exp100", "both"]
    assert order(browser)["result"] == "descending" and order(browser)["AUC"] == "none"
    browser.click(header("ECE"))
    assert browser.value(NAMES) == by(shown[1], "ece") and order(browser)["ECE"] == "ascending"


def test_the_keyboard_sorts_too(shown, browser):
    browser.click(header("F1"))
    browser.press("Tab")
    assert browser.value("document.activeElement.textContent") == "accuracy"
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    assert order(browser)["accuracy"] == "descending" and order(browser)["F1"] == "none"


def test_a_click_opens_an_experiment_and_its_images(browser):
    section = "document.getElementById('exp101')"
    assert browser.value(f"{section}.open") is False
    browser.click(f"{section}.querySelector('summary')")
    browser.until(f"{section}.open && [...{section}.querySelectorAll('img')].every(i => i.complete && i.src)")
    assert browser.value(f"[...{section}.querySelectorAll('img')].map(i => i.naturalWidth)[0]") == 160
    assert browser.value(f"{section}.querySelectorAll('svg.chart').length") >= 8


def test_a_name_of_the_leaderboard_leads_to_its_open_section(browser):
    browser.click("[...document.querySelectorAll('.board a')].find(a => a.textContent === 'both')")
    browser.until("document.getElementById('both').open")
    assert browser.value("location.hash") == "#both"


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser, width):
    browser.resize(width)
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.value(STRAYS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_widest_board_needs_no_scrolling_on_a_laptop(browser, scheme):
    browser.resize(1280, scheme=scheme)
    assert "LB public" in order(browser) and "LB private" in order(browser)
    board = "document.querySelector('.board').closest('.scroll')"
    # figures of a real board are wider: an interval of a difference with its signs, a name of two words
    lengthen = f"""{board}.querySelectorAll('tbody tr').forEach(row => {{
        row.querySelector('a').textContent = 'exp009-mobilenetv2';
        row.cells[6].textContent = '[+0.0000, +0.0000]'; row.cells[6].className = 'interval'; }})"""
    browser.value(lengthen)
    assert browser.value(f"{board}.scrollWidth - {board}.clientWidth") <= 0


def test_no_request_leaves_the_file_and_nothing_is_complained_of(browser):
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    asked = {p["request"]["url"].split("#")[0] for m, p in browser.events if m == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {browser.value("location.href.split('#')[0]")}
    said = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event[0] in said] == []
