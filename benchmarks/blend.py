"""Poisson blending of a nodule: ours against OpenCV's seamlessClone, on the same images in turn.

    python benchmarks/blend.py [--slice 512] [--nodule 64] [--quick]

The images are made here: a noisy slice of lung and a disc, in uint8. OpenCV gets them as colour, the only kind that it
takes, and solves in 8 bits; ours is exact and keeps any depth. Prints a JSON line with milliseconds (blending alone;
with the seam measured and smoothed), the ratio of OpenCV's time over ours, by how many grey levels the two differ
inside the mask, and how many pixels outside of it OpenCV has changed (ours: none).
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np

from chestfold.core.console import say
from chestfold.core.rng import generator
from chestfold.synth.blend.paste import NodulePatch, paste
from chestfold.synth.blend.poisson import clone
from chestfold.synth.blend.segment import with_margin

ROUNDS = 15
WINDOW = (-1000, 400)


def disc(side: int, radius: float) -> np.ndarray:
    rows, columns = np.indices((side, side)) - side // 2
    return np.hypot(rows, columns) <= radius


def with_opencv(host: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    host_bgr = cv2.cvtColor(host, cv2.COLOR_GRAY2BGR)
    source_bgr = cv2.cvtColor(source, cv2.COLOR_GRAY2BGR)
    middle = (host.shape[1] // 2, host.shape[0] // 2)
    made = cv2.seamlessClone(source_bgr, host_bgr, mask.astype(np.uint8) * 255, middle, cv2.NORMAL_CLONE)
    return made[:, :, 0]


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", type=int, default=512, help="pixels a side")
    parser.add_argument("--nodule", type=int, default=64, help="diameter of what is blended, pixels")
    parser.add_argument("--quick", action="store_true", help="one round: does it run at all")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    side = arguments.slice
    radius = arguments.nodule / 2
    middle = (side // 2, side // 2)
    rng = generator("benchmark", "blend")
    host = np.clip(rng.normal(30, 6, (side, side)), 0, 255).round().astype(np.uint8)
    mask = disc(side, radius)
    lesion = np.where(disc(side, radius - 4), 190.0, 35.0) + rng.normal(0, 6, (side, side))
    source = np.clip(lesion, 0, 255).round().astype(np.uint8)
    nodule = disc(2 * int(radius) + 5, radius - 3)
    patch = NodulePatch(np.where(nodule, 50, -850).astype(np.float32), nodule, with_margin(nodule))

    ours = []
    opencv = []
    with_seam = []
    for _ in range(1 if arguments.quick else ROUNDS):
        ours.append(milliseconds(lambda: clone(host, source, mask)))
        opencv.append(milliseconds(lambda: with_opencv(host, source, mask)))
        with_seam.append(milliseconds(lambda: paste(host, WINDOW, patch, middle)))
    ratios = np.divide(opencv, ours).tolist()
    theirs = with_opencv(host, source, mask)
    differences = np.abs(clone(host, source, mask).astype(int) - theirs)[mask]
    figures = {
        "slice_px": side,
        "nodule_px": arguments.nodule,
        "unknowns": int(mask.sum()),
        "ours_ms": round(median(ours), 2),
        "opencv_ms": round(median(opencv), 2),
        "with_seam_ms": round(median(with_seam), 2),
        "over_opencv": round(median(ratios), 2),
        "mean_difference": round(float(differences.mean()), 2),
        "largest_difference": int(differences.max()),
        "opencv_changed_outside": int((theirs != host)[~mask].sum()),
    }
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
