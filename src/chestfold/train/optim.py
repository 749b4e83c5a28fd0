"""The optimizer, and the learning rate of every step."""

import math

import torch
from torch import nn

from chestfold.core.config import Experiment


def lr_at(exp: Experiment, step: int, per_epoch: int) -> float:
    """Learning rate of optimizer step `step` (0, 1, ...), a pure function: there is no scheduler to save."""
    total, warm = per_epoch * exp.epochs, round(exp.warmup_epochs * per_epoch)
    if exp.schedule == "onecycle":
        return _onecycle(exp.lr, step / max(1, total - 1))
    if step < warm:
        return exp.lr * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total - warm)
    if exp.schedule == "cosine":
        return exp.lr * (1 + math.cos(math.pi * done)) / 2
    if exp.schedule == "step":
        return exp.lr * 0.1 ** sum(step >= share * total for share in (0.6, 0.85))
    return exp.lr


def _onecycle(peak: float, done: float, up: float = 0.3) -> float:
    """Smith and Topin (2018) with cosine flanks: peak / 25 up to the peak, down to peak / 10,000."""
    start, end, part = (peak / 25, peak, done / up) if done < up else (peak, peak / 1e4, (done - up) / (1 - up))
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def _optimizer(exp: Experiment, module: nn.Module) -> torch.optim.Optimizer:
    """Biases and norms are not decayed."""
    shapes = [(p, p.ndim > 1) for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p, decays in shapes if decays], "weight_decay": exp.weight_decay},
        {"params": [p for p, decays in shapes if not decays], "weight_decay": 0.0},
    ]
    if exp.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=exp.lr, momentum=0.9, nesterov=True, fused=True)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[exp.optimizer]
    return kind(groups, lr=exp.lr, fused=True)
