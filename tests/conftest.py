"""A project of its own for every test: nothing here reads or writes the checkout's input/, folds/ or runs/.

`tiny` is a data set of 60 training slices (20 patients, 2 classes) and 12 test images, 32 px; a fold of it trains in
about a second. `trained` holds two finished three-fold runs of it, exp100 and exp101, and is made once a session.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

os.environ["WANDB_MODE"] = "disabled"  # its own tests switch it on
os.environ["OMP_NUM_THREADS"] = "1"  # several test processes share two cores
os.environ["OMP_WAIT_POLICY"] = "passive"  # and a thread that waits leaves its core to the other one
os.environ.pop("COLUMNS", None)  # pytest-xdist gives its processes a terminal of 80, and tests read what a pipe gets

from wandb_server import Wandb
from xdist.scheduler import LoadScopeScheduling

from chestfold import Experiment
from chestfold.core.memory import tune_memory
from chestfold.core.rng import generator
from chestfold.evaluate import bootstrap
from chestfold.evaluate.results import FoldsOfResult, ResultRecord, Scores

tune_memory()
setattr(os, "fsync", lambda _: None)  # noqa: B010  a test's files need not survive a power cut
setattr(os, "sync", lambda: None)  # noqa: B010
bootstrap.REPLICATES = 50  # of the bootstrap; test_metrics draws all
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
ONE_PROCESS = {
    "test_app_in_a_browser",
    "test_24_averaged_weights_with_raw_statistics",
    "test_26_flipped_class_order",
    "test_full",
    "test_kernel",
    "test_masked_runs",
    "test_partial_collection",
    "test_phantom",
    "test_quiz_in_a_browser",
    "test_report_in_a_browser",
    "test_shortcuts",
}
"""Files whose tests share what takes long to make: one process runs all of them."""
SERVICES = {"test_secrets", "test_sent_once", "test_wandb", "test_wandb_online"}
"""And files that share it with each other."""
VARIABLES = ("PROJECT", "INPUT", "RUNS", "SUBMISSIONS", "CACHE", "WEIGHTS", "DEVICE", "WORKERS")

DECLARATION = """
classes = ["healthy", "ill"]
positive = "ill"
reader = "csv"
group_column = "patient"
"""


@dataclass(frozen=True)
class Project:
    """A throw-away project. `root` holds input/, folds/, exps/ and runs/."""

    root: Path

    @property
    def input(self) -> Path:
        return self.root / "input"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, exp: Experiment, *argv: str, name: str = "exp100"):
        """What `python exps/NAME.py ARGV` does, in this process; errors are raised, not printed."""
        from chestfold.cli.experiment import read_command
        from chestfold.integrations.tracker import open_tracker
        from chestfold.train.run import run_request

        command = read_command(exp, list(argv), Path(f"{name}.py"))
        run_request(command.request, open_tracker(command.tracker, command.wandb), command.threads)
        return command.request


def tiny_experiment(**changes) -> Experiment:
    """A network and a recipe that train a fold of `tiny` in about a second."""
    settings: dict[str, Any] = dict(data="tiny", backbone="test_resnet", image_size=32, epochs=2, batch_size=8, lr=3e-3)
    return Experiment(**(settings | changes))


def draw_image(rng: np.random.Generator, ill: bool, side: int = 32) -> np.ndarray:
    """Noise, and for the ill a bright disc: uint8 (side, side)."""
    image = rng.normal(90, 25, (side, side))
    if ill:
        centre = [int(v) for v in rng.integers(side // 4, 3 * side // 4, 2)]
        image += cv2.circle(np.zeros((side, side)), centre, side // 6, 90.0, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def read_grey(path: Path) -> np.ndarray:
    """An image file as OpenCV reads it: uint8 (H, W)."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None, path
    return image


def write_tiny(folder: Path, patients: int = 20, tests: int = 12) -> None:
    """The `tiny` data set: images/, train.csv, sample_submission.csv and its declaration."""
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text(DECLARATION)
    rows, rng = ["id,label,patient"], generator("tiny")
    for n in range(patients * 3):
        ill = n % 6 >= 3
        cv2.imwrite(str(folder / "images" / f"t{n:03d}.png"), draw_image(rng, ill))
        rows.append(f"t{n:03d},{'ill' if ill else 'healthy'},p{n // 3:02d}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")
    sample = ["id,ill"]
    for n in range(tests):
        cv2.imwrite(str(folder / "images" / f"x{n:03d}.png"), draw_image(rng, n % 2 == 1))
        sample.append(f"x{n:03d},0.5")
    (folder / "sample_submission.csv").write_text("\n".join(sample) + "\n")


def make_project(root: Path) -> Project:
    for name in ("input", "folds", "exps/results"):
        (root / name).mkdir(parents=True)
    write_tiny(root / "input" / "tiny")
    return Project(root)


def enter(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"CHESTFOLD_{name}", raising=False)
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(project.root))


def make_tiny_folds(count: int = 3) -> None:
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    folds.make(open_index("tiny"), "tiny", count)


