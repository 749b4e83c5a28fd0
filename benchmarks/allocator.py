"""What keeping freed memory gains: training steps of a network with `core.memory.keep_freed` and without, in turns.

    python benchmarks/allocator.py [--backbones resnet18:64 mobilenetv2_100:96] [--seconds 8] [--rounds 3]
        [--quick]

Each measurement is a process of its own with one thread: random images in batches of 32, AdamW. Prints a JSON line for
each network: images a second both ways, their ratio, and the most memory in MiB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from statistics import median

from chestfold.core.console import say
from chestfold.core.memory import collect_rarely, keep_freed


def train(backbone: str, size: int, seconds: float) -> tuple[float, float]:
    """Images a second, and the most memory in MiB."""
    import torch

    from chestfold.models.create import create_module

    torch.set_num_threads(1)
    network = create_module(backbone, {"num_classes": 1, "in_chans": 1}).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images, targets = torch.randn(32, 1, size, size), torch.rand(32, 1)
    steps, began = 0, 0.0
    while steps < 3 or time.perf_counter() - began < seconds:
        if steps == 2:  # the first two prepare memory and kernels
            began = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(images), targets).backward()
        optimizer.step()
        steps += 1
    rate = 32 * (steps - 2) / (time.perf_counter() - began)
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(network: str, is_kept: bool, seconds: float) -> tuple[float, float]:
    """`train` in a process of its own."""
    words = [sys.executable, __file__, "--backbones", network, "--seconds", str(seconds)]
    words += ["--one", "kept" if is_kept else "returned"]
    out = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True)
    rate, mebibytes = json.loads(out.stdout.splitlines()[-1])
    return rate, mebibytes


def compare(network: str, rounds: int, seconds: float) -> dict[str, object]:
    """Medians of both ways."""
    kept = [measure(network, True, seconds)]
    returned = [measure(network, False, seconds)]
    for _ in range(rounds - 1):
        kept.append(measure(network, True, seconds))
        returned.append(measure(network, False, seconds))
    return {
        "network": network,
        "kept_images_per_s": round(median(rate for rate, _ in kept), 1),
        "returned_images_per_s": round(median(rate for rate, _ in returned), 1),
        "ratio": round(median(rate for rate, _ in kept) / median(rate for rate, _ in returned), 3),
        "kept_mib": round(median(mebibytes for _, mebibytes in kept)),
        "returned_mib": round(median(mebibytes for _, mebibytes in returned)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    networks = ["resnet18:64", "mobilenetv2_100:96", "tf_efficientnet_lite0:96", "vgg16:64"]
    parser.add_argument("--backbones", nargs="+", default=networks, metavar="NAME:SIZE")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one small network for a moment: does it run at all")
    parser.add_argument("--one", choices=["kept", "returned"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        collect_rarely()
        if given.one == "kept":
            keep_freed()
        backbone, size = given.backbones[0].split(":")
        say(json.dumps(train(backbone, int(size), given.seconds)))
        return
    if given.quick:
        given.backbones, given.rounds, given.seconds = ["resnet10t:32"], 1, 0.1
    for network in given.backbones:
        say(json.dumps(compare(network, given.rounds, given.seconds)))


if __name__ == "__main__":
    main()
