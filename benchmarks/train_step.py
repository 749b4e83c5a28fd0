"""Training speed on a CPU or a GPU: ours on real images against bare loops of the same network, side by side.

    python benchmarks/train_step.py [--data chest_xray] [--seconds 6]

Prints a JSON line a question, each with a ratio of rates measured in turn (A B A B ...) in this process:
- `real_data`: engine.train_epoch on cached, augmented images, over a plain loop on one resident random batch;
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

import numpy as np
import torch
import torch.nn.functional as F

from chestfold import Experiment
from chestfold.core.console import say
from chestfold.core.files import input_dir
from chestfold.core.provenance import machine
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.loader import Images, TrainBatches, workers_for
from chestfold.train import loop

BATCH = 64
NO_PREPROCESSING = {"augment": "plain", "mixup_alpha": 0.2}
STRONG = NO_PREPROCESSING | {"randaugment": (2, 9)}


def train_images(data: str, size: int) -> Images:
    """All training images of a data set."""
    index = open_index(data)
    cache, train = open_cache(index, size), index.train
    labels = np.array([index.dataset.classes.index(name) for name in train["label"]])
    return Images(cache.images, cache.rows(train["id"]), train["id"].tolist(), labels)


def ours(exp: Experiment, images: Images) -> Callable[[], float]:
    """A function that trains two steps through the engine and returns images a second."""
    state = loop.start(exp, 0, 2)
    batches = TrainBatches(exp, 0, images, workers_for(state.runner.device))
    folder = Path(tempfile.mkdtemp())

    def run() -> float:
        began = time.perf_counter()
        loop.train_epoch(exp, 0, state, batches, 2, folder)
        _wait()
        state.epoch, state.batch, state.losses = state.epoch + 1, 0, []
        return batches.per_epoch * exp.batch_size / (time.perf_counter() - began)

    return run


def resident(exp: Experiment, channels_last: bool = True) -> Callable[[], float]:
    """The same network and optimizer on one random batch that never leaves the device."""
    state = loop.start(exp, 0, 2)
    runner = state.runner
    layout = torch.channels_last if channels_last else torch.contiguous_format
    module = runner.module.to(memory_format=layout).train()
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
        _wait()
        return exp.max_steps * exp.batch_size / (time.perf_counter() - began)

    return run


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def paired(a: Callable[[], float], b: Callable[[], float], seconds: float) -> dict[str, float]:
    """Median rates of a and b, and the median of their ratios pair by pair, after a warm-up of each."""
    a(), b()
    pairs, began = [], time.perf_counter()
    while time.perf_counter() - began < seconds or len(pairs) < 5:
        pairs.append((a(), b()))
    rates = [round(median(r), 1) for r in zip(*pairs, strict=True)]
    ratio = median(x / y for x, y in pairs)
    return {"a_per_s": rates[0], "b_per_s": rates[1], "ratio": round(ratio, 3), "pairs": len(pairs)}


def tell(question: str, figures: dict, **about: object) -> None:
    say(json.dumps({"question": question, **about, **figures, "machine": machine()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "chest_xray" if (input_dir() / "chest_xray").is_dir() else "phantom"
    parser.add_argument("--data", default=default, help=f"[{default}]")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each question [20]")
    asked = parser.parse_args()
    for size, steps in ((64, 6), (224, 2)):
        images = train_images(asked.data, size)
        exp = Experiment(data=asked.data, image_size=size, batch_size=BATCH, max_steps=steps)
        for name, recipe in (("plain", NO_PREPROCESSING), ("strong", STRONG)):
            figures = paired(ours(exp.but(**recipe), images), resident(exp), asked.seconds)
            tell("real_data", figures, network="resnet18", px=size, recipe=name, data=asked.data)
    for network in ("resnet18", "resnext50_32x4d", "mobilenetv2_100"):
        exp = Experiment(backbone=network, image_size=64, batch_size=2 * BATCH, max_steps=6)  # long enough to be warm
        fast, slow = resident(exp.but(precision="bf16")), exp.but(precision="fp32")
        for layout in (False, True):
            figures = paired(fast, resident(slow, channels_last=layout), asked.seconds)
            tell("bf16", figures, network=network, px=64, fp32="channels_last" if layout else "default layout")


if __name__ == "__main__":
    main()
