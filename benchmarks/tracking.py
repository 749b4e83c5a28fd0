"""What W&B costs the training: a fold with it (offline) and without it, in turn, in this process.

    python benchmarks/tracking.py [--seconds 40] [--pairs 4] [--quick]

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
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from chestfold import Experiment
from chestfold.core.config import Request
from chestfold.core.console import say
from chestfold.core.provenance import machine
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.integrations.tracker import open_tracker
from chestfold.train.prepare import prepare
from chestfold.train.run import train_fold

EXP = Experiment(data="phantom", backbone="five_block_cnn", image_size=64, batch_size=16, lr=1e-3)


@dataclass(frozen=True)
class Cost:
    """Seconds of a fold's training, without its predictions, and CPU seconds of the process beside it."""

    seconds: float
    follower_cpu: float


def train(name: str, epochs: int, mode: str) -> Cost:
    """Train fold 0 as runs/NAME."""
    exp = EXP.but(epochs=epochs)
    ready = prepare(Request(name, exp, (0,), overwrite=True, parent="", changed={}))
    tracker = open_tracker("wandb", mode)
    cpu_before = children_cpu()
    began = time.time()
    train_fold(ready, 0, tracker)
    trained_at = ready.run.fold(0).history_path.stat().st_mtime  # the last epoch's row; predicting comes after it
    tracker.close()
    return Cost(trained_at - began, children_cpu() - cpu_before)


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="for each side of a pair [40]")
    parser.add_argument("--pairs", type=int, default=4, help="[4]")
    parser.add_argument("--quick", action="store_true", help="one pair of two epochs: does it run at all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for name in ("RUNS", "INPUT", "CACHE"):
            os.environ[f"CHESTFOLD_{name}"] = str(Path(work) / name.lower())
        os.environ["CHESTFOLD_PROJECT"] = work
        write_phantom(Path(work) / "input" / "phantom", patients=10 if arguments.quick else 100)
        folds.make(open_index("phantom"), "phantom", 5)
        if arguments.quick:
            measure(2, 1)
            return
        train("warm", 2, "disabled")
        pace = train("pace", 6, "disabled").seconds / 6
        measure(max(4, round(arguments.seconds / pace)), arguments.pairs)


def measure(epochs: int, pairs: int) -> None:
    """Each pair in the other order than the one before, so that a machine that slows down favours neither."""
    tracked, alone = [], []
    for n in range(pairs):
        if n % 2 == 0:
            tracked.append(train(f"offline{n}", epochs, "offline"))
            alone.append(train(f"disabled{n}", epochs, "disabled"))
        else:
            alone.append(train(f"disabled{n}", epochs, "disabled"))
            tracked.append(train(f"offline{n}", epochs, "offline"))
    ratios = [round(a.seconds / b.seconds, 3) for a, b in zip(tracked, alone, strict=True)]
    figures = {
        "question": "wandb",
        "ratio": round(median(ratios), 3),
        "ratios": ratios,
        "loop_s": round(median(cost.seconds for cost in alone), 1),
        "follower_cpu_s": round(median(cost.follower_cpu for cost in tracked), 2),
        "load": round(os.getloadavg()[0], 1),
        "machine": machine(),
    }
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
