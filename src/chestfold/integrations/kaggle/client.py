"""Kaggle: its typed API for questions, and the `kaggle` program for uploads and downloads, which it can resume.

Each failure becomes one sentence, and no credential leaves this module.
"""

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from chestfold.core.errors import ChestfoldError, InputError, ServiceError
from chestfold.core.extras import require
from chestfold.integrations.kaggle import credentials
from chestfold.integrations.kaggle.credentials import secrets, without_secrets

TIMEOUT = 60.0
"""Seconds that an answer of the API may take."""
SILENCE = 120.0
"""Seconds without any output after which the program is stopped."""
DOWNLOAD_SILENCE = 600.0
"""As above for a download: the program itself waits 300 seconds for a chunk before it tries again."""
LISTED = 100
"""Submissions that are looked through, newest first."""
_SLUG = "[A-Za-z0-9][A-Za-z0-9_-]*"
Shown = Callable[[str], None]


class NoAnswer(ServiceError):
    """Kaggle gave no clear answer: the request may or may not have been carried out."""


@dataclass(frozen=True)
class Source:
    """A competition, or a data set `owner/name`, at Kaggle.

    Raises:
        InputError: the slug is not one; it would be taken for an option or a path.
    """

    kind: Literal["competition", "data set"]
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
        folder = "competitions" if self.kind == "competition" else "datasets"
        return f"https://www.kaggle.com/{folder}/{self.slug}"


@dataclass(frozen=True)
class Submission:
    """What Kaggle says of one submission; scores are texts as Kaggle prints them, empty where it shows none.

    `reason`: why it could not be scored, as Kaggle puts it.
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


# The typed API


def submissions(source: Source) -> list[Submission]:
    """The newest submissions to a competition, at most `LISTED`, newest first."""
    with _competition_api(source) as api:
        from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

        request = ApiListSubmissionsRequest()
        request.competition_name = source.slug
        request.page_size = LISTED
        listed = api.list_submissions(request).submissions
    return [_submission(entry) for entry in listed]


def _submission(entry: Any) -> Submission:
    return Submission(
        reference=entry.ref,
        date=str(entry.date),
        description=without_secrets(entry.description),
        status=entry.status.name,
        public=entry.public_score,
        private=entry.private_score,
        reason=without_secrets(" ".join(entry.error_description.split())),
    )


def submissions_left(source: Source) -> tuple[int, int] | None:
    """Submissions made today, and how many more are allowed; None for a team that has never submitted: all is 0."""
    with _competition_api(source) as api:
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

        request = ApiGetSubmissionLimitsRequest()
        request.competition_name = source.slug
        limits = api.get_submission_limits(request)
    if not (limits.num_today or limits.num_total or limits.num_allowed_now):
        return None
    return limits.num_today, limits.num_allowed_now


@contextmanager
def _competition_api(source: Source) -> Iterator[Any]:
    """kagglesdk's client for competitions, logged in; its errors become sentences about `source`."""
    require("kagglesdk", "kaggle")
    from kagglesdk import KaggleClient, KaggleCredentials
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    user, key = credentials.key()
    try:
        with KaggleClient(username=user, password=key) as kaggle:
            session = kaggle.http_client()._session  # it has no timeout, and no option for one
            session.send = partial(session.send, timeout=TIMEOUT)
            if session.auth is None:
                saved = KaggleCredentials.load(kaggle)
                if saved is None:
                    raise _trouble("Authentication required", source)
                session.auth = KaggleHttpClient.BearerAuth(saved.get_access_token())
            yield kaggle.competitions.competition_api_client
    except OSError as error:  # the base of all that requests raises
        response = getattr(error, "response", None)
        code = "" if response is None else response.status_code
        raise _trouble(f"{code}\n{error}", source) from error


# The program


def upload(source: Source, path: Path, description: str, shown: Shown) -> None:
    """Send a file to a competition. That it returns proves nothing: look for `description` in `submissions`."""
    arguments = ["competitions", "submit", source.slug, "-f", str(path), f"--message={without_secrets(description)}"]
    printed = _call(arguments, source, SILENCE, shown)
    if re.search("Could not (submit|find)", printed):  # it ends well though the upload failed
        raise _trouble(printed, source)


def download(source: Source, folder: Path, shown: Shown) -> Path:
    """Fetch `source` as one zip into `folder`; what an interrupted download left there is resumed."""
    kind = "competitions" if source.kind == "competition" else "datasets"
    printed = _call([kind, "download", source.slug, "-p", str(folder)], source, DOWNLOAD_SILENCE, shown)
    path = folder / f"{source.slug.rpartition('/')[2]}.zip"
    if not path.exists():
        raise _trouble(printed, source)
    return path


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
        raise _trouble(printed, source)
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


# Failures

_REFUSALS = {
    r"Authentication required|\b401\b|Unauthori[sz]ed": "{refused}: make a token at "
    "https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token or set KAGGLE_API_TOKEN",
    r"No space left|Errno 28": "the disk is full; free some space and run the same command again",
    r"submission allowance|submission limit|submissions? (per|a) day|daily submission": "Kaggle takes no more "
    "submissions to {source} now: {said}",
    r"\brules\b": "the rules of {source} are not accepted: read and accept them at {source.page}/rules, then run the "
    "same command again (Kaggle says: {said})",
    r"\b403\b|Forbidden|permission": "Kaggle refuses access to {source}: {said}; look at {source.page}",
    r"\b404\b|not found|Could not find": "Kaggle knows no {source}: check the slug, the last part of its address "
    "(Kaggle says: {said})",
}
_NO_ANSWERS = {
    "Could not submit": "the upload to {source} failed half-way; run the same command again, it makes no second entry",
    r"\b429\b|Too Many Requests": "Kaggle got too many requests; wait some minutes, then run the command again",
    r"^50\d\b|Internal Server": "Kaggle has trouble of its own ({said}); run the same command again later",
    r"Max retries|NewConnection|NameResolution|ProxyError|Connection ?(aborted|refused|reset|Error)|RemoteDisconnected|"
    r"IncompleteRead|timed out|SSLError": "Kaggle cannot be reached; look at your network (and HTTPS_PROXY), then run "
    "the same command again",
}
"""A sign in what Kaggle says -> the sentence for it; the first that fits counts."""


def _trouble(text: str, source: Source) -> ChestfoldError:
    """One sentence for what the API or the program said when it failed."""
    lines = _plain_lines(without_secrets(text))
    said = lines[-1].rstrip(".;")[:300] if lines else "it said nothing"
    refused = "Kaggle needs credentials, and there are none"
    if secrets():
        refused = "Kaggle does not accept the credentials that are set here"
    for kind, signs in ((InputError, _REFUSALS), (NoAnswer, _NO_ANSWERS)):
        for sign, sentence in signs.items():
            if re.search(sign, "\n".join(lines), re.IGNORECASE | re.MULTILINE):
                return kind(sentence.format(source=source, said=said, refused=refused))
    return NoAnswer(f"Kaggle's client failed on {source}: {said}")


def _plain_lines(text: str) -> list[str]:
    """The lines of a text that are neither empty nor states of a progress bar, whose numbers look like errors."""
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
    return [line for line in lines if line and not re.search(r"\d+%\|.*\||B/s\]$", line)]
