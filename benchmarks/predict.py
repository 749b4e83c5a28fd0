"""Asking one ResNet-18 at 224 px about 100 JPEGs: ours against the plain loop that everybody writes first.

    python benchmarks/predict.py [--folder input/chest_xray_native] [--count 100]

The plain loop reads a file with PIL, resizes it, and predicts it alone, in fp32. Ours is `chestfold predict` after its
start: files decoded in threads while the batch before is predicted, in the precision that the engine chooses; with the
word on unlike pictures, without and with heat maps. A fold is trained for one step, in a folder that is deleted. Prints
one JSON line with milliseconds an image, of the clock and of the CPU. Without a folder of JPEGs it draws them and
says so.
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

from chestfold.cli.predict import ask, open_painter
from chestfold.core.config import Experiment
from chestfold.core.console import say
from chestfold.core.files import input_dir
from chestfold.predict.predictor import Predictor

ROUNDS = 3
SOME = 20
"""Images of the slow ways."""
SIZE = 224
DECLARATION = 'classes = ["a", "b"]\npositive = "a"\nreader = "csv"\n'


def train_a_step(root: Path, sources: list[Path], count: int) -> list[Path]:
    """A project in `root` with `count` copies of `sources` as its data set and one fold of it; returns the copies."""
    images = root / "input" / "hundred" / "images"
    images.mkdir(parents=True)
    for n in range(count):
        shutil.copy(sources[n % len(sources)], images / f"i{n:03d}.jpg")
    rows = [f"i{n:03d},{'ab'[n * len('ab') // count]}" for n in range(count)]
    (images.parent / "train.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    (images.parent / "dataset.toml").write_text(DECLARATION)
    from chestfold.cli.experiment import read_request
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index
    from chestfold.train.run import run_request

    folds.make(open_index("hundred"), "hundred", 2)
    exp = Experiment(data="hundred", backbone="resnet18", image_size=SIZE, epochs=1, max_steps=1, batch_size=8)
    run_request(read_request(exp, ["--fold", "0", "--wandb", "disabled"], Path("speed.py")))
    return sorted(images.iterdir())


@torch.inference_mode()
def plainly(module: torch.nn.Module, files: list[Path]) -> None:
    for path in files:
        grey = Image.open(path).convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(grey, np.float32))[None, None] / 255
        module((pixels - 0.5) / 0.25).softmax(dim=1)


def milliseconds(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Of the clock and of the CPU, an image: on a machine that others use too, only the second is ours."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - began) / count * 1000, (time.process_time() - used) / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=input_dir() / "chest_xray_native")
    parser.add_argument("--count", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        (root / "drawn").mkdir()
        sources = sorted(asked.folder.rglob("*.jp*g"))
        for name in ("INPUT", "RUNS", "CACHE", "SUBMISSIONS", "WEIGHTS"):
            os.environ.pop(f"CHESTFOLD_{name}", None)
        os.environ["CHESTFOLD_PROJECT"] = work
        files = train_a_step(root, sources or draw(root / "drawn"), asked.count)
        measure(files, root / "maps", "real" if sources else "drawn")


def measure(files: list[Path], maps: Path, kind: str) -> None:
    began = time.perf_counter()
    predictor = Predictor("speed")
    start = time.perf_counter() - began
    runner = predictor.runs[0].folds[0].networks[0]
    module = runner.module.eval()
    ask(predictor, files[:8], None)  # the first pass makes the kernels
    plainly(module, files[:2])
    painter, some = open_painter(predictor, maps, ""), files[:SOME]
    ours = [milliseconds(lambda: ask(predictor, files, None), len(files)) for _ in range(ROUNDS)]
    plain = [milliseconds(lambda: plainly(module, some), len(some)) for _ in range(ROUNDS)]
    painted = milliseconds(lambda: ask(predictor, some, painter), len(some))
    about = {
        "files": len(files),
        "images": kind,
        "px": SIZE,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    about |= {"precision": runner.precision, "load_s": round(start, 2)}
    for name, pair in (("ours", middle(ours)), ("plain", middle(plain)), ("with_heat_maps", painted)):
        about |= {f"{name}_ms": round(pair[0], 1), f"{name}_cpu_ms": round(pair[1], 1)}
    about["plain_over_ours"] = round(middle(plain)[0] / middle(ours)[0], 2)
    say(json.dumps(about))


def middle(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """The median of the clock and of the CPU."""
    return median(wall for wall, _ in rounds), median(cpu for _, cpu in rounds)


if __name__ == "__main__":
    main()
