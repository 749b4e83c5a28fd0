"""The Kaggle program, called as a process (importing it would log in). Its text is read, its exit code not believed.

It ends well though an upload failed, prints errors on either stream, and shows its credentials when it is asked to be
talkative. Here each failure becomes one sentence, and no credential leaves this module.
"""

import base64
import json
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chestfold.core.errors import ChestfoldError, InputError, ServiceError

SILENCE = 120.0
"""Seconds without a word from the program after which it is stopped."""
DOWNLOAD_SILENCE = 600.0
"""As above for a download: the program itself waits 300 seconds for a chunk before it tries again."""
LISTED = 100
"""Submissions that are looked through, newest first."""
Shown = Callable[[str], None]


class NoAnswer(ServiceError):
    """Kaggle gave no clear answer: what it was asked to do may or may not have happened."""


@dataclass(frozen=True)
class Source:
    """A competition, or a data set `owner/name`, at Kaggle.

    Raises:
        InputError: the slug is not one; it would be taken for an option or a path.
    """

    kind: Literal["competition", "data set"]
    slug: str

    def __post_init__(self) -> None:
        parts = 1 if self.kind == "competition" else 2
        if not re.fullmatch("/".join([r"[A-Za-z0-9][A-Za-z0-9_-]*"] * parts), self.slug):
            raise InputError(
                f"{self.slug!r} is not the slug of a {self.kind}: give the last part of its address at kaggle.com"
                + (", owner/name" if parts == 2 else "")
            )

    @property
    def page(self) -> str:
        """Its address."""
        return f"https://www.kaggle.com/{'competitions' if self.kind == 'competition' else 'datasets'}/{self.slug}"


@dataclass(frozen=True)
class Submission:
    """What Kaggle says of one submission; scores are texts as Kaggle prints them, empty where it shows none."""

    reference: int
    date: str
    description: str
    status: str
    public: str
    private: str

    @property
    def ended(self) -> bool:
        """Whether its status is final."""
        return self.status in ("COMPLETE", "ERROR")


# What is asked of it


def submissions(source: Source) -> list[Submission]:
    """The newest submissions to a competition, at most `LISTED`, newest first."""
    words = ["competitions", "submissions", source.slug, "--format", "json", "--page-size", str(LISTED)]
    text, complaints = _call(words, source)
    if "No submissions found" in text:
        return []
    return [_submission(row) for row in _json(text, complaints, source)]


def _submission(row: dict[str, Any]) -> Submission:
    values = {k: "" if v is None else str(v) for k, v in row.items()}
    status = values["status"].rpartition(".")[2].upper()  # printed as SubmissionStatus.COMPLETE
    scores = values["publicScore"], values["privateScore"]
    return Submission(int(row["ref"]), values["date"], without_secrets(values["description"]), status, *scores)


def submissions_left(source: Source) -> tuple[int, int] | None:
    """Submissions made today, and how many more are allowed; None for a team that has never submitted: all is 0."""
    text, complaints = _call(["competitions", "submission-limits", source.slug, "--json"], source)
    limits = _json(text, complaints, source)
    if not any(limits.get(key) for key in ("numToday", "numTotal", "numAllowedNow")):
        return None
    return limits.get("numToday", 0), limits.get("numAllowedNow", 0)


def upload(source: Source, path: Path, description: str, shown: Shown | None = None) -> None:
    """Send a file to a competition. That it returns proves nothing: look for `description` in `submissions`."""
    words = ["competitions", "submit", source.slug, "-f", str(path), f"--message={without_secrets(description)}"]
    text, complaints = _call(words, source, shown=shown)
    for sign in ("Could not submit", "Could not find"):
        if sign in text + complaints:
            raise _trouble(text + complaints, source)


def error_reason(source: Source, reference: int) -> str:
    """Why Kaggle could not score a submission, in its words; empty where it says nothing.

    No option prints this field: it stands only in the answer that the program shows when told to be talkative, beside
    its credentials. So that text stays in here.
    """
    words = ["competitions", "submissions", source.slug, "--page-size", str(LISTED)]
    text, _ = _call(words, source, talkative=True)
    for line in text.splitlines():
        if line.startswith('{"submissions"'):
            rows = [row for row in json.loads(line)["submissions"] if row.get("ref") == reference]
            return without_secrets(" ".join(rows[0].get("errorDescription", "").split())) if rows else ""
    return ""


