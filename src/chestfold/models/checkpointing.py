"""Gradient checkpointing (Chen et al., 2016): activations are computed again in the backward pass, not kept.

A training step takes about a third longer and needs a fraction of the memory; the weights become the same.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from chestfold.core.errors import InputError
from chestfold.models.head import WithHead


def checkpoint_gradients(module: Any, name: str) -> None:
    """Let the trunk of a network keep the inputs of its blocks only.

    Raises:
        InputError: the family cannot.
    """
    trunk = module.trunk if isinstance(module, WithHead) else module
    try:
        trunk.set_grad_checkpointing(True)
    except (AttributeError, AssertionError) as error:
        raise InputError(f"gradient_checkpointing: {name} cannot do it; leave it at false") from error
    for part in trunk.modules():
        if isinstance(part, _BatchNorm):
            part.register_forward_pre_hook(_keep_statistics)
            part.register_forward_hook(_resume_statistics, always_call=True)


def _in_backward_pass() -> bool:
    return torch._C._current_graph_task_id() != -1  # what torch.utils.checkpoint asks itself


def _keep_statistics(norm: nn.Module, _: Any) -> None:
    """Before the second pass of a batch: it must not move the running mean and variance again."""
    if norm.training and _in_backward_pass():
        norm.kept_momentum = norm.momentum
        norm.momentum = 0.0  # type: ignore[assignment]


def _resume_statistics(norm: Any, *_: Any) -> None:
    """After it, however it ended: torch leaves a block as soon as it has what it needs."""
    if norm.training and _in_backward_pass():
        norm.momentum = norm.kept_momentum
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.sub_(1)
