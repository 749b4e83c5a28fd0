"""One fold: the loop that trains it, from top to bottom.

No generator state is kept: what step n of epoch e does is a function of (seed, fold, e, n). A checkpoint holds the
weights, the optimizer and the history; with these, a killed training resumes as if nothing had happened.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chestfold.core import checkpoint, distributed
from chestfold.core.config import Experiment
from chestfold.core.console import bar, format_seconds
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.files import remove
from chestfold.core.rng import key
from chestfold.core.run_folder import FoldFolder, History, fold_title
from chestfold.core.task import Task
from chestfold.data.loader import Images, TrainBatches
from chestfold.data.resident import training_batches
from chestfold.data.tabular import Cells, fit_encoding
from chestfold.data.transforms.mixup import Mix, create_mix
from chestfold.evaluate.metrics import Metric, Predicted, find_metric, validation_figures
from chestfold.models import channels, create, training_mode
from chestfold.models.runner import Runner, make_runner, predict
from chestfold.models.timm_import import ModelEmaV3
from chestfold.models.warm_start import Start, create_from
from chestfold.train.losses import Loss, create_loss
from chestfold.train.optim import create_optimizer, lr_at, set_lr
from chestfold.train.progress import FoldClock, show_fold

CHECKPOINT_SECONDS = 120.0
"""A long epoch is saved in the middle too: a kill costs at most this much work."""
OnEpoch = Callable[[int, int, dict[str, Any]], Any]
"""Called after each epoch with the fold, the epoch's number (from 1) and its row of metrics.jsonl.

