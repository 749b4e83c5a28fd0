"""Bug: after the upload a loop asked for the score until it came, which for a file that was refused is never.

Here every wait has an end: the score, Kaggle's refusal, or the time limit, whatever Kaggle says or does not say.
"""

import pytest

from chestfold.cli import main
from chestfold.integrations.kaggle import upload
from chestfold.integrations.kaggle.client import Submission
from chestfold.integrations.kaggle.failures import NoAnswer


class Clock:
    """Time that passes only by sleeping, and is counted."""

    def __init__(self) -> None:
        self.seconds, self.sleeps = 0.0, 0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds, self.sleeps = self.seconds + seconds, self.sleeps + 1


def entry(status: str) -> Submission:
    return Submission(1, "2026-11-21", "[chestfold 0]", status, "", "")


def silent() -> None:
    raise NoAnswer("Kaggle cannot be reached")


@pytest.mark.parametrize(
    "look", [lambda: entry("PENDING"), lambda: None, silent], ids=["pending", "unlisted", "silent"]
)
def test_a_wait_without_an_answer_ends_at_the_limit(look):
    clock = Clock()
    found = upload.follow(look, 30, clock)
    assert clock.seconds == pytest.approx(30 * 60)
    assert 30 < clock.sleeps < 200, "it should look every 5 to 60 seconds"
    assert found is None or found.status == "PENDING"


@pytest.mark.parametrize("status", ["COMPLETE", "ERROR"])
def test_a_wait_ends_when_kaggle_has_decided(status):
    clock, seen = Clock(), iter(["PENDING", "PENDING", status])
    assert upload.follow(lambda: entry(next(seen)), 30, clock).status == status
    assert clock.seconds == 2 * upload.PAUSES[0]


def test_an_answer_that_once_does_not_come_is_waited_for():
    answers = iter([silent, lambda: None, lambda: entry("COMPLETE")])
    assert upload.follow(lambda: next(answers)(), 30, Clock()).status == "COMPLETE"


def test_without_a_time_to_wait_there_is_one_look():
    clock = Clock()
    assert upload.follow(lambda: entry("PENDING"), 0, clock).status == "PENDING" and clock.sleeps == 0


def test_submit_that_does_not_know_where_to_refuses_in_one_sentence(trained, capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["submit", "exp100"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "--dry-run" in printed.err and "--competition" in printed.err
    assert not (trained.root / "submissions").exists()


def test_submit_with_dry_run_writes_a_file_and_ends(trained, capsys, monkeypatch):
    monkeypatch.setattr(
        "chestfold.integrations.kaggle.client._client", lambda *words, **more: pytest.fail("Kaggle was called")
    )
    main.main(["submit", "exp100", "--competition", "chest-contest", "--dry-run"])
    assert "nothing was sent" in capsys.readouterr().out
    assert (trained.root / "submissions" / "001_exp100.csv").exists()
