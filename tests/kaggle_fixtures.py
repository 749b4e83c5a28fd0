"""A stand-in for Kaggle, and a finished result to send to it."""

import numpy as np
import pytest
from kaggle_server import Kaggle

from chestfold.cli import main
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions, results
from chestfold.evaluate.results import FoldsOfResult
from chestfold.integrations.kaggle import credentials, upload

KEY = "0123456789abcdef-planted-key"


class ServerClock:
    """The time of the stand-in, which passes only by waiting for it."""

    def __init__(self, server: Kaggle) -> None:
        self.server = server

    def now(self) -> float:
        return self.server.seconds

    def sleep(self, seconds: float) -> None:
        self.server.seconds += seconds


@pytest.fixture
def kind_of_kaggle() -> type[Kaggle]:
    """What the stand-in can do."""
    return Kaggle


@pytest.fixture
def kaggle(kind_of_kaggle, tmp_path, monkeypatch, capfd):
    """A server, and an environment in which the program talks to it with planted credentials that nobody may see."""
    server = kind_of_kaggle()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "KAGGLE_API_TOKEN", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    monkeypatch.setattr(upload, "Clock", lambda: ServerClock(server))
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
