"""A submission on its way: sent once, followed until Kaggle has scored or refused it, and entered in the ledger.

The upload is told apart from all others by a marker in its description, the beginning of the file's hash. Whether it
arrived is asked of Kaggle's list of submissions, before and after: a killed command, run again, finds its own entry.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from chestfold.core.console import say, waiting
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import lock, read_json, sha256_file, submissions_dir, write_json, write_text
from chestfold.evaluate.metrics import Score
from chestfold.integrations.kaggle import client
from chestfold.integrations.kaggle.client import NoAnswer, Source, Submission

LEDGER = "ledger.csv"
PAUSES = (5.0, 20.0)
"""Seconds between two looks at the list, in the first minute and after it."""


@dataclass(frozen=True)
class Clock:
    """Where the time comes from, and how it passes."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def send(path: Path, competition: str, message: str, minutes: float, clock: Clock | None = None) -> Submission:
    """Upload a checked submission file unless Kaggle has it, and wait at most `minutes` for its score.

    What happens is written into the file's JSON and the ledger as it happens.

    Raises:
        InputError: Kaggle refused it, could not score it (its own reason), or said nothing final in time.
    """
    if not (math.isfinite(minutes) and minutes >= 0):
        raise InputError(f"--wait {minutes:g}: minutes, 0 or more")
    source, clock = Source("competition", competition), clock or Clock()
    message = client.without_secrets(" ".join(message.split()))
    with lock(submissions_dir()):
        found = _begin(path, source, message, clock)
    if found is None:
        say("sent; Kaggle is scoring it")
    if found is None or not found.ended:
        found = follow(lambda: _look(source, path), minutes, clock)
    return _end(path, source, found, minutes)


def marker(path: Path) -> str:
    """What stands in the description of the upload of this very file."""
    return f"[chestfold {sha256_file(path)[:12]}]"


def _look(source: Source, path: Path) -> Submission | None:
    """The file's entry in Kaggle's list."""
    return next((s for s in client.submissions(source) if marker(path) in s.description), None)


def _begin(path: Path, source: Source, message: str, clock: Clock) -> Submission | None:
    """Upload the file, or give back the entry that Kaggle has already."""
    with waiting(f"asking Kaggle about {source.slug}"):
        found = _look(source, path)
    begun = (_recorded(path, source) or {}).get("status") == "BEGUN"
    if found is None and begun:  # it may have arrived a moment ago and not be listed yet
        clock.sleep(PAUSES[0])
        found = _look(source, path)
    if found is not None:
        say(f"Kaggle has this very file already, as {found.reference}: nothing is sent again")
        _record(path, source, {"reference": found.reference}, message)
        return found
    _announce(path, source, f"{message} {marker(path)}")
    _record(path, source, {"begun": datetime.now(UTC).isoformat(timespec="seconds"), "status": "BEGUN"}, message)
    _upload(path, source, f"{message} {marker(path)}")
    return None


def _announce(path: Path, source: Source, description: str) -> None:
    """Say what will leave this machine; stop where the day's submissions are used up."""
    limits = _left(source)
    if limits and limits[1] <= 0:
        raise InputError(
            f"no submission to {source.slug} is left today ({limits[0]} were made); run the same command tomorrow, "
            "the day ends at midnight UTC"
        )
    rows = len(path.read_bytes().splitlines()) - 1
    left = f"; {limits[1]} submissions are left today" if limits else ""
    say(f'to {source.page} goes {path.name} ({rows} rows) as "{description}"{left}')


def _left(source: Source) -> tuple[int, int] | None:
    try:
        return client.submissions_left(source)
    except ChestfoldError:
        return None  # a courtesy; whether the upload is allowed, Kaggle says when it is made


def _upload(path: Path, source: Source, description: str) -> None:
    """Send the file; where that ended without a clear answer, the list decides."""
    try:
        with waiting(f"uploading {path.name}") as remark:
            client.upload(source, path, description, lambda text: remark(_percent(text)))
    except NoAnswer as error:
        if not _arrived(source, path):
            raise error
    except InputError as error:
        _record(path, source, {"status": "REFUSED", "reason": str(error)})
        raise


