"""The optimizer, by timm's factory, and the learning rate of every step."""

import math
from typing import Any

import torch
from torch import nn

from chestfold.core.config import Experiment, did_you_mean
from chestfold.core.errors import InputError
from chestfold.models.timm_import import create_optimizer_v2, list_optimizers

FUSED = ("adamw", "adam", "sgd")
"""torch's own, which have a fused implementation on every device."""
DROPS = (0.6, 0.85)
"""Shares of a run after which `schedule = "step"` divides the rate by ten."""


def lr_at(exp: Experiment, step: int, per_epoch: int) -> float:
    """Learning rate of optimizer step `step` (0, 1, ...), a pure function: there is no scheduler to save."""
    total = per_epoch * exp.epochs
    warmup = round(exp.warmup_epochs * per_epoch)
    if exp.schedule == "onecycle":
        return _onecycle(exp.lr, step / max(1, total - 1))
    if step < warmup:
        return exp.lr * (step + 1) / (warmup + 1)
    if exp.schedule == "cosine":
        progress = (step - warmup) / max(1, total - warmup)
        return exp.lr * (1 + math.cos(math.pi * progress)) / 2
    if exp.schedule == "step":
        drops = sum(step >= share * total for share in DROPS)
        return exp.lr * 0.1**drops
    return exp.lr


def _onecycle(peak: float, progress: float, rise: float = 0.3) -> float:
    """Smith and Topin (2018) with cosine flanks: peak / 25 up to the peak, down to peak / 10,000."""
    if progress < rise:
        return _cosine_between(peak / 25, peak, progress / rise)
    return _cosine_between(peak, peak / 1e4, (progress - rise) / (1 - rise))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def require_optimizer(name: str) -> None:
    """Raise `InputError`, with the nearest name, when timm knows no such optimizer."""
    known = list_optimizers()
    if name not in known:
        raise InputError(f"unknown optimizer {name!r}{did_you_mean(name, known)}")


def create_optimizer(exp: Experiment, module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of `exp` over the weights that are trained; biases and norms are not decayed.

    Raises:
        InputError: the network does not name its layers, and they shall have different rates.
    """
    if exp.layer_decay != 1 and not hasattr(module, "group_matcher"):
        raise InputError(f"layer_decay = {exp.layer_decay}: {exp.backbone} does not name its layers; leave it at 1")
    extra: dict[str, Any] = {"fused": True} if exp.optimizer in FUSED else {}
    if exp.layer_decay != 1:
        extra["layer_decay"] = exp.layer_decay
    return create_optimizer_v2(module, exp.optimizer, exp.lr, exp.weight_decay, **extra)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the rate `lr`, times the group's own share where layers have different ones."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
