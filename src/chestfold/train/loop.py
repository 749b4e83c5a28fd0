"""One fold: the loop that trains it, from top to bottom, and prediction.

No generator state is kept: what step n of epoch e does is a function of (seed, fold, e, n). A checkpoint holds the
weights, the optimizer and the history; with these, a killed run goes on as if nothing had happened.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chestfold.core import checkpoint, distributed
from chestfold.core.config import Experiment
from chestfold.core.console import bar
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.files import write_text
from chestfold.core.rng import generator, key
from chestfold.data.loader import Images, TrainBatches, workers_for
from chestfold.data.sampling import balanced_weights
from chestfold.data.transforms.mixup import mix
from chestfold.evaluate import metrics
from chestfold.models import channels, create, training_mode
from chestfold.models.load import averaged_checkpoints
from chestfold.models.runner import Runner, make_runner, predict
from chestfold.models.timm_import import ModelEmaV3
from chestfold.train.optim import _optimizer, lr_at

CHECKPOINT_SECONDS = 120.0
"""A long epoch is saved in the middle too: a kill costs at most this much work."""
CHECK_EVERY = 20
"""Batches between looks at losses and gradients: on a GPU each look waits for the device."""
PACE = ("seconds", "images_per_second")


@dataclass
class State:
    """All that changes while a fold trains, and all that a checkpoint holds."""

    runner: Runner
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    epoch: int = 0
    batch: int = 0
    losses: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For `checkpoint.save`."""
        return {
            "module": self.runner.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "epoch": self.epoch,
            "batch": self.batch,
            "losses": self.losses,
            "hits": self.hits,
            "norms": self.norms,
            "history": json.dumps(self.history),  # a pickle's bytes would tell which rows were loaded from one
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `to_dict` was taken from."""
        self.runner.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.module.load_state_dict(saved["ema"])
        for name in ("epoch", "batch", "losses"):
            setattr(self, name, saved[name])
        self.hits, self.norms = saved.get("hits", []), saved.get("norms", [])  # older checkpoints have none
        self.history = json.loads(saved["history"])

    def judged(self) -> nn.Module:
        """The module that is validated and kept: the averaged one where there is an average."""
        return self.ema.module if self.ema else self.runner.module


def start(exp: Experiment, fold: int, classes: int) -> State:
    """A fold before its first step; the new weights are a function of (seed, fold)."""
    torch.manual_seed(key(exp.seed, fold, "weights") >> 1)
    runner = make_runner(create(exp, classes), exp)
    require_size(exp, runner)
    scaler = torch.amp.GradScaler(runner.device.type, enabled=runner.dtype is torch.float16)
    ema = ModelEmaV3(runner.module, decay=exp.ema_decay, use_warmup=True) if exp.ema_decay else None
    return State(runner, _optimizer(exp, runner.module), scaler, ema)


@torch.inference_mode()
def require_size(exp: Experiment, runner: Runner) -> None:
    """Raise `InputError` when the network cannot take images of this size."""
    size = exp.image_size
    try:
        runner.module.eval()(torch.zeros(1, channels(exp), size, size, device=runner.device))
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{exp.backbone} cannot take images of {size} px ({reason}); choose another") from error


def fit(
    exp: Experiment,
    fold: int,
    train: Images,
    val: Images,
    classes: int,
    folder: Path,
    say: Callable[[str], None],
) -> State:
    """Train a fold, going on from `folder/last.ckpt` if there is one; leaves `best.ckpt` and `metrics.jsonl`.

    Raises:
        InputError: the loss or a prediction is not a number (says at which step); the disk is full.
    """
    state = start(exp, fold, classes)
    saved, complaints = distributed.broadcast_from_main(lambda: checkpoint.load_newest(folder / "last.ckpt"))
    for sentence in complaints:
        say(sentence)
    if saved:
        state.restore(saved)
        if distributed.is_main():
            write_metrics(folder / "metrics.jsonl", state.history)  # the kill may have come before its last line
        say(f"fold {fold}: going on at epoch {state.epoch + 1}, batch {state.batch + 1}")
    batches = TrainBatches(exp, fold, train, workers_for(state.runner.device))
    weights = class_weights(exp, train, classes, state.runner.device)
    while state.epoch < exp.epochs and not stopped_early(exp, state.history):
        began, first = time.perf_counter(), state.batch
        train_epoch(exp, fold, state, batches, weights, folder)
        seconds = time.perf_counter() - began
        row = close_epoch(exp, fold, state, val, folder)
        pace = {"seconds": seconds, "images_per_second": (batches.per_epoch - first) * exp.batch_size / seconds}
        if distributed.is_main():
            write_metrics(folder / "metrics.jsonl", state.history, pace)
        say(describe(exp, fold, row | pace))
    return state


def class_weights(exp: Experiment, train: Images, classes: int, device: torch.device) -> Tensor:
    """What an error on each class weighs in the loss, float32 (classes,)."""
    balanced = exp.class_weights == "balanced"
    weights = balanced_weights(train.labels, classes) if balanced else np.ones(classes, np.float32)
    return torch.from_numpy(weights).to(device)


def train_epoch(exp: Experiment, fold: int, state: State, batches: TrainBatches, weights: Tensor, folder: Path) -> None:
    """All steps of the epoch from `state.batch` on; `weights`: of the classes, (K,)."""
    runner, saved_at = state.runner, time.monotonic()
    training_mode(runner.module, exp.freeze)
    recent: list[Tensor] = []
    with bar(f"fold {fold} epoch {state.epoch + 1}/{exp.epochs}", batches.per_epoch - state.batch) as step:
        for pixels, labels in batches.epoch(state.epoch, state.batch):
            draw = (exp.seed, fold, "step", state.epoch, state.batch, distributed.rank())
            torch.manual_seed(key(*draw) >> 1)
            targets = F.one_hot(labels, len(weights)).float().to(runner.device)
            images, targets = mix(
                runner.images(pixels), targets, exp.mixup_alpha, exp.cutmix_alpha, generator(*draw, "mix")
            )
            logits = train_logits(exp, runner, images)
            loss = F.cross_entropy(logits, targets, weight=weights, label_smoothing=exp.label_smoothing)
            share = len(images) / batches.size  # this process's share of the batch; 1 when it is alone
            state.scaler.scale(loss * share / exp.grad_accum_steps).backward()
            recent.append(torch.stack([loss.detach(), hit_rate(logits, targets)]) * share)
            state.batch += 1
            whole = state.batch % exp.grad_accum_steps == 0 or state.batch == batches.per_epoch
            if whole:
                update_weights(exp, state, batches.per_epoch)
            due = distributed.is_main() and time.monotonic() - saved_at > CHECKPOINT_SECONDS
            if len(recent) >= CHECK_EVERY or (due and distributed.world() == 1) or state.batch == batches.per_epoch:
                take_losses(state, recent, fold)
            if whole and due and not recent:
                checkpoint.save_keeping_previous(folder / "last.ckpt", state.to_dict())
                saved_at = time.monotonic()
            step("")


@torch.no_grad()
def hit_rate(logits: Tensor, targets: Tensor) -> Tensor:
    """Share of a batch whose largest logit stands at its target; of a mixed image, at the larger of its two."""
    return (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()


def train_logits(exp: Experiment, runner: Runner, images: Tensor) -> Tensor:
    """`Runner.logits`, or `InputError` where batch normalisation is left with a single value."""
    try:
        return runner.logits(images)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"{exp.backbone} cannot be trained on {len(images)} image of {exp.image_size} px at a time: its batch "
            "normalisation needs more than one value; raise --batch-size"
        ) from error


def update_weights(exp: Experiment, state: State, batches_per_epoch: int) -> None:
    """One optimizer step at the rate of its place in the run, then the moving average."""
    per_epoch, step = math.ceil(batches_per_epoch / exp.grad_accum_steps), (state.batch - 1) // exp.grad_accum_steps
    number = state.epoch * per_epoch + step
    for group in state.optimizer.param_groups:
        group["lr"] = lr_at(exp, number, per_epoch)
    distributed.sum_gradients(state.runner.module)
    if exp.max_grad_norm or step % CHECK_EVERY == 0:
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.runner.module.parameters(), exp.max_grad_norm or math.inf)
        state.norms += [float(norm)] if step % CHECK_EVERY == 0 else []
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.ema:
        state.ema.update(state.runner.module, step=number)


def take_losses(state: State, recent: list[Tensor], fold: int) -> None:
    """Move losses and hit rates of the last batches into the state; a loss that is no number ends the fold here."""
    values = distributed.total(torch.stack(recent)).tolist() if recent else []
    recent.clear()
    for n, (value, _) in enumerate(values, start=len(state.losses) + 1):
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss of fold {fold} became {value} at epoch {state.epoch + 1}, batch {n}; lower --lr, set "
                "--max-grad-norm 1 or --precision fp32 (with --overwrite); the last checkpoint is untouched"
            )
    state.losses += [loss for loss, _ in values]
    state.hits += [hits for _, hits in values]


def close_epoch(exp: Experiment, fold: int, state: State, val: Images, folder: Path) -> dict[str, Any]:
    """Validate, keep the weights if they are the best so far, make the epoch permanent; returns its figures."""
    for module in {state.runner.module, state.judged()}:
        distributed.average_buffers(module)
    row = {"epoch": state.epoch + 1, "lr": state.optimizer.param_groups[0]["lr"]}
    row |= {"train_loss": float(np.mean(state.losses)), "train_accuracy": float(np.mean(state.hits))}
    row["grad_norm"] = float(np.mean(state.norms)) if state.norms else None
    row |= distributed.broadcast_from_main(lambda: validate(state, val))
    state.history = [*state.history, row]
    state.epoch, state.batch, state.losses, state.hits, state.norms = state.epoch + 1, 0, [], [], []
    if distributed.is_main():
        keep(exp, fold, state, folder)
    return row


def keep(exp: Experiment, fold: int, state: State, folder: Path) -> None:
    """Write the checkpoints of a finished epoch: the last one last, because it vouches for the others."""
    weights: dict[str, Any] = {"module": state.judged().state_dict(), "epoch": state.epoch, "fold": fold}
    weights["network"] = asdict(state.runner.network.blueprint)
    if best_epoch(exp, state.history) == state.epoch:
        checkpoint.save(folder / "best.ckpt", weights)
    if exp.average_last:
        checkpoint.save(folder / f"epoch{state.epoch:04d}.ckpt", weights)
    checkpoint.save_keeping_previous(folder / "last.ckpt", state.to_dict())
    for old in averaged_checkpoints(folder)[: -exp.average_last or None]:
        old.unlink()


def write_metrics(path: Path, history: list[dict[str, Any]], pace: dict[str, float] | None = None) -> None:
    """The history as JSON lines, `pace` being the last epoch's; an epoch whose times a kill took has null there.

    Times stand here only: checkpoints of the same run have the same bytes.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    paces = {row["epoch"]: row for row in map(json.loads, lines)} | ({len(history): pace} if pace else {})
    rows = [row | {k: paces.get(row["epoch"], {}).get(k) for k in PACE} for row in history]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def validate(state: State, val: Images) -> dict[str, float]:
    """The figures of `validation_figures` for the weights as they are now."""
    return validation_figures(val.labels, predict(state.runner, val, module=state.judged()))


def validation_figures(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Loss, AUC, macro F1 and accuracy of one validation pass; AUC is NaN-free: a fold holds every class."""
    chosen = probs.argmax(axis=1)
    matrix = metrics.confusion(labels, chosen, probs.shape[1], np.ones(len(labels)))
    truth = probs[np.arange(len(labels)), labels]
    per_class = [metrics.from_confusion(matrix, c)["f1"] for c in range(probs.shape[1])]
    return {
        "loss": float(-np.log(np.maximum(truth, 1e-12)).mean()),
        "auc": metrics.macro_auc(labels, probs),
        "f1": float(np.mean(per_class)),
        "accuracy": float((chosen == labels).mean()),
    }


def best_epoch(exp: Experiment, history: list[dict[str, Any]]) -> int:
    """Number (from 1) of the epoch with the best monitored figure; of equals the one with the lower loss.

    An AUC of 1 is soon reached on easy data, long before the probabilities of the folds are comparable.
    """
    sign = -1 if exp.monitor == "loss" else 1
    return max(history, key=lambda row: (sign * row[exp.monitor], -row["loss"]))["epoch"]


def stopped_early(exp: Experiment, history: list[dict[str, Any]]) -> bool:
    """Whether `patience` epochs passed without a better one."""
    return bool(history and exp.patience and history[-1]["epoch"] - best_epoch(exp, history) >= exp.patience)


def describe(exp: Experiment, fold: int, row: dict[str, Any]) -> str:
    """An epoch in a line."""
    figures = "  ".join(f"{k} {row[k]:.4f}" for k in ("train_loss", "loss", "auc", "f1", "accuracy"))
    speed = row["images_per_second"]
    return f"fold {fold}  epoch {row['epoch']:>2}/{exp.epochs}  {figures}  {speed:.0f} img/s"
