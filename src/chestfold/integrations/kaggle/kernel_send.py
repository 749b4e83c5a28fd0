"""A kernel on its way to a competition: its data set, itself, and the entry of the version that ran.

Each step is written into submissions/NNN_NAME-kernel.json before it is taken, so that a command that is killed anywhere
can be run again, and makes nothing of the same content twice. At Kaggle a content is known by its hash: in the name of
a file of the data set, in the script of the kernel, in the description of the entry.

    step       what is known                                         what the same command does next
    ""         Kaggle does not have it                               sends it; an upload that broke off is resumed
    BEGUN      a version was asked for, the answer is missing        looks for it for `LATE` seconds, then sends it
    SENT       Kaggle said that it made a version                    waits for it
    DONE       the data set can be used; the kernel has predicted    goes on to the next step

The life of the entry is that of every other: see `upload`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.console import bar, plural, say, waiting
from chestfold.core.errors import InputError
from chestfold.core.files import lock, submissions_dir, write_bytes, write_text
from chestfold.core.records import Record
from chestfold.evaluate.results import find_result
from chestfold.integrations.kaggle import kernel_remote, upload
from chestfold.integrations.kaggle.client import Source, Submission
from chestfold.integrations.kaggle.failures import Refused
from chestfold.integrations.kaggle.kernel import SHARED, Kernel
from chestfold.integrations.kaggle.kernel_remote import FAILED, Blob, DatasetState, KernelState, Session
from chestfold.integrations.kaggle.submission import (
    KernelSteps,
    SubmissionRecord,
    all_submissions,
    expected_answers,
    full_table,
    next_number,
    record_of,
    submission_csv,
)
from chestfold.integrations.kaggle.upload import LATE, SOON, Clock, Delivery, deliver, require_minutes, watch

UPLOADS = "uploads.json"
RESUMES = "run the same command again: it resumes waiting and sends nothing twice"
LAST_LINES = 5
"""Lines of a failed kernel's log that are shown."""


class Uploads(Record):
    """Which files of a data set are at Kaggle: name -> its place there."""

    blobs: dict[str, Blob] = {}


def send_kernel(
    kernel: Kernel, message: str, minutes: float, again: bool = False, clock: Clock | None = None
) -> tuple[Path, Submission]:
    """Take every step that is left, and wait at most `minutes` for Kaggle's part in all of them.

    Args:
        kernel: the folder.
        message: what stands behind the marker in the entry's description.
        minutes: to wait for data set, kernel and score.
        again: take anew a step that failed at Kaggle: a data set that is not there, a run, an entry without a score.
        clock: for tests.

    Returns the record's CSV, which the kernel has predicted, and the scored entry.

    Raises:
        InputError: Kaggle refused a step, the kernel failed, the entry could not be scored, or the time is up.
        ServiceError: Kaggle gave no answer.
    """
    require_minutes(minutes)
    clock = clock or upload.Clock()
    with lock(submissions_dir() / f".kernel_{kernel.name}"):
        sending = _Sending(kernel, _open_record(kernel), clock, clock.now() + 60 * minutes, minutes, again)
        delivery = KernelDelivery(sending.path, kernel.competition, clock, sending)
        with waiting(f"looking at {kernel.competition}"):
            is_entered = delivery.find() is not None  # it says too whether the competition lets one in
        if again:
            sending.write(dataset="", kernel="")
        if again or not is_entered:
            _Dataset(sending).bring()
            _Run(sending).bring()
        return sending.path, deliver(delivery, message, sending.seconds_left / 60, again)


def _open_record(kernel: Kernel) -> Path:
    """The CSV beside the JSON of this content, which is made where it is new."""
    with lock(submissions_dir()):
        for path, record in all_submissions():
            if record.kernel and record.sha256 == kernel.sha256:
                return path.with_suffix(".csv")
        stem = f"{next_number(submissions_dir()):03d}_{kernel.name}{'-full' if kernel.full else ''}-kernel"
        steps = KernelSteps(identity=kernel.identity, weights_hash=kernel.weights_hash)
        record = record_of(find_result(kernel.name), kernel.sha256)
        path = submissions_dir() / f"{stem}.json"
        record.model_copy(update={"full": kernel.full, "kernel": steps}).write(path)
        return path.with_suffix(".csv")


