"""Kill a five-fold run with SIGKILL at ten random moments; the files must be those of an undisturbed run.

    python benchmarks/kill_resume.py [--kills 10] [--seed 0]

Works on the phantom set in a folder of its own and takes a few minutes. Prints one JSON line; exit code 1 when any
byte of oof.parquet, test.parquet, a fold's weights or the submission differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chestfold.core.console import say
from chestfold.core.files import project_dir, sha256_file

ROOT = project_dir()
RUN = [sys.executable, str(ROOT / "exps" / "exp001.py"), "--epochs", "4"]


def environment(work: Path, name: str) -> dict[str, str]:
    """Runs, cache and submissions of their own; the fold file and the images are shared."""
    places = {"RUNS": work / name / "runs", "SUBMISSIONS": work / name / "submissions", "CACHE": work / name / "cache"}
    places |= {"INPUT": work / "input", "PROJECT": ROOT}
    return os.environ | {"WANDB_MODE": "disabled"} | {f"CHESTFOLD_{k}": str(v) for k, v in places.items()}


def call(words: list[str], env: dict[str, str]) -> None:
    subprocess.run(words, env=env, check=True, capture_output=True, text=True)


def chestfold(*words: str) -> list[str]:
    return [sys.executable, "-m", "chestfold.cli.main", *words]


def where(runs: Path) -> str:
    """How far a run has come: the fold that is being trained and its finished epochs."""
    folds = sorted(runs.glob("exp001/fold*"))
    if not folds:
        return "before the first fold"
    history = folds[-1] / "metrics.jsonl"
    done = len(history.read_text().splitlines()) if history.exists() else 0
    return f"{folds[-1].name} after {done} epochs"


def run_with_kills(env: dict[str, str], kills: int, seed: int, whole: float) -> list[str]:
    """Start, kill, start again ..., then let it finish. Moments are drawn over what a start takes to get on."""
    rng, moments = random.Random(seed), []
    for n in range(kills):
        process = subprocess.Popen(RUN, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 4 + whole / 4))
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append("after the end" if ended else where(Path(env["CHESTFOLD_RUNS"])))
        say(f"kill {n + 1}/{kills}: {moments[-1]}")
    call(RUN, env)
    return moments


def digests(env: dict[str, str]) -> dict[str, str]:
    """Hashes of everything that must be the same."""
    call(chestfold("submit", "exp001", "--dry-run"), env)
    runs = Path(env["CHESTFOLD_RUNS"]) / "exp001"
    files = [*runs.glob("*.parquet"), *runs.glob("fold*/*.parquet"), *runs.glob("fold*/best.ckpt")]
    files += [*runs.glob("fold*/last.ckpt"), *Path(env["CHESTFOLD_SUBMISSIONS"]).glob("*.csv")]
    return {str(f.relative_to(runs.parent.parent)): sha256_file(f) for f in sorted(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments [0]")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        calm, killed = (environment(Path(folder), name) for name in ("calm", "killed"))
        call(chestfold("data", "fetch", "phantom"), calm)
        call(chestfold("folds", "make", "phantom"), calm)
        start = time.perf_counter()
        call(RUN, calm)
        whole = time.perf_counter() - start
        say(f"undisturbed: {whole:.0f} s")
        moments = run_with_kills(killed, asked.kills, asked.seed, whole)
        one, two = digests(calm), digests(killed)
    different = sorted(k for k in one.keys() | two.keys() if one.get(k) != two.get(k))
    seconds = round(time.perf_counter() - began)
    say(json.dumps({"kills": moments, "files": len(one), "different": different, "seconds": seconds}))
    raise SystemExit(1 if different else 0)


if __name__ == "__main__":
    main()
