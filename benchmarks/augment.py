"""Augmentation on a CPU: whole batches at once over image by image with albumentations, side by side in this process.

    python benchmarks/augment.py [--seconds 4] [--quick]

Prints a JSON line for each size and recipe, in microseconds of CPU time of one thread for an image, with the median of
the ratios pair by pair, and the CPU time of a training step of ResNet-18 for an image beside them.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch

from chestfold import Experiment
from chestfold.core.console import say
from chestfold.core.memory import tune_memory
from chestfold.core.provenance import machine
from chestfold.core.rng import generator
from chestfold.core.task import create_task
from chestfold.data.transforms.augment import Augmenter
from chestfold.data.transforms.batch_augment import BatchAugmenter, Names
from chestfold.train import loop

BATCH = 32
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {"augment": "plain"},
    "photometric": {"augment": "photometric"},
    "d4": {"augment": "d4"},
    "plain and RandAugment": {"augment": "plain", "randaugment": (2, 9)},
}


def images_of(size: int) -> np.ndarray:
    """A batch of smooth noise."""
    noise = generator("augment", size).integers(0, 256, (BATCH, size, size)).astype(np.uint8)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in noise])


def cpu_microseconds(do: Callable[[], object]) -> float:
    """CPU time of one call, for an image of the batch."""
    began = time.process_time()
    do()
    return (time.process_time() - began) / BATCH * 1e6


def augment_each(augment: Augmenter, images: np.ndarray, names: Sequence[Names]) -> np.ndarray:
    """What the loader does without `augment_batch`."""
    return np.stack([augment(image, *draw) for image, draw in zip(images, names, strict=True)])


def compare(exp: Experiment, seconds: float, least: int) -> dict[str, float]:
    """Both ways in turn, on the same images, in every pair with draws of its own."""
    images, one_by_one, at_once = images_of(exp.image_size), Augmenter(exp), BatchAugmenter(exp)
    pairs: list[tuple[float, float]] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(pairs) < least:
        names = [(0, 0, "augment", len(pairs), f"image{n}") for n in range(BATCH)]
        slow = cpu_microseconds(partial(augment_each, one_by_one, images, names))
        pairs.append((slow, cpu_microseconds(partial(at_once, images, None, names))))
    return {
        "image_by_image_us": round(median(slow for slow, _ in pairs), 1),
        "batch_us": round(median(fast for _, fast in pairs), 1),
        "ratio": round(median(slow / fast for slow, fast in pairs), 2),
    }


def step_microseconds(exp: Experiment, steps: int) -> float:
    """CPU time of a training step for an image, without loading and augmenting."""
    state = loop.start(exp, 0, create_task("multiclass", ("absent", "present"), "present"))
    runner = state.runner
    runner.module.train()
    pixels = torch.zeros(BATCH, 1, exp.image_size, exp.image_size, dtype=torch.uint8)

    def step() -> None:
        runner.logits(runner.images(pixels)).square().mean().backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)

    step()
    return round(median(cpu_microseconds(step) for _ in range(steps)), 1)


def main() -> None:
    tune_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each size and recipe [4]")
    parser.add_argument("--quick", action="store_true", help="one pair at 32 px: does it run at all")
    arguments = parser.parse_args()
    seconds, least, sizes = (0.0, 1, [32]) if arguments.quick else (arguments.seconds, 5, [64, 224])
    torch.set_num_threads(1)
    for size in sizes:
        backbone = "test_resnet" if arguments.quick else "resnet18"
        exp = Experiment(image_size=size, backbone=backbone)
        step = step_microseconds(exp, least)
        for name, recipe in RECIPES.items():
            figures = compare(exp.but(**recipe), seconds, least)
            say(json.dumps({"px": size, "recipe": name, **figures, "step_us": step, "machine": machine()}))


if __name__ == "__main__":
    main()
