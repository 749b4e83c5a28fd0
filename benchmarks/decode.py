"""Decoding to the cache: ours against PIL in RGB and OpenCV in grey at full size, on the same files in turn.

    python benchmarks/decode.py [--folder input/chest_xray_native] [--size 224] [--quick]

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
    assert grey is not None
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
    parser.add_argument("--quick", action="store_true", help="one round of three files: does it run at all")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as drawn:
        files = sorted(arguments.folder.rglob("*.jp*g"))
        kind = "real" if files else "drawn"
        files = files or draw(Path(drawn))
        if arguments.quick:
            compare(files[:3], arguments.size, kind, rounds=1)
        else:
            compare(files, arguments.size, kind, rounds=ROUNDS)


def draw(folder: Path) -> list[Path]:
    """Twenty smooth images with grain, as JPEGs."""
    rng = np.random.default_rng(0)
    for n in range(20):
        smooth = cv2.resize(rng.normal(128, 40, (12, 16)), (1300, 970), interpolation=cv2.INTER_CUBIC)
        grey = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{n:02d}.jpg"), grey)
    return sorted(folder.iterdir())


def compare(files: list[Path], size: int, kind: str, rounds: int) -> None:
    """Every round measures all three; a ratio is the median of the rounds' ratios."""
    ways = {"ours": ours, "cv2_grey": with_cv2, "pil_rgb": with_pil}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            rates[name].append(rate(work, files, size))
    figures: dict[str, object] = {"files": len(files), "images": kind, "px": size}
    for name, measured in rates.items():
        figures[f"{name}_per_s"] = round(median(measured), 1)
    for name in ("cv2_grey", "pil_rgb"):
        ratios = [a / b for a, b in zip(rates["ours"], rates[name], strict=True)]
        figures[f"over_{name}"] = round(median(ratios), 2)
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
