"""The life of a run: prepare, train each fold once, predict with it, collect what the folds left."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from chestfold.core import checkpoint, distributed, hooks
from chestfold.core.config import Experiment, Request
from chestfold.core.console import detail, forward, say, waiting
from chestfold.core.errors import InputError
from chestfold.core.files import Locked, append_line, remove, sha256_file, sha256_json, write_bytes
from chestfold.core.panel import panel
from chestfold.core.provenance import provenance, today
from chestfold.core.rng import generator
from chestfold.core.run_folder import FULL, FoldConfig, FoldFolder, FoldManifest, fold_title
from chestfold.data.loader import Images, TrainBatches
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import figures, predictions, results
from chestfold.evaluate.metrics import Predicted, find_metric, value_of
from chestfold.integrations.tracker import NoTracker, Tracker
from chestfold.models import MissingWeights, ood
from chestfold.models.load import load_networks, predict_mean
from chestfold.models.runner import Runner, count_views
from chestfold.train import loop
from chestfold.train.choose import Choice, choose, compared_figure
from chestfold.train.collect import collect, report
from chestfold.train.prepare import FoldImages, Prepared, corrupted_images, prepare
from chestfold.train.threads import set_threads, usable_cores

FOLD_FILES = [hooks.FILE, "best.ckpt", "oof.parquet", "test.parquet", "corrupted.parquet", ood.FILE, "metrics.jsonl"]
"""What the manifest proves, besides the epochs whose predictions are averaged."""


def run_request(
    request: Request, tracker: Tracker | None = None, threads: int = 0, on_epoch: loop.OnEpoch | None = None
) -> results.Result:
    """Train the wanted folds that are not finished, one after the other; collect what is finished then.

    Args:
        request: the run and its folds.
        tracker: what shows the run elsewhere.
        threads: of the CPU, for a fold that begins now; 0: as many as there are cores.
        on_epoch: called after each epoch; may stop the training.

    Raises:
        InputError: a fold was begun with other settings; all wanted folds are being trained by other processes.
        Stopped: `on_epoch` ended a fold; nothing is collected.
    """
    tracker = tracker or NoTracker()
    ready = prepare(request)
    folds = wanted_folds(ready)
    distributed.setup()
    locked = []
    with panel(request.name, len(folds)):
        for fold in folds:
            try:
                train_fold(ready, fold, tracker, threads, on_epoch)
            except Locked as error:
                locked.append(error)
                say(f"{fold_title(fold)} is passed over: {error}")
    distributed.cleanup()
    if len(locked) == len(folds):
        raise locked[0]
    return finish_run(ready, tracker)


def wanted_folds(ready: Prepared) -> tuple[int, ...]:
    """The folds that a request asks for.

    Raises:
        InputError: there is no such fold, or one that is there already was begun with other settings.
    """
    wanted = ready.request.folds or tuple(range(ready.folds.count))
    for fold in wanted:
        ready.folds.require(fold)
        with noted_when_not_run(ready.request):
            ready.sources.require(fold)
        if fold == FULL:
            _ = ready.full_plan  # refused before anything is trained
    for folder in ready.run.begun_folds():
        replaced = ready.request.overwrite and folder.number in wanted
        if folder.has_progress() and not replaced:
            with noted_when_overwriting(ready.request, wanted):
                folder.require_same(ready.fold_config(folder.number, threads=1))
    return wanted


@contextmanager
def noted_when_overwriting(request: Request, wanted: tuple[int, ...]) -> Iterator[None]:
    """Say in a refusal of a fold that `--overwrite`, which it advises, was given for other folds."""
    try:
        yield
    except InputError as error:
        if not request.overwrite:
            raise
        named = ", ".join(fold_title(fold) for fold in wanted)
        raise InputError(f"{error} (here it is for {named} alone: name all folds that differ)") from error


def finish_run(ready: Prepared, tracker: Tracker) -> results.Result:
    """Collect the finished folds, and report the result; only in the main process."""
    with waiting("scoring all folds"):
        result = collect(ready) if distributed.is_main() else None
    if result is not None:
        report(result)
        if FULL in ready.request.folds:
            say(f"all images were trained on in {ready.run.fold(FULL).path}")
            detail(f"next: chestfold submit {shlex.quote(result.name)} --full --dry-run")
        tracker.result_written(result.name)
        tracker.close()
    return result  # type: ignore[return-value]  # the other processes end here


@contextmanager
def noted_when_not_run(request: Request) -> Iterator[None]:
    """Leave a record when the pretrained weights cannot be had: the board has a row for it."""
    try:
        yield
    except MissingWeights:
        results.write_not_run(request, "weights", today())
        raise


def train_fold(
    ready: Prepared, fold: int, tracker: Tracker, threads: int = 0, on_epoch: loop.OnEpoch | None = None
) -> None:
    """Train one fold and leave its predictions; does nothing when it is finished already.

    Raises:
        Locked: another process works on it.
        InputError: it was begun with other settings.
    """
    folder = ready.run.fold(fold)
    with folder.lock() if distributed.is_main() else nullcontext(), noted_when_not_run(ready.request):
        wanted = ready.fold_config(fold, threads or usable_cores())
        config = distributed.broadcast_from_main(lambda: folder.claim(wanted, ready.request.overwrite))
        if distributed.broadcast_from_main(folder.is_finished):
            say(f"{ready.request.name}/{folder.path.name} is finished")
            forward("finished")
            return
        set_threads(config.threads)
        if distributed.is_main():
            tracker.fold_started(folder.path)
        fit_and_predict(ready, fold, folder, config, on_epoch)
        forward("finished")


def fit_and_predict(
    ready: Prepared, fold: int, folder: FoldFolder, config: FoldConfig, on_epoch: loop.OnEpoch | None = None
) -> None:
    """Fit, predict with the best epoch, and sign it all with a manifest."""

    def log(text: str, short: str = "") -> None:
        detail(text, short)
        if distributed.is_main():
            append_line(folder.path / "log.txt", text)

    images = ready.fold_images(fold)
    if distributed.is_main():
        if ready.used_hooks:
            write_bytes(folder.hooks_path, ready.used_hooks.data)
        draw_inputs(ready, fold, folder, images.train)
    for n, line in enumerate(images.describe()):
        log(f"{ready.request.name} {fold_title(fold)}: {line}" if n == 0 else line)
    later = predicted_later(ready.exp, images)
    loop.fit(ready.exp, fold, images.train, images.val, ready.goal(fold), folder, log, later, on_epoch)
    manifest = distributed.broadcast_from_main(lambda: predict_fold(ready, fold, folder, images, config, log))
    if fold == FULL:
        log(f"full is finished: {manifest.best_epoch} epochs, as many as the folds chose")
    else:
        log(f"fold {fold} is finished: best epoch {manifest.best_epoch} by {ready.exp.monitor}")


def predicted_later(exp: Experiment, images: FoldImages) -> int:
    """How often the networks see an image after the last epoch, in `predict_fold`."""
    train, val, test = len(images.train), len(images.val), len(images.test)
    views = count_views(exp.tta)
    networks = exp.average_last or 1
    for_ood = min(train, ood.MAX_IMAGES)
    return networks * (views * (val + test) + len(CORRUPTIONS) * val) + for_ood


def draw_inputs(ready: Prepared, fold: int, folder: FoldFolder, train: Images) -> None:
    """inputs.png: what the network is fed with."""
    path = folder.path / "inputs.png"
    if not path.exists():
        pixels, labels = TrainBatches(ready.exp, ready.task, fold, train, workers=0)[0, 0]
        truth = np.nan_to_num(ready.task.soft_labels(labels.numpy()))
        figures.inputs(path, pixels.numpy(), [ready.task.name_of(row) for row in truth])


def predict_fold(
    ready: Prepared,
    fold: int,
    folder: FoldFolder,
    images: FoldImages,
    config: FoldConfig,
    log: Callable[..., None],
) -> FoldManifest:
    """Predict with the best epoch and write the manifest, which is what makes a fold finished."""

    def figure(probs: np.ndarray) -> float:
        metric = find_metric(compared_figure(ready.exp), ready.index.dataset.metric_weights)
        return value_of(metric, Predicted(ready.task, images.val.labels, probs))

    choice = choose(ready.exp, folder, load_networks(folder, ready.exp), images.val, figure)
    if choice.chosen:
        log(choice.describe(ready.exp))
    networks = choice.networks
    val_features = write_predictions(ready, fold, folder, choice, images, config)
    if fold != FULL:  # whose threshold would be one of images that it was trained on
        write_ood(ready, fold, folder, images, networks[-1], val_features)
    remove(checkpoint.previous(folder.last_checkpoint))
    names = [*FOLD_FILES, *(path.name for path in folder.averaged_checkpoints())]
    manifest = FoldManifest(
        config_sha256=sha256_json(config.to_dict()),
        best_epoch=ready.goal(fold).kept_epoch(ready.exp, folder.history()),
        precision=networks[0].precision,
        minutes=training_minutes(folder),
        lungs_not_found=images.lungs_not_found(),
        synthetic=images.synthetic,
        joined=images.joined,
        chosen=choice.chosen,
        files=folder.hashes(names),
        **provenance().to_dict(),
    )
    manifest.write(folder.manifest_path)
    return manifest


def write_predictions(
    ready: Prepared,
    fold: int,
    folder: FoldFolder,
    choice: Choice,
    images: FoldImages,
    config: FoldConfig,
) -> np.ndarray | None:
    """oof.parquet and corrupted.parquet, proven against the fold file, and test.parquet, where there are such images.

    Returns the features of the validation images, float32 (N, D), where the prediction of theirs has them: None for
    compiled networks, and for those that do not name their layers.

    The eight corruptions are predicted from one view: with the views of `tta` they would cost more than some trainings.
    """
    exp, name = ready.exp, f"{ready.request.name}/{folder.path.name}"
    origin: dict[str, Any] = config.fingerprint | {"experiment": ready.request.name, "fold": fold, "data": exp.data}
    origin |= {"folds": ready.folds.name, "config_sha256": sha256_json(config.to_dict())}

    def predicted(of: Images, tta: str, label: str) -> np.ndarray:
        return predict_mean(choice.networks, of, tta, label=f"{fold_title(fold)} predicting: {label}")

    val_features = None
    if len(images.val):
        rows = ready.rows(images.val.ids)
        probs, val_features = predict_validation(exp, fold, choice, images.val)
        table = predictions.predictions(rows, fold, ready.classes, probs)
        predictions.check_against_folds(table, ready.folds, [fold], name, ready.task)
        predictions.write(folder.table_path("oof"), table, origin)
        corrupted = {}
        for n, corruption in enumerate(CORRUPTIONS, start=1):
            label = f"shifted {n}/{len(CORRUPTIONS)}"
            probs = predicted(corrupted_images(corruption, images.val), "none", label)
            corrupted[corruption] = predictions.predictions(rows, fold, ready.classes, probs)
        predictions.write(folder.table_path("corrupted"), predictions.stacked(corrupted), origin)
    if len(images.test):
        probs = predicted(images.test, exp.tta, "test")
        test = predictions.predictions(ready.test_rows, fold, ready.classes, probs)
        predictions.write(folder.table_path("test"), test, origin)
    return val_features


def predict_validation(exp: Experiment, fold: int, choice: Choice, val: Images) -> tuple[np.ndarray, np.ndarray | None]:
    """Out-of-fold probabilities (N, K), and the features (N, D) of `write_predictions`, of one pass."""
    label = f"{fold_title(fold)} predicting: validation"
    if choice.oof is not None:
        return choice.oof, None
    if exp.compile or exp.tta == "crops":  # whose passes do not show the features of an image as it is
        return predict_mean(choice.networks, val, exp.tta, label=label), None
    try:
        return ood.predicted_with_features(choice.networks, val, exp.tta, label)
    except ood.NoFeatureLayer:  # `write_ood` says so
        return predict_mean(choice.networks, val, exp.tta, label=label), None


def write_ood(
    ready: Prepared, fold: int, folder: FoldFolder, images: FoldImages, runner: Runner, val_features: np.ndarray | None
) -> None:
    """ood.npz, by which `chestfold predict` knows an image that is out of the training distribution.

    `val_features`: of the validation images, where they are known, float32 (N, D).
    """
    some = []
    for n, part in enumerate((images.train, images.val)):
        order = generator(ready.exp.seed, fold, "ood", n).permutation(len(part))
        some.append(np.sort(order[: ood.MAX_IMAGES]))
    train, val = images.train.take(some[0]), images.val.take(some[1])
    known = None if val_features is None else val_features[some[1]]
    try:
        label = f"{fold_title(fold)} predicting: {ood.LABEL}"
        detector = ood.fit(runner, train, val, sha256_file(folder.best_checkpoint), label, known)
    except ood.NoFeatureLayer as error:
        say(f"fold {fold}: {error}; chestfold predict will not tell what is out of distribution")
        return
    ood.write(folder.path / ood.FILE, detector)


def training_minutes(folder: FoldFolder) -> float:
    """Training time of a fold over all its starts, from the seconds of its epochs."""
    return round(sum(row.get("seconds", 0.0) for row in folder.history()) / 60, 2)
