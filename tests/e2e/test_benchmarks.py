"""Every benchmark runs: D1 was a script that had died unnoticed since a signature changed."""

import json
import os
from pathlib import Path

import pytest
from forked import run_script

from chestfold.data.phantom import write_phantom

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    work = tmp_path_factory.mktemp("benchmarks")
    write_phantom(work / "input" / "phantom", patients=5)
    folders = {f"CHESTFOLD_{name.upper()}": str(work / name) for name in ("input", "runs", "cache")}
    return os.environ | folders | {"OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs_and_prints_its_figures_as_json(script, environment, tmp_path):
    done = run_script([str(FOLDER / script), "--quick"], tmp_path, environment)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures
