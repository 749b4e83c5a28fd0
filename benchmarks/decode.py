"""Decoding to the cache: ours against PIL in RGB and OpenCV in grey at full size, on the same files in turn.

    python benchmarks/decode.py [--folder input/chest_xray_native] [--size 224]

One core each. Prints a JSON line with images a second and the ratio of ours over either. Without a folder of JPEGs it
draws twenty of the usual size (1300 x 970) and says so.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from PIL import Image

from chestfold.core.console import say
from chestfold.core.files import input_dir
from chestfold.data.decode import decode

ROUNDS = 5


def with_pil(path: Path, size: int) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def with_cv2(path: Path, size: int) -> np.ndarray:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)


def ours(path: Path, size: int) -> np.ndarray:
    return decode(path.parent, path.name, size)


def rate(work: Callable[[Path, int], np.ndarray], files: list[Path], size: int) -> float:
    began = time.perf_counter()
    for path in files:
        work(path, size)
    return len(files) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=input_dir() / "chest_xray_native")
    parser.add_argument("--size", type=int, default=224)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as drawn:
        files = sorted(asked.folder.rglob("*.jp*g"))
        compare(files or draw(Path(drawn)), asked.size, "real" if files else "drawn")


def draw(folder: Path) -> list[Path]:
    """Twenty smooth pictures with grain, as JPEGs."""
    rng = np.random.default_rng(0)
    for n in range(20):
        smooth = cv2.resize(rng.normal(128, 40, (12, 16)), (1300, 970), interpolation=cv2.INTER_CUBIC)
        grey = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{n:02d}.jpg"), grey)
    return sorted(folder.iterdir())


def compare(files: list[Path], size: int, kind: str) -> None:
    rounds = [[rate(work, files, size) for work in (ours, with_cv2, with_pil)] for _ in range(ROUNDS)]
    mine, grey, rgb = (round(median(column), 1) for column in zip(*rounds, strict=True))
    ratios = {
        "over_cv2_grey": round(median(r[0] / r[1] for r in rounds), 2),
        "over_pil_rgb": round(median(r[0] / r[2] for r in rounds), 2),
    }
    about = {
        "files": len(files),
        "images": kind,
        "px": size,
        "ours_per_s": mine,
        "cv2_grey_per_s": grey,
        "pil_rgb_per_s": rgb,
    }
    say(json.dumps(about | ratios))


if __name__ == "__main__":
    main()
