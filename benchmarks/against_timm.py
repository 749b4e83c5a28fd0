"""Training speed on a CPU against timm's own train.py: whole runs of several folds of a ResNet-18, in turn.

    python benchmarks/against_timm.py [PATH_TO_TIMM_TRAIN_PY] [--data chest_xray] [--folds 2] [--epochs 5] [--quick]

train.py is in timm's repository, not in its package: give the path of yours. It trains on the images of each fold,
written as PNG of the network's size in a folder per class, so that it has less to decode than its users; one fold after
the other, as it is used, and all at once with a share of the threads, which it does not do by itself. Ours trains and
predicts the same folds by an experiment's script, with `augment_batch` and `predict_precision = "fastest"`. Both have
equal precision, or that which their users get without asking (ours `auto`, timm's fp32). Prints a JSON line a size and
way: training images a second over whole runs, start and all predictions counted, and the ratios; without the path, or
with --quick, ours alone. What each does beside the steps differs: timm augments with its defaults, validates and saves
each epoch; ours validates each epoch, and predicts at the end the validation images with eight shifted copies, the test
images, and says what is unlike the training images.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2

from chestfold.core.config import Experiment, Request
from chestfold.core.console import say
from chestfold.core.errors import ServiceError
from chestfold.core.files import cache_dir, input_dir
from chestfold.core.provenance import machine
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.models.runner import cpu_has_bf16
from chestfold.train.run import run_request
from chestfold.train.threads import usable_cores

OURS = """
from chestfold import Experiment, run
EXP = Experiment(data="{data}", image_size={size}, epochs={epochs}, augment="plain", augment_batch=True,
                 predict_precision="fastest", batch_size=64)
if __name__ == "__main__":
    run(EXP)
"""
"""The script of an experiment."""
THEIRS = """
import runpy, sys
import chestfold.core.torchvision_import
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs their script as it is, after torchvision, whose import alone fails beside a CPU-only torch."""
BF16 = ["--amp", "--amp-dtype", "bfloat16", "--channels-last"]
OPTIONS: dict[str, list[str]] = {"fp32": [], "bf16": BF16}
"""Precision -> options of timm's."""


@dataclass(frozen=True)
class Work:
    """What is trained. `images`: the folder of the images for timm's, a folder a fold; `count`: training images of all
    folds and epochs."""

    folder: Path
    data: str
    size: int
    folds: int
    epochs: int
    images: Path
    count: int
    script: str | None


def write_classes(data: str, size: int, fold: int, folder: Path) -> int:
    """A fold as train/CLASS/N.png and validation/CLASS/N.png; how many images are trained on."""
    index = open_index(data)
    made = folds.load(data, index)
    cache = open_cache(index, size)
    rows = cache.rows(made.table["id"])
    for row, label, its_fold in zip(rows, made.table["label"], made.table["fold"], strict=True):
        target = folder / ("validation" if its_fold == fold else "train") / str(label) / f"{row}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cache.images[row])
    return len(made.other_ids(fold))


