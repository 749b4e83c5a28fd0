"""A folder for `kaggle kernels push`: a script that predicts offline, its settings, and its weights as a data set."""

import inspect
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import save

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import read_json, runs_dir, submissions_dir, write_bytes, write_json, write_text
from chestfold.data import decode, dicom
from chestfold.data.catalogue import find_dataset
from chestfold.data.transforms.preprocess import preprocess_of
from chestfold.integrations.kaggle import kernel_script
from chestfold.integrations.kaggle.client import Source, username
from chestfold.models import head
from chestfold.models.load import averaged_checkpoints
from chestfold.models.runner import _five_crops, _four_turns, tta_views
from chestfold.models.timm_import import timm

SCRIPT = "infer.py"
_IMPORTS = """\
from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors.torch import load_file
from timm.models import register_model
from torch import Tensor, nn
"""
_BORROWED: list[Any] = [ChestfoldError, InputError]
_BORROWED += [decode.open_header, decode._grey, decode.resize, decode._decode_file]
_BORROWED += [tta_views, _four_turns, _five_crops]
_BORROWED += [head.HeadPlan, head.WithHead, head.without_classifier]
_OWN: list[Any] = [kernel_script.all_files, kernel_script.the_one, kernel_script.image_of, kernel_script.images_by_stem]
_OWN += [kernel_script.network_of, kernel_script.batches, kernel_script.predict_batch, kernel_script.main]
_CONSTANTS = {"_ENDS": decode._ENDS, "_REDUCED": decode._REDUCED}
_CONSTANTS |= {name: getattr(kernel_script, name) for name in ("MODEL", "SAMPLE", "BATCH", "IMAGES")}


def write_kernel(name: str, competition: str, owner: str = "") -> Path:
    """Write submissions/kernel_NAME/ for the finished folds of runs/NAME; returns the folder.

    Args:
        name: a run that was trained on this machine, or copied to it with its checkpoints.
        competition: the slug of the code competition.
        owner: name at Kaggle; empty: the one that is configured.

    Raises:
        InputError: no checkpoints, images that a kernel cannot find, no owner.
    """
    folds = sorted((runs_dir() / name).glob("fold*/manifest.json"))
    if not folds or Path(name).name != name:
        raise InputError(
            f"{runs_dir() / name} holds no finished fold: a kernel needs the weights of a trained run, which neither "
            "an ensemble nor a published result has; train it, or copy its folder here"
        )
    source, owner = Source("competition", competition), owner or username()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", owner):
        raise InputError("whose kernel is it? give --owner and your name at Kaggle, as in the address of your profile")
    folder = submissions_dir() / f"kernel_{name}"
    work = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    (work / "weights").mkdir(parents=True)
    model = _write_weights([path.parent for path in folds], work / "weights")
    write_text(work / SCRIPT, script(name, {m["network"]["backbone"] for m in model["members"]}))
    slug = _slug(name)
    write_json(work / "kernel-metadata.json", _kernel(f"{owner}/{slug}", f"{owner}/{slug}-weights", source))
    title = f"{slug}-weights".replace("-", " ")
    about = {"id": f"{owner}/{slug}-weights", "title": title, "licenses": [{"name": "other"}]}
    write_json(work / "weights" / "dataset-metadata.json", about)
    shutil.rmtree(folder, ignore_errors=True)
    return work.rename(folder)


def _slug(name: str) -> str:
    """Kaggle allows 6 to 50 characters, those of `-weights` among them, and wants the slug of the title."""
    return "chestfold-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-")


def _kernel(identity: str, weights: str, source: Source) -> dict[str, Any]:
    """kernel-metadata.json."""
    return {
        "id": identity,
        "title": identity.partition("/")[2].replace("-", " "),
        "code_file": SCRIPT,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [weights],
        "competition_sources": [source.slug],
        "kernel_sources": [],
        "model_sources": [],
    }


def _write_weights(folds: list[Path], target: Path) -> dict[str, Any]:
    """Every network of every fold as safetensors, and chestfold.json, which says how to build and to feed them."""
    config = read_json(folds[0] / "config.json")
    exp, members = Experiment.from_dict(config["settings"]), []
    dataset = find_dataset(exp.data)
    if not preprocess_of(exp).nothing:
        raise InputError(
            f"{folds[0].parent.name} has lung_mask = {exp.lung_mask} and frame = {exp.frame}, and a kernel "
            "predicts from whole pictures only; send its predictions instead: chestfold submit"
        )
    if dataset.reader == "npz":
        raise InputError(f"{exp.data} is an .npz file; a kernel predicts image files only")
    for fold in folds:
        paths = averaged_checkpoints(fold) if exp.average_last else [fold / "best.ckpt"]
        for path in paths:
            saved, file = checkpoint.load_weights(path), f"{fold.name}_{path.stem}.safetensors"
            # not save_file, whose file nobody but its owner may read
            write_bytes(target / file, save({k: v.contiguous().clone() for k, v in saved["module"].items()}))
            members.append({"file": file, "network": saved["network"], "share": 1 / len(folds) / len(paths)})
    model = {"classes": config["classes"], "image_size": exp.image_size, "tta": exp.tta}
    model |= {"value_range": dataset.value_range, "ct_window": dataset.ct_window, "members": members}
    write_json(target / kernel_script.MODEL, model)
    return model


def script(name: str, backbones: set[str]) -> str:
    """The text of the kernel: chestfold's own functions and networks, so that it predicts what chestfold predicts."""
    about = f'"""Predict with {name}: sample_submission.csv and the images to submission.csv, offline."""\n\n'
    constants = "\n".join(f"{key} = {value!r}" for key, value in _CONSTANTS.items())
    networks = [_module_text(module) for module in sorted(_own_networks(backbones), key=str)]
    functions = [inspect.getsource(thing).strip() for thing in [*_BORROWED, *_OWN]]
    dicoms = _module_text(dicom)
    parts = [_IMPORTS.strip(), constants, dicoms, *networks, *functions, 'if __name__ == "__main__":\n    main()']
    return about + "\n\n\n".join(parts) + "\n"


def _own_networks(backbones: set[str]) -> set[ModuleType]:
    """The modules of this package that define one of `backbones`; timm has the others."""
    modules = {inspect.getmodule(timm.models.model_entrypoint(name)) for name in backbones}
    return {m for m in modules if m is not None and m.__name__.startswith("chestfold.")}


def _module_text(module: ModuleType) -> str:
    """Its source without what is imported from this package (the kernel imports the same from timm)."""
    return re.sub(r"^from chestfold\b.*\n", "", inspect.getsource(module), flags=re.MULTILINE).strip()
