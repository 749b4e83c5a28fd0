"""One entry for one file, whatever Kaggle shows, cuts, loses, delays or refuses.

The real kagglesdk asks a stand-in; the time is the stand-in's, and passes only by waiting.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pandas as pd
import pytest
from kaggle_server import Competition, Kaggle

from chestfold.core.errors import ChestfoldError
from chestfold.core.files import read_json, sha256, write_json
from chestfold.evaluate.results import FoldsOfResult
from chestfold.integrations.kaggle import submission, upload
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload

CONTEST = "chest-contest"
CSV = b"id,ill\nx000,0.25\nx001,0.75\n"
DAILY = "Your team has used its daily Submission allowance (5) today, please try again tomorrow."


@dataclass
class Desk:
    """Where one file is handed in again and again. `said`: what the last command printed."""

    kaggle: Kaggle
    path: Path
    capfd: pytest.CaptureFixture[str]
    said: str = ""

    @property
    def contest(self) -> Competition:
        return self.kaggle.competitions[CONTEST]

    def opens(self, contest: Competition) -> Competition:
        self.kaggle.competitions[CONTEST] = contest
        return contest

    def submit(self, message: str = "a try", wait: float = 30, again: bool = False) -> str:
        """The lines at the end, or the sentence of the refusal."""
        try:
            entry = upload.send(self.path, CONTEST, message, wait, again)
            ended = "; ".join(upload.format_lines(self.path, entry))
        except ChestfoldError as error:
            ended = f"error: {error}"
        self.said = self.capfd.readouterr().out
        assert "\n" not in ended
        return ended

    @property
    def recorded(self) -> Upload:
        (made,) = SubmissionRecord.from_json(self.path.with_suffix(".json")).uploads
        return made

    def record(self, *uploads: dict) -> None:
        """Write the JSON of the submission anew: with these uploads, or none."""
        folds = FoldsOfResult(file="tiny", count=1, sha256="0" * 64, trained=(0,))
        about = SubmissionRecord(
            result="exp100",
            data="tiny",
            members=("exp100",),
            files={"oof.parquet": "0"},
            folds=folds,
            sha256=sha256(CSV),
        ).to_dict()
        write_json(self.path.with_suffix(".json"), about | {"uploads": list(uploads)})

    @property
    def ledger(self) -> dict:
        (row,) = pd.read_csv(self.path.with_name("ledger.csv"), dtype=str).to_dict("records")
        return row

    def count(self, request: str) -> int:
        return self.kaggle.asked.count(request)


def scored() -> Any:
    """The result that was handed in, as far as the board asks for it."""
    return SimpleNamespace(name="exp100", record=SimpleNamespace(files={"oof.parquet": "0"}))


@pytest.fixture
def desk(kaggle, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CHESTFOLD_SUBMISSIONS", str(tmp_path / "submissions"))
    path = tmp_path / "submissions" / "001_exp100.csv"
    path.parent.mkdir()
    path.write_bytes(CSV)
    made = Desk(kaggle, path, capfd)
    made.record()
    made.opens(Competition())
    return made


# One entry for one file


def edit(desk: Desk) -> None:
    """The description, on the web page."""
    desk.contest.entries[0]["description"] = "the best one"


def edit_where_the_list_decides(desk: Desk) -> None:
    """Kaggle does not say how an entry stands when asked by its reference: it is found in the list by that."""
    edit(desk)
    desk.contest.finds = False


def bury(count: int, cap: int, pages: Literal["token", "number", "none"]) -> Callable[[Desk], None]:
    """`count` newer entries, the pages of the list short, and the record lost: only the marker is left."""

    def change(desk: Desk) -> None:
        for _ in range(count):
            desk.contest.add("another", status="COMPLETE")
        desk.contest.cap, desk.contest.pages = cap, pages
        desk.record()

    return change


def hide(desk: Desk) -> None:
    """Kaggle shows the entry no more; the record is enough."""
    desk.contest.entries.clear()


def close(desk: Desk) -> None:
    """Kaggle does not answer; the record is enough."""
    desk.contest.refusals = {"GetSubmission": (503, "x"), "ListSubmissions": (503, "x")}


def mark_as_before(desk: Desk) -> None:
    """An entry of an older version of this program, whose marker stands at the end; its record is lost."""
    desk.contest.entries[0]["description"] = f"a try [chestfold {sha256(CSV)[:12]}]"
    desk.record()


def fail_another(desk: Desk) -> None:
    """A newer entry of the same file failed, and is the one that was recorded."""
    failed = desk.contest.add(f"a try [chestfold {sha256(CSV)[:12]}]", status="ERROR")
    desk.record(OLD | {"reference": failed["ref"], "status": "ERROR", "reason": "timed out"})


def rename(desk: Desk) -> None:
    """The same bytes under another name, and nothing at Kaggle that shows it."""
    edit(desk)
    other = desk.path.with_name("002_other.csv")
    other.write_bytes(CSV)
    about = read_json(desk.path.with_suffix(".json"))
    write_json(other.with_suffix(".json"), about | {"uploads": []})
    desk.path = other


OLD = {"competition": CONTEST, "message": "as before", "begun": "2026-01-01T00:00:00+00:00", "marker": "[chestfold 0]"}
CHANGES = {
    "nothing": lambda desk: None,
    "edited": edit,
    "edited, no answer by reference": edit_where_the_list_decides,
    "150 newer": bury(150, 200, "none"),
    "250 newer, tokens": bury(250, 200, "token"),
    "60 newer, 50 a page": bury(60, 50, "number"),
    "25 newer, 20 a page": bury(25, 20, "token"),
    "25 newer, 7 a page": bury(25, 7, "number"),
    "not shown any more": hide,
    "no answer": close,
    "marked as before": mark_as_before,
    "a failed duplicate": fail_another,
    "another name": rename,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_scored_file_is_never_sent_again(desk, change):
    assert desk.submit().startswith("COMPLETE: public 0.93125")
    desk.contest.entries[0]["status"] = "COMPLETE"
    CHANGES[change](desk)
    for again in (False, True):
        assert desk.submit(again=again).startswith("COMPLETE: public 0.93125")
        assert "has this very file already, as 4000: nothing is sent again" in desk.said
    assert desk.count("PUT") == desk.count("CreateSubmission") == 1
    assert (desk.recorded.status, desk.recorded.reference, desk.recorded.public) == ("COMPLETE", 4000, "0.93125")


@pytest.mark.parametrize("cut", [500, 50, 30])
@pytest.mark.parametrize("ref", [True, False], ids=["reference", "no reference"])
def test_the_marker_outlives_a_description_that_is_cut(desk, cut, ref):
    desk.opens(Competition(cut=cut, ref=ref, finds=False))
    for _ in range(2):
        assert desk.submit(message="words " * 100).startswith("COMPLETE")
        desk.record()
    assert len(desk.contest.entries) == 1


@pytest.mark.parametrize("wait", [0, 0.2, 30])
@pytest.mark.parametrize("late", [0, 3, 60, 210])
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "answered"])
def test_an_entry_that_is_listed_late_is_waited_for(desk, late, lost, wait):
    """Whatever is said, and however often the command is repeated, one entry is made."""
    desk.opens(Competition(late=late, drops=["CreateSubmission"] if lost else []))
    for _ in range(20):
        ended = desk.submit(wait=wait)
        assert len(desk.contest.entries) == 1
        if ended.startswith("COMPLETE"):
            return
        assert "same command" in ended
        desk.kaggle.seconds += 15
    pytest.fail(ended)


def test_an_entry_that_kaggle_says_it_made_is_only_waited_for(desk):
    desk.opens(Competition(late=1e9))
    for _ in range(3):
        assert "was sent as 4000, but Kaggle does not list it after 2 minutes" in desk.submit(wait=2)
    assert desk.recorded.status == "SENT" and len(desk.contest.entries) == 1
    desk.contest.late = 0
    assert desk.submit(again=True).startswith("COMPLETE")
    assert len(desk.contest.entries) == 2 and desk.recorded.reference == 4001


def test_an_upload_that_never_arrived_is_sent_again_after_a_while(desk):
    """Kaggle had trouble of its own when the entry was asked for, and made none."""
    desk.contest.refusals = {"CreateSubmission": (503, "Internal error")}
    assert "trouble of its own" in desk.submit() and desk.recorded.status == "BEGUN"
    desk.contest.refusals.clear()
    before = desk.kaggle.seconds
    assert desk.submit().startswith("COMPLETE") and "looked for, for 5 minutes" in desk.said
    assert desk.kaggle.seconds - before >= upload.LATE and len(desk.contest.entries) == 1


@pytest.mark.parametrize("status", ["BEGUN", "PENDING", "COMPLETE", "ERROR"])
def test_records_of_older_versions_find_their_entry(desk, status):
    """The marker stood at the end of the description then; nothing of it is left where Kaggle cut it."""
    desk.contest.add(f"as before [chestfold {sha256(CSV)[:12]}]", listed=60 if status == "BEGUN" else 0)
    desk.record(OLD | {"status": status, "reference": None if status == "BEGUN" else 4000})
    assert desk.submit().startswith("COMPLETE") and desk.recorded.message == "as before"
    assert not desk.count("CreateSubmission")


# Failed and refused


def test_an_entry_that_kaggle_failed_is_sent_again_where_that_is_asked_for(desk):
    desk.opens(Competition(statuses=["ERROR"], reason="Evaluation timed out."))
    for _ in range(2):
        refusal = desk.submit()
        assert "Evaluation timed out; mend that first" in refusal and "--again" in refusal
    assert len(desk.contest.entries) == 1
    desk.contest.entries[0]["status"] = "ERROR"
    desk.contest.statuses = ["COMPLETE"]
    for _ in range(2):
        assert desk.submit(again=True).startswith("COMPLETE")
        assert (desk.recorded.reference, desk.recorded.failed) == (4001, (4000,))
    assert len(desk.contest.entries) == 2


@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "no reference"])
def test_what_is_sent_again_is_not_taken_for_the_entry_that_failed(desk, lost):
    desk.opens(Competition(statuses=["ERROR"], ref=False))
    assert "could not score" in desk.submit()
    desk.contest.entries[0]["status"] = "ERROR"
    desk.contest.statuses, desk.contest.late = ["COMPLETE"], 40
    desk.contest.drops = ["CreateSubmission"] if lost else []
    assert desk.submit(again=True).startswith("COMPLETE")
    assert (desk.recorded.reference, desk.recorded.failed, len(desk.contest.entries)) == (4001, (4000,), 2)


@pytest.mark.parametrize("statuses", [["QUEUED", "Rescoring", "SUBMISSION_STATUS_COMPLETE"], ["queued", "complete"]])
def test_a_status_that_is_new_blocks_nothing(desk, statuses):
    desk.opens(Competition(statuses=statuses)).add("old", status="CANCELLED", errorDescription=None, publicScore=None)
    assert desk.submit().startswith("COMPLETE")


def test_a_reason_is_found_wherever_it_stands(desk):
    """Keys in another order, and of another layout."""
    entry = {
        "errorDescription": "Two\nlines.",
        "status": "ERROR",
        "ref": 7,
        "description": f"chestfold {sha256(CSV)[:12]}",
    }
    data = json.dumps({"nextPageToken": "", "totalCount": 1, "submissions": [entry]}, indent=4).encode()
    desk.contest.raw = {"ListSubmissions": (200, "application/json", data)}
    assert "(submission 7): Two lines; mend that" in desk.submit()


FOR_GOOD = {
    "deadline": (
        "The competition deadline has passed. You can no longer submit.",
        "no submissions any more.*has passed",
    ),
    "closed": ("This competition is no longer accepting submissions", "no submissions any more"),
    "ended": ("The competition has ended.", "no submissions any more"),
    "notebooks": (
        "This competition only accepts Submissions from Notebooks.",
        "chestfold kernel NAME --competition chest-c",
    ),
    "code": ("Submission not allowed: this is a Code Competition", "chestfold kernel NAME"),
    "kernels": ("File submissions are disabled: kernels-only", "chestfold kernel NAME"),
    "phone": ("You must verify your phone number before you can submit.", "verified first.*kaggle.com/settings"),
    "week": ("You have submitted too many times this week.", "this week: You have submitted too many"),
    "bad": ("Bad Request", "refused the request for competition chest-contest: Bad Request"),
    "new": ("Some new reason.", "refused the request for competition chest-contest: Some new reason"),
}
MENDED = {
    "rules": (403, "You must accept this competition's rules before you can submit.", "chest-contest/rules"),
    "daily": (400, DAILY, "no more submissions"),
    "access": (403, "Permission 'competitions.participate' was denied", "refuses access"),
    "credentials": (401, "Unauthenticated", "make a token"),
    "unknown": (404, "Not found", "check the slug"),
    "busy": (429, "Slow down", "too many requests"),
}


@pytest.mark.parametrize("reason", FOR_GOOD)
def test_a_file_that_is_refused_for_good_is_not_uploaded_again_unasked(desk, reason):
    text, sentence = FOR_GOOD[reason]
    desk.contest.refusals = {"CreateSubmission": (400, text)}
    refusal = desk.submit()
    assert re.search(sentence, refusal), refusal
    assert desk.recorded.status == desk.ledger["status"] == "REFUSED"
    desk.contest.refusals.clear()
    refusal = desk.submit()
    assert re.search(sentence, refusal) and "add --again" in refusal
    assert desk.count("PUT") == 1 and not desk.contest.entries
    assert desk.submit(again=True).startswith("COMPLETE") and len(desk.contest.entries) == 1


@pytest.mark.parametrize("method", ["ListSubmissions", "StartSubmissionUpload", "CreateSubmission"])
@pytest.mark.parametrize("reason", MENDED)
def test_once_mended_the_same_command_works(desk, reason, method):
    code, text, sentence = MENDED[reason]
    desk.contest.refusals = {method: (code, text)}
    refusal = desk.submit()
    assert re.search(sentence, refusal), refusal
    desk.contest.refusals.clear()
    assert desk.submit().startswith("COMPLETE")
    assert len(desk.contest.entries) == 1 and desk.kaggle.seconds == 0


PAGE = b"<!DOCTYPE html><title>Log in to the network</title>"
UNREADABLE = {
    "portal": ((200, "text/html", PAGE), "a web page answered in the place of Kaggle"),
    "portal as JSON": ((200, "application/json", PAGE), "a web page answered"),
    "half": ((200, "application/json", b'{"submissions": ['), "cannot be read"),
    "empty": ((200, "application/json", b""), "cannot be read"),
    "null": ((200, "application/json", b"null"), "cannot be read"),
    "list": ((200, "application/json", b"[]"), "cannot be read"),
    "500": ((500, "application/json", b'{"code": 500, "message": "Internal error"}'), "trouble of its own"),
    "503": ((503, "text/html", PAGE), "trouble of its own"),
    "504": ((504, "application/json", b'{"code": 504, "message": "Deadline exceeded"}'), "trouble of its own"),
    "400": ((400, "text/html", PAGE), "refused the request.*Bad Request"),
}


@pytest.mark.parametrize("method", ["ListSubmissions", "StartSubmissionUpload"])
@pytest.mark.parametrize("answer", UNREADABLE)
def test_an_answer_that_cannot_be_read_is_one_sentence_and_sends_nothing(desk, answer, method):
    raw, sentence = UNREADABLE[answer]
    desk.contest.raw = {method: raw}
    refusal = desk.submit()
    assert re.search(sentence, refusal), refusal
    desk.contest.raw.clear()
    assert desk.submit().startswith("COMPLETE")
    assert len(desk.contest.entries) == 1 and desk.kaggle.seconds == 0


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"numToday": 5, "numTotal": 9, "numAllowedNow": 0}, r"left today \(5 were made\).*tomorrow"),
        (
            {"numToday": 0, "numTotal": 9, "numAllowedNow": 0, "limitedByTotal": True},
            "the 9 that the team made are all",
        ),
    ],
    ids=["a day", "in all"],
)
def test_used_up_submissions_are_told_apart(desk, limits, sentence):
    desk.contest.limits = limits
    refusal = desk.submit()
    assert re.search(sentence, refusal) and ("tomorrow" in refusal) == ("limitedByTotal" not in limits)
    assert not desk.count("StartSubmissionUpload")


def test_a_message_from_a_terminal_of_ascii_arrives_whole(desk):
    desk.submit(message="肺炎\n[bold]".encode().decode("ascii", "surrogateescape"))
    assert desk.contest.entries[0]["description"].endswith("] 肺炎 [bold]")


# Which bytes were scored


def test_another_file_at_kaggle_is_said_loudly_and_does_not_count(desk):
    desk.contest.holds = b"id,ill\nx000,1\n"
    for _ in range(2):
        assert "scored ANOTHER FILE than 001_exp100.csv" in desk.submit()
    assert desk.recorded.scored_sha256 == desk.ledger["scored_sha256"] == sha256(desk.contest.holds)
    assert desk.ledger["proof"] == "other file" and len(desk.contest.entries) == 1
    assert submission.standings([scored()]) == {}


@pytest.mark.parametrize(
    "answer", [(404, "text/html", PAGE), (500, "application/json", b"{}"), (200, "text/html", PAGE)], ids=str
)
def test_what_cannot_be_downloaded_is_not_proven(desk, answer):
    desk.contest.raw = {"DownloadSubmission": answer}
    assert "not proven" in desk.submit() and desk.ledger["proof"] == "not proven"
    assert submission.standings([scored()])["exp100"].public == 0.93125
    desk.contest.raw = {}
    assert "proven: what Kaggle holds" in desk.submit() and desk.ledger["proof"] == "proven"


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1,234", "1,234.5", "0.9,3", "", None])
def test_a_score_that_is_no_number_is_kept_but_not_on_the_board(desk, score):
    desk.contest.add(f"chestfold {sha256(CSV)[:12]}", status="COMPLETE", publicScore=score)
    assert f"public {score or 'not shown'}" in desk.submit()
    assert submission.standings([scored()]) == {}


@pytest.mark.parametrize(
    ("score", "number"), [("0,93125", 0.93125), ("-0,412", -0.412), ("12,5", 12.5), ("1e-3", 0.001)]
)
def test_a_score_with_a_decimal_comma_is_on_the_board(desk, score, number):
    desk.contest.add(f"chestfold {sha256(CSV)[:12]}", status="COMPLETE", publicScore=score)
    assert f"public {score}" in desk.submit()
    assert submission.standings([scored()])["exp100"].public == number
