"""Training speed on a CPU against timm's own train.py: whole runs of ResNet-18, one after the other, in turn.

    python benchmarks/against_timm.py [PATH_TO_TIMM_TRAIN_PY] [--data chest_xray] [--epochs 2] [--rounds 3] [--quick]

train.py is in timm's repository, not in its package: give the path of yours. It trains on the images of fold 0, written
as PNG of the network's size in a folder per class, so that it has less to decode than its users. Ours trains and
predicts fold 0, with `augment_batch` and `predict_precision = "fastest"`. Both are of equal precision, or of that which
their users get without asking (ours `auto`, timm's fp32). Prints a JSON line a size and way: training images a second
over whole runs, start and all predictions counted, and the ratio; without the path, or with --quick, ours alone. What
each does beside the steps differs: timm augments with its defaults, validates and saves each epoch; ours predicts the
validation images with eight shifted copies, the test images, and says what is unlike the training images.
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

import cv2

from chestfold.core.config import Experiment, Request
from chestfold.core.console import say
from chestfold.core.errors import ServiceError
from chestfold.core.files import cache_dir, input_dir
from chestfold.core.provenance import machine
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.train.run import run_request

OURS = """
import sys
from chestfold.core.memory import tune_memory
tune_memory()
from chestfold.core.config import Experiment, Request
from chestfold.train.run import run_request
data, size, epochs, precision, name = sys.argv[1:]
exp = Experiment(data=data, image_size=int(size), epochs=int(epochs), precision=precision, augment="plain",
                 augment_batch=True, predict_precision="fastest", batch_size=64)
run_request(Request(name, exp, (0,)))
"""
THEIRS = """
import runpy, sys
import chestfold.core.torchvision_import
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs their script as it is, after torchvision, whose import alone fails beside a CPU-only torch."""
BF16 = ["--amp", "--amp-dtype", "bfloat16", "--channels-last"]
WAYS: dict[str, tuple[str, list[str]]] = {
    "as users run it": ("auto", []),
    "both fp32": ("fp32", []),
    "both bf16": ("bf16", BF16),
}
"""Name -> precision of ours, options of timm's."""


def write_classes(data: str, size: int, folder: Path) -> int:
    """Fold 0 as train/CLASS/N.png and validation/CLASS/N.png; how many images are trained on."""
    index = open_index(data)
    made = folds.load(data, index)
    cache = open_cache(index, size)
    rows = cache.rows(made.table["id"])
    for row, label, fold in zip(rows, made.table["label"], made.table["fold"], strict=True):
        target = folder / ("validation" if fold == 0 else "train") / str(label) / f"{row}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cache.images[row])
    return len(made.other_ids(0))


def seconds_of(who: str, command: list[str], work: Path) -> float:
    """How long a command runs, which must end well."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"{who} failed: {done.stderr.strip()[-400:]}")
    return time.perf_counter() - began


def timm_command(script: str, images: Path, size: int, epochs: int, classes: int, more: list[str]) -> list[str]:
    """timm's training of the same images, network, size, batch and epochs, in grey."""
    fixed = ["--data-dir", str(images), "--model", "resnet18", "--num-classes", str(classes), "--device", "cpu"]
    shape = ["--in-chans", "1", "--input-size", "1", str(size), str(size), "--mean", "0.5", "--std", "0.25"]
    length = ["--epochs", str(epochs), "--batch-size", "64", "--cooldown-epochs", "0", "--warmup-epochs", "0"]
    step = ["--opt", "adamw", "--lr", "1e-3", "--workers", "0"]
    return [sys.executable, "-c", THEIRS, script, *fixed, *shape, *length, *step, *more]


def compare(arguments: argparse.Namespace, size: int, work: Path) -> None:
    """Both in turn, for each way; a JSON line each."""
    images = work / f"images{size}"
    count = write_classes(arguments.data, size, images) * arguments.epochs
    classes = len(open_index(arguments.data).dataset.classes)
    for way, (precision, options) in WAYS.items():
        ours, theirs = [], []
        for n in range(arguments.rounds):
            name = f"{way.replace(' ', '')}{size}-{n}"
            words = [arguments.data, str(size), str(arguments.epochs), precision, name]
            ours.append(count / seconds_of("our training", [sys.executable, "-c", OURS, *words], work))
            if arguments.script:
                command = timm_command(arguments.script, images, size, arguments.epochs, classes, options)
                theirs.append(count / seconds_of(arguments.script, command, work))
        tell(size, way, ours, theirs)


def tell(size: int, way: str, ours: list[float], theirs: list[float]) -> None:
    """A JSON line of rates; the ratio is the median of those of each round."""
    figures: dict[str, object] = {"px": size, "way": way, "ours_per_s": round(median(ours), 1)}
    if theirs:
        ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
        figures |= {"timm_per_s": round(median(theirs), 1), "ratio": round(ratio, 2)}
    else:
        figures["missing"] = "the path of timm's train.py"
    say(json.dumps(figures | {"machine": machine()}))


def quick(data: str) -> None:
    """A step of ours, in this process."""
    exp = Experiment(data=data, backbone="test_resnet", image_size=32, batch_size=8, epochs=1, max_steps=1)
    began = time.perf_counter()
    run_request(Request("quick", exp.but(augment="plain", augment_batch=True), (0,)))
    tell(32, "quick", [8 / (time.perf_counter() - began)], [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "chest_xray" if (input_dir() / "chest_xray").is_dir() else "phantom"
    parser.add_argument("script", nargs="?", help="timm's train.py; without it ours alone")
    parser.add_argument("--data", default=default, help=f"[{default}]")
    parser.add_argument("--epochs", type=int, default=2, help="of each run [2]")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way [3]")
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
            for size in (64, 224):
                compare(arguments, size, Path(folder))


if __name__ == "__main__":
    main()
