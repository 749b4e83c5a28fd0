"""What Kaggle or its program says when it fails becomes one sentence, with what to do next.

Codes of HTTP are taken from the answer, and words only from what Kaggle itself says: the names of competitions, files
and folders may hold any of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chestfold.core.errors import ChestfoldError, InputError, ServiceError
from chestfold.integrations.kaggle.credentials import secrets, without_secrets


class NoAnswer(ServiceError):
    """Kaggle gave no clear answer: the request may or may not have been carried out."""


class TurnedAway(NoAnswer):
    """Kaggle did not look at the request now: it was not carried out."""


class Refused(InputError):
    """Kaggle said no; once what it complains of is mended, the same command works."""


class RefusedForGood(Refused):
    """Kaggle said no, and will say so again to the same command."""


@dataclass(frozen=True)
class Sign:
    """How a failure is known, by a code of HTTP or by words, and the sentence for it.

    In the sentence `{said}` are Kaggle's words, `{source}` the competition or data set, `{page}` its address, `{slug}`
    its name and `{refused}` what is wrong with the credentials.
    """

    kind: type[ChestfoldError]
    sentence: str
    codes: range = range(0)
    words: str = ""

    def fits(self, code: int, text: str) -> bool:
        """Whether an answer of this code (0: unknown) and text is meant."""
        return code in self.codes or bool(self.words and re.search(self.words, text, re.IGNORECASE | re.MULTILINE))


SIGNS = (
    Sign(
        InputError,
        "the disk is full, or its quota or number of files is used up; free some space and run the same command again",
        words=r"\[Errno (28|122)\]|No space left|quota exceeded",
    ),
    Sign(
        InputError,
        "this shell allows no file of that size (ulimit -f); lift the limit with `ulimit -f unlimited`, then run the "
        "same command again",
        words=r"\[Errno 27\]|File too large",
    ),
    Sign(
        NoAnswer,
        "Kaggle has trouble of its own ({said}); run the same command again later",
        codes=range(500, 600),
        words=r"^Internal (server )?error|^Service (is )?unavailable|^Bad gateway|^Backend error|deadline exceeded",
    ),
    Sign(
        RefusedForGood,
        "{source} takes files and no notebooks: {said}; send one with `chestfold submit NAME --competition {slug}`",
        words=r"not (accept|allow|support|take)\w* ((submissions|entries) from |code |any )?(notebook|kernel|code sub)|"
        r"not a (code|notebooks?|kernels?) competition",
    ),
    Sign(
        RefusedForGood,
        "{source} takes submissions from notebooks only: {said}; write one with `chestfold kernel NAME --competition "
        "{slug}`",
        words=r"code competition|(only|must|require) .{0,60}(notebook|kernel)|(notebook|kernel)s?[- ]only|"
        r"(from|via|through|with) (a )?(notebook|kernel)",
    ),
    Sign(
        RefusedForGood,
        "Kaggle wants your account verified first: {said}; do that at https://www.kaggle.com/settings",
        words=r"\bphone\b|verify your|identity",
    ),
    Sign(
        RefusedForGood,
        "Kaggle takes no more submissions to {source} this week: {said}",
        words=r"this week|(per|a|each|every) week|weekly|\b(7|seven) days",
    ),
    Sign(
        Refused,
        "Kaggle takes no more submissions to {source} now: {said}",
        words=r"submission allowance|submission limit|submissions? (per|a|each|every) day|daily (submission|limit)|"
        r"submi\w+ too many|(too many|no more|no) submissions|(limit|maximum)\w* .{0,30}submissions",
    ),
    Sign(
        RefusedForGood,
        "{source} takes no submissions any more: {said}; {page} says whether late ones are scored",
        words=r"deadline|(no longer|not|stopped) accepting|"
        r"(competition|submissions?) (has|have|is|are|was) (already |now )?(ended|closed|over|finished|complete)",
    ),
    Sign(
        Refused,
        "the rules of {source} are not accepted: read and accept them at {page}/rules, then run the same command again "
        "(Kaggle says: {said})",
        words=r"\brules\b",
    ),
    Sign(
        Refused,
        "{refused}: make a token at https://www.kaggle.com/settings/api and save it as ~/.kaggle/access_token or set "
        "KAGGLE_API_TOKEN",
        codes=range(401, 402),
        words=r"Authentication required|Unauthenticated|Unauthori[sz]ed|not authenticated",
    ),
    Sign(
        Refused,
        "Kaggle refuses access to {source}: {said}; look at {page}",
        codes=range(403, 404),
        words=r"^Forbidden|permission",
    ),
    Sign(
        Refused,
        "Kaggle knows no {source}: check the slug, the last part of its address (Kaggle says: {said})",
        codes=range(404, 405),
        words=r"\bnot found|Could not find",
    ),
    Sign(
        TurnedAway,
        "Kaggle got too many requests; wait some minutes, then run the command again",
        codes=range(429, 430),
        words=r"Too Many Requests",
    ),
    Sign(
        NoAnswer,
        "Kaggle cannot be reached; look at your network (and HTTPS_PROXY), then run the same command again",
        words=r"Max retries|NewConnection|NameResolution|ProxyError|Connection ?(aborted|refused|reset|broken|Error)|"
        r"RemoteDisconnected|IncompleteRead|ChunkedEncoding|timed out|SSLError",
    ),
    Sign(
        NoAnswer,
        "Kaggle's answer about {source} cannot be read: is a network's log-in page or a proxy between? Open a browser "
        "and look, then run the same command again",
        words=r"Expecting value|JSONDecodeError",
    ),
    Sign(
        RefusedForGood,
        "Kaggle refused the request for {source}: {said}; look at {page}",
        codes=range(400, 500),
        words=r"^Bad request|^Invalid argument",
    ),
)
"""The first that fits counts."""


def failure(text: str, code: int, about: dict[str, str], names: Iterable[str]) -> ChestfoldError:
    """One sentence for what the API or the program said.

    Args:
        text: all that it said.
        code: of HTTP; 0: not known, it may stand in the text of the program.
        about: `source`, `page` and `slug` for the sentence.
        names: of competitions, files and folders, whose words mean nothing.
    """
    lines = _own_lines(without_secrets(text))
    said = lines[-1].rstrip(".;")[:300] if lines else "it said nothing"
    words = "\n".join(lines)
    found = re.search(r"\b([45]\d\d) (Client|Server) Error: ", words)
    if found:
        code = code or int(found[1])
        words = words.replace(found[0], "")
    for name in sorted(filter(None, names), key=len, reverse=True):
        words = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "", words)
    refused = "Kaggle needs credentials, and there are none"
    if secrets():
        refused = "Kaggle does not accept the credentials that are set here"
    for sign in SIGNS:
        if sign.fits(code, words):
            return sign.kind(sign.sentence.format(said=said, refused=refused, **about))
    return NoAnswer(f"Kaggle's client failed on {about['source']}: {said}")


def unreadable(text: str, source: object) -> NoAnswer:
    """The sentence for an answer that is no JSON: a page in the place of Kaggle, or half an answer."""
    if text.lstrip().startswith("<"):
        return NoAnswer(
            f"a web page answered in the place of Kaggle when asked about {source}: is a network's log-in page or a "
            "proxy between? Open a browser and look, then run the same command again"
        )
    return NoAnswer(f"Kaggle's answer about {source} cannot be read; run the same command again later")


def _own_lines(text: str) -> list[str]:
    """The lines in which it says what is wrong: no progress, no addresses, of a traceback the last line."""
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
    if "Traceback (most recent call last):" in lines:
        lines = [line for line in lines if line][-1:]
    progress = r"\d+%\|.*\||B/s\]$|^(Downloading|Resuming|Retry \d|Using competition)\b"
    lines = [re.sub(r"( for url)?:? https?://\S+", "", line) for line in lines if not re.search(progress, line)]
    return [line for line in lines if line]
