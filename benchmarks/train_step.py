"""Training speed on a CPU or a GPU: ours on real images against bare loops of the same network, side by side.

    python benchmarks/train_step.py [--data chest_xray] [--seconds 6] [--quick]

Prints a JSON line a question, each with a ratio of rates measured in turn (A B A B ...) in this process:
- `real_data`: train.loop.train_epoch on cached, augmented images, over a plain loop on one resident random batch;
- `bf16`: bf16 and channels_last over fp32 in the default layout, and over fp32 in channels_last, for an ordinary, a
  grouped and a depthwise network.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from chestfold import Experiment
from chestfold.core.console import say
from chestfold.core.files import input_dir
from chestfold.core.provenance import machine
from chestfold.core.run_folder import FoldFolder
from chestfold.core.task import create_task
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.loader import Images, TrainBatches
from chestfold.data.resident import training_batches
from chestfold.data.transforms.mixup import create_mix
from chestfold.train import loop
from chestfold.train.losses import create_loss

TASK = create_task("multiclass", ("absent", "present"), "present")
BATCH = 64
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"augment": "plain", "mixup_alpha": 0.2},
    "strong": {"augment": "plain", "mixup_alpha": 0.2, "randaugment": (2, 9)},
}
Rate = Callable[[], float]
"""Trains some steps and returns images a second."""


def train_images(data: str, size: int) -> Images:
    """All training images of a data set."""
    index = open_index(data)
    cache = open_cache(index, size)
    labels = np.array([index.dataset.classes.index(name) for name in index.train["label"]])
    return Images(cache.images, cache.rows(index.train["id"]), index.train["id"].tolist(), labels)


def ours(exp: Experiment, images: Images) -> Rate:
    """The loop that a fold is trained by."""
    state = loop.start(exp, 0, TASK)
    return time_epochs(exp, images, state, training_batches(exp, TASK, 0, images, state.runner.device))


def time_epochs(exp: Experiment, images: Images, state: loop.State, batches: TrainBatches) -> Rate:
    """Of epochs of such batches."""
    loss = create_loss(exp, TASK, images.labels, state.runner.device)
    recipe = loop.Recipe(exp, 0, batches, loss, create_mix(exp.mixup_alpha, exp.cutmix_alpha), TASK)
    folder = FoldFolder(Path(tempfile.mkdtemp()))

    def run() -> float:
        began = time.perf_counter()
        loop.train_epoch(recipe, state, folder)
        wait_for_device()
        state.epoch += 1
        state.batch = 0
        state.meter = loop.Meter()
        return batches.per_epoch * exp.batch_size / (time.perf_counter() - began)

    return run


def resident(exp: Experiment, channels_last: bool = True) -> Rate:
    """The same network and optimizer on one random batch that never leaves the device."""
    state = loop.start(exp, 0, TASK)
    runner = state.runner
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = runner.module.to(memory_format=layout).train()  # type: ignore[call-overload]
    images = torch.randn(exp.batch_size, 1, exp.image_size, exp.image_size, device=runner.device)
    images = images.contiguous(memory_format=layout)
    targets = F.one_hot(torch.randint(0, 2, (exp.batch_size,)), 2).float().to(runner.device)

    def step() -> None:
        with torch.autocast(runner.device.type, dtype=runner.dtype, enabled=runner.dtype is not None):
            logits = module(images)
        F.cross_entropy(logits.float(), targets).backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)

    def run() -> float:
        began = time.perf_counter()
        for _ in range(exp.max_steps):
            step()
        wait_for_device()
        return exp.max_steps * exp.batch_size / (time.perf_counter() - began)

    return run


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def paired(a: Rate, b: Rate, seconds: float, least: int) -> dict[str, float]:
    """Median rates of a and b, and the median of their ratios pair by pair, after a warm-up of each."""
    a()
    b()
    pairs: list[tuple[float, float]] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(pairs) < least:
        pairs.append((a(), b()))
    return {
        "a_per_s": round(median(first for first, _ in pairs), 1),
        "b_per_s": round(median(second for _, second in pairs), 1),
        "ratio": round(median(first / second for first, second in pairs), 3),
        "pairs": len(pairs),
    }


def tell(question: str, figures: dict[str, float], **about: object) -> None:
    say(json.dumps({"question": question, **about, **figures, "machine": machine()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "chest_xray" if (input_dir() / "chest_xray").is_dir() else "phantom"
    parser.add_argument("--data", default=default, help=f"[{default}]")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each question [20]")
    parser.add_argument("--quick", action="store_true", help="one pair of each question: does it run at all")
    arguments = parser.parse_args()
    seconds, least = (0.0, 1) if arguments.quick else (arguments.seconds, 5)
    steps_of_size = {32: 1} if arguments.quick else {64: 6, 224: 2}
    batch = 8 if arguments.quick else BATCH
    for size, steps in steps_of_size.items():
        images = train_images(arguments.data, size)
        exp = Experiment(data=arguments.data, image_size=size, batch_size=batch, max_steps=steps)
        for name, recipe in RECIPES.items():
            figures = paired(ours(exp.but(**recipe), images), resident(exp), seconds, least)
            tell("real_data", figures, network="resnet18", px=size, recipe=name, data=arguments.data)
    networks = ["mobilenetv2_100"] if arguments.quick else ["resnet18", "resnext50_32x4d", "mobilenetv2_100"]
    for network in networks:
        # batches and steps that are large enough for the device to be warm
        exp = Experiment(backbone=network, image_size=64, batch_size=2 * batch, max_steps=1 if arguments.quick else 6)
        compare_precisions(exp, seconds, least)


def compare_precisions(exp: Experiment, seconds: float, least: int) -> None:
    fast = resident(exp.but(precision="bf16"))
    for layout in ("default layout", "channels_last"):
        slow = resident(exp.but(precision="fp32"), channels_last=layout == "channels_last")
        tell("bf16", paired(fast, slow, seconds, least), network=exp.backbone, px=64, fp32=layout)


if __name__ == "__main__":
    main()
