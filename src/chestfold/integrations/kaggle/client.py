"""Kaggle: its typed API for questions and submissions, and the `kaggle` program for downloads, which it can resume.

Each failure becomes one sentence, and no credential leaves this module.
"""

import hashlib
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.extras import require
from chestfold.integrations.kaggle import credentials
from chestfold.integrations.kaggle.credentials import without_secrets
from chestfold.integrations.kaggle.failures import NoAnswer, Refused, failure, unreadable

TIMEOUT = 60.0
"""Seconds that an answer of the API may take."""
ENTRY_TIMEOUT = 240.0
"""As above for an upload and for the making of an entry, which Kaggle may take minutes for."""
DOWNLOAD_SILENCE = 600.0
"""Seconds without any output after which the program is stopped; it waits 300 for a chunk before it tries again."""
PAGE_SIZE = 200
"""Submissions asked for at once; servers are known that give 20 or 50 whatever is asked for."""
_SERVICES = {
    "competitions": ("CompetitionApiService", "competition_api_service"),
    "datasets": ("DatasetApiService", "dataset_api_service"),
    "kernels": ("KernelsApiService", "kernels_api_service"),
    "blobs": ("BlobApiService", "blob_api_service"),
}
"""Part of kagglesdk -> its service, and the module of its forms."""
_SLUG = "[A-Za-z0-9][A-Za-z0-9_-]*"
Shown = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A competition, or a data set or kernel `owner/name`, at Kaggle.

    Raises:
        InputError: the slug is not one; it would be taken for an option or a path.
    """

    kind: Literal["competition", "data set", "kernel"]
    slug: str

    def __post_init__(self) -> None:
        form = _SLUG if self.kind == "competition" else f"{_SLUG}/{_SLUG}"
        if not re.fullmatch(form, self.slug):
            hint = "" if self.kind == "competition" else ", owner/name"
            raise InputError(
                f"{self.slug!r} is not the slug of a {self.kind}: give the last part of its address at kaggle.com{hint}"
            )

    def __str__(self) -> str:
        return f"{self.kind} {self.slug}"

    @property
    def page(self) -> str:
        """Its address."""
        folder = {"competition": "competitions", "data set": "datasets", "kernel": "code"}[self.kind]
        return f"https://www.kaggle.com/{folder}/{self.slug}"


@dataclass(frozen=True)
class Submission:
    """What Kaggle says of one submission; scores are texts as Kaggle prints them, empty where it shows none.

    `status`: PENDING, COMPLETE, ERROR, or a word that is new; `reason`: why it could not be scored, as Kaggle puts it.
    """

    reference: int
    date: str
    description: str
    status: str
    public: str
    private: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ("COMPLETE", "ERROR")


@dataclass(frozen=True)
class Limits:
    """How many submissions a team has made today and in all, and how many more are allowed now.

    `of_all`: it is the number in all that limits them, not that of a day.
    """

    today: int
    total: int
    left: int
    of_all: bool


# The typed API


def submissions(source: Source) -> list[Submission]:
    """All submissions of the team to a competition, newest first: page after page until one brings nothing new."""
    found: dict[int, Submission] = {}
    token, number, by_token = "", 1, False
    while True:
        try:
            page, token = _page(source, token, number)
        except Refused:
            if token or number == 1:
                raise
            break  # a page that is not there
        fresh = {entry.reference: entry for entry in page if entry.reference not in found}
        found |= fresh
        number += 1
        by_token = by_token or bool(token)
        if not fresh or (by_token and not token):
            break
    return list(found.values())


def _page(source: Source, token: str, number: int) -> tuple[list[Submission], str]:
    """A page of the list, by its token or its number, and the token of the next; empty where there is none."""
    which: dict[str, Any] = {"page_token": token} if token else {"page": number}
    answer = _ask(source, "ListSubmissions", competition_name=source.slug, page_size=PAGE_SIZE, **which)
    rows = answer.get("submissions") or []
    entries = [_submission(row) for row in rows if isinstance(row, dict) and _text(row, "ref").isdecimal()]
    return entries, _text(answer, "nextPageToken")


def submission(source: Source, reference: int) -> Submission:
    """One submission, by the number that Kaggle gave it."""
    answer = _ask(source, "GetSubmission", ref=reference)
    if _text(answer, "ref") != str(reference):
        raise unreadable("", source)
    return _submission(answer)


def _submission(row: dict[str, Any]) -> Submission:
    """Kaggle's JSON, which leaves out what is empty; kagglesdk's own type fails on a status that is new to it."""
    return Submission(
        reference=int(row["ref"]),
        date=_text(row, "date"),
        description=without_secrets(_text(row, "description")),
        status=_text(row, "status").upper().removeprefix("SUBMISSION_STATUS_") or "PENDING",
        public=_text(row, "publicScore"),
        private=_text(row, "privateScore"),
        reason=without_secrets(" ".join(_text(row, "errorDescription").split())),
    )


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def limits(source: Source) -> Limits | None:
    """What a team may still submit; None for one that has never submitted: all is 0."""
    answer = _ask(source, "GetSubmissionLimits", competition_name=source.slug)
    today, total, left = (int(answer.get(name) or 0) for name in ("numToday", "numTotal", "numAllowedNow"))
    of_all = bool(answer.get("limitedByTotal"))
    if not (today or total or left or of_all):
        return None
    return Limits(today, total, left, of_all)


def put_file(source: Source, path: Path) -> str:
    """Upload a file for `create_entry`, which takes the token that is returned. No entry exists yet."""
    import requests

    about = path.stat()
    place = _ask(
        source,
        "StartSubmissionUpload",
        competition_name=source.slug,
        file_name=path.name,
        content_length=about.st_size,
        last_modified_epoch_seconds=int(about.st_mtime),
    )
    half_way = f"the upload to {source} failed half-way; run the same command again, it makes no second entry"
    try:
        answer = requests.put(_text(place, "createUrl"), data=path.read_bytes(), timeout=ENTRY_TIMEOUT)
    except requests.RequestException as error:
        raise NoAnswer(half_way) from error
    if answer.status_code not in (200, 201):
        raise NoAnswer(f"{half_way} (the storage answered {answer.status_code})")
    return _text(place, "token")


def create_entry(source: Source, token: str, description: str) -> int:
    """Submit an uploaded file: this is what makes an entry. Returns its reference; 0: Kaggle did not say it.

    Raises:
        Refused: there is no entry.
        NoAnswer: there may be one.
    """
    answer = _ask(
        source,
        "CreateSubmission",
        seconds=ENTRY_TIMEOUT,
        competition_name=source.slug,
        blob_file_tokens=token,
        submission_description=description,
    )
    said = _text(answer, "message")
    if not answer.get("ref") and "success" not in said.lower():
        raise _trouble(said, source)
    return int(answer.get("ref") or 0)


def scored_sha256(source: Source, reference: int) -> str:
    """The SHA-256 of the file that Kaggle holds for a submission, as it comes back."""
    require("kagglesdk", "kaggle")
    from kagglesdk.common.types.file_download import FileDownload

    digest, size = hashlib.sha256(), 0
    with _client(source) as client:
        answer = client.call(*_request("competitions", "DownloadSubmission", submission_id=reference), FileDownload)
        is_file = not re.search("html|json", answer.headers.get("Content-Type", ""))
        for chunk in answer.iter_content(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    if not (is_file and size):
        raise NoAnswer(f"Kaggle gives no file back for submission {reference}")
    return digest.hexdigest()


def _ask(source: Source, method: str, seconds: float | None = None, **fields: Any) -> dict[str, Any]:
    """Kaggle's answer, as JSON, to a question about a competition."""
    return ask(source, "competitions", method, seconds, **fields)


