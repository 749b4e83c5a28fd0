"""A submission is sent once, followed until Kaggle has scored or refused it, and entered in the ledger.

The upload is told apart from all others by a marker in its description, the beginning of the file's hash. Whether it
arrived is read from Kaggle's list of submissions, before and after: a killed command, run again, finds its own entry.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from chestfold.core.console import say, waiting
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import lock, sha256_file, submissions_dir, write_csv
from chestfold.integrations.kaggle import client
from chestfold.integrations.kaggle.client import NoAnswer, Source, Submission
from chestfold.integrations.kaggle.credentials import without_secrets
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload, all_submissions

LEDGER = "ledger.csv"
COLUMNS = ["file", "result", "competition", "reference", "date", "status", "cv_auc", "cv_auc_low", "cv_auc_high"]
COLUMNS += ["public", "private", "message"]
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
    source = Source("competition", competition)
    clock = clock or Clock()
    with lock(submissions_dir()):
        found = _begin(path, source, without_secrets(" ".join(message.split())), clock)
    if found is None:
        say("sent; Kaggle is scoring it")
    if found is None or not found.ended:
        found = follow(lambda: _look(source, path), minutes, clock)
    return _end(path, source, found, minutes)


def marker(path: Path) -> str:
    """The part of the description that names this very file."""
    return f"[chestfold {sha256_file(path)[:12]}]"


def _look(source: Source, path: Path) -> Submission | None:
    """The file's entry in Kaggle's list."""
    return next((entry for entry in client.submissions(source) if marker(path) in entry.description), None)


def _begin(path: Path, source: Source, message: str, clock: Clock) -> Submission | None:
    """Upload the file, or return the entry that Kaggle has already."""
    recorded = _recorded(path, source)
    with waiting(f"looking for {path.name} at {source.slug}"):
        found = _look(source, path)
        if found is None and recorded.status == "BEGUN":  # it may have arrived and not be listed yet
            clock.sleep(PAUSES[0])
            found = _look(source, path)
    if found is not None:
        say(f"Kaggle has this very file already, as {found.reference}: nothing is sent again")
        _write(path, source, reference=found.reference, message=recorded.message or message)
        return found
    description = f"{message} {marker(path)}"
    _announce(path, source, description)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    _write(path, source, begun=begun, status="BEGUN", message=message)
    _upload(path, source, description)
    return None


def _announce(path: Path, source: Source, description: str) -> None:
    """Say what will leave this machine; stop where the day's submissions are used up."""
    try:
        limits = client.submissions_left(source)
    except ChestfoldError:
        limits = None  # a courtesy; whether the upload is allowed, Kaggle says when it is made
    left = ""
    if limits:
        made, allowed = limits
        left = f"; {allowed} submissions are left today"
        if allowed <= 0:
            raise InputError(
                f"no submission to {source.slug} is left today ({made} were made); run the same command tomorrow, "
                "the day ends at midnight UTC"
            )
    rows = len(path.read_bytes().splitlines()) - 1
    say(f'to {source.page} goes {path.name} ({rows} rows) as "{description}"{left}')


def _upload(path: Path, source: Source, description: str) -> None:
    """Send the file; where that ended without a clear answer, the list decides."""
    try:
        with waiting(f"uploading {path.name}") as remark:
            client.upload(source, path, description, remark)
    except NoAnswer as error:
        if not _arrived(source, path):
            raise error
    except InputError as error:
        _write(path, source, status="REFUSED", reason=str(error))
        raise


def _arrived(source: Source, path: Path) -> bool:
    try:
        return _look(source, path) is not None
    except ChestfoldError:
        return False  # what is reported is how the upload itself ended


def follow(look: Callable[[], Submission | None], minutes: float, clock: Clock) -> Submission | None:
    """Look until the submission has ended or the time is up; what was seen last, None where nothing was.

    A look that Kaggle does not answer is not the end: the next one may be.
    """
    start = clock.now()
    found = None
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
    again = "run the same command again: it resumes waiting and sends nothing twice"
    if found is None:
        raise InputError(f"{path.name} was sent, but Kaggle does not list it after {minutes:g} minutes; {again}")
    names = ("reference", "date", "status", "public", "private", "reason")
    _write(path, source, **{name: getattr(found, name) for name in names})
    if found.status == "ERROR":
        reason = f": {found.reason}" if found.reason else f"; {source.page}/submissions says why"
        raise InputError(
            f"Kaggle could not score {path.name} (submission {found.reference}){reason.rstrip('.')}; mend that first, "
            "the same file is not sent again"
        )
    if found.status != "COMPLETE":
        raise InputError(f"{path.name} is still {found.status} after {minutes:g} minutes; {again}")
    return found


def format_lines(path: Path, entry: Submission) -> list[str]:
    """The scores of a submission, and where they are recorded."""
    about = path.with_suffix(".json")
    scores = f"public {entry.public or 'not shown'}, private {entry.private or 'not shown yet'}"
    auc = SubmissionRecord.from_json(about).cv_auc
    return [
        f"{entry.status}: {scores}, CV AUC {auc}" if auc else f"{entry.status}: {scores}",
        f"submission {entry.reference} is recorded in {about} and {submissions_dir() / LEDGER}",
    ]


# What is kept of it


def _recorded(path: Path, source: Source) -> Upload:
    """What the JSON of a submission file says of its upload to this competition."""
    for upload in SubmissionRecord.from_json(path.with_suffix(".json")).uploads:
        if upload.competition == source.slug:
            return upload
    return Upload(competition=source.slug, marker=marker(path), message="")


def _write(path: Path, source: Source, **fields: Any) -> None:
    """Change what the JSON says of the upload to this competition, and make the ledger anew."""
    record = SubmissionRecord.from_json(path.with_suffix(".json"))
    others = tuple(upload for upload in record.uploads if upload.competition != source.slug)
    mine = _recorded(path, source).model_copy(update=fields)
    record.model_copy(update={"uploads": (*others, mine)}).write(path.with_suffix(".json"))
    write_ledger()


def write_ledger() -> Path:
    """submissions/ledger.csv from all the JSONs: one row for each upload, and for each file that was never sent."""
    rows = []
    for path, record in all_submissions():
        about: dict[str, Any] = {"file": path.with_suffix(".csv").name, "result": record.result}
        if record.cv_auc:
            auc = record.cv_auc
            about |= {"cv_auc": auc.value, "cv_auc_low": auc.low, "cv_auc_high": auc.high}
        for upload in record.uploads or [Upload(competition="", marker="", message="", status="not sent")]:
            rows.append(about | upload.model_dump())
    ledger = submissions_dir() / LEDGER
    write_csv(ledger, pd.DataFrame(rows, columns=COLUMNS, dtype=object).to_csv(index=False, lineterminator="\n"))
    return ledger
