"""A submission is sent once, followed until Kaggle has scored or refused it, and entered in the ledger.

An entry is told apart from all others by the reference that Kaggle gave it and by a marker at the front of its
description, the beginning of the file's hash. The life of an upload is its record's `status`, which is written before
each step, so that a command that is killed anywhere can be run again:

    status      what is known                                     what the same command does next
    UPLOADING   the file is on its way, there is no entry yet     sends it
    BEGUN       an entry was asked for, the answer is missing     looks for it for `LATE` seconds, then sends it
    SENT        Kaggle said that it made an entry                 waits for it
    PENDING     Kaggle lists it, with this or any other word      waits for it
    COMPLETE    scored                                            shows the score
    ERROR       could not be scored                               says why; sends it anew with `again`
    REFUSED     Kaggle made no entry                              sends it; only with `again` if the record is `final`
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from chestfold.core.console import say, waiting
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import lock, sha256_file, submissions_dir, write_csv
from chestfold.integrations.kaggle import client
from chestfold.integrations.kaggle.client import Source, Submission
from chestfold.integrations.kaggle.credentials import without_secrets
from chestfold.integrations.kaggle.failures import NoAnswer, Refused, RefusedForGood, TurnedAway
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload, all_submissions

LEDGER = "ledger.csv"
COLUMNS = ["file", "result", "competition", "reference", "date", "status", "cv_auc", "cv_auc_low", "cv_auc_high"]
COLUMNS += ["public", "private", "message", "proof", "scored_sha256"]
PAUSES = (5.0, 20.0, 60.0)
"""Seconds between two looks, in the first minute, in the first ten and after them."""
SOON = 90.0
"""Seconds that an entry whose answer was lost is looked for at once."""
LATE = 300.0
"""Seconds that it is looked for before its file is sent again: Kaggle may need minutes to make and to list it."""
SENDABLE = ("", "UPLOADING", "BEGUN", "REFUSED")
ENDS = ("COMPLETE", "ERROR")


@dataclass(frozen=True)
class Clock:
    """Where the time comes from, and how it passes."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def send(
    path: Path, competition: str, message: str, minutes: float, again: bool = False, clock: Clock | None = None
) -> Submission:
    """Upload a checked submission file unless Kaggle has it, and wait at most `minutes` for its score.

    What happens is written into the file's JSON and the ledger as it happens.

    Args:
        path: submissions/NNN_NAME.csv.
        competition: its slug.
        message: what stands behind the marker in the description.
        minutes: to wait for the score.
        again: send a file anew that Kaggle could not score, refused, or says that it took and does not list.
        clock: for tests.

    Raises:
        InputError: Kaggle refused it, could not score it (its own reason), scored another file, or said nothing final
            in time.
        ServiceError: Kaggle gave no answer.
    """
    require_minutes(minutes)
    delivery = Delivery(path, Source("competition", competition), clock or Clock())
    return deliver(delivery, message, minutes, again)


def require_minutes(minutes: float) -> None:
    """Raise `InputError` where `--wait` is no time."""
    if not (math.isfinite(minutes) and minutes >= 0):
        raise InputError(f"--wait {minutes:g}: minutes, 0 or more")


def deliver(delivery: "Delivery", message: str, minutes: float, again: bool) -> Submission:
    """Make an entry unless Kaggle has it, and wait for its score; arguments and errors as `send`."""
    text = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # a terminal that knows only ASCII
    with lock(submissions_dir()):
        found = _begin(delivery, without_secrets(" ".join(text.split())), minutes, again)
    if found is None or not found.ended:
        found = follow(delivery.find, minutes, delivery.clock)
    return _end(delivery, found, minutes)


