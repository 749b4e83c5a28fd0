"""Asking one ResNet-18 at 224 px about 100 JPEGs: ours against the plain loop that everybody writes first.

    python benchmarks/predict.py [--folder input/chest_xray_native] [--count 100] [--quick]

The plain loop reads a file with PIL, resizes it, and predicts it alone, in fp32. Ours is `chestfold predict` after its
start: files decoded in threads while the batch before is predicted, in the precision that the runner chooses; with the
out-of-distribution score, without and with heat maps. A fold is trained for one step, in a folder that is deleted.
Prints one JSON line with milliseconds an image, of the clock and of the CPU. Without a folder of JPEGs it draws them
and says so.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from decode import draw
from PIL import Image

from chestfold.core.config import Experiment, Request
from chestfold.core.console import say
from chestfold.core.files import input_dir
from chestfold.predict.heatmap import HeatmapWriter
from chestfold.predict.output import predict_files
from chestfold.predict.predictor import Predictor

ROUNDS = 3
FEW = 20
"""Images of the slow ways."""
SIZE = 224
DECLARATION = 'classes = ["a", "b"]\npositive = "a"\nreader = "csv"\n'


def train_a_step(root: Path, sources: list[Path], count: int, size: int) -> list[Path]:
    """A project in `root` with `count` copies of `sources` as its data set and one fold of it; returns the copies."""
    images = root / "input" / "hundred" / "images"
    images.mkdir(parents=True)
    lines = ["id,label"]
    for n in range(count):
        shutil.copy(sources[n % len(sources)], images / f"i{n:03d}.jpg")
        lines.append(f"i{n:03d},{'a' if n < count / 2 else 'b'}")
    (images.parent / "train.csv").write_text("\n".join(lines) + "\n")
    (images.parent / "dataset.toml").write_text(DECLARATION)
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index
    from chestfold.train.run import run_request

    folds.make(open_index("hundred"), "hundred", 2)
    exp = Experiment(data="hundred", backbone="resnet18", image_size=size, epochs=1, max_steps=1, batch_size=4)
    run_request(Request("speed", exp, (0,), overwrite=False, parent="", changed={}))
    return sorted(images.iterdir())


@torch.inference_mode()
def predict_plainly(module: torch.nn.Module, files: list[Path], size: int) -> None:
    for path in files:
        grey = Image.open(path).convert("L").resize((size, size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(grey, np.float32))[None, None] / 255
        module((pixels - 0.5) / 0.25).softmax(dim=1)


def milliseconds(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Of the clock and of the CPU, an image: on a machine that others use too, only the second is ours."""
    began = time.perf_counter()
    cpu_began = time.process_time()
    work()
    wall = time.perf_counter() - began
    cpu = time.process_time() - cpu_began
    return wall / count * 1000, cpu / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=input_dir() / "chest_xray_native")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="one round of eight small images: does it run at all")
    arguments = parser.parse_args()
    count, rounds, size = (8, 1, 64) if arguments.quick else (arguments.count, ROUNDS, SIZE)
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        (root / "drawn").mkdir()
        sources = sorted(arguments.folder.rglob("*.jp*g"))
        kind = "real" if sources else "drawn"
        for name in ("INPUT", "RUNS", "CACHE", "SUBMISSIONS", "WEIGHTS"):
            os.environ.pop(f"CHESTFOLD_{name}", None)
        os.environ["CHESTFOLD_PROJECT"] = work
        files = train_a_step(root, sources or draw(root / "drawn"), count, size)
        measure(files, root / "maps", kind, rounds, size)


def measure(files: list[Path], maps: Path, kind: str, rounds: int, size: int) -> None:
    """All three ways; ours and the plain loop in `rounds`."""
    began = time.perf_counter()
    predictor = Predictor("speed")
    load_seconds = time.perf_counter() - began
    runner = predictor.runs[0].folds[0].networks[0]
    module = runner.module.eval()
    few = files[:FEW]
    writer = HeatmapWriter(predictor, maps)
    predict_files(predictor, files[:8], None)  # the first pass is slower
    predict_plainly(module, files[:2], size)
    ours = [milliseconds(lambda: predict_files(predictor, files, None), len(files)) for _ in range(rounds)]
    plain = [milliseconds(lambda: predict_plainly(module, few, size), len(few)) for _ in range(rounds)]
    with_heat_maps = [milliseconds(lambda: predict_files(predictor, few, writer), len(few))]
    figures: dict[str, object] = {
        "files": len(files),
        "images": kind,
        "px": size,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": runner.precision,
        "load_s": round(load_seconds, 2),
    }
    for name, measured in {"ours": ours, "plain": plain, "with_heat_maps": with_heat_maps}.items():
        figures[f"{name}_ms"] = round(median(wall for wall, _ in measured), 1)
        figures[f"{name}_cpu_ms"] = round(median(cpu for _, cpu in measured), 1)
    ratios = [b[0] / a[0] for a, b in zip(ours, plain, strict=True)]
    figures["plain_over_ours"] = round(median(ratios), 2)
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
