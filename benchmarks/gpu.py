"""Training speed on one GPU, in under eight minutes: images in its memory, augmented there.

    python benchmarks/gpu.py [--data chest_xray] [--seconds 30] [--quick]

Prints a JSON line for each network, and one for the folds:
- images a second of train.loop.train_epoch (crops, flips, shifts, Mixup; `augment_batch`), over a bare loop on one
  random batch that never leaves the GPU, measured in turn (A B A B ...) in this process;
- seconds of five folds x 20 epochs at 64 px, with predictions, scores and a checked submission.

Without a GPU, `--quick` shows that it runs; its figures mean nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_step import TASK, Rate, paired, resident, tell, time_epochs

from chestfold import Experiment
from chestfold.core.console import say
from chestfold.core.files import input_dir, project_dir
from chestfold.core.provenance import machine
from chestfold.core.rng import generator
from chestfold.data.loader import Images
from chestfold.data.resident import ResidentBatches, is_resident
from chestfold.train import loop

NETWORKS = (("resnet18", 224, 256), ("efficientnet_b2", 260, 128))
"""Name, pixels a side, images of a batch."""
STRONG: dict[str, Any] = {"augment": "plain", "mixup_alpha": 0.2, "augment_batch": True}
FOLDS = ["exps/exp029.py", "--tag", "gpu", "--epochs", "20", "--image-size", "64", "--augment-batch", "true"]


def drawn_images(count: int, size: int) -> Images:
    """Random images of two classes."""
    pixels = generator("gpu", size).integers(0, 256, (count, size, size)).astype(np.uint8)
    return Images(pixels, np.arange(count), [f"image{n}" for n in range(count)], np.arange(count) % 2)


def ours(exp: Experiment, images: Images) -> Rate:
    """The loop that a fold is trained by, with images on the device."""
    state = loop.start(exp, 0, TASK)
    device = state.runner.device
    if device.type == "cuda" and not is_resident(exp, images, device):
        raise SystemExit("the images have no room on this GPU")
    return time_epochs(exp, images, state, ResidentBatches(exp, TASK, 0, images, device))


def measure_network(backbone: str, size: int, batch: int, compiled: bool, seconds: float) -> None:
    """Print the line of a network."""
    steps, least = (1, 1) if seconds == 0 else (20, 3)
    exp = Experiment(backbone=backbone, image_size=size, batch_size=batch, max_steps=steps, compile=compiled, **STRONG)
    figures = paired(ours(exp, drawn_images(max(2, steps) * batch, size)), resident(exp), seconds, least)
    tell("resident", figures, network=backbone, px=size, batch=batch, compiled=compiled)


def measure_folds(data: str, words: list[str]) -> None:
    """Print the line of a whole run; the images are decoded before."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CHESTFOLD_RUNS": folder, "CHESTFOLD_SUBMISSIONS": folder, "CHESTFOLD_QUIET": "1"}
        once = [*words, "--fold", "0", "--epochs", "1", "--tag", "decoded"]
        train(data, once, environment)
        began = time.perf_counter()
        train(data, words, environment)
        name = f"{Path(words[0]).stem}-{words[2]}"
        name += "" if data == "chest_xray" else f"@{data}"
        submit = [sys.executable, "-m", "chestfold.cli.main", "submit", name, "--dry-run"]
        subprocess.run(submit, check=True, cwd=project_dir(), env=environment, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
    say(json.dumps({"question": "folds", "data": data, "seconds": round(seconds, 1), "machine": machine()}))


def train(data: str, words: list[str], environment: dict[str, str]) -> None:
    """Run an experiment's file."""
    command = [sys.executable, *words, "--data", data]
    subprocess.run(command, check=True, cwd=project_dir(), env=environment, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "chest_xray" if (input_dir() / "chest_xray").is_dir() else "phantom"
    parser.add_argument("--data", default=default, help=f"of the folds [{default}]")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each network [30]")
    parser.add_argument("--quick", action="store_true", help="tiny networks, no folds: does it run at all")
    given = parser.parse_args()
    if given.quick:
        measure_network("test_resnet", 32, 4, False, 0.0)
        return
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU; --quick shows on a CPU that this script runs")
    for backbone, size, batch in NETWORKS:
        for compiled in (False, True):
            measure_network(backbone, size, batch, compiled, given.seconds)
    measure_folds(given.data, FOLDS)


if __name__ == "__main__":
    main()
