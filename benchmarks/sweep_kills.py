"""Kill what trains a grid, with SIGKILL at random moments; the files must be those of one process that nobody killed.

    python benchmarks/sweep_kills.py [--kills 24] [--seed 0] [--quick]

Three Ray nodes on this machine, one of them with a runs folder of its own, train two experiments x 5 folds of the
phantom set. Raylets, workers, training children and the command itself are killed; a node that is gone is replaced, the
command is started again. Meanwhile a thread looks who holds each fold. Prints one JSON line: kills, cells, whether the
bytes are equal, the most living writers that a fold had at a time, orphans left. Exit code 1 where one of these is
wrong. Takes some minutes; works in a folder of its own.
"""

import argparse
import atexit
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chestfold.cli.experiment import read_command, run_command
from chestfold.cli.main import main as chestfold
from chestfold.core.console import say
from chestfold.core.extras import require
from chestfold.core.fence import LOG
from chestfold.core.files import sha256_file
from chestfold.core.identity import start_time
from chestfold.data.phantom import write_phantom

NAMES = ("exp900", "exp901")
EXPERIMENT = """
from chestfold import Experiment, run

EXP = Experiment(
    data="phantom", backbone="five_block_cnn", image_size={size}, epochs={epochs}, batch_size=16, lr={lr}
)

if __name__ == "__main__":
    run(EXP)
"""
MARK = "CHESTFOLD_SWEEP_KILLS"
"""A variable that all processes of this benchmark have: whoever has it is ours, and may be killed."""
KINDS = ("raylet", "worker", "child", "child", "driver")
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3"}
"""A node that is gone is noticed after 4 s, not 15."""


def make_project(work: Path, folds: int, epochs: int, size: int, patients: int) -> None:
    """Two experiments, their images and their folds, in a project of its own; this process works in it from now on."""
    for name in ("exps", "folds"):
        (work / name).mkdir()
    folders = {"PROJECT": work, "INPUT": work / "input", "RUNS": work / "runs", "CACHE": work / "cache"}
    os.environ.update({f"CHESTFOLD_{name}": str(path) for name, path in folders.items()})
    os.environ.update(RAY | {"WANDB_MODE": "disabled", "CHESTFOLD_QUIET": "1", "OMP_NUM_THREADS": "1"})
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    write_phantom(work / "input" / "phantom", patients=patients)
    chestfold(["folds", "make", "phantom", "--folds", str(folds)])
    for name, lr in zip(NAMES, (1e-3, 2e-3), strict=True):
        (work / "exps" / f"{name}.py").write_text(EXPERIMENT.format(lr=lr, epochs=epochs, size=size))


def train_undisturbed(work: Path, runs: Path) -> None:
    """Both experiments, fold after fold, in this process."""
    os.environ["CHESTFOLD_RUNS"] = str(runs)
    for name in NAMES:
        path = work / "exps" / f"{name}.py"
        run_command(read_command(runpy.run_path(str(path))["EXP"], ["--jobs", "1", "--threads", "1"], path))


def digests(runs: Path) -> dict[str, str]:
    """Hashes of everything that must be the same."""
    files = [path for kind in ("*.parquet", "*.ckpt", "*.npz") for path in runs.rglob(kind)]
    return {str(path.relative_to(runs)): sha256_file(path) for path in sorted(files)}


# The nodes


class Nodes:
    """Ray nodes of this machine, one core each. The first holds Ray's own tables and is never killed."""

    def __init__(self, work: Path, count: int) -> None:
        require("ray", "cluster")
        from ray.cluster_utils import Cluster

        self._work, self._made = work, 0
        self._cluster = Cluster()
        self._living: list[Any] = []  # but for the first
        self._gone: list[Any] = []
        for _ in range(count):
            self._add()

    @property
    def address(self) -> str:
        return self._cluster.address

    def _add(self, own_runs: bool = False) -> None:
        options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        self._made += 1
        if own_runs or self._made == 3:
            options["env_vars"] = {"CHESTFOLD_RUNS": str(self._work / f"runs-of-node-{self._made}")}
        node = self._cluster.add_node(**options)
        node.has_own_runs = "env_vars" in options
        if self._made > 1:
            self._living.append(node)

    def kill_one(self, rng: random.Random) -> None:
        """SIGKILL for a raylet; another node takes its place. It stays a zombie: nobody asks for its exit code."""
        node = self._living.pop(rng.randrange(len(self._living)))
        raylet = node.all_processes["raylet"][0].process
        os.kill(raylet.pid, signal.SIGKILL)
        self._cluster.worker_nodes.remove(node)
        self._gone.append(node)
        self._add(node.has_own_runs)

    def stop(self) -> None:
        for node in self._gone:
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self._cluster.shutdown()


