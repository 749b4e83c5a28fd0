"""The page in a real browser: search, choice, comparison, threshold, languages, print, and that all can read it."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import axe_core_python
import numpy as np
import pytest
import tasks
from chromium import Browser, find_chromium
from conftest import Project, enter

from chestfold.cli import main
from chestfold.core.task import Task
from chestfold.evaluate import results
from chestfold.evaluate.metrics import METRICS, Predicted, value_of
from chestfold.evaluate.paired import compare
from chestfold.report import page as report_page
from chestfold.report.data import quantised
from chestfold.report.records import Cases, Page, Run, Table, Unfinished, array

AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
NAMES = "[...document.querySelectorAll('.runs tbody th button')].map(b => b.textContent)"
DRAW_ALL = "dispatchEvent(new Event('beforeprint'))"
COUNTS = "['found', 'missed', 'alarms', 'cleared'].map(k => document.querySelector(`.matrix .${k} b`).textContent)"
STRAYS = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll'))
    .filter(e => !e.closest('svg') && !e.matches('.skip') && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 80))"""
CUTS = (0, 1, 29, 37, 50, 58, 99, 100)
TASKS = [tasks.exclusive(2, 0), tasks.exclusive(3), tasks.labelled(), tasks.graded()]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    browser = Browser(program, tmp_path_factory.mktemp("browser") / "profile")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def shown(_trained_once: Project, tmp_path_factory) -> tuple[str, dict[str, results.Result]]:
    """The page of exp100, exp101 and their published ensemble, and these results by name."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(_trained_once.root, folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, Project(folder / "project"))
        main.main(["ensemble", "exp100", "exp101", "--name", "both"])
        main.main(["publish", "both"])
        shutil.rmtree(folder / "project" / "runs" / "both")
        main.main(["report", "--out", str(folder / "page.html")])
        found = {result.name: result for result in results.all_results()}
    return (folder / "page.html").as_uri(), found


@pytest.fixture
def browser(chromium: Browser, shown) -> Browser:
    """The page as it is loaded the first time, all of it drawn."""
    chromium.resize(1280)
    open_page(chromium, shown[0])
    return chromium


def open_page(browser: Browser, address: str) -> None:
    browser.open("about:blank")
    browser.open(address)
    browser.value(DRAW_ALL)


def search(browser: Browser, text: str) -> None:
    browser.value("document.getElementById('search').select()")
    browser.call("Input.insertText", text=text)


def by_id(name: str) -> str:
    return f"document.getElementById('{name}')"


def text_of(browser: Browser, selector: str) -> str:
    return browser.value(f"document.querySelector('{selector}').textContent")


def state(browser: Browser) -> dict[str, str]:
    """What the address says."""
    return dict(browser.value("[...new URLSearchParams(location.hash.slice(1))]"))


def set_slider(browser: Browser, name: str, value: float) -> None:
    browser.value(f"{by_id(name)}.value = {value}; {by_id(name)}.dispatchEvent(new Event('input'))")


def order(browser: Browser) -> dict[str, str]:
    """Column -> aria-sort."""
    cells = "[...document.querySelectorAll('.runs th[aria-sort]')]"
    pairs = browser.value(f"{cells}.map(c => [c.querySelector('button').id, c.getAttribute('aria-sort')])")
    return {button.removeprefix("sort-"): sort for button, sort in pairs}


# Runs


def test_own_runs_come_first_and_published_ones_when_asked_for(browser):
    assert browser.value(NAMES) == by_auc(browser, ["exp100", "exp101"])
    browser.click(by_id("all"))
    assert browser.value(NAMES) == by_auc(browser, ["exp100", "exp101", "both"])
    assert state(browser)["all"] == "published"


def by_auc(browser: Browser, names: list[str]) -> list[str]:
    values = {name: browser.value(f"app.run('{name}').scores.auc[0]") for name in names}
    return sorted(names, key=lambda name: -values[name])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("experiment exp10", {"exp100", "exp101"}),
        ("BOTH", {"both"}),
        ("seed=1", {"exp101"}),
        ("seed!=1", {"exp100"}),
        ("ｅｐｏｃｈｓ≦２ exp101", {"exp101"}),
        ("auc > 0 minutes>=0", {"exp100", "exp101", "both"}),
        ("sensitivity>1", set()),
        ("nonsense", set()),
    ],
)
def test_a_search_finds_by_words_and_conditions(browser, text, found):
    search(browser, text)
    assert set(browser.value(NAMES)) == found
    assert browser.value("document.querySelector('.fault')") is None and state(browser)["q"] == text


@pytest.mark.parametrize(
    ("text", "said"),
    [("colour=red", '"colour"'), ("auc>high", "a number is needed after >"), ("seed=", "a value is needed after =")],
)
def test_a_wrong_condition_says_what_is_wrong(browser, text, said):
    search(browser, text)
    assert said in text_of(browser, ".fault") and len(browser.value(NAMES)) == 3


def test_a_click_on_a_header_sorts_and_another_turns_the_order(browser):
    assert order(browser)["auc"] == "descending"
    browser.click(by_id("sort-name"))
    assert browser.value(NAMES) == ["exp100", "exp101"] and order(browser)["auc"] == "none"
    browser.click(by_id("sort-name"))
    assert browser.value(NAMES) == ["exp101", "exp100"] and order(browser)["name"] == "descending"
    browser.click(by_id("sort-ece"))
    assert order(browser)["ece"] == "ascending"


def test_a_run_without_a_figure_stands_last_in_both_orders(browser):
    browser.value("app.run('exp100').scores.ece = null")
    for _ in range(2):
        browser.click(by_id("sort-ece"))
        assert browser.value(NAMES)[-1] == "exp100"


def test_the_keyboard_sorts_chooses_and_moves_the_cut_off(browser):
    browser.value(f"{by_id('sort-recall')}.focus()")
    browser.press("Tab")
    assert browser.value("document.activeElement.id") == "sort-specificity"
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press("Enter")
    assert order(browser)["specificity"] == "descending"
    assert browser.value("document.activeElement.id") == "sort-specificity"
    browser.value(f"{by_id('choose-exp100')}.focus()")
    browser.press(" ")
    assert browser.value("app.chosen.map(r => r.name)") == ["exp101"]
    browser.value(f"{by_id('cutoff')}.focus()")
    browser.press("ArrowRight")
    assert state(browser)["t"] == "51" and text_of(browser, "output[for=cutoff]") == "0.51"


def test_a_name_opens_what_else_is_known_of_a_run(browser):
    browser.click(by_id("open-exp101"))
    assert browser.value(f"{by_id('open-exp101')}.getAttribute('aria-expanded')") == "true"
    details = text_of(browser, ".details")
    assert "seed 1" in details and "python exps/exp101.py" in details


def test_a_run_far_below_the_others_is_an_arrow_outside_the_axis(browser):
    browser.click(by_id("all"))
    low = "app.table.runs.push(...[1, 2, 3].map(n => ({...app.run('exp100'), name: `copy${n}`})))"
    browser.value(f"{low}; app.run('both').scores.auc = [0.01, 0, 0.02]; app.set({{q: ' '}})")
    arrows = "[...document.querySelectorAll('.runs tbody tr:has(.forest path)')]"
    assert browser.value(f"{arrows}.map(r => r.querySelector('th button').textContent)") == ["both"]


# Comparison


def test_two_clicks_compare_and_the_difference_is_python_s(browser, shown):
    browser.click(by_id("all"))
    for name in browser.value("app.chosen.map(r => r.name)"):
        browser.click(by_id(f"choose-{name}"))
    assert browser.value("document.querySelector('#compare .verdict')") is None
    for name in ("exp101", "both"):
        browser.click(by_id(f"choose-{name}"))
    assert state(browser)["a"] == "exp101" and state(browser)["b"] == "both"
    value, low, high = map(float, re.findall(r"[+−-]\d\.\d+", text_of(browser, ".verdict").replace("−", "-"))[-3:])
    claim = compare(shown[1]["both"], shown[1]["exp101"])
    assert value == pytest.approx(claim.gain.value, abs=1e-4)
    assert [low, high] == pytest.approx([claim.gain.low, claim.gain.high], abs=0.03)
    assert float(text_of(browser, ".verdict + p").split()[-1]) == pytest.approx(claim.p_false, abs=0.1)
    assert browser.value("document.querySelectorAll('#compare svg[role=img]').length") >= 3


def test_a_third_run_is_drawn_over_the_others(browser):
    browser.click(by_id("all"))
    browser.click(by_id("choose-both"))
    assert state(browser)["more"] == "both"
    assert browser.value("document.querySelectorAll('#compare .verdict').length") == 2
    browser.value(DRAW_ALL)
    assert "C both" in text_of(browser, "#compare .legend")


def test_a_run_of_one_fold_is_compared_on_the_images_that_both_have(browser):
    part = """(() => { const run = app.run('exp101'); const all = app.rows(run); const codes = app.cases.folds;
        const parts = decode(run.probs, Uint16Array).filter((_, n) => codes[all[n]] === 0);
        const probs = btoa(String.fromCharCode(...new Uint8Array(parts.buffer)));
        app.table.runs = app.table.runs.filter(r => r !== run); app.known.clear();
        app.data.tables.push({...app.table, id: 'alone', title: 'fold 0', folds: [0],
            runs: [{...run, name: 'quick', probs}]});
        app.set({d: 'alone', a: 'exp100', b: 'quick', more: ''}); dispatchEvent(new Event('beforeprint')); })()"""
    browser.value(part)
    assert "On the 21 images (of 60 and 21)" in text_of(browser, "#compare .verdict + p")
    assert browser.value("app.t('remove')") in browser.value("document.querySelector('.chip span').ariaLabel")


# Threshold


def test_the_counts_of_every_cut_off_are_python_s(browser, shown):
    table, _ = shown[1]["exp101"].oof()
    task = shown[1]["exp101"].record.create_task()
    truth = task.truth(task.labels(table["label"].tolist()))[:, 1] == 1
    browser.value("app.set({a: 'exp101'}); dispatchEvent(new Event('beforeprint'))")
    for cut in CUTS:
        set_slider(browser, "cutoff", cut)
        called = task.decide(table[list(task.classes)].to_numpy(), cut / 100)[:, 1]
        assert shown_counts(browser) == python_counts(truth, called), cut
        assert state(browser).get("t", "50") == str(cut)


def shown_counts(browser: Browser) -> list[int]:
    return [int(text.replace(",", "")) for text in browser.value(COUNTS)]


def python_counts(truth: np.ndarray, called: np.ndarray) -> list[int]:
    pairs = ((truth, called), (truth, ~called), (~truth, called), (~truth, ~called))
    return [int((a & b).sum()) for a, b in pairs]


@pytest.fixture(scope="module")
def every_task(tmp_path_factory) -> str:
    """A page of a drawn result of each of `TASKS`."""
    path = tmp_path_factory.mktemp("tasks") / "page.html"
    tables = [drawn_table(n, task) for n, task in enumerate(TASKS)]
    cases = {table.cases: drawn_cases(task) for table, task in zip(tables, TASKS, strict=True)}
    page = Page(version="", made="2026-01-01T00:00:00", refresh=0, defaults={}, tables=tables, cases=cases, thumbs={})
    path.write_text(report_page.html(page))
    return path.as_uri()


def drawn_cases(task: Task) -> Cases:
    labels, _ = tasks.drawn(task)
    n = len(labels)
    groups, folds = array(np.arange(n) // 2, "uint32"), array(np.zeros(n), "uint8")
    return Cases(n=n, labels=array(labels, "uint8"), groups=groups, folds=folds, subgroups=[], shown=[])


def drawn_run(name: str, task: Task) -> Run:
    fields: dict[str, Any] = {"name": name, "own": True, "kind": "experiment", "minutes": 1.0, "gain_images": 0}
    fields |= dict.fromkeys(("what", "date", "machine", "command", "commit", "parent"), "")
    fields |= dict.fromkeys(("gain", "p_false", "history", "leaderboard", "attention", "maps"))
    fields |= {"members": [], "marks": [], "fold_scores": [], "confusion": [], "best_epochs": []}
    fields |= {"settings": {}, "thresholds": {}, "scores": {"auc": (0.5, 0.4, 0.6)}}
    return Run(probs=array(quantised(task, tasks.drawn(task)[1]), "uint16"), **fields)


def drawn_table(number: int, task: Task) -> Table:
    return Table(
        id=f"table{number}",
        title=task.name,
        data="drawn",
        warning="<b>confounded</b>",
        task=task.name,
        classes=list(task.classes),
        positive=task.positive_number if task.sums_to_one else -1,
        metric={"key": "auc", "title": "AUC", "higher_is_better": True},
        images=200,
        patients=100,
        counts={},
        base=None,
        black=None,
        cases=f"cases{number}",
        folds=[0],
        fold_count=1,
        fold_file="",
        fold_hash="",
        own=1,
        runs=[drawn_run(f"run{number}", task)],
    )


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_every_task_counts_each_class_against_the_rest(chromium, every_task, number):
    task = TASKS[number]
    labels, probs = tasks.drawn(task)
    classes = [task.positive_number] if len(task.classes) == 2 else range(len(task.classes))
    open_page(chromium, f"{every_task}#d=table{number}")
    for cls in classes:
        known = ~np.isnan(task.truth(labels)[:, cls])
        truth = task.truth(labels)[known, cls] == 1
        for cut in (10, 30, 50, 60):
            chromium.value(f"app.set({{cls: '{cls}', t: {cut}}}); {DRAW_ALL}")
            assert shown_counts(chromium) == python_counts(truth, probs[known, cls] >= cut / 100), (cls, cut)


@pytest.mark.parametrize("number", range(len(TASKS)))
def test_the_area_under_the_curve_is_python_s(chromium, every_task, number):
    task = TASKS[number]
    open_page(chromium, f"{every_task}#d=table{number}")
    area = """d3.mean(app.classes, cls => { const scores = app.scores(app.chosen[0], cls);
        const rows = app.commonRows(app.chosen, cls);
        return weightedAuc(ranked(scores, app.truth(cls), rows), new Float64Array(200).fill(1)); })"""
    labels, probs = tasks.drawn(task)
    expected = value_of(METRICS["auc"], Predicted(task, labels, probs))
    assert chromium.value(area) == pytest.approx(expected, abs=1e-3)


def test_a_page_without_results_waits_and_shows_what_trains(chromium, tmp_path):
    folds = [{"fold": 0, "done": 1, "epochs": 3, "finished": False}]
    begun = Unfinished("exp007", "tiny", folds, {0: [{"epoch": 1, "loss": 0.5}]})
    page = Page(version="", made="2026-01-01T00:00:00", refresh=60, defaults={}, tables=[], cases={}, thumbs={})
    (tmp_path / "page.html").write_text(report_page.html(replace(page, unfinished=[begun])))
    open_page(chromium, (tmp_path / "page.html").as_uri())
    assert "0 results" in text_of(chromium, "header") and "renewed every 60 seconds" in text_of(chromium, "header")
    assert "exp007" in text_of(chromium, "#training")
    chromium.click(by_id("lang-ja"))
    assert "結果 0 件" in text_of(chromium, "header")


def test_a_warning_stands_above_the_scores_as_text(chromium, every_task):
    open_page(chromium, every_task)
    assert text_of(chromium, ".warning p") == "<b>confounded</b>"
    browser_order = "document.querySelector('.warning').compareDocumentPosition(document.querySelector('.runs'))"
    assert chromium.value(f"{browser_order} & Node.DOCUMENT_POSITION_FOLLOWING")


def test_predictive_values_follow_the_prevalence_and_what_is_undefined_is_a_dash(chromium, every_task):
    browser = chromium
    open_page(browser, every_task)
    rows = "[...document.querySelectorAll('#threshold figure tr[class]')]"
    values = f"Object.fromEntries({rows}.map(r => [r.className, r.cells[1].textContent]))"
    set_slider(browser, "prevalence", 0.01)
    now = {key: float(text) for key, text in browser.value(values).items()}
    found, alarms = now["recall"] * 0.01, (1 - now["specificity"]) * 0.99
    assert now["ppv"] == pytest.approx(found / (found + alarms), abs=2e-3)
    assert now["lr_positive"] == pytest.approx(now["recall"] / (1 - now["specificity"]), abs=0.05)
    assert state(browser)["prev"] == "0.01"
    browser.click(by_id("data-prevalence"))
    assert text_of(browser, "output[for=prevalence]") == "50.0 %"
    set_slider(browser, "cutoff", 100)  # nothing is called positive
    assert browser.value(values)["ppv"] == "-" and browser.value(values)["lr_positive"] == "-"


def test_a_thousand_people_are_a_thousand_dots(browser):
    for cut in (0, 33, 50, 100):
        set_slider(browser, "cutoff", cut)
        paths = "[...document.querySelectorAll('#threshold figure:nth-of-type(2) svg path')]"
        assert browser.value(f"{paths}.map(p => p.getAttribute('d').split('M').length - 1)").count(0) <= 3
        assert browser.value(f"d3.sum({paths}, p => p.getAttribute('d').split('M').length - 1)") == 1000


# Words, state, print, and who can read it


def test_the_language_is_a_button_and_every_word_has_both(browser):
    assert (
        text_of(browser, "header strong") == "Not for clinical use"
        and browser.value("document.documentElement.lang") == "en"
    )
    browser.click(by_id("lang-ja"))
    assert (
        text_of(browser, "header strong") == "臨床使用不可" and browser.value("document.documentElement.lang") == "ja"
    )
    assert text_of(browser, "#sort-recall").startswith("感度") and text_of(browser, "#threshold-title") == "閾値"
    assert (
        browser.value("Object.entries(TEXT).filter(([, texts]) => texts.length !== 2 || !texts.every(Boolean))") == []
    )
    placeholders = "JSON.stringify([...new Set(text.match(/\\{\\d\\}/g))].sort())"
    differ = f"Object.keys(TEXT).filter(k => new Set(TEXT[k].map(text => {placeholders})).size > 1)"
    assert {key.split("_")[0] for key in browser.value(differ)} <= {"mark"}


@pytest.mark.parametrize(
    ("kind", "value", "english", "japanese"),
    [
        ("never", "ill, dying", "never predicts ill, dying", "ill, dying と一度も判定しない"),
        ("base_rate", "<", "accuracy < base rate", "正解率 < 多数派の割合"),
        (
            "folds_differ",
            "0.902",
            "the folds' probabilities are on different scales: mean of folds 0.902",
            "fold ごとに確率の尺度が異なる：fold 平均 0.902",
        ),
        ("new", "", "as given", "as given"),
    ],
)
def test_a_remark_on_a_run_is_told_in_both_languages(browser, kind, value, english, japanese):
    mark = json.dumps({"kind": kind, "text": "as given", "value": value})
    browser.value(f"app.run('exp100').marks = app.run('exp101').marks = [{mark}]; app.set({{profile: 'competitor'}})")
    assert text_of(browser, ".mark") == english
    browser.click(by_id("lang-ja"))
    assert text_of(browser, ".mark") == japanese


def test_a_profile_has_its_columns(browser):
    assert {"recall", "specificity", "accuracy", "ece"} <= set(order(browser))
    browser.click(by_id("profile-competitor"))
    assert "corrupted" in order(browser) and "minutes" in order(browser) and "ece" not in order(browser)


def test_the_address_holds_the_state_and_the_back_button_undoes_a_choice(browser, shown):
    browser.click(by_id("profile-competitor"))
    browser.click(by_id("all"))
    browser.click(by_id("choose-both"))
    set_slider(browser, "cutoff", 35)
    address = browser.value("location.href")
    open_page(browser, address)
    assert browser.value("location.href") == address and text_of(browser, "output[for=cutoff]") == "0.35"
    assert browser.value(f"{by_id('choose-both')}.checked && {by_id('profile-competitor')}.ariaPressed") == "true"
    browser.click(by_id("choose-both"))
    assert "more" not in state(browser)
    browser.value("history.back()")
    browser.until(f"{by_id('choose-both')}.checked")


@pytest.mark.parametrize("fragment", ["d=gone&a=nobody", "t=abc&prev=7&cls=99", "a=exp100&b=exp100", "%%%"])
def test_an_address_that_does_not_fit_shows_the_page_as_it_begins(browser, shown, fragment):
    open_page(browser, f"{shown[0]}#{fragment}")
    assert len(browser.value(NAMES)) == 2 and text_of(browser, "output[for=cutoff]") == "0.50"


def test_print_shows_what_is_chosen_in_its_colours(browser):
    browser.resize(1280, scheme="dark")
    paper = base64.b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) >= 2
    browser.call("Emulation.setEmulatedMedia", media="print")
    style = "getComputedStyle(document.querySelector('{}')).{}"
    assert browser.value(style.format(".runs tr.chosen td", "printColorAdjust")) == "exact"
    assert browser.value(style.format("body", "color")) == "rgb(26, 34, 45)"  # dark on paper
    assert browser.value(style.format(".scroll", "overflowX")) == "visible"
    assert browser.value(style.format(".search", "display")) == "none"
    wide = "app.run('exp100').what = 'exp009 but backbone mobilenetv2_100, lr 0.0005, '.repeat(5)"
    browser.value(f"{wide}; app.set({{profile: 'competitor'}}); app.set({{profile: 'radiographer'}})")
    browser.resize(1032)  # A4 landscape between its margins
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value("document.documentElement.scrollWidth - innerWidth") <= 0
    browser.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(browser, shown, width, scheme):
    browser.resize(width, scheme=scheme)
    open_page(browser, f"{shown[0]}#all=published&more=both&open=exp101&q=auc>x&lang={'ja' if width == 360 else 'en'}")
    assert browser.value("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.value(STRAYS) == []
    browser.value(f"{AXE.read_text()}; 0")
    found = browser.value("axe.run().then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))]))")
    assert found == []


def test_no_request_leaves_the_file_and_nothing_is_complained_of(browser, shown):
    asked = {p["request"]["url"].split("#")[0] for m, p in browser.events if m == "Network.requestWillBeSent"}
    files = {url for url in asked if not url.startswith(("data:", "about:"))}
    assert shown[0] in files and all(url.startswith("file:") and url.endswith("page.html") for url in files)
    said = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [json.dumps(event)[-1500:] for event in browser.events if event[0] in said] == []
