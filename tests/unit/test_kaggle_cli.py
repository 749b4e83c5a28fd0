"""Kaggle's failures: one sentence for each, and no credential in it."""

import base64
import socket
import subprocess
import sys

import pytest
import requests
from kagglesdk import kaggle_env

from chestfold.core.errors import InputError
from chestfold.integrations.kaggle import client, credentials
from chestfold.integrations.kaggle.client import Source
from chestfold.integrations.kaggle.failures import NoAnswer, Refused, RefusedForGood, TurnedAway

VARIABLES = ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME")
CONTEST = Source("competition", "chest-contest")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    for name in (*VARIABLES, "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()


@pytest.mark.parametrize(
    ("printed", "kind", "sentence"),
    [
        ("Authentication required to call the Kaggle API.\n\nFirst", Refused, "needs credentials, and there are none"),
        ("Unauthenticated", Refused, "needs credentials"),
        ("403 Client Error: Forbidden for url: https://api.kaggle.com/v1/x", Refused, "refuses access to competition"),
        ("You must accept this competition's rules first.", Refused, "rules of competition chest-contest are not"),
        ("404 Client Error: Not Found for url: https://api.kaggle.com/v1/x", Refused, "knows no competition chest-"),
        ("Your team has used its submission allowance (5 of 5).", Refused, "takes no more .* now: Your team has used"),
        ("400 Client Error: Bad Request for url: x", RefusedForGood, "refused the request for .*: 400 .*: Bad Request"),
        ("429 Client Error: Too Many Requests for url: x", TurnedAway, "too many requests"),
        ("502 Server Error: Bad Gateway for url: x", NoAnswer, "trouble of its own"),
        ("Internal error", NoAnswer, "trouble of its own"),
        ("504 Server Error: Deadline exceeded for url: x", NoAnswer, "trouble of its own"),
        ("Max retries exceeded (Caused by NameResolutionError(...))", NoAnswer, "cannot be reached"),
        ("[Errno 28] No space left on device", InputError, "disk is full"),
        ("[Errno 122] Disk quota exceeded", InputError, "disk is full"),
        ("Retry 5/5\n[Errno 27] File too large: 'x'", InputError, "ulimit -f"),
        ("Expecting value: line 1 column 1 (char 0)", NoAnswer, "log-in page or a proxy between"),
        ("Something new\n", NoAnswer, "failed on competition chest-contest: Something new"),
        ("", NoAnswer, "it said nothing"),
    ],
)
def test_each_failure_is_one_sentence(printed, kind, sentence):
    with pytest.raises(kind, match=sentence) as refusal:
        raise client._trouble(printed, CONTEST)
    assert type(refusal.value) is kind and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [(403, Refused, "refuses access to .*: You do not"), (503, NoAnswer, "trouble"), (409, RefusedForGood, "refused")],
)
def test_the_code_of_an_answer_counts_where_its_words_say_nothing(code, kind, sentence):
    with pytest.raises(kind, match=sentence) as refusal:
        raise client._trouble("You do not take part.", CONTEST, code)
    assert type(refusal.value) is kind


NAMES = ["icd-404", "401-403-429", "rules", "permission-denied", "not-found", "deadline-500", "phone-notebooks"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "Downloading {name}.zip to /data/{name}/.fetch/{name}\n 40%|### | 404/1k [00:01<00:01, 403B/s]\n"
        "Connection broken: IncompleteRead(404 bytes read, 403 more expected)",
        'Traceback (most recent call last):\n  File "/home/{name}/403/rules.py", line 404, in deadline\n'
        "requests.exceptions.ConnectionError: HTTPConnectionPool(host='x', port=401): Max retries exceeded",
        "Downloading x.zip to /srv/no permission/deadline and rules/phone\n"
        "Connection broken: IncompleteRead(404 bytes read, 403 more expected)",
        "Max retries exceeded with url: https://storage.example/{name}/rules?code=404",
    ],
    ids=["download", "traceback", "other folder", "address"],
)
def test_words_in_names_are_no_errors(name, text):
    folder = f"/data/{name}/.fetch/{name}"
    refusal = client._trouble(text.format(name=name), Source("competition", name), names=[folder])
    assert type(refusal) is NoAnswer and "cannot be reached" in str(refusal)


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_silent_program_is_stopped():
    with started("import time; time.sleep(60)") as process:
        with pytest.raises(NoAnswer, match="said nothing for 0 seconds"):
            client._listen(process, 0.1, lambda text: None)
        process.kill()


def test_all_is_read_and_the_state_of_the_progress_bar_shown():
    code = """
import sys, time
print("x" * 200000)
for state in ("10%|#   | 1/10 [00:01<00:09, 1B/s]", "20%|##  | 2/10 [00:02<00:08, 1B/s]"):
    print(state, end="\\r", flush=True)
    time.sleep(0.2)
print("end", file=sys.stderr)
"""
    shown = []
    with started(code) as process:
        printed = client._listen(process, 60, shown.append)
    assert len(printed) > 200000 and printed.endswith("end\n")
    assert list(dict.fromkeys(shown)) == ["1/10 [00:01<00:09, 1B/s]", "2/10 [00:02<00:08, 1B/s]"]


def test_half_an_answer_of_the_api_is_none(monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "environment-key")
    answer = requests.Response()
    answer.status_code = 200
    answer.headers["Content-Type"] = "application/json"
    answer._content = b'{"submissions": ['
    monkeypatch.setattr(requests.Session, "send", lambda *words, **options: answer)
    with pytest.raises(NoAnswer, match="answer about competition chest-contest cannot be read"):
        client.submissions(CONTEST)


def test_the_api_waits_for_an_answer_only_so_long(monkeypatch):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "environment-key")
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, address)
        with pytest.raises(NoAnswer, match="cannot be reached"):
            client.submissions(CONTEST)


def test_credentials_are_stars_wherever_they_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "environment-key")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "environment-token")
    (tmp_path / ".kaggle" / "access_token").write_text("file-token\n")
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"username": "u", "key": "file-key"}')
    (tmp_path / ".kaggle" / "credentials.json").write_text('{"refresh_token": "refresh-one", "scopes": []}')
    basic = [base64.b64encode(pair).decode() for pair in (b"someone:environment-key", b"u:file-key")]
    text = " ".join(["environment-key", "environment-token", "file-token", "file-key", "refresh-one", *basic])
    assert credentials.without_secrets(text) == " ".join(["***"] * 7)
    assert credentials.without_secrets("a plain text") == "a plain text"
    refused = client._trouble("Authentication required", CONTEST)
    assert "does not accept the credentials" in str(refused)


@pytest.mark.parametrize("slug", ["", "-x", "a/b", "../x", "https://www.kaggle.com/competitions/x", "a b"])
def test_a_slug_is_no_option_and_no_path(slug):
    with pytest.raises(InputError, match="last part of its address"):
        Source("competition", slug)