@dataclass(frozen=True)
class Delivery:
    """One file and the competition it goes to; what is known of it stands in the file's JSON."""

    path: Path
    source: Source
    clock: Clock

    @property
    def sha256(self) -> str:
        """Of the file."""
        return sha256_file(self.path)

    @property
    def marker(self) -> str:
        """The words in a description that name this very file; older entries have them at the end."""
        return f"chestfold {self.sha256[:12]}"

    @property
    def about(self) -> str:
        """What is sent, in words."""
        return f"{self.path.name} ({len(self.path.read_bytes().splitlines()) - 1} rows)"

    @property
    def comes_back(self) -> bool:
        """Whether what Kaggle scores is the file itself."""
        return True

    def put(self) -> str:
        """Bring to Kaggle what an entry is made of; returns the token for `enter`. No entry exists yet."""
        return client.put_file(self.source, self.path)

    def enter(self, token: str, description: str) -> int:
        """Make the entry; returns its reference, 0 where that is not told; raises as `client.create_entry`."""
        return client.create_entry(self.source, token, description)

    def recorded(self) -> Upload:
        """What is known of its upload, or of that of a file of another name and the same bytes."""
        beside = self.path.with_suffix(".json")
        same = [record for _, record in all_submissions() if record.sha256 == self.sha256]
        for record in (SubmissionRecord.from_json(beside), *same):
            for upload in record.uploads:
                if upload.competition == self.source.slug:
                    return upload
        return Upload(competition=self.source.slug, marker=f"[{self.marker}]", message="")

    def write(self, **fields: Any) -> None:
        """Change what the JSON says of the upload, and make the ledger anew."""
        beside = self.path.with_suffix(".json")
        record = SubmissionRecord.from_json(beside)
        others = [upload for upload in record.uploads if upload.competition != self.source.slug]
        mine = self.recorded().model_copy(update=fields)
        record.model_copy(update={"uploads": (*others, mine)}).write(beside)
        write_ledger()

    def find(self) -> Submission | None:
        """The file's entry at Kaggle; of several the one that is scored, else the one that may yet be.

        The list is read only where Kaggle does not say by the reference that all is well.
        """
        upload = self.recorded()
        found = []
        if upload.reference:
            try:
                found = [client.submission(self.source, upload.reference)]
            except ChestfoldError:
                found = []  # the list decides, and says what is wrong
        if found and found[0].status != "ERROR":
            return found[0]
        for entry in client.submissions(self.source):
            is_ours = self.marker in entry.description or entry.reference == upload.reference
            if is_ours and entry.reference not in upload.failed:
                found.append(entry)
        return min(found, key=_rank, default=None)

    def look_for(self, seconds: float) -> Submission | None:
        """Look for an entry that may be listed late."""
        with waiting(f"looking for {self.path.name} at {self.source.slug}") as remark:
            return watch(self.find, lambda entry: True, seconds, self.clock, remark)


def _rank(entry: Submission) -> int:
    """Scored entries before those that wait, and failed ones last."""
    return {"COMPLETE": 0, "ERROR": 2}.get(entry.status, 1)


def _begin(delivery: Delivery, message: str, minutes: float, again: bool) -> Submission | None:
    """The entry that Kaggle has; where it has none the file is sent, as far as the record allows it."""
    path, source, before = delivery.path, delivery.source, delivery.recorded()
    found = _known(delivery, before)
    is_unclear = before.status == "BEGUN" or (again and before.status not in SENDABLE)
    if found is None and is_unclear:
        say(f"{path.name} may have arrived: it is looked for, for {LATE / 60:.0f} minutes, before it is sent again")
        found = delivery.look_for(LATE)
    wants_another = again and before.status != "COMPLETE" and found is not None and found.status == "ERROR"
    if found is not None and not wants_another:
        say(f"Kaggle has this very file already, as {found.reference}: nothing is sent again")
        delivery.write(reference=found.reference, message=before.message or message)
        return found
    if not again and before.final:
        raise InputError(
            f"{path.name} is not sent again, on {before.begun[:10]} {source} took the file and refused it: "
            f"{before.reason}; add --again to send it all the same"
        )
    if not again and before.status not in SENDABLE:
        return None  # it was sent, and is waited for
    failed = [*before.failed, found.reference] if found else list(before.failed)
    return _transfer(delivery, message, tuple(failed), minutes)


