"""What an experiment is: one frozen, typed record, changed by `.but(...)` and by options of the same names."""

import difflib
import types
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from chestfold.core.errors import InputError

Metric = Literal["auc", "loss", "accuracy", "f1"]


def option(default: Any, about: str) -> Any:
    """A field with the text that `--help` shows for it."""
    return field(default=default, metadata={"help": about})


@dataclass(frozen=True)
class Experiment:
    """Every setting of a training run. Illegal values raise `InputError` when the record is made."""

    data: str = option("phantom", "data set: a name of `chestfold data list`")
    folds: str = option("", "fold file folds/NAME.csv; empty: the one named like the data set")
    seed: int = option(0, "all draws are functions of it; change it to train a baseline for an ensemble")

    backbone: str = option("resnet18", "any timm name (timm.list_models()), or one of chestfold.models")
    pretrained: bool = option(False, "start from ImageNet: input/weights/<name>.safetensors, else the hub")
    image_size: int = option(224, "pixels a side the network sees; more shows more and costs its square")
    lung_mask: Literal["none", "zero", "channel"] = option(
        "none",
        "axial CT slices: zero: black outside the lungs; channel: the lungs as a second input; a slice in which none "
        "are found is seen whole",
    )
    frame: Literal["none", "centre", "border"] = option(
        "none", "X-rays, whose burnt-in text stands at the edges: centre: the middle 80 %; border: the outer 8 % black"
    )
    drop_rate: float = option(0.0, "dropout before the classifier, 0 to 1; raise it when a small set overfits")
    head_width: int = option(0, "hidden ReLU units between the pooled features and the classifier; 0: none")
    freeze: bool = option(False, "train the new head only; all other weights and statistics stay as they were loaded")

    epochs: int = option(10, "passes over the training images")
    max_steps: int = option(0, "optimizer steps in an epoch at most; 0: a whole pass")
    batch_size: int = option(32, "images a forward pass; lower it when memory runs out")
    grad_accum_steps: int = option(1, "batches a step: the batch size that the optimizer sees is batch_size x this")
    optimizer: Literal["adamw", "adam", "sgd"] = option("adamw", "sgd has Nesterov momentum 0.9")
    lr: float = option(1e-3, "peak learning rate; about 1e-4 to 3e-4 to fine-tune")
    weight_decay: float = option(0.01, "decoupled for adamw, L2 for the others")
    schedule: Literal["cosine", "onecycle", "step", "constant"] = option(
        "cosine", "cosine: warm-up then to 0; onecycle: 30 % up; step: a tenth at 60 % and at 85 %"
    )
    warmup_epochs: float = option(0.5, "linear warm-up of cosine, step and constant; 0: none")
    max_grad_norm: float = option(0.0, "largest gradient norm; 0: no clipping; 1 calms a loss that jumps")
    label_smoothing: float = option(0.0, "0 to 1; 0.05 to 0.1 when labels are doubtful")
    ema_decay: float = option(0.0, "exponential moving average of the weights, per step; 0: off; 0.99 to 0.9998")
    sampling: Literal["natural", "over", "under"] = option(
        "natural", "over: repeat the rare classes; under: leave out of the frequent, anew in each epoch"
    )
    class_weights: Literal["none", "balanced"] = option(
        "none", "balanced: errors on a class weigh by the inverse of its share; not together with sampling"
    )
    train_per_class: int = option(0, "train on so many images of each class, drawn once a fold; 0: on all")
    positive_share: float = option(
        1.0, "share of the positive class's training images that is kept, above 0 to 1; drawn once a fold"
    )
    synthetic: str = option(
        "", "synthetic images that join the training part of fold K: the data set NAME_foldK; empty: none"
    )

    augment: Literal["none", "plain", "d4"] = option(
        "none",
        "plain: random resized crop, flip, shift/scale/rotate, brightness/contrast; turned: one of the eight turns and "
        "mirrorings, for CT patches, where no side is up and brightness is density",
    )
    crop_scale: float = option(0.7, "plain: smallest share of the area that a random crop keeps, 0 to 1")
    randaugment: tuple[int, int] | None = option(None, "RandAugment: operations an image, strength 0 to 10")
    mixup_alpha: float = option(0.0, "Mixup, Beta(alpha, alpha); 0: off; 0.2 to 1")
    cutmix_alpha: float = option(0.0, "CutMix; 0: off; with Mixup too, each batch draws one of the two")

    monitor: Metric = option("auc", "validation figure that picks the best epoch")
    patience: int = option(0, "stop after so many epochs without a better one; 0: never")
    average_last: int = option(0, "predict with the mean over the last so many epochs; 0: with the best epoch alone")
    tta: Literal["none", "flip", "d4", "crops"] = option(
        "none", "views averaged at prediction: flip: 2; turns: 8; crops: centre and corners, each flipped: 10"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "auto: mixed precision on a GPU; on a CPU bf16 if it has it and the network gains by it"
    )
    compile: bool = option(False, "torch.compile: a minute at the start, faster steps on a GPU")

    parent: "Experiment | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, kind in field_types().items():
            if not _fits(getattr(self, name), kind):
                raise InputError(f"{name} = {getattr(self, name)!r} is not {_spell(kind)}")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} = {getattr(self, name)} lies outside {low} to {high}")
        if self.randaugment and not (0 < self.randaugment[0] <= 14 and 0 <= self.randaugment[1] <= 10):
            raise InputError(f"randaugment = {self.randaugment}: 1 to 14 operations, strength 0 to 10")
        if self.sampling != "natural" and self.class_weights != "none":
            raise InputError(
                f"sampling = {self.sampling} and class_weights = {self.class_weights}: choose one of the two"
            )

        if self.lung_mask != "none" and self.frame != "none":
            raise InputError(
                f"lung_mask = {self.lung_mask} (for CT slices) and frame = {self.frame} (for X-rays): choose one"
            )

    def but(self, **changes: Any) -> "Experiment":
        """A copy with some fields changed that remembers this one as its parent."""
        for name in changes:
            require_field(name)
        return replace(self, parent=self, **changes)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Experiment":
        """The record that `to_dict` was taken from; a setting that an older version did not know has its default.

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


_SHARE = (0.0, 1.0)
_POSITIVE = (1, 10**9)
_COUNT = (0, 10**9)
RANGES: dict[str, tuple[float, float]] = {
    "image_size": (8, 4096),
    "epochs": _POSITIVE,
    "batch_size": _POSITIVE,
    "grad_accum_steps": _POSITIVE,
    "max_steps": _COUNT,
    "patience": _COUNT,
    "average_last": (0, 100),
    "head_width": (0, 65536),
    "train_per_class": _COUNT,
    "positive_share": (1e-6, 1.0),
    "seed": (0, 2**63),
    "lr": (1e-12, 1e3),
    "weight_decay": (0.0, 10.0),
    "warmup_epochs": (0.0, 1e6),
    "max_grad_norm": (0.0, 1e9),
    "drop_rate": _SHARE,
    "label_smoothing": _SHARE,
    "ema_decay": _SHARE,
    "crop_scale": (0.01, 1.0),
    "mixup_alpha": (0.0, 100.0),
    "cutmix_alpha": (0.0, 100.0),
}


def field_types() -> dict[str, Any]:
    """Name -> type of every setting, in the order in which they are declared."""
    hints = get_type_hints(Experiment)
    return {f.name: hints[f.name] for f in fields(Experiment) if f.name != "parent"}


def field_help() -> dict[str, str]:
    """Name -> what the setting means."""
    return {f.name: f.metadata["help"] for f in fields(Experiment) if f.name != "parent"}


def require_field(name: str) -> None:
    """Raise `InputError`, with the nearest known name, when there is no such setting."""
    if name not in field_types():
        near = difflib.get_close_matches(name, field_types(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"unknown setting {name!r}{hint} (--help lists them)")


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _fits(value: Any, kind: Any) -> bool:
    if _is_union(kind):
        return any(_fits(value, k) for k in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is kind


def _spell(kind: Any) -> str:
    if _is_union(kind):
        return " or ".join(_spell(k) for k in get_args(kind))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"{len(get_args(kind))} values ({', '.join(_spell(k) for k in get_args(kind))})"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, "none")


def _read(words: list[str], kind: Any) -> Any:
    """The value that `words` spell, or ValueError."""
    if _is_union(kind):
        if words == ["none"]:
            return None
        return _read(words, next(k for k in get_args(kind) if k is not type(None)))
    if get_origin(kind) is tuple:
        if len(words) != len(get_args(kind)):
            raise ValueError(words)
        return tuple(_read([w], k) for w, k in zip(words, get_args(kind), strict=True))
    (word,) = words
    if kind is bool:
        return {"true": True, "false": False}[word.lower()]
    return word if get_origin(kind) is Literal else kind(word)


def parse_option(name: str, words: list[str]) -> Any:
    """The typed value of a command-line option.

    Raises:
        InputError: no such setting, or the words do not spell a value of its type.
    """
    require_field(name)
    kind = field_types()[name]
    try:
        value = _read(words, kind)
    except (ValueError, KeyError):
        value = _IMPOSSIBLE
    if not _fits(value, kind):
        raise InputError(f"--{name} {' '.join(words)}: {name} takes {_spell(kind)}")
    return value


_IMPOSSIBLE = object()


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
    folds: tuple[int, ...]
    overwrite: bool
    parent: str
    changed: dict[str, tuple[Any, Any]]


def debug_settings(exp: Experiment) -> Experiment:
    """The settings of `--debug`: a pass through everything in two minutes."""
    size, batch = min(exp.image_size, DEBUG_SIZE), min(exp.batch_size, 16)
    short = replace(exp, epochs=2, max_steps=4, image_size=size, batch_size=batch)
    return replace(short, pretrained=False, train_per_class=0, synthetic="", compile=False)
