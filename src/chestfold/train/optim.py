"""The optimizer, by timm's factory, and the learning rate of every step."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from chestfold.core.config import Experiment, did_you_mean
from chestfold.core.errors import InputError
from chestfold.models.timm_import import create_optimizer_v2, create_scheduler_v2, list_optimizers

FUSED = ("adamw", "adam", "sgd")
"""torch's own, which have a fused implementation on every device."""
DROPS = (0.6, 0.85)
"""Shares of a run after which `schedule = "step"` divides the rate by ten."""
DECAYING = 0.2
"""Share of the steps after the warm-up in which wsd and rsqrt fall to 0."""


CYCLIC = ("cosine", "poly", "tanh")
"""Schedules that may start anew, `lr_cycles` times."""


def lr_at(exp: Experiment, step: int, per_epoch: int) -> float:
    """Learning rate of optimizer step `step` (0, 1, ..., before the last epoch's end), a pure function: there is no
    scheduler to save."""
    total = per_epoch * exp.epochs
    warmup = round(exp.warmup_epochs * per_epoch)
    if exp.schedule == "onecycle":
        return _onecycle(exp.lr, step / max(1, total - 1))
    if step < warmup:
        return exp.lr * (step + 1) / (warmup + 1)
    if exp.schedule == "constant":
        return exp.lr
    if exp.schedule in ("step", "multistep"):
        shares = DROPS if exp.schedule == "step" else exp.lr_milestones
        drops = sum(step >= share * total for share in shares)
        return exp.lr * 0.1**drops
    if exp.schedule == "cosine" and exp.lr_cycles == 1:
        progress = (step - warmup) / (total - warmup)
        return exp.lr * (1 + math.cos(math.pi * progress)) / 2
    return _timm_schedule(exp, total - warmup, warmup)(step - warmup)


@cache
def _timm_schedule(exp: Experiment, length: int, warmup: int) -> Callable[[int], float]:
    """Step after the warm-up -> rate, by timm's scheduler of that name over `length` steps.

    timm's schedulers keep no state between two steps: one that is given the steps in any order gives the same rates.

    Raises:
        InputError: the timm that is installed does not know it yet.
    """
    cycles = exp.lr_cycles if exp.schedule in CYCLIC else 1
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], exp.lr)
    settings: dict[str, Any] = {"sched": exp.schedule, "num_epochs": max(2, math.ceil(length / cycles))}
    settings |= {"step_on_epochs": False, "updates_per_epoch": 1}  # its epochs are our steps
    settings |= {"cycle_limit": cycles, "cycle_decay": 1.0}
    settings |= {"decay_rate": exp.lr_power} if exp.schedule == "poly" else {}
    settings |= {"stable_timescale": max(1, warmup)} if exp.schedule == "rsqrt" else {}
    settings |= {"decay_epochs": max(1, round(DECAYING * length))} if exp.schedule in ("wsd", "rsqrt") else {}
    try:
        scheduler, _ = create_scheduler_v2(optimizer, **settings)
        if scheduler is None:  # what older ones return
            raise ValueError(exp.schedule)
    except (TypeError, ValueError) as error:
        raise InputError(f"schedule = {exp.schedule}: the installed timm does not have it; update timm") from error

    def rate(step: int) -> float:
        scheduler.step_update(step)
        return optimizer.param_groups[0]["lr"]

    return rate


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
    optimizer = create_optimizer_v2(module, exp.optimizer, exp.lr, exp.weight_decay, **extra)
    if type(optimizer) in IN_STORED_ORDER and next(module.parameters()).device.type == "cpu":
        optimizer.__class__ = IN_STORED_ORDER[type(optimizer)]
    return optimizer


class _InStoredOrder:
    """Gives the fused step of Adam the numbers of weights in the order in which they are stored.

    It wants them in the default order, and copies those in channels_last there and back: twice the time that the step
    itself takes. The state keeps its shapes, so that checkpoints are the same.
    """

    def _init_group(self, group: Any, params: list[Tensor], grads: list[Tensor], *states: list[Tensor]) -> Any:
        found = super()._init_group(group, params, grads, *states)  # type: ignore[misc]
        for number, weight in enumerate(params):
            if weight.dim() == 4 and not weight.is_contiguous():
                for tensors in (params, grads, *states):
                    if number < len(tensors) and tensors[number].dim() == 4:
                        tensors[number] = tensors[number].permute(0, 2, 3, 1)
        return found


class _Adam(_InStoredOrder, torch.optim.Adam):
    """Adam."""


class _AdamW(_InStoredOrder, torch.optim.AdamW):
    """AdamW."""


IN_STORED_ORDER: dict[type, type] = {torch.optim.Adam: _Adam, torch.optim.AdamW: _AdamW}
"""torch's optimizer -> the same in the stored order."""


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the rate `lr`, times the group's own share where layers have different ones."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
