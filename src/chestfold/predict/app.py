"""`chestfold app`: a page on this machine that answers; drop a picture, see what the networks say and where they look.

It is Gradio behind a server that this machine alone can reach. Uploads lie in a folder of their own, each is deleted as
soon as it is answered, and the folder goes with the server. Nothing is asked for from anywhere.
"""

import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from chestfold.core.errors import InputError
from chestfold.core.extras import require
from chestfold.predict.answer import Answer, Answerer, Refusal, png_uri
from chestfold.predict.output import heading
from chestfold.predict.remarks import Language

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI
    from uvicorn import Server

HOST = "127.0.0.1"
PORT = 7860
MOST = "200mb"
"""The largest file that is taken: a radiograph of 16 bits has some 30."""
LANGUAGES: dict[str, Language] = {"English": "en", "日本語": "ja"}
"""Name on the button -> language."""
CONTENT_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'self'"
)
"""What the browser may load: nothing of elsewhere. Gradio's own scripts need inline code."""

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "notice": "Not for clinical use",
        "drop": "Picture or DICOM: drop it here, or press to choose",
        "opacity": "Opacity of the heat map, %",
        "which": "Heat map of",
        "nothing": "No picture yet. It is answered on this machine, and deleted when it is answered.",
        "class": "class",
        "probability": "probability",
        "folds": "folds, lowest–highest",
        "one": "one fold",
        "plain": "The picture",
        "map": "Heat map",
        "lines": "Lines at 50 and 80 % of its maximum.",
        "keep": "Save the pictures with their caption",
        "stored": "(nothing is stored unless you do)",
        "not_read": "Not read:",
        "no_map": "No heat map:",
        "none": "none of them",
    },
    "ja": {
        "notice": "臨床使用不可",
        "drop": "画像または DICOM をここにドロップ、または押して選択",
        "opacity": "ヒートマップの濃さ（%）",
        "which": "ヒートマップのクラス",
        "nothing": "まだ画像がありません。画像はこのコンピューター内だけで処理され、回答後に削除されます。",
        "class": "クラス",
        "probability": "確率",
        "folds": "フォールドの最小–最大",
        "one": "1 フォールド",
        "plain": "元の画像",
        "map": "ヒートマップ",
        "lines": "線は最大値の 50 % と 80 %。",
        "keep": "説明付きの画像を保存",
        "stored": "（保存しないかぎり、何も残りません）",
        "not_read": "読み取れません：",
        "no_map": "ヒートマップなし：",
        "none": "該当なし",
    },
}


@dataclass(frozen=True)
class Shown:
    """What the page shows: an answer with the map of one class, or why there is none."""

    answer: Answer | Refusal | None = None
    label: str = ""
    heat: np.ndarray | None = None
    no_map: str = ""


def look_at(answerer: Answerer, answer: Answer | Refusal, label: str = "") -> Shown:
    """An answer with the map of a class, the most probable one if none is named."""
    if isinstance(answer, Refusal):
        return Shown(answer)
    label = label or answer.prediction.label
    try:
        return Shown(answer, label, answerer.heat(answer, label))
    except InputError as error:
        return Shown(answer, label, no_map=str(error))


def answer_html(answerer: Answerer, shown: Shown, language: Language) -> str:
    """The answer as the page shows it; every text in it is escaped."""
    values: dict[str, Any] = {"words": WORDS[language], "answer": None, "refusal": None}
    if isinstance(shown.answer, Refusal):
        values["refusal"] = shown.answer
    elif shown.answer:
        values |= _values(answerer, shown.answer, shown, language)
    return _environment().get_template("answer.html").render(values)


def _values(answerer: Answerer, answer: Answer, shown: Shown, language: Language) -> dict[str, Any]:
    prediction = answer.prediction
    nothing_decided = prediction.decision == "-"
    values = {
        "answer": answer,
        "decision": WORDS[language]["none"] if nothing_decided else prediction.decision,
        "shown_probability": f"{prediction.probability:.3f}" if prediction.decision == prediction.label else "",
        "remarks": answer.remarks(language),
        "several": len(prediction.folds) > 1,
        "plain": png_uri(answer.grey),
        "label": shown.label,
        "no_map": shown.no_map,
        "layer": "",
        "picture": "",
        "download": f"{Path(answer.file).stem}-{answerer.predictor.name}.png",
    }
    if shown.heat is not None:
        values["layer"] = png_uri(answerer.layer(answer, shown.heat))
        values["picture"] = png_uri(answerer.picture(answer, shown.heat, shown.label))
    return values


@cache
def _environment() -> Environment:
    loader = PackageLoader("chestfold.predict", "web")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def head_html(answerer: Answerer, language: Language) -> str:
    """The title, the notice and the model; the notice stands in both languages."""
    template = _environment().from_string(
        '<h1>chestfold</h1><p class="notice">{{ notice }} / {{ other }}</p><p class="model">{{ about }}</p>'
    )
    other: Language = "en" if language == "ja" else "ja"
    return template.render(
        notice=WORDS[language]["notice"], other=WORDS[other]["notice"], about=heading(answerer.predictor)
    )


# The page