@dataclass(frozen=True)
class _Sending:
    """A kernel with its record. `path`: of the CSV; `deadline`: when the waiting ends, by the clock."""

    kernel: Kernel
    path: Path
    clock: Clock
    deadline: float
    minutes: float
    again: bool

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.deadline - self.clock.now())

    @property
    def steps(self) -> KernelSteps:
        steps = SubmissionRecord.from_json(self.path.with_suffix(".json")).kernel
        assert steps
        return steps

    def write(self, **fields: Any) -> None:
        """Change what the record says of the steps."""
        beside = self.path.with_suffix(".json")
        record = SubmissionRecord.from_json(beside)
        record.model_copy(update={"kernel": self.steps.model_copy(update=fields)}).write(beside)


# The data set


@dataclass(frozen=True)
class _Dataset:
    """The data set with the weights."""

    sending: _Sending

    @property
    def source(self) -> Source:
        return Source("data set", self.sending.kernel.dataset)

    def bring(self) -> None:
        """Have the weights at Kaggle, ready to be used."""
        sending = self.sending
        if sending.steps.dataset == "DONE":
            return
        with waiting(f"looking for {self.source}"):
            state = self.state()
        if sending.steps.dataset == "BEGUN" and not self.is_ours(state):
            state = self._look_for()
        if not self.is_ours(state) and sending.steps.dataset in ("", "BEGUN"):
            self._send(state)
        self._wait()

    def state(self) -> DatasetState | None:
        return kernel_remote.dataset_state(self.source)

    def is_ours(self, state: DatasetState | None) -> bool:
        """Whether the newest version has these contents."""
        return state is not None and self.sending.kernel.contents in state.names

    def _look_for(self) -> DatasetState | None:
        """Wait for a version whose answer was lost."""
        before = self.sending.steps.dataset_before
        say(f"{self.source} may have arrived: it is looked for, for {LATE / 60:.0f} minutes, before it is sent again")

        def has_come(state: DatasetState) -> bool:
            return self.is_ours(state) or state.version > before

        with waiting(f"looking for {self.source}") as remark:
            state = watch(self.state, has_come, LATE, self.sending.clock, remark)
        if state is not None and has_come(state):
            self.sending.write(dataset="SENT")
        return state

    def _send(self, state: DatasetState | None) -> None:
        kernel, sending = self.sending.kernel, self.sending
        blobs = self._upload()
        sending.write(dataset="BEGUN", dataset_before=state.version if state else 0)
        try:
            with waiting(f"making {self.source}"):
                note = f"{kernel.name} [chestfold {kernel.weights_hash[:SHARED]}]"
                kernel_remote.create_dataset(kernel, state is None, [blob.token for blob in blobs], note)
        except Refused:
            self._uploads_path.unlink(missing_ok=True)
            sending.write(dataset="")
            raise
        sending.write(dataset="SENT")
        self._uploads_path.unlink(missing_ok=True)

    @property
    def _uploads_path(self) -> Path:
        return self.sending.kernel.folder / UPLOADS

    def _upload(self) -> list[Blob]:
        """Every file of the data set, at Kaggle."""
        kernel = self.sending.kernel
        paths = [kernel.weights / name for name in sorted(_names(kernel))]
        total = sum(path.stat().st_size for path in paths)
        say(f"uploading {plural(len(paths), 'file')}, {total / 1e6:.1f} MB")
        with bar("uploading", total) as advance:
            return [self._upload_file(path, advance) for path in paths]

    def _upload_file(self, path: Path, advance: Callable[[int], None]) -> Blob:
        known = self._uploads().get(path.name)
        if known and known.whole:
            advance(path.stat().st_size)
            return known
        blob = known or self._start(path)
        if not kernel_remote.put_blob(self.source, blob, path, known is not None, advance):
            blob = self._start(path)
            kernel_remote.put_blob(self.source, blob, path, False, advance)
        whole = blob.model_copy(update={"whole": True})
        self._note(path, whole)
        return whole

    def _start(self, path: Path) -> Blob:
        blob = kernel_remote.start_blob(self.source, path)
        self._note(path, blob)
        return blob

    def _uploads(self) -> dict[str, Blob]:
        return Uploads.from_json(self._uploads_path).blobs if self._uploads_path.exists() else {}

    def _note(self, path: Path, blob: Blob) -> None:
        Uploads(blobs=self._uploads() | {path.name: blob}).write(self._uploads_path)

    def _wait(self) -> None:
        """Until Kaggle has unpacked and checked it."""
        sending, before = self.sending, self.sending.steps.dataset_before

        def has_failed(state: DatasetState) -> bool:
            return state.status == "FAILED" and state.version > before

        def is_over(state: DatasetState) -> bool:
            return has_failed(state) or (self.is_ours(state) and state.status == "READY")

        with waiting(f"{self.source}:") as remark:
            state = watch(self.state, is_over, sending.seconds_left, sending.clock, remark)
        if state is not None and has_failed(state):
            sending.write(dataset="")
            raise InputError(
                f"Kaggle could not process {self.source}; {self.source.page} says why; the same command sends it anew"
            )
        if state is None or not is_over(state):
            said = state.status if state else "not there"
            raise InputError(f"{self.source} is still {said} after {sending.minutes:g} minutes; {RESUMES}")
        lost = sorted(_names(sending.kernel) - state.names)
        if lost:
            raise InputError(
                f"{self.source} lacks {plural(len(lost), 'file')}, as {lost[0]}; look at {self.source.page}"
            )
        sending.write(dataset="DONE", dataset_version=state.version)
        say(f"{self.source} is ready, version {state.version}")


