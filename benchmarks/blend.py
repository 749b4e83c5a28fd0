"""Poisson blending of a nodule: ours against scipy's general sparse solver, on the same pictures in turn.

    python benchmarks/blend.py [--slice 512] [--nodule 64]

The pictures are made here: a noisy slice of lung and a disc, in uint8. Prints a JSON line with milliseconds (blending
alone; with the seam measured and smoothed) and the ratio of the sparse solver's time over ours.
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from chestfold.core.console import say
from chestfold.core.rng import generator
from chestfold.synth.blend.outline import with_margin
from chestfold.synth.blend.paste import Cutting, paste
from chestfold.synth.blend.poisson import clone

ROUNDS = 15
WINDOW = (-1000, 400)


def disc(side: int, radius: float) -> np.ndarray:
    return np.hypot(*(np.indices((side, side)) - side // 2)) <= radius


def with_spsolve(host: np.ndarray, source: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The textbook way: one sparse system of all masked pixels; the mask may not touch the border."""
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    places, right = np.argwhere(mask), np.zeros(mask.sum())
    rows, columns, values = [number[mask]], [number[mask]], [np.full(mask.sum(), 4.0)]
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        there = tuple((places + step).T)
        inside = mask[there]
        right += source[mask] - source[there] + np.where(inside, 0, host[there])
        rows.append(number[mask][inside])
        columns.append(number[there][inside])
        values.append(np.full(inside.sum(), -1.0))
    matrix = coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))))
    made = host.copy()
    made[mask] = spsolve(matrix.tocsc(), right)
    return made


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", type=int, default=512, help="pixels a side")
    parser.add_argument("--nodule", type=int, default=64, help="diameter of what is blended, pixels")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    side, rng = asked.slice, generator("benchmark", "blend")
    host = np.clip(rng.normal(30, 6, (side, side)), 0, 255).round().astype(np.uint8)
    mask = disc(side, asked.nodule / 2)
    source = np.where(disc(side, asked.nodule / 2 - 4), 190.0, 35.0) + rng.normal(0, 6, (side, side))
    exact = [np.asarray(a, np.float64) for a in (host, source)]
    gap = np.abs(clone(*exact, mask) - np.clip(with_spsolve(*exact, mask), host.min(), source[mask].max())).max()
    patch = disc(asked.nodule + 2 + asked.nodule % 2 + 1, asked.nodule / 2 - 3)
    cutting = Cutting(np.where(patch, 50, -850).astype(np.float32), patch, with_margin(patch))
    rounds = [
        [
            milliseconds(lambda: clone(host, source, mask)),
            milliseconds(lambda: with_spsolve(*exact, mask)),
            milliseconds(lambda: paste(host, WINDOW, cutting, (side // 2, side // 2))),
        ]
        for _ in range(ROUNDS)
    ]
    ours, theirs, whole = (round(median(column), 2) for column in zip(*rounds, strict=True))
    about = {"slice_px": side, "nodule_px": asked.nodule, "unknowns": int(mask.sum())}
    times = {"ours_ms": ours, "spsolve_ms": theirs, "with_seam_ms": whole}
    ratio = {"over_spsolve": round(median(r[1] / r[0] for r in rounds), 2), "largest_difference": float(f"{gap:.1e}")}
    say(json.dumps(about | times | ratio))


if __name__ == "__main__":
    main()
