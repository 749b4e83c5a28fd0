"""The page that answers, in a real browser: a picture in, its answer out, nothing asked for, nothing kept."""

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import Browser, find_chromium
from conftest import Project, enter

from chestfold import Predictor
from chestfold.predict import app
from chestfold.predict.answer import Answerer

LANGUAGE = "[...document.querySelectorAll('#language input')]"


@dataclass(frozen=True)
class Page:
    """A browser before the page; `uploads`: where Gradio puts files; `address`: of the page."""

    browser: Browser
    model: Predictor
    images: Path
    uploads: Path
    address: str

    def show(self, path: Path) -> str:
        """Upload a file; the text of the answer."""
        document = self.browser.call("DOM.getDocument")["root"]["nodeId"]
        chooser: dict[str, Any] = {"nodeId": document, "selector": "#upload input[type=file]"}
        node = self.browser.call("DOM.querySelector", **chooser)["nodeId"]
        self.browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
        self.browser.until(f"document.querySelector('#answer').innerText.includes('{path.name}')")
        self.browser.until("!document.querySelector('.pending')")  # Gradio pales what it is about to renew
        return self.text()

    def text(self) -> str:
        return self.browser.value("document.querySelector('#answer').innerText")

    def open(self, width: int = 1280, scheme: str = "light") -> None:
        self.browser.resize(width, scheme=scheme)
        self.browser.open(self.address)
        self.browser.until("document.querySelector('#upload input[type=file]') !== null")

    def kept(self) -> list[Path]:
        """Files with content that lie where uploads do, once Gradio had the time to delete them."""
        deadline = time.monotonic() + 10
        while (found := [path for path in self.uploads.rglob("*") if path.is_file()]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def page(_trained_once: Project, tmp_path_factory) -> Iterator[Page]:
    """The page of exp100, served in this process, in a browser."""
    pytest.importorskip("gradio", reason="the extra [app] is not installed")
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(_trained_once.root, folder / "project")
    made = Project(folder / "project")
    with pytest.MonkeyPatch.context() as patch, app.quiet_gradio() as uploads:
        enter(patch, made)
        model, listening = Predictor("exp100"), app.listen(0)
        server = app.create_server(app.create_server_app(Answerer(model)))
        running = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        running.start()
        browser = Browser(program, folder / "profile")
        try:
            address = f"http://{app.HOST}:{listening.getsockname()[1]}/"
            yield Page(browser, model, made.input / "tiny" / "images", uploads, address)
        finally:
            browser.close()
            server.should_exit = True
            running.join(20)


def test_a_picture_is_answered_in_both_languages_and_nothing_is_kept_or_asked_for(page, tmp_path):
    page.open()
    browser = page.browser
    expected = page.model(page.images / "t000.png")
    said = page.show(page.images / "t000.png")
    assert expected.label in said and f"{expected.probability:.3f}" in said
    assert "in the training data: answered by fold" in said and page.kept() == []
    assert browser.value("document.querySelector('#answer .map').naturalWidth") > 200
    other = next(name for name in page.model.classes if name != expected.label)
    browser.click(f"[...document.querySelectorAll('#which input')].find(i => i.value === '{other}')")
    browser.until(f"document.querySelector('#answer .map').alt.endsWith('{other}')")
    browser.value("document.querySelector('#opacity input[type=range]').focus()")
    for _ in range(4):
        browser.press("ArrowLeft")
    browser.until("getComputedStyle(document.querySelector('.map')).opacity === '0.8'")
    browser.click(f"{LANGUAGE}[1]")
    browser.until("document.querySelector('#answer').innerText.includes('学習データに含まれる画像')")
    assert browser.value("document.documentElement.lang") == "ja"
    assert browser.value("getComputedStyle(document.querySelector('.notice')).position") == "fixed"
    text = tmp_path / "<b>notes.png"
    text.write_text("no image")
    assert "読み取れません" in page.show(text.rename(tmp_path / "notes.png"))
    assert not browser.value("document.querySelector('#answer .decision')") and page.kept() == []
    asked = {p["request"]["url"] for method, p in browser.events if method == "Network.requestWillBeSent"}
    assert len(asked) > 5 and all(url.startswith((page.address, "data:", "blob:")) for url in asked)
    wrong = [p for method, p in browser.events if method == "Runtime.exceptionThrown"]
    assert not wrong


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_axe_finds_nothing_and_the_page_does_not_scroll_sideways(page, width, scheme):
    axe = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    page.open(width, scheme)
    page.show(page.images / "x001.png")
    page.browser.value(f"{(Path(axe.__file__).parent / 'axe.min.js').read_text()}; 0")
    found = page.browser.value("axe.run().then(all => all.violations.map(v => [v.id, v.nodes[0].html]))")
    assert found == []
    assert page.browser.value("document.documentElement.scrollWidth") <= width
