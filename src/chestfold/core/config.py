"""What an experiment is: one frozen, typed record, changed by `.but(...)` and by options of the same names."""

import difflib
import re
import types
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from chestfold.core.errors import InputError
from chestfold.core.files import require_plain_name


def option(default: Any, about: str, limits: tuple[float, float] | None = None) -> Any:
    """A field with the text that `--help` shows for it, and the smallest and largest value that it takes."""
    return field(default=default, metadata={"help": about, "limits": limits})


@dataclass(frozen=True)
class Experiment:
    """Every setting of a training run. Illegal values raise `InputError` when the record is made."""

    data: str = option("phantom", "data set: a name of `chestfold data list`")
    folds: str = option("", "fold file folds/NAME.csv; empty: the one named like the data set")
    seed: int = option(0, "all draws are functions of it; change it to train another member of an ensemble", (0, 2**63))

    backbone: str = option("resnet18", "any timm name (timm.list_models()), or one of chestfold.models")
    pretrained: bool = option(False, "start from ImageNet: input/weights/<name>.safetensors, else the hub")
    start_from: str = option(
        "",
        "a run on the same folds: fold K begins with the weights of its fold K, in the place of pretrained ones, which "
        "are not looked at then; another image size or classifier is possible; empty: none",
    )
    image_size: int = option(224, "pixels a side the network sees; more shows more and costs its square", (8, 4096))
    hooks: str = option(
        "", "a file of your own losses, metrics, augmentations, networks, ...: exps/my_hooks.py; empty: none"
    )
    channels: Literal[1, 3] = option(
        1, "1: grey; 3: what the data set declares: colours, three windows, neighbouring slices (three_channels)"
    )
    depth: Literal[8, 16] = option(8, "bits a channel; 16 keeps the greys of DICOM files and of images of 16 bits")
    normalise: str = option("weights", "weights: as those were trained; image: each image by its mean and deviation")
    lung_mask: Literal["none", "zero", "channel"] = option(
        "none",
        "axial CT slices: zero: black outside the lungs; channel: the lungs as a second input; a slice in which "
        "none are found is left as it is",
    )
    frame: Literal["none", "centre", "border", "lungs_black"] = option(
        "none",
        "X-rays, whose burnt-in text is at the edges: centre: the middle 80 %; border: the outer 8 % black; "
        "lungs_black: the middle 80 % black, to measure what can be told without the lungs",
    )
    tabular: tuple[str, ...] = option(
        (), "columns of the data set's table (its `tabular`), such as age and sex, that join the pooled features"
    )
    drop_rate: float = option(
        0.0, "dropout before the classifier, 0 to 1; raise it when a small set overfits", (0.0, 1.0)
    )
    head_width: int = option(0, "hidden ReLU units between the pooled features and the classifier; 0: none", (0, 65536))
    freeze: bool = option(False, "train the new head only; all other weights and statistics stay as they were loaded")

    epochs: int = option(10, "passes over the training images", (1, 10**9))
    max_steps: int = option(0, "optimizer steps in an epoch at most; 0: a full pass", (0, 10**9))
    batch_size: int = option(32, "images a forward pass; lower it when memory runs out", (1, 10**9))
    grad_accum_steps: int = option(
        1, "batches a step: the batch size that the optimizer sees is batch_size x this", (1, 10**9)
    )
    optimizer: str = option("adamw", "adamw, adam, sgd (Nesterov momentum 0.9), or any of timm.optim.list_optimizers()")
    lr: float = option(1e-3, "peak learning rate; about 1e-4 to 3e-4 to fine-tune", (1e-12, 1e3))
    weight_decay: float = option(
        0.01, "of all but biases and norms; decoupled for adamw, L2 for adam and sgd", (0.0, 10.0)
    )
    layer_decay: float = option(
        1.0, "each layer's rate over that of the layer after it; 0.65 to 0.9 for transformers", (0.01, 1.0)
    )
    schedule: Literal["cosine", "onecycle", "step", "constant", "multistep", "poly", "tanh", "wsd", "rsqrt"] = option(
        "cosine",
        "cosine: warm-up then to 0; onecycle: 30 % up; step: a tenth at 60 % and at 85 %; multistep: a tenth at each "
        "of lr_milestones; poly, tanh: timm's, to 0; wsd: constant, rsqrt: 1 / sqrt, both to 0 in the last fifth; "
        "there is no plateau: a rate is a function of the step",
    )
    warmup_epochs: float = option(0.5, "linear warm-up of all schedules but onecycle; 0: none", (0.0, 1e6))
    lr_cycles: int = option(
        1, "cosine, poly, tanh: so many equal falls from the peak, with restarts between them", (1, 10**6)
    )
    lr_power: float = option(
        0.9, "poly: power of the share of the run that is left; 1: a line; 0.5: late; 2: early", (0.01, 100.0)
    )
    lr_milestones: tuple[float, ...] = option(
        (0.6, 0.85), "multistep: rising shares of the run, after each of which the rate is divided by ten"
    )
    max_grad_norm: float = option(0.0, "largest gradient norm; 0: no clipping; 1 calms a loss that jumps", (0.0, 1e9))
    loss: str = option(
        "ce",
        "ce: cross entropy of the classes, or of each label; bce: each class for itself; focal; asymmetric; all with "
        "the class weights and the label smoothing below",
    )
    label_smoothing: float = option(0.0, "0 to 1; 0.05 to 0.1 when labels are doubtful", (0.0, 1.0))
    ema_decay: float = option(
        0.0, "exponential moving average of the weights, per step; 0: off; 0.99 to 0.9998", (0.0, 1.0)
    )
    sampling: Literal["natural", "over", "under"] = option(
        "natural", "over: repeat the rare classes; under: leave out of the frequent, anew in each epoch"
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced: errors on a class weigh by the inverse of its share; not together with sampling"
    )
    train_per_class: int = option(0, "train on so many images of each class, drawn once a fold; 0: on all", (0, 10**9))
    positive_share: float = option(
        1.0, "share of the positive class's training images that is kept, above 0 to 1; drawn once a fold", (1e-6, 1.0)
    )
    synthetic: str = option(
        "", "synthetic images that join the training part of fold K: the data set NAME_foldK; empty: none"
    )
    extra: str = option(
        "",
        "a data set of the same classes whose labelled images join the training part of every fold; twins of held-out "
        "images are refused; empty: none",
    )
    pseudo: str = option(
        "",
        "a run on the same folds: the test images join the training part of fold K, with what its fold K predicted for "
        "them; empty: none",
    )

    augment: str = option(
        "none",
        "none; plain: random resized crop, flip, shift/scale/rotate, brightness/contrast; photometric: the same with "
        "stronger contrast, gamma, tone curves, sharpening and noise, for X-rays of other machines; d4: one of the "
        "eight rotations and mirrorings, for CT patches, where no side is up and brightness is density",
    )
    crop_scale: float = option(0.7, "plain: smallest share of the area that a random crop keeps, 0 to 1", (0.01, 1.0))
    randaugment: tuple[int, int] | None = option(None, "RandAugment: operations an image, strength 0 to 10")
    augment_batch: bool = option(
        False,
        "augment whole batches at once: the same distributions, other draws, a half to a fifth of the time",
    )
    mixup_alpha: float = option(0.0, "Mixup, Beta(alpha, alpha); 0: off; 0.2 to 1", (0.0, 100.0))
    cutmix_alpha: float = option(0.0, "CutMix; 0: off; with Mixup too, each batch draws one of the two", (0.0, 100.0))

    monitor: str = option(
        "auto", "validation figure that picks the best epoch: auto: the data set's metric; loss, accuracy, f2, ..."
    )
    patience: int = option(0, "stop after so many epochs without a better one; 0: never", (0, 10**9))
    average_last: int = option(
        0, "predict with the mean over the last so many epochs; 0: with the best epoch alone", (0, 100)
    )
    tta: Literal["none", "flip", "d4", "crops"] = option(
        "none",
        "views averaged at prediction: flip: 2; d4: 8 rotations and mirrorings; crops: centre and corners, flipped: 10",
    )
    tta_selective: bool = option(
        False,
        "further views of tta only for images whose first view is less sure than a confidence that the validation "
        "images choose: the monitored figure (for the loss: the AUC) stays within 0.001 of that of all views",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "auto: mixed precision on a GPU; on a CPU bf16 if it has it and the network gains by it"
    )
    predict_precision: Literal["trained", "fastest"] = option(
        "trained",
        "after the training, on a CPU: trained: as in training; fastest: bf16 where the CPU has it and the monitored "
        "figure of the validation images (for the loss: their AUC) stays within 0.001",
    )
    compile: bool = option(False, "torch.compile: a minute at the start, faster steps on a GPU")
    gradient_checkpointing: bool = option(
        False, "compute activations twice instead of keeping them: same weights, less memory, steps a third slower"
    )

    parent: Any = field(default=None, compare=False, repr=False)
    """The experiment on which `but` was called; None: there is none. It is no setting."""

    def __post_init__(self) -> None:
        for f in settings_of(Experiment):
            _check(f.name, getattr(self, f.name), f.metadata["limits"])
        self._require_sound()
        self._require_compatible()

    def _require_sound(self) -> None:
        """Values of one setting that no type and no limits describe."""
        for name in ("data", "folds", "start_from", "synthetic", "extra", "pseudo"):
            if getattr(self, name):
                require_plain_name(getattr(self, name), name)
        if any(not 0 < share < 1 for share in self.lr_milestones) or not is_rising(self.lr_milestones):
            raise InputError(f"lr_milestones = {self.lr_milestones}: rising shares of the run between 0 and 1")
        if self.randaugment and not (0 < self.randaugment[0] <= 14 and 0 <= self.randaugment[1] <= 10):
            raise InputError(f"randaugment = {self.randaugment}: 1 to 14 operations, strength 0 to 10")
        if len(set(self.tabular)) < len(self.tabular):
            raise InputError(f"tabular = {self.tabular}: each column once")

    def _require_compatible(self) -> None:
        """Raise `InputError` where settings contradict each other."""
        for contradict, settings in self._contradictions():
            if contradict:
                raise InputError(f"{settings}: choose one of the two")

    def _contradictions(self) -> list[tuple[bool, str]]:
        """Whether two settings contradict each other, and which."""
        sampled, weighted = self.sampling != "natural", self.class_weights != "none"
        masked, framed = self.lung_mask != "none", self.frame != "none"
        layered, headed, joined = self.layer_decay != 1, self.head_width > 0, bool(self.tabular)
        lung_mask = f"lung_mask = {self.lung_mask}"
        new_head = f"layer_decay = {self.layer_decay} (a new head takes all layers before it as one)"
        return [
            (sampled and weighted, f"sampling = {self.sampling} and class_weights = {self.class_weights}"),
            (self.compile and self.gradient_checkpointing, "compile and gradient_checkpointing"),
            (headed and layered, f"head_width = {self.head_width} and {new_head}"),
            (joined and layered, f"tabular and {new_head}"),
            (joined and bool(self.synthetic), "tabular and synthetic (those images have no columns)"),
            (self.channels == 3 and masked, f"channels = 3 and {lung_mask} (lungs are found in one grey channel)"),
            (
                self.normalise == "image" and self.lung_mask == "channel",
                "normalise = image and lung_mask = channel (the lungs would count as a part of the image)",
            ),
            (
                self.depth == 16 and self.randaugment is not None,
                "depth = 16 and randaugment (equalize and posterize are for 8 bits)",
            ),
            (masked and framed, f"{lung_mask} (for CT slices) and frame = {self.frame} (for X-rays)"),
        ]

    def but(self, **changes: Any) -> "Experiment":
        """A copy with some fields changed that remembers this one as its parent."""
        for name in changes:
            require_field(name)
        return replace(self, parent=self, **changes)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Experiment":
        """The record that `to_dict` was taken from.

        Raises:
            InputError: a setting is unknown here.
        """
        for name in settings:
            require_field(name)
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON types, without the parent."""
        values = {name: getattr(self, name) for name in field_types()}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @property
    def fold_file(self) -> str:
        """Name of the fold file that belongs to this experiment."""
        return self.folds or self.data


SECTIONS = {
    "data": "data and folds",
    "backbone": "network and input",
    "epochs": "training",
    "sampling": "training images",
    "augment": "augmentation",
    "monitor": "validation, prediction, device",
}
"""First setting of each section -> its title in `--help`."""


def settings_of(record: type) -> list[Any]:
    """The fields of a record that are settings, in the order in which they are declared."""
    return [f for f in fields(record) if "help" in f.metadata]


@cache
def field_types() -> dict[str, Any]:
    """Name -> type of every setting."""
    hints = get_type_hints(Experiment)
    return {f.name: hints[f.name] for f in settings_of(Experiment)}


def require_field(name: str) -> None:
    """Raise `InputError`, with the nearest known name, when there is no such setting."""
    if name not in field_types():
        raise InputError(f"unknown setting {name!r}{did_you_mean(name, field_types())} (--help lists them)")


def require_choice(setting: str, value: str, known: Iterable[str]) -> None:
    """Raise `InputError`, with the nearest of the `known` names, when a setting's value is none of them."""
    names = list(known)
    if value not in names:
        raise InputError(f"{setting} = {value!r} is not one of {', '.join(names)}{did_you_mean(value, names)}")


