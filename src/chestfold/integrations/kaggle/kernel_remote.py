"""What Kaggle knows of a data set and of a kernel, and the requests that make a version of them: each is made once.

The `kaggle` program makes them too, but repeats the making of a data set whose answer was lost, and makes one without
the files that it could not upload.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chestfold.core.files import read_json
from chestfold.core.records import Record
from chestfold.integrations.kaggle.client import ENTRY_TIMEOUT, PAGE_SIZE, Source, ask, form
from chestfold.integrations.kaggle.credentials import without_secrets
from chestfold.integrations.kaggle.failures import NoAnswer, Refused
from chestfold.integrations.kaggle.kernel import DATASET_FILE, KERNEL_FILE, Kernel

SUBMISSION = "submission.csv"
FAILED = ("ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED")
"""Statuses of a kernel that has ended without a submission."""


@dataclass(frozen=True)
class DatasetState:
    """The newest version of a data set: its number, how it stands, and the names of its files."""

    version: int
    status: str
    names: frozenset[str]


@dataclass(frozen=True)
class KernelState:
    """The newest version of a kernel: its number and its script."""

    version: int
    script: str


@dataclass(frozen=True)
class Session:
    """How the newest version of a kernel runs. `message`: why it failed; `log`: what it printed."""

    status: str
    message: str = ""
    log: str = ""


class Blob(Record):
    """A file on its way to Kaggle: where it is put, and by what it is named afterwards."""

    token: str
    url: str
    whole: bool = False


# Data sets


def dataset_state(source: Source) -> DatasetState | None:
    """None where there is no such data set, or none that may be looked at."""
    owner, _, slug = source.slug.partition("/")
    which: dict[str, Any] = {"owner_slug": owner, "dataset_slug": slug}
    try:
        about = ask(source, "datasets", "GetDataset", **which)
        status = _word(ask(source, "datasets", "GetDatasetStatus", **which), "DATABUNDLE_VERSION_STATUS_")
    except Refused:
        return None
    try:
        names = frozenset(_file_names(source, which))
    except Refused:  # the first version is not there yet
        names = frozenset()
    return DatasetState(int(about.get("currentVersionNumber") or 0), status or "NOT_YET_PERSISTED", names)


def _file_names(source: Source, which: dict[str, Any]) -> Iterator[str]:
    token = ""
    while True:
        page: dict[str, Any] = {"page_token": token} if token else {}
        answer = ask(source, "datasets", "ListDatasetFiles", page_size=PAGE_SIZE, **which, **page)
        for file in answer.get("datasetFiles") or []:
            yield str(file.get("name") or "")
        token = str(answer.get("nextPageToken") or "")
        if not token:
            return


def start_blob(source: Source, path: Path) -> Blob:
    """A place for a file of a data set."""
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType

    about = path.stat()
    fields: dict[str, Any] = {"content_length": about.st_size, "last_modified_epoch_seconds": int(about.st_mtime)}
    answer = ask(source, "blobs", "StartBlobUpload", type=ApiBlobType.DATASET, name=path.name, **fields)
    return Blob(token=str(answer.get("token")), url=str(answer.get("createUrl")))


def put_blob(source: Source, blob: Blob, path: Path, resumes: bool, advance: Callable[[int], None]) -> bool:
    """Send a file, or where a broken upload `resumes` its rest; False where the storage knows the place no more.

    The protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads.

    Raises:
        NoAnswer: the connection was lost; the rest can be sent later.
    """
    import requests

    size = path.stat().st_size
    broken = f"the upload to {source} broke off in {path.name}; run the same command again, it resumes there"
    try:
        with requests.Session() as session:
            begin: int | None = 0
            if resumes:
                asked = session.put(blob.url, headers={"Content-Range": f"bytes */{size}"}, timeout=ENTRY_TIMEOUT)
                begin = _received(asked, size)
            if begin is None:
                return False
            advance(begin)
            if begin == size:
                return True
            with path.open("rb") as file:
                file.seek(begin)
                span = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"} if begin else {}
                rest = _Reader(file, size - begin, advance)
                answer = session.put(blob.url, data=rest, headers=span, timeout=ENTRY_TIMEOUT)
    except requests.RequestException as error:
        raise NoAnswer(broken) from error
    if answer.status_code not in (200, 201):
        raise NoAnswer(f"{broken} (the storage answered {answer.status_code})")
    return True


def _received(answer: Any, size: int) -> int | None:
    """How many bytes the storage has; None where it does not know the place."""
    if answer.status_code in (200, 201):
        return size
    if answer.status_code != 308:
        return None
    _, _, last = answer.headers.get("Range", "").rpartition("-")
    return int(last) + 1 if last.isdecimal() else 0


class _Reader:
    """The rest of a file, which says how much of it was read."""

    def __init__(self, file: Any, length: int, advance: Callable[[int], None]) -> None:
        self._file, self._length, self._advance = file, length, advance

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        data = self._file.read(size)
        self._length -= len(data)
        self._advance(len(data))
        return data


def create_dataset(kernel: Kernel, is_new: bool, tokens: Iterable[str], note: str) -> None:
    """Make a private data set of uploaded files, or a new version of it.

    Raises:
        Refused: there is none.
        NoAnswer: there may be one.
    """
    source = Source("data set", kernel.dataset)
    about = read_json(kernel.weights / DATASET_FILE)
    owner, _, slug = about["id"].partition("/")
    named: dict[str, Any] = {"owner_slug": owner, "seconds": ENTRY_TIMEOUT}
    files = [form("datasets", "DatasetNewFile", token=token) for token in tokens]
    if is_new:
        named |= {"slug": slug, "title": about["title"], "license_name": about["licenses"][0]["name"]}
        answer = ask(source, "datasets", "CreateDataset", is_private=True, files=files, **named)
    else:
        body = form("datasets", "CreateDatasetVersionRequestBody", version_notes=note, files=files)
        answer = ask(source, "datasets", "CreateDatasetVersion", dataset_slug=slug, body=body, **named)
    if answer.get("error"):
        raise Refused(f"Kaggle made no version of {source}: {_said(answer['error'])}; look at {source.page}")


# Kernels


def kernel_state(source: Source) -> KernelState | None:
    """None where there is no such kernel."""
    try:
        answer = ask(source, "kernels", "GetKernel", **_kernel_name(source))
    except Refused:
        return None
    about, blob = answer.get("metadata") or {}, answer.get("blob") or {}
    return KernelState(int(about.get("currentVersionNumber") or 0), str(blob.get("source") or ""))


def _kernel_name(source: Source) -> dict[str, Any]:
    owner, _, slug = source.slug.partition("/")
    return {"user_name": owner, "kernel_slug": slug}


def push_kernel(kernel: Kernel) -> int:
    """Save and run a new version of a kernel; returns its number.

    Raises:
        Refused: Kaggle does not run it.
        NoAnswer: it may.
    """
    source = Source("kernel", kernel.identity)
    about = read_json(kernel.folder / KERNEL_FILE)
    answer = ask(
        source,
        "kernels",
        "SaveKernel",
        seconds=ENTRY_TIMEOUT,
        slug=about["id"],
        new_title=about["title"],
        text=kernel.script,
        language=about["language"],
        kernel_type=about["kernel_type"],
        is_private=about["is_private"],
        enable_gpu=about["enable_gpu"],
        enable_internet=about["enable_internet"],
        dataset_data_sources=about["dataset_sources"],
        competition_data_sources=about["competition_sources"],
    )
    if answer.get("error"):
        raise Refused(f"Kaggle does not run {source}: {_said(answer['error'])}; look at {source.page}")
    lacking = [*(answer.get("invalidDatasetSources") or []), *(answer.get("invalidCompetitionSources") or [])]
    if lacking:
        raise Refused(
            f"Kaggle gave {source} no access to {', '.join(map(str, lacking))}; are the rules of the competition "
            "accepted? Then run the same command again, it pushes the kernel anew"
        )
    return int(answer.get("versionNumber") or 0)


def session_of(source: Source) -> Session:
    """How the newest version of a kernel runs, with its log when it has ended."""
    answer = ask(source, "kernels", "GetKernelSessionStatus", **_kernel_name(source))
    status = _word(answer, "KERNEL_WORKER_STATUS_") or "QUEUED"
    if status != "COMPLETE" and status not in FAILED:
        return Session(status)
    return Session(status, _said(answer.get("failureMessage") or ""), log_of(source))


def log_of(source: Source) -> str:
    """What a kernel printed."""
    text = str(ask(source, "kernels", "ListKernelSessionOutput", **_kernel_name(source)).get("log") or "")
    try:
        printed = [str(part["data"]) for part in json.loads(text)]
    except (ValueError, TypeError, KeyError):  # it is a text already
        printed = [text]
    return without_secrets("".join(printed))


def fetch_submission(source: Source) -> bytes | None:
    """The submission.csv that a kernel wrote; None where it wrote none."""
    token = ""
    while True:
        page: dict[str, Any] = {"page_token": token} if token else {}
        answer = ask(source, "kernels", "ListKernelSessionOutput", page_size=PAGE_SIZE, **_kernel_name(source), **page)
        for file in answer.get("files") or []:
            if file.get("fileName") == SUBMISSION:
                return _download(str(file["url"]), source)
        token = str(answer.get("nextPageToken") or "")
        if not token:
            return None


def _download(url: str, source: Source) -> bytes:
    import requests

    try:
        answer = requests.get(url, timeout=ENTRY_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise NoAnswer(f"{SUBMISSION} of {source} could not be fetched; run the same command again") from error
    return answer.content


def create_code_entry(competition: Source, source: Source, version: int, description: str) -> int:
    """Submit a version of a kernel; returns the entry's reference, 0 where Kaggle did not say it.

    Raises:
        Refused: there is no entry.
        NoAnswer: there may be one.
    """
    owner, _, slug = source.slug.partition("/")
    answer = ask(
        competition,
        "competitions",
        "CreateCodeSubmission",
        seconds=ENTRY_TIMEOUT,
        competition_name=competition.slug,
        kernel_owner=owner,
        kernel_slug=slug,
        kernel_version=version,
        file_name=SUBMISSION,
        submission_description=description,
    )
    if not answer.get("ref") and "success" not in str(answer.get("message")).lower():
        raise Refused(f"Kaggle made no entry of version {version} of {source}: {_said(answer.get('message') or '')}")
    return int(answer.get("ref") or 0)


def _word(answer: dict[str, Any], prefix: str) -> str:
    """A status as one word in capitals; empty where it is left out, which means the first of its kind."""
    return str(answer.get("status") or "").upper().removeprefix(prefix)


def _said(text: Any) -> str:
    """What Kaggle says, in one line."""
    return without_secrets(" ".join(str(text).split())).rstrip(".") or "it said nothing"
