"""A network that begins with the weights of an earlier one of the same backbone: its classifier may be another."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.data.tabular import Encoding
from chestfold.models.create import Blueprint, Network, create, rebuild
from chestfold.models.head import WithHead

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Start:
    """What a fold begins with. `same_classes`: whether the classifier is kept too."""

    checkpoint: Path
    same_classes: bool


def create_from(start: Start, exp: Experiment, outputs: int) -> Network:
    """The network of `exp` with `outputs` logits, which begins with the weights of another.

    Its input statistics, and the encoding of columns beside the image, are the other one's too.

    Raises:
        InputError: another backbone or head, or a layer of another shape.
    """
    saved = checkpoint.load_weights(start.checkpoint)
    source = rebuild(saved, start.checkpoint)
    _require_same_kind(start, source.blueprint, exp)
    network = create(replace(exp, pretrained=False), outputs, source.encoding, source.blueprint)
    _resize(source, exp.image_size)
    module: Any = network.module
    weights, own = source.module.state_dict(), module.state_dict()
    if not start.same_classes:
        for name in _classifier_names(module):
            weights[name] = own[name]
    _require_same_shapes(start, weights, own)
    module.load_state_dict(weights)
    return network


def _require_same_kind(start: Start, theirs: Blueprint, exp: Experiment) -> None:
    if theirs.backbone != exp.backbone:
        raise InputError(
            f"{start.checkpoint} holds the weights of {theirs.backbone}, not of {exp.backbone}; keep the backbone, or "
            "leave start_from empty"
        )
    width = theirs.head["width"] if theirs.head else 0
    if width != exp.head_width:
        raise InputError(
            f"{start.checkpoint} has head_width = {width}, not {exp.head_width}; keep it, or leave start_from empty"
        )
    columns = Encoding.model_validate(theirs.tabular).names if theirs.tabular else ()
    if columns != exp.tabular:
        raise InputError(
            f"{start.checkpoint} sees the columns {', '.join(columns) or '(none)'} beside the image, not "
            f"{', '.join(exp.tabular) or '(none)'}; keep tabular, or leave start_from empty"
        )


def _resize(source: Network, size: int) -> None:
    """Fit what depends on the image size, the position embeddings of a transformer, to another one."""
    trunk: Any = source.module.trunk if isinstance(source.module, WithHead) else source.module
    before = source.blueprint.arguments.get("img_size", size)
    if before != size and hasattr(trunk, "set_input_size"):
        trunk.set_input_size(img_size=size)


def _classifier_names(module: Any) -> list[str]:
    """The names of the classifier's weights in the state of `module`."""
    of_classifier = {id(weight) for weight in module.get_classifier().state_dict(keep_vars=True).values()}
    return [name for name, weight in module.state_dict(keep_vars=True).items() if id(weight) in of_classifier]


def _require_same_shapes(start: Start, weights: Weights, own: Weights) -> None:
    """Raise `InputError` with the first layer that only one of the two has, or that has another shape there."""
    for name in [*own, *weights]:
        there, here = _shape(weights, name), _shape(own, name)
        if there != here:
            raise InputError(
                f"{start.checkpoint}: {name} is {there} there and {here} here; keep the settings that shape the "
                "network, or leave start_from empty"
            )


def _shape(weights: Weights, name: str) -> str:
    return " x ".join(map(str, weights[name].shape)) or "a number" if name in weights else "missing"