def _names(kernel: Kernel) -> set[str]:
    """The files of its data set."""
    return {path.name for path in kernel.weights.iterdir() if path.name != kernel_remote.DATASET_FILE}


# The kernel


@dataclass
class _Run:
    """The kernel, and the run of one version of it."""

    sending: _Sending
    has_run: bool = False
    """Whether a session was seen that had not ended: it is that of the version that was pushed."""
    ended: float | None = None
    """When a session without a word of this kernel was first seen to have ended."""
    was_pushed: bool = False
    """By this command."""

    @property
    def source(self) -> Source:
        return Source("kernel", self.sending.kernel.identity)

    def bring(self) -> None:
        """Have a version of the kernel that has predicted."""
        sending = self.sending
        if sending.steps.kernel == "DONE":
            return
        with waiting(f"looking for {self.source}"):
            state = self.state()
        if sending.steps.kernel == "BEGUN" and not self.is_ours(state):
            state = self._look_for()
        if state is not None and self.is_ours(state):
            if state.version != sending.steps.kernel_version:
                say(f"Kaggle has this very kernel already, as version {state.version}: nothing is pushed again")
            sending.write(kernel="SENT", kernel_version=state.version)
        elif sending.steps.kernel != "SENT":
            self._push()
        elif state is not None and state.version > sending.steps.kernel_version:
            say(f"version {state.version} of {self.source} has other contents, and took the place of these")
            self._push()
        self._wait()

    def state(self) -> KernelState | None:
        return kernel_remote.kernel_state(self.source)

    def is_ours(self, state: KernelState | None) -> bool:
        """Whether the newest version has this script, which names the weights and the competition."""
        return state is not None and state.script.split() == self.sending.kernel.script.split()

    def _look_for(self) -> KernelState | None:
        """Wait for a version whose answer was lost."""
        say(f"{self.source} may have arrived: it is looked for, for {LATE / 60:.0f} minutes, before it is pushed again")
        clock, start = self.sending.clock, self.sending.clock.now()
        state = self.state()
        with waiting(f"looking for {self.source}"):
            while not self.is_ours(state) and clock.now() - start < LATE:
                clock.sleep(upload.PAUSES[1])
                state = self.state()
        return state

    def _push(self) -> None:
        sending = self.sending
        sending.write(kernel="BEGUN", kernel_version=0)
        try:
            with waiting(f"pushing {self.source}"):
                version = kernel_remote.push_kernel(sending.kernel)
        except Refused:
            sending.write(kernel="")
            raise
        self.was_pushed, self.has_run, self.ended = True, False, None
        sending.write(kernel="SENT", kernel_version=version)
        say(f"pushed version {version} of {self.source}; Kaggle runs it: {self.source.page}")

    def _wait(self) -> None:
        sending = self.sending
        with waiting(f"{self.source}:") as remark:
            session = watch(self._session, self._is_over, sending.seconds_left, sending.clock, remark)
        if session is None or not self._is_over(session):
            said = session.status if session else "not to be seen"
            raise InputError(f"{self.source} is still {said} after {sending.minutes:g} minutes; {RESUMES}")
        if session.status in FAILED and sending.again and not self.was_pushed:
            self._push()
            self._wait()
        elif session.status in FAILED:
            raise InputError(self._complaint(session))
        else:
            self._keep(session)

    def _session(self) -> Session:
        """How it runs; what an older version left counts as nothing yet."""
        session = kernel_remote.session_of(self.source)
        kernel = self.sending.kernel
        if session.status != "COMPLETE" and session.status not in FAILED:
            self.has_run = True
            return session
        if f"{kernel.contents} for {kernel.competition.slug}" in session.log:
            return session
        now = self.sending.clock.now()
        self.ended = now if self.ended is None else self.ended
        if session.status in FAILED and (self.has_run or now - self.ended >= SOON):
            return session  # it failed before its first word
        return Session("QUEUED")

    def _is_over(self, session: Session) -> bool:
        return session.status == "COMPLETE" or session.status in FAILED

    def _complaint(self, session: Session) -> str:
        """Why it failed, and where its log is."""
        path = self.sending.path.with_suffix(".log")
        write_text(path, session.log)
        lines = [line.strip() for line in session.log.splitlines() if line.strip()]
        said = " / ".join([*lines[-LAST_LINES:], session.message][:LAST_LINES]).rstrip(" /")
        ended = "was cancelled" if session.status.startswith("CANCEL") else "failed"
        version = self.sending.steps.kernel_version
        return (
            f"version {version} of {self.source} {ended}: {said or 'it said nothing'}; its log is {path}; mend that "
            "first, the same version is not run again (--again runs it, where the fault was Kaggle's)"
        )

    def _keep(self, session: Session) -> None:
        """Fetch what it predicted for the images that it was shown, and say what is to be known of it."""
        sending = self.sending
        data = kernel_remote.fetch_submission(self.source)
        if data is None:
            raise InputError(f"{self.source} ran to its end and wrote no submission.csv; look at {self.source.page}")
        write_bytes(sending.path, data)
        sending.write(kernel="DONE")
        say(f"version {sending.steps.kernel_version} of {self.source} has predicted; its answers are in {sending.path}")
        for line in session.log.splitlines():
            if line.startswith("not predicted: "):
                say(line)
        say(compare_with_own(sending.kernel, data))