def ask(source: Source, part: str, method: str, /, seconds: float | None = None, **fields: Any) -> dict[str, Any]:
    """Kaggle's answer, as JSON, to one request, which is made once.

    Args:
        source: what it is about, for a complaint.
        part: of kagglesdk: competitions, datasets, kernels or blobs.
        method: name of the request.
        seconds: that the answer may take; else as usual.
        fields: of the request's form.
    """
    require("kagglesdk", "kaggle")
    with _client(source, seconds) as client:
        return client.call(*_request(part, method, **fields), _Json)


def form(part: str, name: str, /, **fields: Any) -> Any:
    """kagglesdk's form `ApiNAME`, filled in."""
    module = import_module(f"kagglesdk.{part}.types.{_SERVICES[part][1]}")
    made = getattr(module, f"Api{name}")()
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def _request(part: str, method: str, /, **fields: Any) -> tuple[str, str, Any]:
    """The service, the name of a question and its form."""
    return f"{part}.{_SERVICES[part][0]}", method, form(part, f"{method}Request", **fields)


class _Json:
    """What an answer is made into: its JSON."""

    @staticmethod
    def prepare_from(response: Any) -> dict[str, Any]:
        """The object in it; `ValueError` where there is none."""
        value = response.json()
        if not isinstance(value, dict):
            raise TypeError(response.text)
        return value


