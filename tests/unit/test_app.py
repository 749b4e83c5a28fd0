"""The page that answers, without its page: records, HTML, who is let in, and what is missing."""

import asyncio
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from chestfold import Predictor
from chestfold.cli import main
from chestfold.core import extras
from chestfold.core.errors import InputError
from chestfold.predict import app
from chestfold.predict.answer import Answer, Answerer, Refusal


@pytest.fixture
def answerer(trained) -> Answerer:
    return Answerer(Predictor("exp100"))


def place(project, image_id: str) -> Path:
    return project.input / "tiny" / "images" / f"{image_id}.png"


def answered(answerer: Answerer, path: Path, file: str = "") -> Answer:
    answer = answerer.answer(path, file)
    assert isinstance(answer, Answer)
    return answer


def test_an_answer_is_what_the_predictor_says(answerer, trained):
    for image_id in ("x000", "t004"):
        answer = answered(answerer, place(trained, image_id))
        assert answer.prediction == answerer.predictor(place(trained, image_id))
        assert next(row.name for row in answer.classes) == answer.prediction.label
        for row in answer.classes:
            assert row.low <= row.probability <= row.high
        kinds = [kind for kind, _ in answer.remarks("ja")]
        assert ("answered" in kinds) == image_id.startswith("t")
        assert kinds == [kind for kind, _ in answer.remarks("en")]


def test_each_class_has_a_map_that_lies_over_the_picture(answerer, trained, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90), dtype=np.uint8)).save(tmp_path / "wide.png")
    answer = answered(answerer, tmp_path / "wide.png")
    maps = [answerer.heat(answer, name) for name in answerer.predictor.classes]
    assert (maps[0] != maps[1]).any()
    assert answerer.layer(answer, maps[0]).shape == (*answer.grey.shape, 4)
    kept = answerer.picture(answer, maps[0], answerer.predictor.classes[0])
    assert len(kept) > len(answer.grey) and kept.shape[1] > 2 * answer.grey.shape[1]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("examples_ybr_color.dcm", "scan.dcm holds 30 frames"),
        ("rtplan.dcm", "scan.dcm is a DICOM file without an image"),
        ("CT_small.dcm", "scan.dcm does not say which of its values are black and white"),
        ("", "scan.dcm is empty"),
    ],
)
def test_a_file_that_is_no_picture_is_one_sentence_with_its_own_name(answerer, tmp_path, name, complaint):
    path = tmp_path / "0123abcd" / "upload"
    path.parent.mkdir()
    path.write_bytes(Path(str(get_testdata_file(name, download=False))).read_bytes() if name else b"")
    refusal = answerer.answer(path, "scan.dcm")
    assert isinstance(refusal, Refusal) and refusal.why.startswith(complaint) and str(tmp_path) not in refusal.why
    shown = app.answer_html(answerer, app.look_at(answerer, refusal), "en")
    assert complaint in shown and "<table>" not in shown


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_escapes_what_comes_from_outside(answerer, trained, language):
    answer = answered(answerer, place(trained, "x000"), "<img src=x onerror=alert(1)>.png")
    html = app.answer_html(answerer, app.look_at(answerer, answer), language)
    assert "<img src=x" not in html and "&lt;img src=x" in html
    assert html.count("data:image/png;base64,") == 4 and 'class="map"' in html
    assert app.WORDS[language]["keep"] in html and app.WORDS[language]["stored"] in html


def test_where_no_map_can_be_made_the_answer_says_so_and_stays(answerer, trained, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    answer = answered(answerer, place(trained, "x000"))
    html = app.answer_html(answerer, app.look_at(answerer, answer), "en")
    assert "No heat map:</strong> pytorch_grad_cam is not installed" in html and answer.prediction.label in html
    assert 'class="map"' not in html


def test_both_languages_have_the_same_words():
    assert app.WORDS["en"].keys() == app.WORDS["ja"].keys() and all(app.WORDS["ja"].values())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:7860"}, 200),
        ({"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "192.168.0.7:7860"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:7860"}, 403),
        ({"host": "127.0.0.1:7860", "origin": "https://evil.example"}, 403),
        ({"host": "127.0.0.1:7860", "origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_only_pages_of_this_machine_are_let_in(headers, status):
    sent: list = []

    async def inner(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(app.OnlyHere(inner)({"type": "http", "headers": pairs}, None, send))
    assert sent[0]["status"] == status
    if status == 200:
        names = dict(sent[0]["headers"])
        assert b"default-src 'self'" in names[b"content-security-policy"]


def test_an_upload_is_gone_when_it_is_answered(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    upload, other = tmp_path / "hash" / "scan.png", tmp_path / "hash2" / "another.png"
    for path in (upload, other):
        path.parent.mkdir()
        path.write_bytes(b"x")
    (tmp_path / "tmpabc").touch()
    app.forget(upload)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["another.png"]


def test_the_address_is_of_this_machine_alone_and_a_taken_port_is_one_sentence():
    opened = app.listen(0)
    try:
        host, port = opened.getsockname()
        opened.listen()
        assert host == "127.0.0.1"
        for wrong in (port, 70000, -1):
            with pytest.raises(InputError, match=f"^--port {wrong} cannot be used .*; choose another one$"):
                app.listen(wrong)
    finally:
        opened.close()


def test_without_gradio_one_sentence_names_the_command(trained, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "gradio" else find_spec(module))
    with pytest.raises(SystemExit) as stop:
        main.main(["app", "exp100"])
    assert stop.value.code == 2
    assert "error: gradio is not installed; pip install 'chestfold[app]'\n" in capsys.readouterr().err


def test_what_cannot_answer_is_refused_before_the_page_opens(trained, capsys):
    shutil.rmtree(trained.runs / "exp100")
    with pytest.raises(SystemExit):
        main.main(["app", "exp100", "--port", "0"])
    assert "exp100 holds no finished fold" in capsys.readouterr().err


def test_gradio_is_imported_by_the_page_alone_and_only_when_it_is_made():
    package = Path(app.__file__).parents[1]
    importing = []
    for path in package.rglob("*.py"):
        lines = [
            line
            for line in path.read_text().splitlines()
            if re.match(r"\s*(import|from) (gradio|fastapi|uvicorn)", line)
        ]
        importing += [path.name for _ in lines]
        assert all(line.startswith(" ") for line in lines), f"{path}: at the top"
    assert set(importing) == {"app.py"}
