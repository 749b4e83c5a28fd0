"""Files made wrong by chance, of every kind that is read: one sentence, in time (many more: benchmarks/fuzz.py)."""

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Project, enter
from fuzzed_kinds import NAMES, Kind, forget_hooks, kinds, prepare_runs, restore, stamps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chestfold.core.errors import ChestfoldError

SECONDS = 10
MEMORY = 2 << 20
"""Of kB, above what the process had."""


@dataclass(frozen=True)
class Fuzzed:
    """A project whose files are made wrong, one after the other. `copy`: what they are restored from."""

    project: Project
    kinds: dict[str, Kind]
    copy: Path
    kept: dict[Path, tuple[int, int]]

    def restore(self) -> None:
        restore(self.project.root, self.kept, self.copy)
        forget_hooks()


@pytest.fixture(scope="module")
def fuzzed(_trained_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    project = Project(folder / "project")
    shutil.copytree(_trained_once.root, project.root)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, project)
        prepare_runs(project)
        made = kinds(project)
        shutil.copytree(project.root, folder / "copy")
        yield Fuzzed(project, made, folder / "copy", stamps(project.root))


@contextmanager
def in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"not read within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_every_kind_has_its_name(fuzzed):
    assert sorted(fuzzed.kinds) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_what_is_wrong_is_one_sentence(fuzzed, name, rng):
    kind = fuzzed.kinds[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind.put(kind.draw(rng), rng)
    try:
        with in_time():
            kind.read(rng)
    except ChestfoldError as error:
        assert str(error)
    except SystemExit as end:
        assert end.code == 2
    finally:
        fuzzed.restore()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