def did_you_mean(name: str, known: Any) -> str:
    """`; did you mean NAME?` for the nearest of the `known` names; nothing where none is near."""
    names = list(known)
    small = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name, names, n=1)
    near = near or [small[each] for each in difflib.get_close_matches(name.casefold(), list(small), n=1)]
    return f"; did you mean {near[0]}?" if near else ""


@cache
def _adapter(name: str, strict: bool) -> TypeAdapter:
    return TypeAdapter(field_types()[name], config=ConfigDict(strict=strict))


def _check(name: str, value: Any, limits: tuple[float, float] | None) -> None:
    """Raise `InputError` where a value is not of its setting's type, or is outside its limits."""
    try:
        _adapter(name, strict=True).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{name} = {value!r} is not {format_type(field_types()[name])}") from error
    if limits and not limits[0] <= value <= limits[1]:
        raise InputError(f"{name} = {value} is outside {limits[0]} to {limits[1]}")


def is_rising(values: tuple[float, ...]) -> bool:
    """Whether each value is larger than the one before it."""
    return all(first < second for first, second in pairwise(values))


def takes_several(kind: Any) -> bool:
    """Whether an option of this type is several words: a tuple, perhaps an optional one."""
    return is_optional(kind) or get_origin(kind) is tuple


def is_list(kind: Any) -> bool:
    """Whether a type is a tuple of any length, as `tuple[str, ...]`."""
    return get_origin(kind) is tuple and get_args(kind)[1:] == (...,)