def _arrived(source: Source, path: Path) -> bool:
    try:
        return _look(source, path) is not None
    except ChestfoldError:
        return False  # what is reported is how the upload itself ended


def _percent(text: str) -> str:
    return (re.findall(r"\d+%", text) or [""])[-1]


def follow(look: Callable[[], Submission | None], minutes: float, clock: Clock) -> Submission | None:
    """Look until the submission has ended or the time is up; what was seen last, None where nothing was.

    A look that Kaggle does not answer is not the end: the next one may be.
    """
    start, found = clock.now(), None
    with waiting("scoring") as remark:
        while True:
            try:
                found = look() or found
            except NoAnswer as error:
                remark(f"({error})")
            spent = clock.now() - start
            left = minutes * 60 - spent
            if (found and found.ended) or left <= 0:
                return found
            remark(f"{found.status if found else 'not listed yet'}, {spent / 60:.0f} of {minutes:g} minutes")
            clock.sleep(min(PAUSES[spent > 60], left))


def _end(path: Path, source: Source, found: Submission | None, minutes: float) -> Submission:
    """Write down how it ended, or that it has not yet."""
    again = "run the same command again: it goes on waiting and sends nothing twice"
    if found is None:
        raise InputError(f"{path.name} was sent, but Kaggle does not list it after {minutes:g} minutes; {again}")
    reason = client.error_reason(source, found.reference) if found.status == "ERROR" else ""
    fields = {k: getattr(found, k) for k in ("reference", "date", "status", "public", "private")}
    _record(path, source, {**fields, "reason": reason})
    if found.status == "ERROR":
        said = f": {reason}" if reason else f"; {source.page}/submissions says why"
        raise InputError(
            f"Kaggle could not score {path.name} (submission {found.reference}){said.rstrip('.')}; mend that first, "
            "the same file is not sent again"
        )
    if found.status != "COMPLETE":
        raise InputError(f"{path.name} is still {found.status} after {minutes:g} minutes; {again}")
    return found


def format_lines(path: Path, entry: Submission) -> list[str]:
    """How a scored submission stands, in lines for a person."""
    auc = read_json(path.with_suffix(".json")).get("cv_auc")
    scores = [f"public {entry.public or 'not shown'}", f"private {entry.private or 'not shown yet'}"]
    scores += [f"CV AUC {Score(**auc)}"] if auc else []
    return [
        f"{entry.status}: {', '.join(scores)}",
        f"submission {entry.reference} stands in {path.with_suffix('.json')} and {submissions_dir() / LEDGER}",
    ]


# What is kept of it


def uploads(path: Path) -> list[dict[str, Any]]:
    """What the JSON of a submission file says of its uploads, one for each competition."""
    return read_json(path.with_suffix(".json")).get("uploads") or []


def _recorded(path: Path, source: Source) -> dict[str, Any] | None:
    return next((u for u in uploads(path) if u["competition"] == source.slug), None)


def _record(path: Path, source: Source, fields: dict[str, Any], message: str | None = None) -> None:
    """Change what the JSON says of the upload to this competition, and make the ledger anew."""
    about = read_json(path.with_suffix(".json"))
    others = [u for u in about.get("uploads", []) if u["competition"] != source.slug]
    fresh = {"competition": source.slug, "marker": marker(path), "message": message}
    about["uploads"] = [*others, (_recorded(path, source) or fresh) | fields]
    write_json(path.with_suffix(".json"), about)
    write_ledger()


def write_ledger() -> Path:
    """submissions/ledger.csv from all the JSONs: one row for each upload, and for each file that was never sent."""
    path = submissions_dir() / LEDGER
    rows = [row for about in sorted(submissions_dir().glob("[0-9][0-9][0-9]_*.json")) for row in _rows(about)]
    write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    about = read_json(path)
    auc = about.get("cv_auc") or {}
    cv = {f"cv_auc{end}": auc.get(key) for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    empty: dict[str, Any] = {"status": "not sent"}
    return [
        {
            "file": path.with_suffix(".csv").name,
            "result": about["result"],
            **{k: upload.get(k, "") for k in ("competition", "reference", "date", "status")},
            **cv,
            **{k: upload.get(k, "") for k in ("public", "private", "message")},
        }
        for upload in about.get("uploads") or [empty]
    ]
