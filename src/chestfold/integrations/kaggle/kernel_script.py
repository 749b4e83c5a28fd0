"""What a Kaggle kernel runs: from the competition's images and the weights of a run to submission.csv.

`chestfold kernel` writes these functions into one file, together with the few of chestfold's own that they use: the
file needs no network and none of chestfold.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chestfold.data.decode import _decode_file, resize
from chestfold.models.head import HeadPlan, WithHead, without_classifier
from chestfold.models.runner import tta_views
from chestfold.models.timm_import import timm

MODEL = "chestfold.json"
SAMPLE = "sample_submission.csv"
BATCH = 64
IMAGES = (".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")


def all_files(root: Path) -> list[Path]:
    """Every file below `root`, in order."""
    return sorted(Path(folder) / name for folder, _, names in os.walk(root) for name in names)


def the_one(files: list[Path], name: str) -> Path:
    """The only file of that name."""
    found = [path for path in files if path.name == name]
    if len(found) != 1:
        sys.exit(
            f"{len(found)} files are called {name}; exactly one is needed: add the input of this kernel that has it"
        )
    return found[0]


def image_of(image_id: str, by_stem: dict[str, list[Path]]) -> Path:
    """The image of an id: a file name or a path without its suffix; one in a test folder goes before others."""
    wanted = Path(image_id).parts
    found = [p for p in by_stem.get(wanted[-1], []) if p.with_suffix("").parts[-len(wanted) :] == wanted]
    found = [p for p in found if any(part.startswith("test") for part in p.parts[-4:-1])] or found
    if len(found) != 1:
        sys.exit(f"{len(found)} images were found for the id {image_id!r} of {SAMPLE}; exactly one is needed")
    return found[0]


def images_by_stem(files: list[Path]) -> dict[str, list[Path]]:
    """File name without suffix -> the images of that name."""
    found: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in IMAGES and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def network_of(member: dict[str, Any], folder: Path, device: torch.device) -> nn.Module:
    """A fold's network with its weights, ready to predict."""
    plan = member["network"]
    module: Any = timm.create_model(plan["backbone"], **plan["arguments"])
    if plan["head"]:
        module = WithHead(without_classifier(module, plan["backbone"]), HeadPlan(**plan["head"]))
    module.load_state_dict(load_file(folder / member["file"]))
    return module.eval().to(device, memory_format=torch.channels_last)


def batches(paths: list[Path], size: int, value_range: tuple[int, int] | None, ct_window: str) -> Iterator[Tensor]:
    """The images in order as uint8 (B, 1, size, size)."""

    def read(path: Path) -> np.ndarray:
        return resize(_decode_file(path.read_bytes(), path, size, value_range, ct_window), size)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), BATCH):
            yield torch.from_numpy(np.stack(list(pool.map(read, paths[start : start + BATCH])))).unsqueeze(1)


@torch.inference_mode()
def predict_batch(pixels: Tensor, networks: list[tuple[nn.Module, dict[str, Any]]], tta: str) -> Tensor:
    """Class probabilities (B, K) in fp32: for each network the mean over its views, weighed by its share."""
    total = torch.zeros(())
    for module, member in networks:
        plan = member["network"]
        images = (pixels.to(next(module.parameters()).device).float() / 255 - plan["mean"]) / plan["std"]
        views = tta_views(images.contiguous(memory_format=torch.channels_last), tta)
        probs = torch.stack([module(view).float().softmax(dim=1) for view in views]).mean(dim=0)
        total = total + member["share"] * probs.double().cpu()
    return total


def main() -> None:
    """Write submission.csv, in the sample's order, into the working folder."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else Path("/kaggle/input")
    files = all_files(root)
    model_path, sample = the_one(files, MODEL), pd.read_csv(the_one(files, SAMPLE), dtype=str, keep_default_na=False)
    model = json.loads(model_path.read_text())
    unknown = [c for c in sample.columns[1:] if c not in model["classes"]]
    if unknown:
        sys.exit(f"{SAMPLE} asks for {unknown[0]!r}; the model knows {model['classes']}")
    by_stem = images_by_stem(files)
    paths = [image_of(image_id, by_stem) for image_id in sample.iloc[:, 0]]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = [(network_of(m, model_path.parent, device), m) for m in model["members"]]
    print(f"{len(paths)} images, {len(networks)} networks, on {device}", flush=True)
    parts = [
        predict_batch(pixels, networks, model["tta"])
        for pixels in batches(paths, model["image_size"], model["value_range"], model["ct_window"])
    ]
    probs = pd.DataFrame(torch.cat(parts).numpy(), columns=model["classes"])
    table = pd.concat([sample.iloc[:, :1], probs[list(sample.columns[1:])]], axis=1)
    table.to_csv("submission.csv", index=False, lineterminator="\n", float_format="%.6f")
    print("wrote submission.csv")
