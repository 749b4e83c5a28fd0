"""What is said of a collected run, of results that are no files."""

from pathlib import Path
from typing import Any

import pytest
from conftest import record_of

from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.results import FoldsOfResult, Result, Scores
from chestfold.train.collect import report

HALF = Score(0.5, 0.4, 0.6)


def said_of(capsys: pytest.CaptureFixture[str], trained: tuple[int, ...] = (0, 1, 2), **fields: Any) -> str:
    """What `report` shows of a run."""
    folds = FoldsOfResult(file="tiny", count=3, sha256="f" * 64, trained=trained)
    scores = Scores(at_half={"auc": HALF}, confusion=[])
    report(Result(Path("net"), record_of("net", folds=folds, scores=scores, **fields)))
    return capsys.readouterr().out


def test_its_folds_and_its_score_come_first(capsys):
    text = said_of(capsys)
    assert text.strip().splitlines()[0].startswith("net: ")
    assert "collected in net, " in text and "0.5000 [0.4000, 0.6000]" in text
    assert "not trained yet" not in text
    assert "next: chestfold board; chestfold submit net --dry-run; chestfold publish net" in text


def test_it_says_what_makes_its_score_doubtful(capsys):
    assert "the source is the label" not in said_of(capsys)
    assert "CONFOUNDED: the source is the label" in said_of(capsys, warning="CONFOUNDED: the source is the label")


@pytest.mark.parametrize(
    ("trained", "missing"), [((0, 1), "1 fold (2) not trained yet"), ((1,), "2 folds (0, 2) not trained yet")]
)
def test_folds_that_are_missing_are_named(capsys, trained, missing):
    text = said_of(capsys, trained)
    assert missing in text
    assert ("auc of folds" in text) == (len(trained) > 1)