def compare_with_own(kernel: Kernel, data: bytes) -> str:
    """How a kernel's answers differ from those of `chestfold submit`, in a sentence."""
    result = find_result(kernel.name)
    try:
        sample, _, form = expected_answers(result)
        own = submission_csv(full_table(result) if kernel.full else result.test()[0], kernel.name, sample, form)
    except InputError as error:
        return f"they cannot be compared with those of chestfold submit: {error}"
    if own == data:
        return "they are those of chestfold submit, byte for byte"
    theirs, ours = (pd.read_csv(io.BytesIO(content), dtype={form.id_column: str}) for content in (data, own))
    if theirs.columns.tolist() != ours.columns.tolist() or set(theirs[form.id_column]) != set(ours[form.id_column]):
        return "they are of other images than those of chestfold submit, and cannot be compared"
    ours = ours.set_index(form.id_column).loc[theirs[form.id_column]].reset_index()
    if form.wants_classes:
        others = (theirs != ours).any(axis=1).sum()
        return f"{others} of {plural(len(ours), 'answer')} differ from those of chestfold submit"
    columns = list(form.columns)
    most = float(np.abs(theirs[columns].to_numpy(float) - ours[columns].to_numpy(float)).max())
    return f"they differ from those of chestfold submit by {most:.6f} at most"


# The entry


@dataclass(frozen=True)
class KernelDelivery(Delivery):
    """The version of a kernel that has run, and the competition that it goes to."""

    sending: _Sending

    @property
    def sha256(self) -> str:
        """Of its content."""
        return self.sending.kernel.sha256

    @property
    def about(self) -> str:
        """What is sent, in words."""
        return f"version {self.sending.steps.kernel_version} of {self.sending.kernel.identity}"

    @property
    def comes_back(self) -> bool:
        """Kaggle runs the kernel again, on images that nobody else sees."""
        return False

    def put(self) -> str:
        """It is there already."""
        return ""

    def enter(self, token: str, description: str) -> int:
        """Have Kaggle make an entry of the version that ran."""
        version = self.sending.steps.kernel_version
        source = Source("kernel", self.sending.kernel.identity)
        try:
            return kernel_remote.create_code_entry(self.source, source, version, description)
        except Refused as error:
            if not str(error).startswith("Kaggle knows no"):
                raise
            self.sending.write(kernel="", kernel_version=0)
            raise Refused(
                f"Kaggle finds no version {version} of {source} ({error}); was it deleted? The same command pushes the "
                "kernel anew"
            ) from error
