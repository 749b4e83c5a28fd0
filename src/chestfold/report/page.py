"""The page of results: one file that loads nothing, with the figures as data and the scripts that draw them."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from chestfold.core.errors import InputError
from chestfold.core.files import require_file, write_text
from chestfold.evaluate import leaderboard
from chestfold.evaluate.results import all_results
from chestfold.report.data import build, sources, synthetic, unfinished_runs
from chestfold.report.records import Page, to_json

VENDOR = ("vendor/d3.min.js", "vendor/plot.min.js")
WEB = ("text", "stats", "app", "runs", "compare", "threshold", "viewer", "images", "curves", "more")
"""Own scripts, in the order in which they need each other."""


def write_report(path: Path, names: Sequence[str] = (), explained: Mapping[str, Path] | None = None) -> int:
    """Write the page; returns how many results it shows. Arguments and errors as of `collect` and `write_page`."""
    require_file(path)
    page = collect(names, explained=explained)
    write_page(path, page)
    return page.count


def collect(names: Sequence[str] = (), refresh: float = 0, explained: Mapping[str, Path] | None = None) -> Page:
    """What the page is made of now.

    Args:
        names: of the results that are shown, debug runs too; empty: all but debug runs.
        refresh: seconds after which an open page looks for a newer one, and it may be without results; 0: never.
        explained: result -> its folder of heat maps, where that is not the one of the default method.

    Raises:
        InputError: there is no such result, none at all, or one of them is damaged.
    """
    results, training = all_results(), unfinished_runs(names)
    known = {result.name for result in results} | {run.name for run in training}
    leaderboard.Selection([name for name in names if name not in known]).require_known(results)
    chosen = leaderboard.Selection(names)
    shown = [result for result in results if chosen.has(result) and (names or not result.is_debug)]
    if not shown and not refresh:
        raise InputError("there is no finished result to report yet; start with: make demo")
    page = build(shown, results, datetime.now(UTC), refresh, explained)
    page = replace(page, unfinished=training)
    return page if names else replace(page, synthetic=synthetic(results), sources=sources(results))


def write_page(path: Path, page: Page) -> None:
    """Write the file."""
    write_text(path, html(page))


def html(page: Page) -> str:
    """The file. A browser runs the scripts that it names by their hashes, and asks for nothing."""
    own = "".join(_asset(f"web/{name}.js") for name in WEB)
    scripts = [*map(_asset, VENDOR), own]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}"
    lines = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>chestfold</title>\n<style>{_asset('style.css')}</style>",
        "<body>\n<noscript>This page is drawn by the script in it; switch scripts on. Not for clinical use.</noscript>",
        f'<script type="application/json" id="data">{to_json(page)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
    ]
    return "\n".join(lines) + "\n"


def _asset(name: str) -> str:
    return files("chestfold.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
