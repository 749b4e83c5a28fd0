"""The frame of every page: one file, that asks for nothing from anywhere and runs no script but its own."""

import base64
import hashlib
from importlib.resources import files

from chestfold.report.markup import Html, tag


def asset(name: str) -> Html:
    """A style or script that lies beside this file."""
    return Html(files("chestfold.report").joinpath(name).read_text(encoding="utf-8"))


def document(title: str, script: str, style: Html, *body: Html) -> str:
    """A whole page: `script` is an asset's name and comes last, `style` the text of its style sheets."""
    code = asset(script)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        _policy(code),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", style),
    )
    content = tag("body", *body, tag("script", code))
    return f"<!DOCTYPE html>\n{tag('html', head, content, lang='en')}\n"


def _policy(script: str) -> Html:
    """Only this script runs, and nothing is loaded from anywhere: a text that slipped through would stay a text."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    return Html(f'<meta http-equiv="Content-Security-Policy" content="{rules}">')
