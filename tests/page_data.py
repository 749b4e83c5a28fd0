"""What a page of results holds: its scripts as a browser takes them apart, and its data decoded."""

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np


class Scripts(HTMLParser):
    """The scripts of a page, `(type, text)`, and the policy in its head."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.policy = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, name, attributes):
        given = dict(attributes)
        if name == "script":
            self.found.append((given.get("type", ""), ""))
            self._inside = True
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]

    def handle_data(self, data):
        if self._inside:
            kind, text = self.found[-1]
            self.found[-1] = (kind, text + data)

    def handle_endtag(self, name):
        if name == "script":
            self._inside = False


def data_of(text: str) -> dict[str, Any]:
    """DATA of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def decoded(text: str, kind: str) -> np.ndarray:
    """An array of the page."""
    return np.frombuffer(base64.b64decode(text, validate=True), np.dtype(kind).newbyteorder("<"))


def runs_of(data: dict[str, Any]) -> dict[str, Any]:
    """Name -> run."""
    return {run["name"]: run for table in data["tables"] for run in table["runs"]}