def _known(delivery: Delivery, before: Upload) -> Submission | None:
    """Kaggle's entry of the file; where it shows none, the end that is recorded."""
    found = None
    try:
        with waiting(f"looking for {delivery.path.name} at {delivery.source.slug}"):
            found = delivery.find()
    except ChestfoldError as error:
        if before.status != "COMPLETE":
            raise
        say(f"what is recorded was not asked for anew: {error}")
    if found is None and before.status in ENDS:
        names = ("date", "status", "public", "private", "reason")
        known = {name: getattr(before, name) for name in names}
        return Submission(reference=before.reference or 0, description=before.message, **known)
    return found


def _announce(delivery: Delivery, description: str) -> None:
    """Say what will leave this machine; stop where the submissions are used up."""
    source = delivery.source
    try:
        limits = client.limits(source)
    except ChestfoldError:
        limits = None  # a courtesy; whether the upload is allowed, Kaggle says when it is made
    if limits and limits.left <= 0 and limits.of_all:
        raise InputError(
            f"no submission to {source.slug} is left: the {limits.total} that the team made are all that the "
            f"competition allows; {source.page}/submissions shows them"
        )
    if limits and limits.left <= 0:
        raise InputError(
            f"no submission to {source.slug} is left today ({limits.today} were made); run the same command tomorrow, "
            "the day ends at midnight UTC"
        )
    left = ""
    if limits:
        left = f"; {limits.left} submissions are left {'in all' if limits.of_all else 'today'}"
    say(f'to {source.page} goes {delivery.about} as "{description}"{left}')


def _transfer(delivery: Delivery, message: str, failed: tuple[int, ...], minutes: float) -> Submission | None:
    """Send the file; the entry where it was found already, None where it is to be waited for."""
    path, source = delivery.path, delivery.source
    description = f"[{delivery.marker}] {message}"
    _announce(delivery, description)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    fresh = Upload(competition=source.slug, marker=f"[{delivery.marker}]", message=message, begun=begun, failed=failed)
    delivery.write(**fresh.model_copy(update={"status": "UPLOADING"}).model_dump())
    try:
        with waiting(f"uploading {path.name}"):
            token = delivery.put()
    except Refused as error:
        delivery.write(status="REFUSED", reason=str(error))
        raise
    delivery.write(status="BEGUN")
    return _enter(delivery, token, description, minutes)


def _enter(delivery: Delivery, token: str, description: str, minutes: float) -> Submission | None:
    """Have Kaggle make an entry of what was uploaded; where its answer is lost, the list decides."""
    try:
        with waiting(f"submitting {delivery.path.name}"):
            reference = delivery.enter(token, description)
    except Refused as error:
        delivery.write(status="REFUSED", reason=str(error), final=isinstance(error, RefusedForGood))
        raise
    except TurnedAway:
        delivery.write(status="UPLOADING")
        raise
    except NoAnswer as error:
        say(f"Kaggle's answer is missing; looking whether {delivery.path.name} arrived")
        found = delivery.look_for(min(SOON, minutes * 60))
        if found is None:
            raise NoAnswer(
                f"{error} (it may have arrived: the same command looks for it for {LATE / 60:.0f} minutes before it "
                "sends anything)"
            ) from error
        delivery.write(reference=found.reference)
        return found
    delivery.write(status="SENT", reference=reference or None)
    say("sent; Kaggle is scoring it")
    return None


def follow(look: Callable[[], Submission | None], minutes: float, clock: Clock) -> Submission | None:
    """Look until the submission has ended or the time is up; what was seen last, None where nothing was."""
    with waiting("scoring") as remark:
        return watch(look, lambda entry: entry.ended, minutes * 60, clock, remark)


class HasStatus(Protocol):
    """What can be watched."""

    @property
    def status(self) -> str:
        """How it stands, in a word."""


S = TypeVar("S", bound=HasStatus)


def watch(
    look: Callable[[], S | None],
    until: Callable[[S], bool],
    seconds: float,
    clock: Clock,
    remark: Callable[[str], None],
) -> S | None:
    """Look until what is seen is enough or the time is up.

    A look that Kaggle does not answer is not the end: the next one may be.
    """
    start = clock.now()
    found = None
    while True:
        try:
            found = look() or found
        except NoAnswer as error:
            remark(f"({error})")
        spent = clock.now() - start
        left = seconds - spent
        if (found and until(found)) or left <= 0:
            return found
        remark(f"{found.status if found else 'not listed yet'}, {spent / 60:.0f} of {seconds / 60:g} minutes")
        clock.sleep(min(PAUSES[(spent > 60) + (spent > 600)], left))