def is_optional(kind: Any) -> bool:
    """Whether a type is a union, as `tuple[int, int] | None`."""
    return get_origin(kind) in (Union, types.UnionType)


def format_type(kind: Any) -> str:
    """A setting's type in words."""
    if is_optional(kind):
        return " or ".join(format_type(k) for k in get_args(kind))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if is_list(kind):
        return f"values, each {format_type(get_args(kind)[0])}, or none"
    if get_origin(kind) is tuple:
        return f"{len(get_args(kind))} values ({', '.join(format_type(k) for k in get_args(kind))})"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, "none")


def parse_option(name: str, words: list[str]) -> Any:
    """The typed value of a command-line option.

    Raises:
        InputError: no such setting, or the words do not spell a value of its type.
    """
    require_field(name)
    kind = field_types()[name]
    if kind is not str and not (is_list(kind) and get_args(kind)[0] is str):
        words = [_whole_number(word) for word in words]
    value: Any = words if takes_several(kind) else " ".join(words)
    if get_origin(kind) is Literal:
        value = {str(choice): choice for choice in get_args(kind)}.get(value, value)
    if words == ["none"] and is_optional(kind):
        return None
    if words == ["none"] and is_list(kind):
        return ()
    try:
        if kind is bool and value.lower() not in ("true", "false"):
            raise ValueError(value)
        return _adapter(name, strict=False).validate_python(value)
    except ValueError as error:
        raise InputError(f"--{name} {' '.join(words)}: {name} takes {format_type(kind)}") from error