def record_of(name: str, **fields) -> ResultRecord:
    """The scores.json of a run `name` on `tiny`; `fields` are added, or replace those that are there."""
    about: dict[str, Any] = dict(
        kind="experiment",
        data="tiny",
        classes=("healthy", "ill"),
        positive="ill",
        folds=FoldsOfResult(file="tiny", count=3, sha256="f" * 64, trained=(0, 1, 2)),
        minutes=1.0,
        machine="here",
        date="2026-01-01",
        files={},
        scores=Scores(at_half={}, confusion=[]),
    )
    return ResultRecord(name=name, **(about | fields))


def answers_of(*classes: str) -> Any:
    """How a sample with a column for each of `classes` is filled in; of one the other is called `rest`."""
    from chestfold.core.task import create_task
    from chestfold.data.dataset import Dataset
    from chestfold.integrations.kaggle.answers import AnswerFormat

    every = classes if len(classes) > 1 else ("rest", *classes)
    dataset = Dataset(name="drawn", classes=every, positive=every[-1], reader="csv")
    task = create_task("multiclass", every, every[-1])
    return AnswerFormat(task, dataset, "id", {name: name for name in classes}, 0.5)


@pytest.fixture(autouse=True)
def _variables_are_put_back() -> Iterator[None]:
    """What a command chooses stands in the environment, as its device does: no later test sees it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("CHESTFOLD_")}
    yield
    for name in [name for name in os.environ if name.startswith("CHESTFOLD_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's pictures take as long as its training; tests that look at them are marked `figures`."""
    if not request.node.get_closest_marker("figures"):
        leave_figures_out(monkeypatch)


def leave_figures_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is made once for several tests, which is before `_no_figures`."""
    from chestfold.evaluate import figures

    for name in ("learning_curves", "confusion"):
        monkeypatch.setattr(figures, name, lambda *_: None)


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no fonts but matplotlib's own."""
    from chestfold.evaluate import fonts

    monkeypatch.setattr(fonts, "candidates", lambda: iter([fonts.default_font()]))


@pytest.fixture(scope="session")
def _made_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = make_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
    return made


@pytest.fixture
def project(_made_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with the `tiny` data set and its three folds, and no runs."""
    shutil.copytree(_made_once.root, tmp_path / "project")
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    return made


@pytest.fixture(scope="session")
def _trained_once(_made_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("trained") / "project")
    shutil.copytree(_made_once.root, made.root)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        made.run(tiny_experiment(), name="exp100")
        made.run(tiny_experiment(seed=1, augment="plain"), name="exp101")
    return made


@pytest.fixture
def trained(_trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a project in which exp100 and exp101 are finished and collected.

    It is without their last.ckpt, three quarters of the bytes, which hardly any test looks at.
    """
    made = Project(tmp_path / "project")
    shutil.copytree(_trained_once.root, made.root, ignore=shutil.ignore_patterns("last.ckpt"))
    enter(monkeypatch, made)
    return made


def copy_project(project: Project, root: Path) -> Project:
    """A copy of `project` at `root`."""
    shutil.copytree(project.root, root)
    return Project(root)


@pytest.fixture(scope="session")
def shown_offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Wandb]]:
    """exp100 with two folds, trained with --wandb offline, and a server that could have been asked."""
    import planted

    from chestfold.integrations.follow import launch

    home, server = tmp_path_factory.mktemp("offline") / planted.HOME, Wandb()
    made = make_project(home / "project")
    with pytest.MonkeyPatch.context() as patch:
        planted.plant(home, patch)
        enter(patch, made)
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.delenv("WANDB_MODE")
        patch.setattr(launch, "PATIENCE", 240.0)
        make_tiny_folds(2)
        made.run(tiny_experiment(), "--wandb", "offline")
    yield made, server
    server.stop()


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `planted.Life`."""
    import planted

    return planted.live(tmp_path_factory.mktemp("homes") / planted.HOME)


@pytest.fixture
def kind_of_kaggle() -> Any:
    """The class of the stand-in for Kaggle."""
    from kaggle_server import Kaggle

    return Kaggle


@pytest.fixture
def kaggle(kind_of_kaggle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server, and an environment in which the program talks to it with planted credentials that nobody may see."""
    from kaggle_server import KEY, ServerClock

    from chestfold.integrations.kaggle import upload

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
def chestfold(kaggle: Any, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run `chestfold WORDS`: its exit code, and all that it showed, in which no credential stands."""

    from chestfold.cli import main
    from chestfold.integrations.kaggle import credentials

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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images beside the checkout; the test is skipped where there is none."""
    if not REAL.is_dir():
        pytest.skip(f"real images are not at {REAL}")
    return REAL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in tests/e2e is `slow`, and what needs Chromium is `browser`."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.slow)
        if item.path.stem.endswith("in_a_browser"):
            item.add_marker(pytest.mark.browser)


class ScopeScheduling(LoadScopeScheduling):
    """Tests go to the processes one by one, but for files whose tests share what takes long to make."""

    def _split_scope(self, nodeid: str) -> str:
        stem = Path(nodeid.partition("::")[0]).stem
        if stem in SERVICES:
            return "services"
        return stem if stem in ONE_PROCESS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ScopeScheduling:
    """xdist's own `--dist loadgroup` finds no groups with pytest 9.2."""
    return ScopeScheduling(config, log)
