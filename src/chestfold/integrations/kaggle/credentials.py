"""The credentials that are configured for Kaggle, and texts without them."""

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

FILES = ("kaggle.json", "credentials.json", "access_token", "access_token.txt")


def username() -> str:
    """The name that is configured; empty where there is only a token, which does not tell it."""
    return next((fields["username"] for fields in _configured() if fields.get("username")), "")


def key() -> tuple[str, str]:
    """User name and API key; both empty where there is only a token."""
    for fields in _configured():
        if fields.get("key"):
            return fields.get("username") or username(), fields["key"]
    return "", ""


def secrets() -> set[str]:
    """Every credential that Kaggle's client might use, and the forms in which it might print them."""
    found = set()
    for fields in _configured():
        found |= {fields.get(name, "") for name in ("key", "access_token", "refresh_token")}
        if fields.get("key"):
            pair = f"{fields.get('username') or username()}:{fields['key']}"
            found.add(base64.b64encode(pair.encode()).decode())
    return {secret for secret in found if len(secret) >= 4}  # shorter ones are parts of ordinary words


def without_secrets(text: str) -> str:
    """`text` with every credential replaced by stars."""
    for secret in sorted(secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _configured() -> Iterator[dict[str, str]]:
    """What the environment and each of Kaggle's files hold, in the order in which they count."""
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    yield {
        "username": os.environ.get("KAGGLE_USERNAME", ""),
        "key": os.environ.get("KAGGLE_KEY", ""),
        "access_token": token,
    }
    if token:
        yield _fields_of(Path(token))  # it may name a file
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    for folder in (os.environ.get("KAGGLE_CONFIG_DIR"), Path.home() / ".kaggle", Path(config) / "kaggle"):
        for name in FILES:
            yield _fields_of(Path(folder or "") / name)


def _fields_of(path: Path) -> dict[str, str]:
    """The texts in one of Kaggle's files, which is JSON or a bare token; empty where it cannot be read."""
    try:
        text = path.read_text().strip()
    except (OSError, ValueError):
        return {}
    return dict(re.findall(r'"(\w+)": *"([^"]*)"', text)) or {"access_token": text}
