"""No key, token or home folder in anything that is left behind: planted, a whole life is run, all is searched."""

import base64
import io
import json
import re
import zipfile
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import enter, make_project, make_tiny_folds, tiny_experiment
from kaggle_server import Competition, Kaggle
from wandb_server import Wandb

from chestfold.cli import main
from chestfold.integrations.kaggle import upload
from chestfold.integrations.wandb import launch

HOME = "home-of-dr-planted"
SECRETS = {
    "WANDB_API_KEY": "f00dwandbplanted" + "1" * 24,
    "KAGGLE_KEY": "f00dkaggleplanted",
    "kaggle.json": "f00djsonplanted",
    "netrc": "f00dnetrcplanted" + "2" * 24,
}
NEEDLES = [HOME.encode(), *(value.encode() for value in SECRETS.values())]
COMMANDS = (
    "ensemble exp100 exp101 --name both",
    "report",
    "submit both --competition contest -m first",
    "publish both",
)


def plant(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Credentials wherever a person has them."""
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": "planted", "key": SECRETS["kaggle.json"]}))
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {SECRETS['netrc']}")
    (home / ".netrc").chmod(0o600)
    for name in ("KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "KAGGLE_API_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", str(home))
    patch.setenv("KAGGLE_USERNAME", "planted")
    for name in ("WANDB_API_KEY", "KAGGLE_KEY"):
        patch.setenv(name, SECRETS[name])


def live(project, mode: str) -> None:
    """Two experiments, a blend, the page, a submission that is sent, a published result."""
    for name, seed in (("exp100", 0), ("exp101", 1)):
        project.run(tiny_experiment(seed=seed, epochs=1), "--wandb", mode, name=name)
    for command in COMMANDS:
        main.main(command.split())


@pytest.fixture(scope="module", params=["offline", "online"])
def lived(request, tmp_path_factory):
    """A project in a home folder in which all that there is has been done, and what W&B's server was sent."""
    home = tmp_path_factory.mktemp("homes") / HOME
    kaggle, wandb = Kaggle(), Wandb()
    kaggle.competitions["contest"] = Competition()
    project = make_project(home / "project")
    with pytest.MonkeyPatch.context() as patch:
        plant(home, patch)
        enter(patch, project)
        for name, value in (kaggle.environment | {"WANDB_BASE_URL": wandb.url, "WANDB_MODE": request.param}).items():
            patch.setenv(name, value)
        for name in ("NO_PROXY", "no_proxy"):  # W&B's server is not Kaggle's
            patch.setenv(name, "127.0.0.1")
        patch.setattr(launch, "PATIENCE", 240.0)
        patch.setattr(upload, "PAUSES", (0.01, 0.01))
        make_tiny_folds(2)
        live(project, request.param)
    kaggle.stop()
    wandb.stop()
    yield project, wandb, kaggle


def contents(data: bytes) -> list[bytes]:
    """The bytes of a file, and what is packed in it: parquet, zip, base64 and deflate."""
    found = [data, *(base64.b64decode(text) for text in re.findall(rb"base64,([A-Za-z0-9+/]+=*)", data))]
    if data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        found += [repr(table.to_pydict()).encode(), *(table.schema.metadata or {}).values()]
    if data.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        found += [archive.read(name) for name in archive.namelist()]
    if data.startswith(b"\x1f\x8b"):
        found.append(zlib.decompress(data, 31))
    return found


def leaks(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(name, n) for name, data in files.items() for n in NEEDLES if any(n in part for part in contents(data))]


def test_the_search_finds_what_is_packed():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record", f"/{HOME}/runs")
    hidden = {"zip": packed.getvalue(), "page": b"data:x;base64," + base64.b64encode(NEEDLES[1])}
    assert [name for name, _ in leaks(hidden)] == ["zip", "page"]


def test_no_file_that_is_left_names_a_key_or_the_home_folder(lived):
    project, _, _ = lived
    folders = ("runs", "submissions", "folds", "exps")
    files = {str(p): p.read_bytes() for f in folders for p in (project.root / f).rglob("*") if p.is_file()}
    for kind in ("report.html", ".wandb", "ledger.csv", "wandb.log", "log.txt", "oof.parquet", "RESULTS.md"):
        assert any(name.endswith(kind) for name in [*files, "RESULTS.md"]), kind
    assert leaks(files) == []
    assert not list((project.runs / "wandb").rglob("debug*.log"))


def test_nothing_that_was_sent_names_a_key_or_the_home_folder(lived):
    project, wandb, kaggle = lived
    sent = {f"W&B {n}": data for n, data in enumerate(wandb.raw)} | {f"to {k}": v for k, v in kaggle.sent.items()}
    assert leaks(sent) == [] and kaggle.sent and kaggle.competitions["contest"].entries
    assert bool(wandb.runs) == any((project.runs / "wandb").glob("run-*"))


def test_what_wandb_keeps_outside_of_the_project_is_not_more(lived):
    project, _, _ = lived
    kept = {str(p) for p in (project.root.parent / ".cache" / "wandb").rglob("*") if p.is_file()}
    assert kept == set()
