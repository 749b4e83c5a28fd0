"""Kaggle's typed API against a stand-in for Kaggle: its failures are one sentence, and nothing is sent twice."""

import base64
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kaggle_server import KEY, Competition

from chestfold.core.files import read_json, sha256, write_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions, results
from chestfold.evaluate.results import FoldsOfResult
from chestfold.integrations.kaggle import client, credentials

CONTEST = "chest-contest"


@pytest.fixture
def finished(project):
    """`project` with a result exp100 whose predictions are drawn, not trained."""
    rng, index, tables = np.random.default_rng(0), open_index("tiny"), []
    for rows in (folds.load("tiny", index).table, index.test.assign(fold=-1)):
        ill = rng.uniform(0.1, 0.9, len(rows)) * 0.5 + 0.4 * (rows["label"] == "ill").to_numpy()
        tables.append(rows[predictions.KEYS].assign(healthy=1 - ill, ill=ill).reset_index(drop=True))
    about = {"kind": "experiment", "data": "tiny", "classes": ("healthy", "ill"), "positive": "ill"}
    about |= {"task": "multiclass", "metric": "auc", "metric_weights": {}}
    about |= {"minutes": 0.1, "machine": "none", "date": "2026-11-21"}
    about["folds"] = FoldsOfResult(file="tiny", count=3, sha256="0" * 64, trained=(0, 1, 2))
    results.write_result(project.runs / "exp100", *tables, None, {"experiment": "exp100"}, about)
    return project


def one_sentence(code: int, shown: str) -> str:
    """The refusal in what was shown; it is the last line."""
    assert code == 2 and "Traceback" not in shown
    last = shown.splitlines()[-1]
    assert last.startswith("error: "), shown
    return last


def submission(finished) -> Path:
    return next((finished.root / "submissions").glob("001_exp100.json"))


def sent(finished) -> dict:
    (upload,) = read_json(submission(finished))["uploads"]
    return upload


def test_a_submission_is_sent_followed_and_entered_in_the_ledger(kaggle, chestfold, finished):
    contest = kaggle.competitions[CONTEST] = Competition(statuses=["PENDING", "COMPLETE"])
    code, shown = chestfold("submit", "exp100", "--competition", CONTEST, "-m", f"first try {KEY}")
    assert code == 0, shown
    assert "4 submissions are left today" in shown and "COMPLETE: public 0.93125" in shown and "CV AUC" in shown
    path = submission(finished).with_suffix(".csv")
    assert kaggle.sent[CONTEST] == path.read_bytes()
    (entry,) = contest.entries
    assert entry["description"] == f"[chestfold {sha256(path.read_bytes())[:12]}] first try ***"
    assert (sent(finished)["status"], sent(finished)["reference"], sent(finished)["public"]) == (
        "COMPLETE",
        4000,
        "0.93125",
    )
    chestfold("submit", "exp100", "--competition", CONTEST)  # finds its own entry
    assert kaggle.asked.count("CreateSubmission") == 1
    (row,) = pd.read_csv(path.parent / "ledger.csv").to_dict("records")[:1]
    assert [row[k] for k in ("file", "competition", "reference", "status", "public", "message", "proof")] == [
        "001_exp100.csv", CONTEST, 4000, "COMPLETE", 0.93125, "first try ***", "proven",
    ]  # fmt: skip
    assert row["scored_sha256"] == sha256(path.read_bytes()) and "proven: what Kaggle holds" in shown
    assert row["cv_auc_low"] <= row["cv_auc"] <= row["cv_auc_high"]
    assert any(a.startswith("Basic ") for a in kaggle.authorizations), "the program did not use the planted key"


RULES = "You must accept this competition's rules before you can submit."
DAILY = (
    "Submission not allowed:  Your team has used its daily Submission allowance (5) today, please try again tomorrow."
)


@pytest.mark.parametrize(
    ("contest", "sentence"),
    [
        (Competition(refusals={"ListSubmissions": (403, RULES)}), f"{CONTEST}/rules.*Kaggle says: You must accept"),
        (Competition(refusals={"CreateSubmission": (400, DAILY)}), "no more submissions.*daily Submission allowance"),
        (None, f"Kaggle knows no competition {CONTEST}"),
    ],
    ids=["rules", "daily limit", "unknown"],
)
def test_what_kaggle_refuses_is_one_sentence_with_its_reason(kaggle, chestfold, finished, contest, sentence):
    kaggle.competitions |= {CONTEST: contest} if contest else {}
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST))
    assert re.search(sentence, refusal), refusal
    assert not contest or not contest.entries


def test_no_credentials_and_no_network(kaggle, chestfold, finished, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST))
    assert "Kaggle needs credentials, and there are none" in refusal and "settings/api" in refusal
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert "cannot be reached" in one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST))
    assert not kaggle.asked


