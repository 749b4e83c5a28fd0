"""Kill a five-fold run with SIGKILL at ten random moments; the files must be those of an undisturbed run.

    python benchmarks/kill_resume.py [--kills 10] [--seed 0] [--quick]

Works on the phantom set in a folder of its own and takes a few minutes. Prints one JSON line; exit code 1 when any
byte of oof.parquet, test.parquet, a fold's weights or the submission differs.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from chestfold.cli.main import main as main_command
from chestfold.core.console import say
from chestfold.core.files import project_dir, sha256_file

ROOT = project_dir()
IMPORTS = 4.0
"""Seconds until the first fold begins."""


def environment(work: Path, name: str) -> dict[str, str]:
    """Runs, cache and submissions of their own; the fold file and the images are shared."""
    own = work / name
    folders = {
        "CHESTFOLD_RUNS": own / "runs",
        "CHESTFOLD_SUBMISSIONS": own / "submissions",
        "CHESTFOLD_CACHE": own / "cache",
        "CHESTFOLD_INPUT": work / "input",
        "CHESTFOLD_PROJECT": ROOT,
    }
    variables = os.environ | {"WANDB_MODE": "disabled"}
    for variable, folder in folders.items():
        variables[variable] = str(folder)
    return variables


def call(words: list[str], env: dict[str, str]) -> None:
    subprocess.run(words, env=env, check=True, capture_output=True, text=True)


def chestfold(env: dict[str, str], *words: str) -> None:
    """A short command, in this process: nobody kills it."""
    before = os.environ.copy()
    os.environ.update(env)
    try:
        with redirect_stdout(io.StringIO()):
            main_command([*words])
    finally:
        os.environ.clear()
        os.environ.update(before)


def where(runs: Path) -> str:
    """How far a run has come: each begun fold and its finished epochs."""
    states = []
    for fold in sorted(runs.glob("exp001/fold*")):
        history = fold / "metrics.jsonl"
        done = len(history.read_text().splitlines()) if history.exists() else 0
        states.append(f"{fold.name} after {done} epochs")
    return ", ".join(states) or "before the first fold"


def run_with_kills(command: list[str], env: dict[str, str], kills: int, seed: int, undisturbed: float) -> list[str]:
    """Start, kill, start again ..., then let it finish.

    Moments are drawn from the end of the imports on, over a tenth of the undisturbed run.
    """
    rng = random.Random(seed)
    moments = []
    for n in range(kills):
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(IMPORTS, IMPORTS + undisturbed / 10))
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append("after the end" if ended else where(Path(env["CHESTFOLD_RUNS"])))
        say(f"kill {n + 1}/{kills}: {moments[-1]}")
    call(command, env)
    return moments


def digests(env: dict[str, str]) -> dict[str, str]:
    """Hashes of everything that must be the same."""
    chestfold(env, "submit", "exp001", "--dry-run", "--partial")
    runs = Path(env["CHESTFOLD_RUNS"]) / "exp001"
    files = [*runs.glob("*.parquet"), *runs.glob("fold*/*.parquet"), *runs.glob("fold*/*.ckpt")]
    files += Path(env["CHESTFOLD_SUBMISSIONS"]).glob("*.csv")
    return {str(file.relative_to(runs.parent.parent)): sha256_file(file) for file in sorted(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments [0]")
    parser.add_argument("--quick", action="store_true", help="one kill of a run of one fold: does it run at all")
    arguments = parser.parse_args()
    command = [sys.executable, str(ROOT / "exps" / "exp001.py"), "--epochs", "16"]
    kills = arguments.kills
    if arguments.quick:
        command += ["--fold", "0", "--epochs", "1", "--max-steps", "2"]
        kills = 1
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        calm = environment(Path(folder), "calm")
        killed = environment(Path(folder), "killed")
        chestfold(calm, "data", "fetch", "phantom")
        chestfold(calm, "folds", "make", "phantom")
        start = time.perf_counter()
        call(command, calm)
        undisturbed = time.perf_counter() - start
        say(f"undisturbed: {undisturbed:.0f} s")
        moments = run_with_kills(command, killed, kills, arguments.seed, undisturbed)
        expected = digests(calm)
        found = digests(killed)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    seconds = round(time.perf_counter() - began)
    say(json.dumps({"kills": moments, "files": len(expected), "different": different, "seconds": seconds}))
    raise SystemExit(1 if different else 0)


if __name__ == "__main__":
    main()
