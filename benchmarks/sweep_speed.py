"""What handing cells out costs: ten on two local workers of Ray, against the same in two plain processes.

    python benchmarks/sweep_speed.py [--epochs 60] [--rounds 1] [--quick]

Two experiments x 5 folds of the phantom set, one CPU thread each. Plain: each experiment in a process of its own, both
at once. Both ways import torch, train, and collect; the images are decoded before. Prints one JSON line; `ratio` is the
time of the sweep over the plain one: 1 is no loss.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from sweep_kills import NAMES, digests, make_project

from chestfold.core.console import say
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index


def train_plainly(work: Path, runs: Path, name: str) -> subprocess.Popen:
    """One experiment, fold after fold, in one process."""
    words = [sys.executable, str(work / "exps" / f"{name}.py"), "--jobs", "1", "--threads", "1"]
    return subprocess.Popen(words, env=os.environ | {"CHESTFOLD_RUNS": str(runs)}, stdout=subprocess.DEVNULL)


def time_plain(work: Path, runs: Path, names: tuple[str, ...]) -> float:
    """Seconds until all experiments are collected."""
    began = time.perf_counter()
    processes = [train_plainly(work, runs, name) for name in names]
    for process in processes:
        if process.wait():
            raise SystemExit("a plain process failed")
    return time.perf_counter() - began


def time_sweep(runs: Path, names: tuple[str, ...]) -> float:
    """Seconds of the command, from its first import on; a worker for each experiment."""
    words = [sys.executable, "-m", "chestfold.cli.main", "sweep", *names, "--local", "--jobs", str(len(names))]
    environment = os.environ | {"CHESTFOLD_RUNS": str(runs)}
    began = time.perf_counter()
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1, help="of both ways, one after the other [1]")
    parser.add_argument("--quick", action="store_true", help="an experiment x 2 short folds: does it run at all")
    given = parser.parse_args()
    folds, epochs, size, patients = (2, 1, 32, 8) if given.quick else (5, given.epochs, 64, 60)
    names = NAMES[:1] if given.quick else NAMES
    plain, swept = [], []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_project(work, folds, epochs, size, patients)
        open_cache(open_index("phantom"), size)
        for n in range(given.rounds):
            plain.append(time_plain(work, work / f"plain{n}", names))
            swept.append(time_sweep(work / f"swept{n}", names))
            equal = digests(work / f"plain{n}") == digests(work / f"swept{n}")
            if not equal:
                raise SystemExit("the bytes differ")
    figures = {
        "cells": len(names) * folds,
        "plain_seconds": round(median(plain), 1),
        "sweep_seconds": round(median(swept), 1),
        "ratio": round(median(swept) / median(plain), 3),
        "bytes_equal": True,
    }
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