def basic(user: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


OAUTH = {"refresh_token": "planted-refresh", "access_token": "planted-oauth", "access_token_expiration": "2999-01-01"}
OAUTH["access_token_expiration"] += "T00:00:00+00:00"
CONFIGURED = {
    "environment": ({"KAGGLE_USERNAME": "u", "KAGGLE_KEY": "k-environment"}, {}, basic("u", "k-environment")),
    "token": ({"KAGGLE_API_TOKEN": "planted-token"}, {}, "Bearer planted-token"),
    "token file": ({}, {".kaggle/access_token": "planted-file\n"}, "Bearer planted-file"),
    "key file": ({}, {".kaggle/kaggle.json": {"username": "u", "key": "k-file"}}, basic("u", "k-file")),
    "named folder": (
        {"KAGGLE_CONFIG_DIR": "named"},
        {"named/kaggle.json": {"username": "u", "key": "k-named"}},
        basic("u", "k-named"),
    ),
    "login": ({}, {".kaggle/credentials.json": OAUTH}, "Bearer planted-oauth"),
}


@pytest.mark.parametrize("way", CONFIGURED)
def test_each_way_to_configure_credentials_logs_in(kaggle, monkeypatch, tmp_path, way):
    variables, files, header = CONFIGURED[way]
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(home / value) if value == "named" else value)
    kaggle.competitions[CONTEST] = Competition()
    assert client.submissions(client.Source("competition", CONTEST)) == []
    assert kaggle.authorizations == {header}
    assert credentials.without_secrets(f"sent {header}") in ("sent Basic ***", "sent Bearer ***")


def test_an_upload_that_was_dropped_is_taken_up_without_a_second_entry(kaggle, chestfold, finished):
    """First the connection drops half-way; then the entry is made, but the answer is lost."""
    contest = kaggle.competitions[CONTEST] = Competition(drops=["PUT", "CreateSubmission"])
    contest.refusals["PUT"] = (400, "incomplete")
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST))
    assert "failed half-way; run the same command again" in refusal
    assert sent(finished)["status"] == "UPLOADING" and not contest.entries
    del contest.refusals["PUT"]
    code, shown = chestfold("submit", "exp100", "--competition", CONTEST)
    assert code == 0 and "COMPLETE" in shown
    assert len(contest.entries) == kaggle.asked.count("CreateSubmission") == 1


def test_an_upload_whose_command_was_killed_is_taken_up_without_a_second_entry(kaggle, chestfold, finished):
    """SIGKILL in the middle of the upload: nothing is left behind that makes an entry of its own."""
    contest = kaggle.competitions[CONTEST] = Competition()
    kaggle.holds_upload = True
    words = [sys.executable, "-m", "chestfold.cli.main", "submit", "exp100", "--competition", CONTEST]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        assert kaggle.upload_held.wait(120)
        command.kill()
    assert command.returncode == -signal.SIGKILL and sent(finished)["status"] == "UPLOADING"
    assert kaggle.upload_left.wait(50), "the upload went on without the command"
    assert chestfold("submit", "exp100", "--competition", CONTEST)[0] == 0
    assert len(contest.entries) == kaggle.asked.count("CreateSubmission") == 1
    assert sent(finished)["status"] == "COMPLETE"


def test_a_command_that_was_killed_after_the_upload_finds_its_entry(kaggle, chestfold, finished):
    """The entry is made, and its command is killed before it hears of that."""
    contest = kaggle.competitions[CONTEST] = Competition()
    assert chestfold("submit", "exp100", "--competition", CONTEST, "-m", "once")[0] == 0
    about = read_json(submission(finished))
    about["uploads"] = [{k: about["uploads"][0][k] for k in ("competition", "marker", "message", "begun")}]
    about["uploads"][0]["status"] = "BEGUN"
    write_json(submission(finished), about)
    code, shown = chestfold("submit", "exp100", "--competition", CONTEST)
    assert code == 0 and "has this very file already, as 4000" in shown
    assert len(contest.entries) == kaggle.asked.count("PUT") == 1


def test_wrong_columns_end_with_kaggles_own_reason(kaggle, chestfold, finished):
    reason = f"Submission must have 3 columns, not 2 (user someone, key {KEY})."
    kaggle.competitions[CONTEST] = Competition(statuses=["PENDING", "ERROR"], reason=reason)
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST))
    assert "could not score 001_exp100.csv (submission 4000): Submission must have 3 columns, not 2" in refusal
    assert "key ***" in sent(finished)["reason"] and sent(finished)["status"] == "ERROR"
    assert "ERROR" in (finished.root / "submissions" / "ledger.csv").read_text()


def test_pending_without_end_stops_and_the_same_command_goes_on(kaggle, chestfold, finished):
    contest = kaggle.competitions[CONTEST] = Competition(statuses=["PENDING"])
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST, "--wait", "15"))
    assert "still PENDING after 15 minutes" in refusal and "sends nothing twice" in refusal
    assert sent(finished)["status"] == "PENDING" and kaggle.seconds == 15 * 60
    contest.statuses = ["COMPLETE"]
    assert chestfold("submit", "exp100", "--competition", CONTEST)[0] == 0
    assert len(contest.entries) == 1 and sent(finished)["status"] == "COMPLETE"
