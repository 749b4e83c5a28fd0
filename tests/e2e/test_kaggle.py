"""The real `kaggle` program against a stand-in for Kaggle: its failures are one sentence, and nothing is sent twice.

Each start of the program takes about a second, so there are few.
"""

import base64
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kaggle_server import Competition, Kaggle

from chestfold.cli import main
from chestfold.core.files import read_json, sha256, write_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions, results
from chestfold.evaluate.results import FoldsOfResult
from chestfold.integrations.kaggle import archive, client, credentials, upload

KEY = "0123456789abcdef-planted-key"
CONTEST = "chest-contest"


@pytest.fixture
def kaggle(tmp_path, monkeypatch, capfd):
    """A server, and an environment in which the program talks to it with planted credentials that nobody may see."""
    server = Kaggle()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "KAGGLE_API_TOKEN", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setattr(upload, "PAUSES", (0.01, 0.01))
    yield server
    server.stop()
    for path in (tmp_path / "project").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


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


@pytest.fixture
def chestfold(kaggle, capfd):
    """Run `chestfold WORDS`: its exit code, and all that it showed, in which no credential stands."""

    def run(*words: object) -> tuple[int, str]:
        code = 0
        try:
            main.main([str(word) for word in words])
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
        shown = "".join(capfd.readouterr())
        assert not [secret for secret in credentials.secrets() if secret in shown]
        return code, shown

    return run


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
    assert entry["description"] == f"first try *** [chestfold {sha256(path.read_bytes())[:12]}]"
    assert (sent(finished)["status"], sent(finished)["reference"], sent(finished)["public"]) == (
        "COMPLETE",
        4000,
        "0.93125",
    )
    chestfold("submit", "exp100", "--competition", CONTEST)  # finds its own entry
    assert kaggle.asked.count("CreateSubmission") == 1
    (row,) = pd.read_csv(path.parent / "ledger.csv").to_dict("records")[:1]
    assert [row[k] for k in ("file", "competition", "reference", "status", "public", "message")] == [
        "001_exp100.csv", CONTEST, 4000, "COMPLETE", 0.93125, "first try ***",
    ]  # fmt: skip
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
    assert sent(finished)["status"] == "BEGUN" and not contest.entries
    del contest.refusals["PUT"]
    code, shown = chestfold("submit", "exp100", "--competition", CONTEST)
    assert code == 0 and "COMPLETE" in shown
    assert len(contest.entries) == kaggle.asked.count("CreateSubmission") == 1


def test_an_upload_whose_command_was_killed_is_taken_up_without_a_second_entry(kaggle, chestfold, finished):
    """SIGKILL in the middle of the upload: the Kaggle program goes with it, or it would make an entry of its own."""
    contest = kaggle.competitions[CONTEST] = Competition()
    kaggle.holds_upload = True
    words = [sys.executable, "-m", "chestfold.cli.main", "submit", "exp100", "--competition", CONTEST]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as command:
        assert kaggle.upload_held.wait(120)
        command.kill()
    assert command.returncode == -signal.SIGKILL and sent(finished)["status"] == "BEGUN"
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


def test_pending_without_end_stops_and_the_same_command_goes_on(kaggle, chestfold, finished, monkeypatch):
    contest = kaggle.competitions[CONTEST] = Competition(statuses=["PENDING"])
    passed = iter(range(0, 100000, 500))
    monkeypatch.setattr(upload, "Clock", lambda: clock)
    clock = type("Clock", (), {"now": lambda self: next(passed), "sleep": lambda self, seconds: None})()
    refusal = one_sentence(*chestfold("submit", "exp100", "--competition", CONTEST, "--wait", "15"))
    assert "still PENDING after 15 minutes" in refusal and "sends nothing twice" in refusal
    assert sent(finished)["status"] == "PENDING"
    contest.statuses = ["COMPLETE"]
    assert chestfold("submit", "exp100", "--competition", CONTEST)[0] == 0
    assert len(contest.entries) == 1 and sent(finished)["status"] == "COMPLETE"


# Downloads


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def xrays() -> bytes:
    """As Kaggle's: a second copy inside, and what macOS leaves."""
    noise = {f"train/NORMAL/IM-{n:04d}-0001.jpeg": bytes([n]) * 100_000 for n in range(30)}
    files = {f"chest_xray/{name}": data for name, data in noise.items()}
    files |= {f"chest_xray/chest_xray/{name}": data for name, data in noise.items()}
    return zipped({**files, "chest_xray/__MACOSX/._train": b"x", "chest_xray/.DS_Store": b"x"})


def stop_when_some_is_there(folder: Path) -> None:
    """Ctrl-C, as soon as the program has written a part of the download."""
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.glob("*.zip")) and time.monotonic() < deadline:
        time.sleep(0.02)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works in this process, as it does not where a shell has started the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_download_goes_on_and_its_files_are_proven(kaggle, chestfold, project):
    data = kaggle.files["paultimothymooney/chest-xray-pneumonia"] = xrays()
    work = project.input / ".fetch" / "chest_xray"
    kaggle.stops_after, kaggle.when_stopped = 3_500_000, lambda: stop_when_some_is_there(work)
    code, shown = chestfold("data", "fetch", "chest_xray")
    assert code == 130 and "run the same command to resume" in shown
    assert not (project.input / "chest_xray").exists()
    kaggle.stops_after = None
    code, shown = chestfold("data", "fetch", "chest_xray")
    assert code == 0 and "resuming the download" in shown and "30 files" in shown
    assert "30 file(s) of a second copy" in shown and "2 file(s) hidden or of macOS" in shown
    begin = int(kaggle.ranges[-1][len("bytes=") : -1])
    assert 0 < begin < len(data)
    folder = project.input / "chest_xray"
    assert (folder / "train/NORMAL/IM-0007-0001.jpeg").read_bytes() == bytes([7]) * 100_000
    assert read_json(folder / archive.MANIFEST)["zip_sha256"] == sha256(data)
    assert not list(project.input.rglob("*.zip"))
    requests = len(kaggle.asked)
    assert "is there already: 30 files, their checksums hold" in chestfold("data", "fetch", "chest_xray_3class")[1]
    (folder / "train/NORMAL/IM-0007-0001.jpeg").write_bytes(b"other")
    assert "IM-0007-0001.jpeg has changed" in one_sentence(*chestfold("data", "fetch", "chest_xray"))
    assert len(kaggle.asked) == requests


def test_a_competition_whose_zip_leads_outside_is_refused(kaggle, chestfold, project):
    kaggle.competitions[CONTEST] = Competition()
    kaggle.files[CONTEST] = zipped({"train.csv": b"id\n", "../../escaped.txt": b"x"})
    refusal = one_sentence(*chestfold("data", "fetch", "--competition", CONTEST))
    assert "'../../escaped.txt' leads outside its folder" in refusal
    assert not list(project.root.rglob("escaped.txt")) and not (project.input / CONTEST).exists()