def download(source: Source, folder: Path, shown: Shown, silence: float = DOWNLOAD_SILENCE) -> Path:
    """Fetch `source` as one zip into `folder`; what an interrupted download left there is gone on with."""
    kind = "competitions" if source.kind == "competition" else "datasets"
    text, complaints = _call([kind, "download", source.slug, "-p", str(folder)], source, silence, shown)
    path = folder / f"{source.slug.rpartition('/')[2]}.zip"
    if not path.exists():
        raise _trouble(text + complaints, source)
    return path


# The process

_LEASHED = """
import os, runpy, threading
leash = os.dup(0)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
threading.Thread(target=lambda: (os.read(leash, 1), os._exit(1)), daemon=True).start()
runpy.run_module("kaggle", run_name="__main__", alter_sys=True)
"""
"""The program, which ends when the process that started it does, however that ended.

Left alone it would finish an upload that its starter, run again, has no way to see, and has made a second time.
"""


def _call(
    words: list[str],
    source: Source,
    silence: float | None = None,
    shown: Shown | None = None,
    talkative: bool = False,
) -> tuple[str, str]:
    """What the program says on its two streams; stderr is `shown` on the way.

    Raises:
        InputError: it failed; `NoAnswer` where it is not sure what happened.
    """
    env = {k: v for k, v in os.environ.items() if k not in ("VERBOSE", "VERBOSE_OUTPUT")}
    env |= {"PYTHONIOENCODING": "utf-8"} | ({"VERBOSE": "true"} if talkative else {})
    command = [sys.executable, "-P", "-c", _LEASHED, "-W", *words]  # -P: a folder called kaggle is not the program
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = _listen(process, SILENCE if silence is None else silence, source, shown)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise _trouble(out + "\n" + err, source)
    return out, err


def _listen(process: subprocess.Popen[bytes], silence: float, source: Source, shown: Shown | None) -> tuple[str, str]:
    """Read both streams to their ends and wait for the program."""
    assert process.stdout and process.stderr
    heard: dict[Any, bytes] = {process.stdout: b"", process.stderr: b""}
    told = 0
    with selectors.DefaultSelector() as selector:
        for stream in heard:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=silence)
            if not ready:
                raise NoAnswer(
                    f"the Kaggle program said nothing for {silence:.0f} seconds and was stopped; look at your network "
                    "and run the same command again, it goes on from here"
                )
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                heard[key.fileobj] += chunk
                if not chunk:
                    selector.unregister(key.fileobj)
            if shown:
                told = _show_lines(heard[process.stderr], told, shown)
    process.wait()
    return heard[process.stdout].decode(errors="replace"), heard[process.stderr].decode(errors="replace")


def _show_lines(heard: bytes, told: int, shown: Shown) -> int:
    """Show what was heard since byte `told`, up to the last end of a line (or of a progress bar's redraw)."""
    end = max(heard.rfind(b"\n"), heard.rfind(b"\r")) + 1
    if end > told:
        shown(without_secrets(heard[told:end].decode(errors="replace")))
    return max(end, told)


def _json(text: str, complaints: str, source: Source) -> Any:
    """The JSON in what was printed; warnings may stand before it."""
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    try:
        if start:
            return json.loads(text[start.start() :])
    except ValueError:
        pass  # half an answer is none
    raise _trouble(text + "\n" + complaints, source)


# Its failures


def _trouble(text: str, source: Source) -> ChestfoldError:
    """One sentence for what the program printed when it failed."""
    lines = _plain_lines(without_secrets(text))
    said = lines[-1].rstrip(".;")[:300] if lines else "it said nothing"
    name = f"{source.kind} {source.slug}"
    for signs, kind, sentence in _TROUBLES:
        if re.search(signs, "\n".join(lines), re.IGNORECASE):
            return kind(sentence.format(name=name, page=source.page, said=said, refused=_refused()))
    return NoAnswer(f"the Kaggle program failed on {name}: {said}")


