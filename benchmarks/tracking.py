"""What W&B costs the training: a fold with it (offline) and without it, in turn, in this process.

    python benchmarks/tracking.py [--seconds 40] [--pairs 4]

Each side trains the same fold of the phantom set for about `--seconds`. Prints one JSON line: `ratio` is the median
over the pairs of the time of the training with W&B over that without (1.02: 2 % slower); `follower_cpu_s` is what the
process beside the training used from its start to its end, `loop_s` how long a training took, and `load` how many other
processes wanted the CPU at the end: on a busy machine the ratios only say how busy it was.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

from chestfold.train.fold_folder import fold_dir

from chestfold import Experiment
from chestfold.core.config import Request
from chestfold.core.console import say
from chestfold.core.provenance import machine
from chestfold.data.phantom import write_phantom
from chestfold.integrations.tracker import open_tracker
from chestfold.train.prepare import Prepared, prepare
from chestfold.train.run import run_fold

EXP = Experiment(data="phantom", backbone="five_block_cnn", image_size=64, batch_size=16, lr=1e-3)


def train(name: str, epochs: int, mode: str) -> tuple[float, float]:
    """Seconds of a fold's training, without its predictions, and CPU seconds of its follower."""
    ready: Prepared = prepare(Request(name, EXP.but(epochs=epochs), (0,), True, "", {}))
    tracker = open_tracker("wandb", mode)
    used, began = _children(), time.perf_counter()
    run_fold(ready, 0, tracker)
    lines = (fold_dir(name, 0) / "metrics.jsonl").stat().st_mtime_ns / 1e9
    spent = time.perf_counter() - began - (time.time() - lines)  # up to the last epoch's line
    tracker.close()
    return spent, _children() - used


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="for each side of a pair [40]")
    parser.add_argument("--pairs", type=int, default=4, help="[4]")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for name in ("RUNS", "INPUT", "CACHE"):
            os.environ[f"CHESTFOLD_{name}"] = str(Path(work) / name.lower())
        write_phantom(Path(work) / "input" / "phantom")
        train("warm", 2, "disabled")
        epochs = max(4, round(6 * asked.seconds / train("pace", 6, "disabled")[0]))
        pairs, cpu = [], []
        for n in range(asked.pairs):
            sides: dict[str, tuple[float, float]] = {}
            for mode in (("offline", "disabled"), ("disabled", "offline"))[n % 2]:
                sides[mode] = train(f"{mode}{n}", epochs, mode)
            pairs.append((sides["offline"][0], sides["disabled"][0]))
            cpu.append(sides["offline"][1])
    ratios = [round(a / b, 3) for a, b in pairs]
    figures = {"ratio": round(median(ratios), 3), "ratios": ratios, "loop_s": round(median(b for _, b in pairs), 1)}
    figures |= {"follower_cpu_s": round(median(cpu), 2), "load": round(os.getloadavg()[0], 1), "machine": machine()}
    say(json.dumps({"question": "wandb", **figures}))


if __name__ == "__main__":
    main()