What is true ends the training there, as if it had been killed: the same settings resume it.
"""
CHECK_EVERY = 20
"""Batches between looks at losses and gradients: on a GPU each look waits for the device."""


class Stopped(TrainingError):
    """A fold was ended by its `OnEpoch`; it is not finished."""


@dataclass
class Meter:
    """Loss and hit rate of the batches of an epoch, kept on the device until `flush` moves them to the lists."""

    losses: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    waiting: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, hits: Tensor, share: float) -> None:
        """Those of one batch, of which this process has `share`."""
        self.waiting.append(torch.stack([loss.detach(), hits]) * share)

    def flush(self, fold: int, epoch: int) -> None:
        """Wait for the device.

        Raises:
            TrainingError: a loss is not a number.
        """
        if not self.waiting:
            return
        values = distributed.total(torch.stack(self.waiting)).tolist()
        self.waiting.clear()
        for loss, hits in values:
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of {fold_title(fold)} became {loss} at epoch {epoch + 1}, batch {len(self.losses) + 1}; "
                    "lower --lr, set --max-grad-norm 1 or --precision fp32 (with --overwrite); the last checkpoint is "
                    "untouched"
                )
            self.losses.append(loss)
            self.hits.append(hits)


@dataclass
class State:
    """All that changes while a fold trains, and all that a checkpoint holds."""

    runner: Runner
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    epoch: int = 0
    batch: int = 0
    meter: Meter = field(default_factory=Meter)
    history: History = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For `checkpoint.save`."""
        return {
            "module": self.runner.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "epoch": self.epoch,
            "batch": self.batch,
            "losses": self.meter.losses,
            "hits": self.meter.hits,
            "norms": self.meter.norms,
            "history": json.dumps(self.history),  # a pickle's bytes would depend on which rows were loaded from one
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `to_dict` was taken from."""
        self.runner.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.ema:
            self.ema.module.load_state_dict(saved["ema"])
        self.epoch, self.batch = saved["epoch"], saved["batch"]
        self.meter = Meter(saved["losses"], saved["hits"], saved["norms"])
        self.history = json.loads(saved["history"])

    @property
    def kept_module(self) -> nn.Module:
        """The module that is validated and kept: the averaged one where there is an average."""
        return self.ema.module if self.ema else self.runner.module


def start(exp: Experiment, fold: int, task: Task, cells: Cells | None = None, earlier: Start | None = None) -> State:
    """A fold before its first step; the new weights are a function of (seed, fold).

    `cells`: of its training images. `earlier`: weights of an earlier run, which it begins with.
    """
    if exp.tabular and cells is None:
        raise InputError(f"tabular: the training images come without the columns {', '.join(exp.tabular)}")
    torch.manual_seed(key(exp.seed, fold, "weights") >> 1)
    if earlier:
        network = create_from(earlier, exp, task.outputs)
    else:
        network = create(exp, task.outputs, fit_encoding(cells) if cells else None)
    runner = make_runner(network, exp, task)
    require_size(exp, runner)
    runner = replace(runner, call=distributed.data_parallel(runner.call, runner.device))
    scaler = torch.amp.GradScaler(runner.device.type, enabled=runner.dtype is torch.float16)
    ema = ModelEmaV3(runner.module, decay=exp.ema_decay, use_warmup=True) if exp.ema_decay else None
    return State(runner, create_optimizer(exp, runner.module), scaler, ema)


@torch.inference_mode()
def require_size(exp: Experiment, runner: Runner) -> None:
    """Raise `InputError` when the network cannot take images of this size."""
    size, encoding = exp.image_size, runner.network.encoding
    planes = channels(exp) + (encoding.width if encoding else 0)
    try:
        runner.module.eval()(torch.zeros(1, planes, size, size, device=runner.device))
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{exp.backbone} cannot take images of {size} px ({reason}); choose another") from error


@dataclass(frozen=True)
class Goal:
    """What a fold learns, and by which figure its best epoch is chosen: `monitored` holds that of the experiment.

    `start`: the weights that it begins with, where they are those of an earlier run. `unvalidated`: so many epochs are
    trained without validation, of which the last one is kept; 0: as many as the experiment says, and the best.
    """

    task: Task
    monitored: dict[str, Metric]
    start: Start | None = None
    unvalidated: int = 0

    def is_reached(self, exp: Experiment, history: History) -> bool:
        """Whether no further epoch is wanted."""
        if self.unvalidated:
            return len(history) >= self.unvalidated
        return len(history) >= exp.epochs or stopped_early(exp, history)

    def epochs_left(self, exp: Experiment, history: History) -> int:
        """How many further epochs are trained at most."""
        return 0 if self.is_reached(exp, history) else (self.unvalidated or exp.epochs) - len(history)

    def kept_epoch(self, exp: Experiment, history: History) -> int:
        """Number (from 1) of the epoch whose weights predict."""
        return history[-1]["epoch"] if self.unvalidated else best_epoch(exp, history)


@dataclass(frozen=True)
class Recipe:
    """What does not change while a fold trains."""

    exp: Experiment
    fold: int
    batches: TrainBatches
    loss: Loss
    mix: Mix
    task: Task

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps: the last one of an epoch may be of fewer batches."""
        return math.ceil(self.batches.per_epoch / self.exp.grad_accum_steps)


def fit(
    exp: Experiment,
    fold: int,
    train: Images,
    val: Images,
    goal: Goal,
    folder: FoldFolder,
    log: Callable[..., None],
    predicted_later: int = 0,
    on_epoch: OnEpoch | None = None,
) -> State:
    """Train a fold, resuming from `last.ckpt` if there is one; leaves `best.ckpt` and `metrics.jsonl`.

    Args:
        exp: the settings.
        fold: its number.
        train: images.
        val: images; none in the training on all of them.
        goal: what is learnt.
        folder: of the fold.
        log: takes a line, and a short one for narrow terminals.
        predicted_later: images that are predicted afterwards, for the estimate of the time that is left.
        on_epoch: may end the training after an epoch.

    Raises:
        Stopped: `on_epoch` ended it.
        TrainingError: the loss or a prediction is not a number.
        ServiceError: the disk is full.
    """
    task = goal.task
    state = start(exp, fold, task, train.cells, goal.start)
    resume(exp, state, fold, folder, log)
    device = state.runner.device
    batches = training_batches(exp, task, fold, train, device)
    loss = create_loss(exp, task, train.labels, device)
    recipe = Recipe(exp, fold, batches, loss, create_mix(exp.mixup_alpha, exp.cutmix_alpha), task)
    clock = FoldClock(predicted_later)
    show_status(exp, goal, state.history, clock)
    while not goal.is_reached(exp, state.history):
        began, first = time.perf_counter(), state.batch
        train_epoch(recipe, state, folder)
        trained = time.perf_counter()
        seconds = trained - began
        row = close_epoch(exp, fold, state, val, goal, folder)
        images_per_second = (batches.per_epoch - first) * exp.batch_size / seconds
        timing = {"seconds": seconds, "images_per_second": images_per_second}
        share = 1 - first / batches.per_epoch  # less than 1 where it was resumed in the middle of the epoch
        clock.add_epoch(seconds, share, time.perf_counter() - trained, len(val))
        if distributed.is_main():
            write_metrics(folder, state.history, timing)
        best = 0 if goal.unvalidated else best_epoch(exp, state.history)
        log(*describe(exp, fold, row | timing, best))
        show_status(exp, goal, state.history, clock, images_per_second)
        if on_epoch:
            report_epoch(on_epoch, fold, row | timing)
    return state


def report_epoch(on_epoch: OnEpoch, fold: int, row: dict[str, Any]) -> None:
    """Tell of an epoch, in the main process; raises `Stopped` where the answer is true."""
    if distributed.broadcast_from_main(lambda: bool(on_epoch(fold, row["epoch"], row))):
        raise Stopped(f"{fold_title(fold)} was stopped after epoch {row['epoch']}; the same settings resume it")


def show_status(exp: Experiment, goal: Goal, history: History, clock: FoldClock, images_per_second: float = 0) -> None:
    """Send to the panel how the fold trains."""
    best = best_epoch(exp, history) if history and not goal.unvalidated else 0
    show_fold(exp, history, best, goal.epochs_left(exp, history), clock, images_per_second)


def resume(exp: Experiment, state: State, fold: int, folder: FoldFolder, log: Callable[[str], None]) -> None:
    """Continue from the newest complete checkpoint, if there is one."""
    saved, complaints = distributed.broadcast_from_main(lambda: checkpoint.load_newest(folder.last_checkpoint))
    for sentence in complaints:
        log(sentence)
    if saved is None:
        return
    state.restore(saved)
    if distributed.is_main():
        write_metrics(folder, state.history)  # the kill may have come before its last line
        remove_older_epochs(exp, folder, state.epoch)  # and before these were deleted
    log(f"{fold_title(fold)}: resuming at epoch {state.epoch + 1}, batch {state.batch + 1}")


def train_epoch(recipe: Recipe, state: State, folder: FoldFolder) -> None:
    """All steps of the epoch from `state.batch` on."""
    exp, fold, batches, runner = recipe.exp, recipe.fold, recipe.batches, state.runner
    saved_at = time.monotonic()
    training_mode(runner.module, exp.freeze)
    label = f"{fold_title(fold)} epoch {state.epoch + 1}/{exp.epochs}"
    with bar(label, batches.per_epoch, done=state.batch) as advance:
        for pixels, labels in batches.epoch(state.epoch, state.batch):
            torch.manual_seed(key(exp.seed, fold, "step", state.epoch, state.batch, distributed.rank()) >> 1)
            targets = recipe.task.targets(labels).to(runner.device)
            cells = batches.cells(state.epoch, state.batch)
            images, targets = recipe.mix(runner.images(pixels, cells), targets)
            state.batch += 1
            last = state.batch == batches.per_epoch
            whole_step = last or state.batch % exp.grad_accum_steps == 0
            share = len(images) / batches.size  # of this process in the batch; 1 when it is alone
            with distributed.gradient_sync(runner.call, whole_step):
                logits = train_logits(exp, runner, images)
                loss = recipe.loss(logits, targets)
                backward(state, loss * share, exp.grad_accum_steps)
            state.meter.add(loss, recipe.task.hit_rate(logits.detach(), targets), share)
            if whole_step:
                optimizer_step(recipe, state)
            due = whole_step and distributed.is_main() and time.monotonic() - saved_at > CHECKPOINT_SECONDS
            alone = distributed.world() == 1
            if last or len(state.meter.waiting) >= CHECK_EVERY or (due and alone):
                state.meter.flush(fold, state.epoch)
            if due and not state.meter.waiting:
                checkpoint.save_keeping_previous(folder.last_checkpoint, state.to_dict())
                saved_at = time.monotonic()
            advance()


def backward(state: State, loss: Tensor, accumulated: int) -> None:
    """Add the gradients of one batch; over several processes their mean is taken, of which the sum is wanted."""
    state.scaler.scale(loss * distributed.world() / accumulated).backward()


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


def optimizer_step(recipe: Recipe, state: State) -> None:
    """One step at the rate of its place in the run, then the moving average."""
    exp, per_epoch = recipe.exp, recipe.steps_per_epoch
    step = (state.batch - 1) // exp.grad_accum_steps
    number = state.epoch * per_epoch + step
    set_lr(state.optimizer, lr_at(exp, number, per_epoch))
    measured = step % CHECK_EVERY == 0
    if exp.max_grad_norm or measured:
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.clip_grad_norm_(state.runner.module.parameters(), exp.max_grad_norm or math.inf)
        if measured:
            state.meter.norms.append(float(norm))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.ema:
        state.ema.update(state.runner.module, step=number)


def close_epoch(
    exp: Experiment, fold: int, state: State, val: Images, goal: Goal, folder: FoldFolder
) -> dict[str, Any]:
    """Validate, keep the weights if they are the best so far, make the epoch permanent; returns its figures."""
    for module in {state.runner.module, state.kept_module}:
        distributed.average_buffers(module)
    meter = state.meter
    row = {
        "epoch": state.epoch + 1,
        "lr": max(group["lr"] for group in state.optimizer.param_groups),
        "train_loss": float(np.mean(meter.losses)),
        "train_accuracy": float(np.mean(meter.hits)),
        "grad_norm": float(np.mean(meter.norms)) if meter.norms else None,
    }
    if not goal.unvalidated:
        row |= distributed.broadcast_from_main(lambda: validate(fold, state, val, goal))
    state.history = [*state.history, row]
    state.epoch, state.batch, state.meter = state.epoch + 1, 0, Meter()
    if distributed.is_main():
        keep(exp, fold, state, goal, folder)
    return row


def validate(fold: int, state: State, val: Images, goal: Goal) -> dict[str, float]:
    """The figures of the validation images for the weights as they are now."""
    probs = predict(state.runner, val, module=state.kept_module, label=f"fold {fold} validating")
    return validation_figures(Predicted(goal.task, val.labels, probs), goal.monitored)


def keep(exp: Experiment, fold: int, state: State, goal: Goal, folder: FoldFolder) -> None:
    """Write the checkpoints of a finished epoch. `last.ckpt` is written last: if it exists, the others are complete."""
    weights: dict[str, Any] = {"module": state.kept_module.state_dict(), "epoch": state.epoch, "fold": fold}
    weights["network"] = asdict(state.runner.network.blueprint)
    if goal.kept_epoch(exp, state.history) == state.epoch:
        checkpoint.save(folder.best_checkpoint, weights)
    if exp.average_last:
        checkpoint.save(folder.epoch_checkpoint(state.epoch), weights)
    checkpoint.save_keeping_previous(folder.last_checkpoint, state.to_dict())
    remove_older_epochs(exp, folder, state.epoch)


def remove_older_epochs(exp: Experiment, folder: FoldFolder, finished: int) -> None:
    """Delete the epochs that, after `finished` ones, are not among the last whose predictions are averaged."""
    kept = {folder.epoch_checkpoint(finished - back) for back in range(exp.average_last)}
    for path in folder.averaged_checkpoints():
        if path not in kept:
            remove(path)


def write_metrics(folder: FoldFolder, history: History, timing: dict[str, float] | None = None) -> None:
    """metrics.jsonl: a row for each epoch; `timing` is the last one's."""
    folder.write_history(history, "epoch", timing)


def best_epoch(exp: Experiment, history: History) -> int:
    """Number (from 1) of the epoch with the best monitored figure; of equals the one with the lower loss.

    An AUC of 1 is soon reached on easy data, long before the probabilities of the folds are comparable.
    """
    metric = find_metric(exp.monitor)
    return max(history, key=lambda row: (metric.worth(row[exp.monitor]), -row["loss"]))["epoch"]


def stopped_early(exp: Experiment, history: History) -> bool:
    """Whether `patience` epochs passed without a better one."""
    return bool(history and exp.patience and history[-1]["epoch"] - best_epoch(exp, history) >= exp.patience)


def describe(exp: Experiment, fold: int, row: dict[str, Any], best: int) -> tuple[str, str]:
    """An epoch in a line, and the same in a short one: losses, the monitored figure, time; a star: the best so far."""
    monitored = "auc" if exp.monitor == "loss" else exp.monitor
    figures = [f"{name} {row[name]:.4f}" for name in ("loss", monitored) if name in row]
    place = f"{fold_title(fold)}  epoch {row['epoch']:>2}/{exp.epochs}"
    seconds = format_seconds(row["seconds"])
    star = " *" if row["epoch"] == best else ""
    long = [place, f"train {row['train_loss']:.4f}", *figures, seconds]
    return "  ".join(long) + star, "  ".join([place, *figures]) + star
