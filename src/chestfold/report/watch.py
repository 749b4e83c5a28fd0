"""The page while something trains: written again whenever a run, a published result or a submission has changed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from chestfold.core.console import plural, say
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, runs_dir, submissions_dir
from chestfold.report.page import collect, write_page
from chestfold.report.records import Page

OF_RUNS = ("*/scores.json", "*/fold*/metrics.jsonl", "*/fold*/manifest.json", "*/explain/*/attention.json")
"""Files of runs/ that the page is made of; each is replaced whole."""


def watch(path: Path, names: Sequence[str], seconds: float, first_written: Callable[[], None]) -> None:
    """Keep the page up to date until Ctrl-C; an open one looks for a newer one every `seconds`.

    What is damaged, or half replaced, is said, and the page stays as it was until something changes again.

    Raises:
        InputError: the page cannot be written the first time.
    """
    seen = _stamps()
    page = collect(names, seconds)
    write_page(path, page)
    first_written()
    say(f"watching: {path} is written again when a run changes; Ctrl-C ends it")
    try:
        while True:
            time.sleep(seconds)
            now = _stamps()
            if now != seen:
                seen = now
                page = _again(path, names, seconds) or page
    except KeyboardInterrupt:
        write_page(path, replace(page, refresh=0))
        say(f"stopped watching; {path} stays as it is")


def _again(path: Path, names: Sequence[str], seconds: float) -> Page | None:
    """Write the page once more; None where it cannot be made at the moment."""
    try:
        page = collect(names, seconds)
    except InputError as error:
        say(f"{datetime.now():%H:%M:%S} not written: {error}")
        return None
    write_page(path, page)
    say(f"{datetime.now():%H:%M:%S} {plural(page.count, 'result')}, {len(page.unfinished)} unfinished")
    return page


def _stamps() -> dict[Path, int]:
    """File -> when it was written."""
    found = {}
    for path in _files():
        with suppress(FileNotFoundError):  # a fold that is begun anew
            found[path] = path.stat().st_mtime_ns
    return found


def _files() -> Iterator[Path]:
    for pattern in OF_RUNS:
        yield from runs_dir().glob(pattern)
    yield from published_dir().glob("*/scores.json")
    yield from submissions_dir().glob("*.json")