def _whole_number(word: str) -> str:
    """`2` for `2.0` and `2e0`, as sweeps write whole numbers; any other word as it is."""
    if not re.fullmatch(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", word, re.IGNORECASE) or word.lstrip("+-").isdecimal():
        return word
    value = float(word)
    return str(int(value)) if value.is_integer() else word


def difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Setting -> (old, new) for every setting that differs."""
    return {k: (old.get(k), new.get(k)) for k in {**old, **new} if old.get(k) != new.get(k)}


DEBUG_SIZE = 64
"""Pixels a side of a `--debug` run, at most."""


@dataclass(frozen=True)
class Request:
    """What one call of an experiment file asks for. `folds` empty: all of them."""

    name: str
    exp: Experiment
    folds: tuple[int, ...] = ()
    overwrite: bool = False
    parent: str = ""
    changed: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def is_debug(self) -> bool:
        """Whether this is the short pass of `--debug`, whose scores mean nothing."""
        return is_debug(self.name)


def is_debug(name: str) -> bool:
    """Whether a run, a result or an ensemble of this name is a short pass of `--debug`."""
    return name.endswith("-debug")


def debug_settings(exp: Experiment) -> Experiment:
    """The settings of `--debug`: a pass through everything in two minutes."""
    size, batch = min(exp.image_size, DEBUG_SIZE), min(exp.batch_size, 16)
    short = replace(exp, epochs=2, max_steps=4, image_size=size, batch_size=batch)
    own = replace(short, pretrained=False, start_from="", synthetic="", extra="", pseudo="")
    return replace(own, train_per_class=0, compile=False)