def _end(delivery: Delivery, found: Submission | None, minutes: float) -> Submission:
    """Write down how it ended, or that it has not yet."""
    path, source = delivery.path, delivery.source
    resumes = "run the same command again: it resumes waiting and sends nothing twice"
    if found is None:
        known = delivery.recorded().reference
        number = f" as {known}" if known else ""
        raise InputError(
            f"{path.name} was sent{number}, but Kaggle does not list it after {minutes:g} minutes; {resumes}"
        )
    names = ("reference", "date", "status", "public", "private", "reason")
    delivery.write(**{name: getattr(found, name) for name in names})
    if found.status == "ERROR":
        reason = f": {found.reason}" if found.reason else f"; {source.page}/submissions says why"
        raise InputError(
            f"Kaggle could not score {path.name} (submission {found.reference}){reason.rstrip('.')}; mend that first, "
            "the same file is not sent again (--again sends it, where the fault was Kaggle's)"
        )
    if found.status != "COMPLETE":
        raise InputError(f"{path.name} is still {found.status} after {minutes:g} minutes; {resumes}")
    _prove(delivery, found)
    return found


def _prove(delivery: Delivery, found: Submission) -> None:
    """Compare what Kaggle holds for a scored entry with the file, where it gives it back."""
    ours = delivery.sha256
    if not (found.reference and delivery.comes_back) or delivery.recorded().proof(ours) == "proven":
        return
    try:
        with waiting(f"comparing {delivery.path.name} with what was scored"):
            held = client.scored_sha256(delivery.source, found.reference)
    except ChestfoldError:
        return  # the record and `format_lines` say that it is not proven
    delivery.write(scored_sha256=held)
    if held != ours:
        raise InputError(
            f"Kaggle scored ANOTHER FILE than {delivery.path.name}: submission {found.reference} holds SHA-256 "
            f"{held[:12]}, the file has {ours[:12]}, so the score {found.public or 'there'} is not that of this file "
            f"and does not count on the board; look at {delivery.source.page}/submissions"
        )


def format_lines(path: Path, entry: Submission) -> list[str]:
    """The scores of a submission, whether they are those of this file, and where they are recorded."""
    about = path.with_suffix(".json")
    record = SubmissionRecord.from_json(about)
    scores = f"public {entry.public or 'not shown'}, private {entry.private or 'not shown yet'}"
    is_proven = any(
        upload.reference == entry.reference and upload.proof(record.sha256) == "proven" for upload in record.uploads
    )
    proof = "proven: what Kaggle holds has the SHA-256 of this file"
    if record.kernel:
        proof = f"scored is what version {record.kernel.kernel_version} of {record.kernel.identity} predicts there"
    elif not is_proven:
        proof = "not proven that Kaggle scored this very file: it did not give it back to be compared"
    return [
        f"{entry.status}: {scores}, CV AUC {record.cv_auc}" if record.cv_auc else f"{entry.status}: {scores}",
        proof,
        f"submission {entry.reference} is recorded in {about} and {submissions_dir() / LEDGER}",
    ]


def write_ledger() -> Path:
    """submissions/ledger.csv from all the JSONs: one row for each upload, and for each file that was never sent."""
    rows = []
    for path, record in all_submissions():
        about: dict[str, Any] = {"file": path.with_suffix(".csv").name, "result": record.result}
        if record.cv_auc:
            auc = record.cv_auc
            about |= {"cv_auc": auc.value, "cv_auc_low": auc.low, "cv_auc_high": auc.high}
        for upload in record.uploads or [Upload(competition="", marker="", message="", status="not sent")]:
            proof = f"kernel version {record.kernel.kernel_version}" if record.kernel else upload.proof(record.sha256)
            rows.append(about | upload.model_dump() | {"proof": proof})
    ledger = submissions_dir() / LEDGER
    write_csv(ledger, pd.DataFrame(rows, columns=COLUMNS, dtype=object).to_csv(index=False, lineterminator="\n"))
    return ledger