_TROUBLES: tuple[tuple[str, type[ChestfoldError], str], ...] = (
    (
        r"Authentication required|\b401\b|Unauthori[sz]ed",
        InputError,
        "{refused}: make a token at https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token or set "
        "KAGGLE_API_TOKEN",
    ),
    (r"No module named '?(kaggle|six)", InputError, "the Kaggle program is not installed: run make setup"),
    (r"No space left|Errno 28", InputError, "the disk is full; free some space and run the same command again"),
    (
        r"submission allowance|submission limit|submissions? (per|a) day|daily submission",
        InputError,
        "Kaggle takes no more submissions to {name} now: {said}",
    ),
    (
        r"\brules\b",
        InputError,
        "the rules of {name} are not accepted: read and accept them at {page}/rules, then run the same command again "
        "(Kaggle says: {said})",
    ),
    (r"\b403\b|Forbidden|permission", InputError, "Kaggle refuses access to {name}: {said}; look at {page}"),
    (
        r"\b404\b|not found|Could not find",
        InputError,
        "Kaggle knows no {name}: check the slug, the last part of its address (Kaggle says: {said})",
    ),
    (
        r"Could not submit",
        NoAnswer,
        "the upload to {name} failed half-way; run the same command again, it makes no second entry",
    ),
    (
        r"\b429\b|Too Many Requests",
        NoAnswer,
        "Kaggle is asked too often; wait some minutes, then run the command again",
    ),
    (
        r"\b50[0-9] Server Error|Internal Server",
        NoAnswer,
        "Kaggle has trouble of its own ({said}); run the same command again later",
    ),
    (
        r"Max retries|NewConnection|NameResolution|ProxyError|Connection ?(aborted|refused|reset|Error)|"
        r"RemoteDisconnected|IncompleteRead|timed out|SSLError",
        NoAnswer,
        "Kaggle cannot be reached; look at your network (and HTTPS_PROXY), then run the same command again",
    ),
)
"""What the program prints -> the kind of error and its sentence; the first that fits counts."""


def _plain_lines(text: str) -> list[str]:
    """The lines of a text that are neither empty nor states of a progress bar, whose numbers look like errors."""
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
    return [line for line in lines if line and not re.search(r"\d+%\|.*\||B/s\]$", line)]


def _refused() -> str:
    if any(True for _ in _credentials()):
        return "Kaggle does not accept the credentials that are set here"
    return "Kaggle needs credentials, and there are none"


# Its credentials

_KEY_FILES = ("kaggle.json", "credentials.json")


def _credentials() -> Iterator[str]:
    """Every credential value that the program might use, and the forms in which it might print them."""
    keys = [(os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", ""))]
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    yield from _words_of(token) if token and Path(token).is_file() else [token] * bool(token)
    for folder in _config_folders():
        for name in ("access_token", "access_token.txt"):
            yield from _words_of(str(folder / name))
        for name in _KEY_FILES:
            values = _fields_of(folder / name)
            keys.append((values.get("username", ""), values.get("key", "")))
            yield from (v for k, v in values.items() if k in ("access_token", "refresh_token"))
    for user, key in keys:
        if key:
            yield base64.b64encode(f"{user or os.environ.get('KAGGLE_USERNAME', '')}:{key}".encode()).decode()
            yield key


def username() -> str:
    """The name that is configured for Kaggle; empty where there is only a token, which does not tell it."""
    named = [_fields_of(folder / file).get("username", "") for folder in _config_folders() for file in _KEY_FILES]
    return os.environ.get("KAGGLE_USERNAME") or next(filter(None, named), "")


def _config_folders() -> list[Path]:
    named = os.environ.get("KAGGLE_CONFIG_DIR")
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [*([Path(named)] if named else []), Path.home() / ".kaggle", base / "kaggle"]


def _words_of(path: str) -> list[str]:
    try:
        return Path(path).read_text().split()
    except (OSError, ValueError):
        return []  # a file that cannot be read here is of no use to the program either


def _fields_of(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in values.items() if isinstance(v, str)} if isinstance(values, dict) else {}


def without_secrets(text: str) -> str:
    """`text` with every credential of Kaggle's on this machine replaced by stars."""
    for value in sorted(set(_credentials()), key=len, reverse=True):
        if len(value) >= 4:  # shorter ones are placeholders, and parts of ordinary words
            text = text.replace(value, "***")
    return text