def seconds_of(who: str, commands: list[list[str]], folder: Path, threads: int | None = None) -> float:
    """How long commands take that run at the same time, and must end well.

    Args:
        who: for the message where one does not.
        commands: what is run.
        folder: where it is run.
        threads: of each; None: what it takes by itself.
    """
    environment = dict(os.environ) if threads is None else os.environ | {"OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with (folder / "log.txt").open("w+") as log:
        started = []
        for command in commands:
            started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        codes = [process.wait() for process in started]
        seconds = time.perf_counter() - began
        if any(codes):
            log.seek(0)
            raise ServiceError(f"{who} failed: {log.read().strip()[-400:]}")
    return seconds


def our_rate(work: Work, precision: str, number: int) -> float:
    """Of the folds as `python exps/exp001.py` trains them: at once on a CPU, each with a share of the threads."""
    script = work.folder / "exps" / "exp001.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(OURS.format(data=work.data, size=work.size, epochs=work.epochs))
    which = [str(fold) for fold in range(work.folds)]
    words = ["--fold", *which, "--precision", precision, "--tag", f"{precision}-{work.size}px-{number}"]
    return work.count / seconds_of("our training", [[sys.executable, str(script), *words]], work.folder)


def timm_rate(work: Work, precision: str) -> float:
    """Of the folds one after the other, each with all threads."""
    seconds = 0.0
    for command in timm_commands(work, precision):
        seconds += seconds_of("timm's train.py", [command], work.folder)
    return work.count / seconds


def timm_rate_at_once(work: Work, precision: str) -> float:
    """Of the folds at the same time, each with a share of the threads."""
    threads = max(1, usable_cores() // work.folds)
    return work.count / seconds_of("timm's train.py", timm_commands(work, precision), work.folder, threads)


def timm_commands(work: Work, precision: str) -> list[list[str]]:
    """timm's training of each fold: the same images, network, size, batch and epochs, in grey."""
    side = str(work.size)
    classes = str(len(open_index(work.data).dataset.classes))
    fixed = ["--model", "resnet18", "--num-classes", classes, "--device", "cpu", "--in-chans", "1"]
    shape = ["--input-size", "1", side, side, "--mean", "0.5", "--std", "0.25", "--batch-size", "64"]
    length = ["--epochs", str(work.epochs), "--cooldown-epochs", "0", "--warmup-epochs", "0"]
    step = ["--opt", "adamw", "--lr", "1e-3", "--workers", "0", *OPTIONS[precision]]
    commands = []
    for fold in range(work.folds):
        place = ["--data-dir", str(work.images / f"fold{fold}"), "--output", str(work.folder / f"timm{fold}")]
        commands.append([sys.executable, "-c", THEIRS, str(work.script), *place, *fixed, *shape, *length, *step])
    return commands


def compare(arguments: argparse.Namespace, size: int, folder: Path) -> None:
    """All in turn, in each precision that the CPU has; a JSON line each, and one of what users get without asking."""
    images = folder / f"images{size}"
    count = 0
    for fold in range(arguments.folds):
        count += write_classes(arguments.data, size, fold, images / f"fold{fold}")
    count *= arguments.epochs
    work = Work(folder, arguments.data, size, arguments.folds, arguments.epochs, images, count, arguments.script)
    rates: dict[str, list[float]] = defaultdict(list)
    precisions = ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]
    for number in range(arguments.rounds):
        for precision in precisions:
            rates[f"ours {precision}"].append(our_rate(work, precision, number))
            if work.script:
                rates[f"timm {precision}"].append(timm_rate(work, precision))
                rates[f"timm at once {precision}"].append(timm_rate_at_once(work, precision))
    for precision in precisions:
        at_once = rates[f"timm at once {precision}"]
        tell(size, f"both {precision}", rates[f"ours {precision}"], rates[f"timm {precision}"], at_once)
    tell(size, "as users run it", rates[f"ours {precisions[-1]}"], rates["timm fp32"], [])


def tell(size: int, way: str, ours: list[float], theirs: list[float], at_once: list[float]) -> None:
    """A JSON line of rates; the ratios are the medians of those of each round."""
    figures: dict[str, object] = {"px": size, "way": way, "ours_per_s": round(median(ours), 1)}
    if not theirs:
        figures["missing"] = "the path of timm's train.py"
    for name, others in (("", theirs), ("_at_once", at_once)):
        if others:
            ratio = median(a / b for a, b in zip(ours, others, strict=True))
            figures |= {f"timm{name}_per_s": round(median(others), 1), f"ratio{name}": round(ratio, 2)}
    say(json.dumps(figures | {"machine": machine()}))


def quick(data: str) -> None:
    """A step of ours, in this process."""
    exp = Experiment(data=data, backbone="test_resnet", image_size=32, batch_size=8, epochs=1, max_steps=1)
    began = time.perf_counter()
    run_request(Request("quick", exp.but(augment="plain", augment_batch=True), (0,)))
    tell(32, "quick", [8 / (time.perf_counter() - began)], [], [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "chest_xray" if (input_dir() / "chest_xray").is_dir() else "phantom"
    parser.add_argument("script", nargs="?", help="timm's train.py; without it ours alone")
    parser.add_argument("--data", default=default, help=f"[{default}]")
    parser.add_argument("--folds", type=int, default=2, help="that are trained, of five [2]")
    parser.add_argument("--epochs", type=int, default=5, help="of each fold [5]")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], metavar="PX", help="[64 224]")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each way [1]")
    parser.add_argument("--quick", action="store_true", help="a step of ours alone: does it run at all")
    arguments = parser.parse_args()
    arguments.script = str(Path(arguments.script).resolve()) if arguments.script else None
    os.environ["CHESTFOLD_INPUT"], os.environ["CHESTFOLD_CACHE"] = str(input_dir()), str(cache_dir())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHESTFOLD_PROJECT"] = folder
        os.environ["CHESTFOLD_RUNS"] = str(Path(folder) / "runs")
        folds.make(open_index(arguments.data), arguments.data, 2 if arguments.quick else 5)
        if arguments.quick:
            quick(arguments.data)
        else:
            for size in arguments.sizes:
                compare(arguments, size, Path(folder))


if __name__ == "__main__":
    main()
