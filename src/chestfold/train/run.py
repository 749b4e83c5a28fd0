"""The life of an experiment: prepare, train each fold once, prove and collect what the folds left."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from chestfold.core import checkpoint, distributed
from chestfold.core.config import Request
from chestfold.core.console import say
from chestfold.core.files import (
    explained_disk_errors,
    lock,
    runs_dir,
    sha256_file,
    sha256_json,
    write_json,
)
from chestfold.core.provenance import describe_code
from chestfold.core.rng import generator
from chestfold.data.loader import TrainBatches
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import figures, predictions, results
from chestfold.integrations.tracker import NoTracker, Tracker
from chestfold.models import MissingWeights, ood
from chestfold.models.load import averaged_checkpoints, load_networks, predict_mean
from chestfold.models.runner import Runner
from chestfold.train import loop
from chestfold.train.collect import collect, finished_folds, minutes, tell
from chestfold.train.fold_folder import begin, fold_config, fold_dir
from chestfold.train.prepare import (
    Prepared,
    corrupted_images,
    few,
    format_lungs_not_found,
    limit_per_class,
    lungs_not_found_counts,
    prepare,
    synthetic_counts,
    with_share,
    with_synthetic,
)

FOLD_FILES = ("best.ckpt", "oof.parquet", "test.parquet", "corrupted.parquet", ood.FILE, "metrics.jsonl")


def run_request(request: Request, tracker: Tracker | None = None) -> None:
    """Train the folds that are asked for and not finished; collect what is finished then."""
    tracker = tracker or NoTracker()
    ready = prepare(request)
    wanted = request.folds or tuple(range(ready.folds.count))
    for fold in wanted:
        ready.folds.require(fold)
    distributed.join()
    for fold in wanted:
        with noted_when_not_run(request):
            run_fold(ready, fold, tracker)
    distributed.leave()
    if distributed.is_main():
        result = collect(ready, finished_folds(ready))
        tell(result)
        tracker.result_written(result.name)
        tracker.close()


@contextmanager
def noted_when_not_run(request: Request) -> Iterator[None]:
    """Leave runs/NAME/not_run.json when the pretrained weights cannot be had: the board has a row for it."""
    try:
        yield
    except MissingWeights:
        about: dict[str, Any] = {
            "name": request.name,
            "why": "weights",
            "data": request.exp.data,
        }
        about |= {"settings": request.exp.to_dict(), "date": describe_code()["date"]}
        write_json(runs_dir() / request.name / results.NOT_RUN, about)
        raise


def run_fold(ready: Prepared, fold: int, tracker: Tracker) -> None:
    """Train one fold and leave its predictions; does nothing when it is finished already.

    Raises:
        InputError: another process works on it, or it was begun with other settings.
    """
    folder = fold_dir(ready.request.name, fold)
    with lock(folder) if distributed.is_main() else nullcontext():
        config = fold_config(ready, fold)
        if distributed.broadcast_from_main(lambda: begin(folder, config, ready.request.overwrite)):
            say(f"{folder.parent.name}/{folder.name} is finished")
            return
        if distributed.is_main():
            tracker.fold_started(folder)
        train_and_predict(ready, fold, folder, config)


def train_and_predict(ready: Prepared, fold: int, folder: Path, config: dict[str, Any]) -> None:
    """Fit, load the best epoch, predict validation and test images, and sign it all with a manifest."""

    def log(text: str) -> None:
        say(text)
        if distributed.is_main():
            with explained_disk_errors(folder / "log.txt"), (folder / "log.txt").open("a") as file:
                file.write(text + "\n")

    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    train = limit_per_class(ready.request.exp, fold, with_share(ready, fold, train))
    train = with_synthetic(ready, fold, train, log)
    if distributed.is_main() and not (folder / "inputs.png").exists():
        first, _ = TrainBatches(ready.request.exp, fold, train, workers=0)[0, 0]
        figures.inputs(folder / "inputs.png", first[:, 0].numpy())
    log(f"{ready.request.name} fold {fold}: {len(train)} training and {len(val)} validation images")
    for kind, images in (("training", train), ("validation", val), ("test", ready.images(ready.index.test))):
        for line in format_lungs_not_found(kind, images):
            log(line)
    loop.fit(ready.request.exp, fold, train, val, len(ready.classes), folder, log)
    best = distributed.broadcast_from_main(lambda: finish(ready, fold, folder, config))
    log(f"fold {fold} is finished: best epoch {best} by {ready.request.exp.monitor}; all epochs in metrics.jsonl")


def finish(ready: Prepared, fold: int, folder: Path, config: dict[str, Any]) -> int:
    """Predict with the best epoch and write the manifest, which is what makes a fold finished; returns the epoch."""
    exp = ready.request.exp
    networks = load_networks(folder, exp)
    write_predictions(ready, fold, folder, networks, config)
    try:
        write_ood(ready, fold, folder, networks[-1])
    except ood.NoFeatureLayer as error:
        say(f"fold {fold}: {error}; chestfold predict will not tell what is unlike the training data")
    checkpoint.previous(folder / "last.ckpt").unlink(missing_ok=True)
    kept = [*FOLD_FILES, *(path.name for path in averaged_checkpoints(folder))]
    files = {name: sha256_file(folder / name) for name in kept if (folder / name).exists()}
    best = checkpoint.load_weights(folder / "best.ckpt")["epoch"]
    about = {"config_sha256": sha256_json(config), "best_epoch": best, "precision": networks[0].precision}
    about |= {"minutes": minutes(folder / "metrics.jsonl"), **lungs_not_found_counts(ready, fold), **describe_code()}
    about |= {**synthetic_counts(ready, fold), "files": files}
    write_json(folder / "manifest.json", about)
    return best


def write_predictions(ready: Prepared, fold: int, folder: Path, networks: list[Runner], config: dict[str, Any]) -> None:
    """oof.parquet and corrupted.parquet, proven against the fold file, and test.parquet where there is a test split.

    The eight shifts are predicted from one view: with the views of `tta` they would cost more than some trainings.
    """
    exp, classes = ready.request.exp, ready.classes
    provenance = config["fingerprint"] | {"experiment": ready.request.name, "fold": fold, "data": exp.data}
    provenance |= {"folds": ready.folds.name, "config_sha256": sha256_json(config)}
    val, test = ready.rows(ready.folds.ids(fold)), ready.index.test
    images, name = ready.images(val), f"{folder.parent.name}/fold{fold}"
    table = predictions.predictions(val, fold, classes, predict_mean(networks, images, exp.tta))
    predictions.check_against_folds(table, ready.folds, [fold], name)
    predictions.write(folder / "oof.parquet", table, provenance)
    moved = {
        s: predictions.predictions(val, fold, classes, predict_mean(networks, corrupted_images(s, images), "none"))
        for s in CORRUPTIONS
    }
    predictions.write(folder / "corrupted.parquet", predictions.stacked(moved), provenance)
    if len(test):
        probs = predict_mean(networks, ready.images(test), exp.tta)
        predictions.write(folder / "test.parquet", predictions.predictions(test, fold, classes, probs), provenance)


def write_ood(ready: Prepared, fold: int, folder: Path, runner: Runner) -> None:
    """ood.npz, by which `chestfold predict` knows a picture that is unlike the training data.

    Raises:
        NoFeatureLayer: the network has no features to compare.
    """
    exp = ready.request.exp
    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    both = (limit_per_class(exp, fold, train), val)
    some = [few(images, generator(exp.seed, fold, "familiar", n)) for n, images in enumerate(both)]
    known = ood.learn(runner, some[0], some[1], sha256_file(folder / "best.ckpt"))
    ood.write(folder / ood.FILE, known)