@contextmanager
def _client(source: Source, seconds: float | None = None) -> Iterator[Any]:
    """kagglesdk's client, logged in; its errors become sentences about `source`. None: `TIMEOUT` seconds an answer."""
    import requests
    from kagglesdk import KaggleClient, KaggleCredentials
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    user, key = credentials.key()
    try:
        with KaggleClient(username=user, password=key) as kaggle:
            client = kaggle.http_client()
            session = client._session  # it has no timeout, and no option for one
            session.send = partial(session.send, timeout=seconds or TIMEOUT)
            if session.auth is None:
                saved = KaggleCredentials.load(kaggle)
                if saved is None:
                    raise _trouble("Authentication required", source)
                session.auth = KaggleHttpClient.BearerAuth(saved.get_access_token())
            yield client
    except (requests.JSONDecodeError, TypeError) as error:
        raise unreadable(getattr(error, "doc", str(error)), source) from error
    except requests.RequestException as error:
        code = 0 if error.response is None else error.response.status_code
        raise _trouble(str(error), source, code) from error


# The program


def download(source: Source, folder: Path, shown: Shown) -> Path:
    """Fetch `source` into `folder`, resuming what an interrupted download left there; the path of what came.

    It is a zip, but for a competition that consists of one file.
    """
    kind = "competitions" if source.kind == "competition" else "datasets"
    printed = _call([kind, "download", source.slug, "-p", str(folder)], source, DOWNLOAD_SILENCE, shown)
    name = source.slug.rpartition("/")[2]
    for path in sorted(folder.glob(f"{name}.*"), key=lambda path: path.suffix != ".zip"):
        if path.suffix != ".kaggle-partial":
            return path
    raise _trouble(printed, source, names=[str(folder)])


def _call(arguments: list[str], source: Source, silence: float, shown: Shown) -> str:
    """All that the program prints; `shown` is given the state of its progress bar.

    Raises:
        ChestfoldError: it failed; `NoAnswer` where it is not sure what happened.
    """
    require("kaggle", "kaggle")
    env = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
    for verbose in ("VERBOSE", "VERBOSE_OUTPUT"):  # it would print its credentials
        env.pop(verbose, None)
    # -P: a folder of the name kaggle is not the program
    command = [sys.executable, "-P", "-m", "chestfold.integrations.kaggle.leashed", "-W", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        try:
            printed = _listen(process, silence, shown)
        finally:
            process.kill()
    if process.returncode:
        raise _trouble(printed, source, names=arguments)
    return printed


def _listen(process: subprocess.Popen[bytes], silence: float, shown: Shown) -> str:
    """Read what the program prints to its end, and wait for it to exit."""
    assert process.stdout
    printed = b""
    while select.select([process.stdout], [], [], silence)[0]:
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            process.wait()
            return printed.decode(errors="replace")
        printed += chunk
        states = re.findall(rb"\d%\|[^|]*\|([^\]\r\n]*\])", printed[-1000:])
        if states:
            shown(states[-1].decode(errors="replace").strip())
    raise NoAnswer(
        f"the Kaggle program said nothing for {silence:.0f} seconds and was stopped; look at your network "
        "and run the same command again, it resumes from here"
    )


def _trouble(text: str, source: Source, code: int = 0, names: Sequence[str] = ()) -> ChestfoldError:
    """One sentence for what the API or the program said when it failed.

    `code`: of HTTP, 0 where it is not known; `names`: of files and folders that may stand in `text`.
    """
    about = {"source": str(source), "page": source.page, "slug": source.slug}
    return failure(text, code, about, [*names, source.slug, *source.slug.split("/")])