def ours() -> dict[int, tuple[int, str]]:
    """Process -> its parent and command line, of all that have our mark."""
    found, mark = {}, f"{MARK}={os.environ[MARK]}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(folder.name)] = (parent, words)
        except (OSError, ValueError):  # it has ended meanwhile
            continue
    return found


def candidates() -> dict[str, list[int]]:
    """Kind -> processes that can be killed now: what trains, and Ray's workers above it."""
    servers = {pid: parent for pid, (parent, words) in ours().items() if "chestfold.train.cell_server" in words}
    children = sorted(pid for pid, parent in servers.items() if parent in servers)
    workers = sorted({parent for parent in servers.values() if parent not in servers and parent > 1})
    return {"child": children, "worker": workers}


# The writers


class Watch(threading.Thread):
    """Looks all the time which living processes hold each fold: those that took it and have not let go."""

    def __init__(self, work: Path) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.stopped = threading.Event()
        self.most = 0
        self.taken = 0

    def run(self) -> None:
        while not self.stopped.wait(0.05):
            self.look()

    def look(self) -> None:
        self.taken = 0
        for log in self._work.glob(f"runs*/*/*/{LOG}"):
            writers: dict[str, tuple[int, str]] = {}
            for line in log.read_text().splitlines():
                number, event, pid, started, *_ = line.split()
                if event == "takes":
                    writers[number] = (int(pid), started)
                    self.taken += 1
                else:
                    writers.pop(number, None)
            living = sum(start_time(pid) == started for pid, started in writers.values())
            self.most = max(self.most, living)


@contextmanager
def watched(work: Path) -> Iterator[Watch]:
    watch = Watch(work)
    watch.start()
    try:
        yield watch
    finally:
        watch.stopped.set()
        watch.join()


# The kills


def sweep(address: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "chestfold.cli.main", "sweep", *NAMES, "--address", address]
    return subprocess.Popen(words)


def kill_again_and_again(nodes: Nodes, kills: int, rng: random.Random, kinds: tuple[str, ...]) -> Counter[str]:
    """Run the command until the grid is finished, and kill meanwhile."""
    done: Counter[str] = Counter()
    driver = sweep(nodes.address)
    atexit.register(lambda: driver.kill())  # the one that runs then
    due = time.monotonic() + rng.uniform(1, 4)
    while True:
        code = driver.poll()
        if code == 0:
            return done
        if code is not None:
            if code != -signal.SIGKILL:
                raise SystemExit(f"the sweep ended with exit code {code}")
            driver = sweep(nodes.address)
        time.sleep(0.2)
        there = candidates()
        if done.total() >= kills or time.monotonic() < due or not there["child"]:
            continue
        kind = rng.choice(kinds)
        if kind == "raylet":
            nodes.kill_one(rng)
        elif kind == "driver":
            driver.kill()
        else:
            os.kill(rng.choice(there[kind]), signal.SIGKILL)
        done[kind] += 1
        say(f"kill {done.total()}/{kills}: {kind}")
        due = time.monotonic() + rng.uniform(1, 6)


def wait_for_orphans(seconds: float) -> list[str]:
    """What still runs after a while."""
    end = time.monotonic() + seconds
    while (left := ours()) and time.monotonic() < end:
        time.sleep(0.2)
    return [words for _, words in left.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0, help="of the kinds and moments [0]")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="two nodes, 2 x 2 cells, a worker and a child killed")
    given = parser.parse_args()
    folds, epochs, size, patients, count = 5, given.epochs, 64, 60, 3
    kinds: tuple[str, ...] = KINDS
    if given.quick:
        given.kills = 2
        folds, epochs, size, patients, count, kinds = 2, 3, 32, 8, 2, ("worker", "child")
    os.environ[MARK] = uuid.uuid4().hex
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_project(work, folds, epochs, size, patients)
        nodes = Nodes(work, count)
        try:
            with watched(work) as watch:
                kills = kill_again_and_again(nodes, given.kills, random.Random(given.seed), kinds)
        finally:
            nodes.stop()
        orphans = wait_for_orphans(10)
        train_undisturbed(work, work / "plain")
        expected, found = digests(work / "plain"), digests(work / "runs")
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    figures = {
        "kills": dict(kills),
        "kills_in_all": kills.total(),
        "cells": len(NAMES) * folds,
        "files": len(expected),
        "bytes_equal": not different,
        "different": different,
        "times_taken": watch.taken,
        "most_writers_of_a_fold": watch.most,
        "orphans": orphans,
        "seconds": round(time.perf_counter() - began),
    }
    say(json.dumps(figures))
    raise SystemExit(bool(different or orphans or watch.most > 1))


if __name__ == "__main__":
    main()