def create_page(answerer: Answerer) -> "gradio.Blocks":
    """The page as Gradio has it."""
    import gradio

    label_of = {language: label for label, language in LANGUAGES.items()}

    def texts(language: Language) -> list[Any]:
        words = WORDS[language]
        return [
            head_html(answerer, language),
            gradio.File(label=words["drop"]),
            gradio.Slider(label=words["opacity"]),
            gradio.Radio(label=words["which"]),
        ]

    def choose(request: gradio.Request) -> list[Any]:
        wanted = request.headers.get("accept-language", "")
        language: Language = "ja" if wanted.lower().startswith("ja") else "en"
        return [label_of[language], *texts(language), answer_html(answerer, Shown(), language)]

    def change_language(chosen: str, shown: Shown | None) -> list[Any]:
        language = LANGUAGES[chosen]
        return [*texts(language), answer_html(answerer, shown or Shown(), language)]

    def take(upload: Any, chosen: str) -> list[Any]:
        path = Path(upload)
        try:
            shown = look_at(answerer, answerer.answer(path))
        finally:
            forget(path)
        radio = gradio.Radio(choices=list(answerer.predictor.classes), value=shown.label, visible=bool(shown.label))
        slider = gradio.Slider(visible=shown.heat is not None)
        return [shown, answer_html(answerer, shown, LANGUAGES[chosen]), radio, slider, None]

    def change_class(label: str, shown: Shown, chosen: str) -> list[Any]:
        assert shown.answer is not None
        shown = look_at(answerer, shown.answer, label)
        return [shown, answer_html(answerer, shown, LANGUAGES[chosen])]

    words = WORDS["en"]
    title = f"chestfold: {answerer.predictor.name}"
    with gradio.Blocks(analytics_enabled=False, title=title, delete_cache=(60, 60)) as page:
        shown = gradio.State(Shown())
        head = gradio.HTML(head_html(answerer, "en"), elem_id="head", apply_default_css=False)
        language = gradio.Radio(list(LANGUAGES), value="English", label="Language / 言語", elem_id="language")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=260):
                upload = gradio.File(label=words["drop"], elem_id="upload", height=150)
                which = gradio.Radio([], label=words["which"], visible=False, elem_id="which")
                opacity = gradio.Slider(
                    0, 100, value=100, step=5, label=words["opacity"], visible=False, elem_id="opacity"
                )
            with gradio.Column(scale=2, min_width=300):
                answer = gradio.HTML(answer_html(answerer, Shown(), "en"), elem_id="answer", apply_default_css=False)
        translated = [head, upload, opacity, which]
        one: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "api_visibility": "private"}
        page.load(choose, None, [language, *translated, answer], **one)
        language.change(change_language, [language, shown], [*translated, answer], **one)
        for translated_now in (head, answer):
            translated_now.change(None, [language], None, js=SET_LANGUAGE)
        upload.upload(take, [upload, language], [shown, answer, which, opacity, upload], **one)
        which.input(change_class, [which, shown, language], [shown, answer], **one)
        opacity.change(None, [opacity], None, js=SET_OPACITY)
    return page


SET_LANGUAGE = """(chosen) => {
    document.documentElement.lang = chosen === '日本語' ? 'ja' : 'en';
    document.getElementById('answer').setAttribute('aria-live', 'polite');
    const name = document.querySelector('#upload label');
    document.querySelectorAll('#upload button').forEach((b) => b.setAttribute('aria-label', name.textContent.trim()));
}"""
SET_OPACITY = "percent => document.documentElement.style.setProperty('--map-opacity', percent / 100)"


def forget(upload: Path) -> None:
    """Delete an upload, and the empty files that Gradio leaves beside it."""
    upload.unlink(missing_ok=True)
    for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("*"):
        if path.is_file() and path.stat().st_size == 0:
            path.unlink(missing_ok=True)


# The server

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class OnlyHere:
    """Lets in what a page of this server asks on this machine; other hosts' names and pages are refused.

    The server listens on this machine alone; a page of elsewhere could still ask through the browser of it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        asked_by = [headers.get("host", "")]
        if "origin" in headers:
            asked_by.append(headers["origin"].partition("://")[2])
        if not all(map(is_here, asked_by)):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"this page answers on its own machine alone"})
            return

        async def send_with_policy(message: Scope) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", CONTENT_POLICY.encode())
                message["headers"] = [*message.get("headers", []), policy, (b"referrer-policy", b"no-referrer")]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def is_here(host: str) -> bool:
    """Whether a name with a port, as a browser sends it, is this machine's."""
    return host.rpartition(":")[0] in (HOST, "localhost") or host in (HOST, "localhost")


@contextmanager
def quiet_gradio() -> Iterator[Path]:
    """Where Gradio may be imported: it tells nobody, and its uploads lie in this folder, which goes in the end.

    Raises:
        InputError: it is not installed.
    """
    require("gradio", "app")
    with tempfile.TemporaryDirectory(prefix="chestfold-app-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        yield Path(folder)


def create_server_app(answerer: Answerer) -> "FastAPI":
    """The page behind the guard; within `quiet_gradio`."""
    import gradio
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OnlyHere)
    fonts = ["system-ui", "Hiragino Sans", "Noto Sans CJK JP", "sans-serif"]
    theme = gradio.themes.Default(primary_hue="orange", font=fonts, font_mono=["ui-monospace", "monospace"])
    return gradio.mount_gradio_app(
        app,
        create_page(answerer),
        path="/",
        server_name=HOST,
        footer_links=[],
        max_file_size=MOST,
        ssr_mode=False,
        theme=theme,
        css=files("chestfold.predict").joinpath("web/app.css").read_text(encoding="utf-8"),
        show_error=False,
    )


def listen(port: int) -> socket.socket:
    """A socket of this machine alone; 0 is any free port.

    Raises:
        InputError: the port is taken, or there is no such port.
    """
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
    except (OSError, OverflowError) as error:
        opened.close()
        raise InputError(f"--port {port} cannot be used ({error}); choose another one") from error
    return opened


def create_server(app: "FastAPI") -> "Server":
    """What answers; it stops when its `should_exit` is set, or at Ctrl-C."""
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
