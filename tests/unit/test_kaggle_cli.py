"""What the Kaggle program prints, read: one sentence for each failure, and no credential in it."""

import base64
import subprocess
import sys

import pytest

from chestfold.core.errors import InputError
from chestfold.integrations.kaggle import client
from chestfold.integrations.kaggle.client import NoAnswer, Source

CONTEST = Source("competition", "chest-contest")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()


@pytest.mark.parametrize(
    ("printed", "kind", "sentence"),
    [
        (
            "Authentication required to call the Kaggle API.\n\nFirst",
            InputError,
            "needs credentials, and there are none",
        ),
        (
            "403 Client Error: Forbidden for url: https://api.kaggle.com/v1/x",
            InputError,
            "refuses access to competition",
        ),
        ("You must accept this competition's rules first.", InputError, "rules of competition chest-contest are not"),
        ("404 Client Error: Not Found for url: https://api.kaggle.com/v1/x", InputError, "knows no competition chest-"),
        (
            "Your team has used its submission allowance (5 of 5).",
            InputError,
            "takes no more .* now: Your team has used",
        ),
        ("429 Client Error: Too Many Requests for url: x", NoAnswer, "asked too often"),
        ("502 Server Error: Bad Gateway for url: x", NoAnswer, "trouble of its own"),
        ("100%|#####| 404/404 [00:00<00:00, 403kB/s]\nCould not submit to competition", NoAnswer, "failed half-way"),
        ("Max retries exceeded (Caused by NameResolutionError(...))", NoAnswer, "cannot be reached"),
        ("[Errno 28] No space left on device", InputError, "disk is full"),
        ("/usr/bin/python3: No module named kaggle", InputError, "make setup"),
        ("Something new\n", NoAnswer, "failed on competition chest-contest: Something new"),
        ("", NoAnswer, "it said nothing"),
    ],
)
def test_each_failure_is_one_sentence(printed, kind, sentence):
    with pytest.raises(kind, match=sentence) as refusal:
        raise client._trouble(printed, CONTEST)
    assert type(refusal.value) is kind and "\n" not in str(refusal.value)


def test_a_silent_program_is_stopped():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with pytest.raises(NoAnswer, match="said nothing for 0 seconds"):
            client._listen(process, 0.1, CONTEST, None)
        process.kill()


def test_both_streams_are_read_and_whole_lines_shown(monkeypatch):
    code = "import sys; print('x' * 200000); sys.stderr.write('10%|#|\\r20%|##|\\r'); sys.stderr.write('end')"
    shown = []
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = client._listen(process, 60, CONTEST, shown.append)
    assert len(out) == 200001 and err.endswith("end") and "".join(shown) == "10%|#|\r20%|##|\r"


def test_json_is_found_behind_a_warning():
    text = "Warning: Your Kaggle API key is readable by other users\n[\n  {}\n]\n"
    assert client._json(text, "", CONTEST) == [{}]
    with pytest.raises(NoAnswer):
        client._json('[{"ref": ', "", CONTEST)


def test_credentials_are_stars_wherever_they_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "environment-key")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "environment-token")
    (tmp_path / ".kaggle" / "access_token").write_text("file-token\n")
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"username": "u", "key": "file-key"}')
    (tmp_path / ".kaggle" / "credentials.json").write_text('{"refresh_token": "refresh-one", "scopes": []}')
    basic = [base64.b64encode(pair).decode() for pair in (b"someone:environment-key", b"u:file-key")]
    text = " ".join(["environment-key", "environment-token", "file-token", "file-key", "refresh-one", *basic])
    assert client.without_secrets(text) == " ".join(["***"] * 7)
    assert client.without_secrets("a plain text") == "a plain text"
    refused = client._trouble("Authentication required", CONTEST)
    assert "does not accept the credentials" in str(refused)


@pytest.mark.parametrize("slug", ["", "-x", "a/b", "../x", "https://www.kaggle.com/competitions/x", "a b"])
def test_a_slug_is_no_option_and_no_path(slug):
    with pytest.raises(InputError, match="last part of its address"):
        Source("competition", slug)
