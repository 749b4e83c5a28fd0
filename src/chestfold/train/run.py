"""The life of an experiment: prepare, train each fold once, prove and collect what the folds left."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from chestfold.cli.experiment import Request
from chestfold.core import checkpoint, distributed
from chestfold.core.config import Experiment, difference
from chestfold.core.console import say
from chestfold.core.files import (
    BadInput,
    explained_disk_errors,
    lock,
    read_json,
    runs_dir,
    sha256_file,
    sha256_json,
    sweep,
    write_json,
)
from chestfold.core.provenance import describe_code
from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.cache import Cache, open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.loader import Images, TrainBatches, images_of
from chestfold.data.sampling import drawn_share, few_per_class
from chestfold.data.synthetic import open_part, require_no_kin
from chestfold.data.transforms import preprocess
from chestfold.data.transforms.corruptions import SHIFTS, shifted
from chestfold.evaluate import figures, predictions, results
from chestfold.integrations.wandb import launch
from chestfold.models import MissingWeights, ood, weights_identity
from chestfold.models.load import load_voters, vote
from chestfold.train import loop

FOLD_FILES = ("best.ckpt", "oof.parquet", "test.parquet", "shifted.parquet", ood.FILE, "metrics.jsonl")


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data in hand."""

    request: Request
    index: Index
    folds: folds.Folds
    cache: Cache

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the prediction columns."""
        return self.index.dataset.classes

    def images(self, rows: pd.DataFrame) -> Images:
        """The pixels and class numbers of some rows (id, label); -1 where the label is withheld."""
        number = {name: n for n, name in enumerate(self.classes)} | {"": -1}
        labels = np.array([number[label] for label in rows["label"]], np.int64)
        how = preprocess.treatment(self.request.exp)
        return Images(self.cache.images, self.cache.rows(rows["id"]), rows["id"].tolist(), labels, how, self.lungs)

    @cached_property
    def lungs(self) -> preprocess.Lungs | None:
        """Those in all images of the cache, found once, where the experiment needs them."""
        return preprocess.find_lungs(preprocess.treatment(self.request.exp), self.cache.images)

    def rows(self, ids: list[str]) -> pd.DataFrame:
        """id, group, fold, label of training images, in the order of `ids`."""
        return self.folds.table.set_index("id").loc[ids].reset_index()

    def bound(self) -> dict[str, str]:
        """The hashes of what every prediction of this run is made from."""
        return {
            "index_sha256": self.index.sha256(),
            "content_sha256": self.cache.content,
            "folds_sha256": self.folds.sha256,
            "weights": weights_identity(self.request.exp),
            **preprocess.method(self.request.exp),
        }


def run_request(request: Request) -> None:
    """Train the folds that are asked for and not finished; collect what is finished then."""
    ready = prepare(request)
    wanted = request.folds or tuple(range(ready.folds.count))
    for fold in wanted:
        ready.folds.require(fold)
    distributed.join()
    followers = []
    for fold in wanted:
        with noted_when_not_run(request):
            followers.append(run_fold(ready, fold))
    distributed.leave()
    if distributed.is_first():
        result = collect(ready, finished_folds(ready))
        tell(result)
        launch.settle([*followers, launch.show_result(result.name, request.wandb)])


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


def finished_folds(ready: Prepared) -> list[int]:
    """Numbers of the folds that have their manifest."""
    return [f for f in range(ready.folds.count) if (fold_dir(ready.request.name, f) / "manifest.json").exists()]


def prepare(request: Request) -> Prepared:
    """Index, folds and decoded images of an experiment."""
    index = open_index(request.exp.data)
    preprocess.require_lungs(request.exp, index.dataset)
    for note in index.notes:
        say(f"{request.exp.data}: {note}")
    chosen = folds.load(request.exp.fold_file, index)
    return Prepared(request, index, chosen, open_cache(index, request.exp.image_size))


def fold_dir(name: str, fold: int) -> Path:
    """Where a fold of a run lies."""
    return runs_dir() / name / f"fold{fold}"


def run_fold(ready: Prepared, fold: int) -> subprocess.Popen | None:
    """Train one fold and leave its predictions; does nothing when it is finished already. Returns its W&B follower.

    Raises:
        BadInput: another process works on it, or it was begun with other settings.
    """
    folder = fold_dir(ready.request.name, fold)
    with lock(folder) if distributed.is_first() else nullcontext():
        config = fold_config(ready, fold)
        if distributed.decided_by_first(lambda: begin(folder, config, ready.request.overwrite)):
            say(f"{folder.parent.name}/{folder.name} is finished")
            return None
        follower = launch.follower(folder, ready.request.wandb) if distributed.is_first() else None
        train_and_predict(ready, fold, folder, config)
        return follower


def begin(folder: Path, config: dict[str, Any], overwrite: bool) -> bool:
    """Tidy and claim a fold's folder; returns whether it is finished already."""
    sweep(folder)
    claim(folder, config, overwrite)
    return is_finished(folder, config)


def fold_config(ready: Prepared, fold: int) -> dict[str, Any]:
    """The content of config.json: all that decides the bytes of a fold's predictions."""
    request = ready.request
    return {
        "experiment": request.name,
        "fold": fold,
        "settings": request.exp.to_dict(),
        "parent": request.parent,
        "changed": {k: list(v) for k, v in request.changed.items()},
        "classes": list(ready.classes),
        "positive": ready.index.dataset.positive,
        "bound": ready.bound() | bound_synthetic(ready, fold),
    }


def claim(folder: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Bind `folder` to `config`, once.

    Raises:
        BadInput: it is bound to another one; names the differences and the ways on.
    """
    path = folder / "config.json"
    if overwrite:
        _empty(folder)
    if not path.exists():
        write_json(path, config)
        return
    old = read_json(path)
    changed = difference(_deciding(old), _deciding(json.loads(json.dumps(config))))
    if changed:
        spoken = ", ".join(f"{k}: {a} -> {b}" for k, (a, b) in changed.items())
        raise BadInput(
            f"{folder} was begun with other settings ({spoken}); copy the experiment to a new number to keep "
            "both, or add --overwrite to throw the old one away"
        )


def _empty(folder: Path) -> None:
    """Delete what a fold holds: what vouches for files before them, and last the config that they are bound to."""
    for vouching in (folder.parent / "scores.json", folder / "manifest.json"):
        vouching.unlink(missing_ok=True)
    for file in folder.iterdir():
        if file.name not in (".lock", "config.json"):
            file.unlink()
    (folder / "config.json").unlink(missing_ok=True)


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    """A setting that an older version did not know had its default."""
    return (
        Experiment().to_dict()
        | config["settings"]
        | config["bound"]
        | {k: config[k] for k in ("fold", "classes", "positive")}
    )


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the manifest is there and every file that it names has its hash.

    Raises:
        BadInput: a file was changed or lost after the fold was finished.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return False
    for name, digest in read_json(path)["files"].items():
        if not (folder / name).exists() or sha256_file(folder / name) != digest:
            raise BadInput(
                f"{folder / name} is not the file that the fold finished with; restore it, or train fold "
                f"{config['fold']} again with --overwrite"
            )
    return True


def train_and_predict(ready: Prepared, fold: int, folder: Path, config: dict[str, Any]) -> None:
    """Fit, load the best epoch, predict validation and test images, and sign it all with a manifest."""

    def log(text: str) -> None:
        say(text)
        if distributed.is_first():
            with explained_disk_errors(folder / "log.txt"), (folder / "log.txt").open("a") as file:
                file.write(text + "\n")

    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    train = chosen_images(ready.request.exp, fold, with_share(ready, fold, train))
    train = with_synthetic(ready, fold, train, log)
    if distributed.is_first() and not (folder / "inputs.png").exists():
        first, _ = TrainBatches(ready.request.exp, fold, train, workers=0)[0, 0]
        figures.inputs(folder / "inputs.png", first[:, 0].numpy())
    log(f"{ready.request.name} fold {fold}: {len(train)} training and {len(val)} validation images")
    for kind, images in (("training", train), ("validation", val), ("test", ready.images(ready.index.test))):
        for line in spoken_declined(kind, images):
            log(line)
    loop.fit(ready.request.exp, fold, train, val, len(ready.classes), folder, log)
    best = distributed.decided_by_first(lambda: finish(ready, fold, folder, config))
    log(f"fold {fold} is finished: best epoch {best} by {ready.request.exp.monitor}; all epochs in metrics.jsonl")


def spoken_declined(kind: str, images: Images) -> list[str]:
    """How many of these images are seen whole because no lungs were found in them, and why; empty where none is."""
    reasons = images.declined()
    if not reasons:
        return []
    why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
    return [f"no lungs were found in {reasons.total()} of {len(images)} {kind} images, which are seen whole ({why})"]


def with_share(ready: Prepared, fold: int, train: Images) -> Images:
    """The training images of a fold, with `positive_share` of the positive class."""
    exp, positive = ready.request.exp, ready.classes.index(ready.index.dataset.positive)
    if exp.positive_share == 1:
        return train
    ids = [i for i, label in zip(train.ids, train.labels, strict=True) if label == positive]
    dropped = set(ids) - set(drawn_share(ids, exp.positive_share, exp.seed, fold))
    kept = np.array([n for n, i in enumerate(train.ids) if i not in dropped], np.int64)
    return replace(train, rows=train.rows[kept], ids=[train.ids[k] for k in kept], labels=train.labels[kept])


def with_synthetic(ready: Prepared, fold: int, train: Images, log: Callable[[str], None]) -> Images:
    """The training images of a fold and its synthetic ones, after the proof that none is kin to a held-out image.

    Raises:
        BadInput: one is; the classes of the two sets differ.
    """
    exp = ready.request.exp
    if not exp.synthetic:
        return train
    part = open_part(exp.synthetic, fold, exp.image_size)
    real = pd.concat([ready.folds.table, ready.index.test])
    require_no_kin(part, dict(zip(real["id"], real["group"], strict=True)), held_out(ready, fold))
    strangers = sorted(set(part.table["label"]) - set(ready.classes))
    if strangers:
        raise BadInput(f"{part.path}: class {strangers[0]!r} is not one of {', '.join(ready.classes)}")
    unseen = len(part.parents() - set(train.ids))
    log(f"{len(part.ids)} synthetic images of {part.name}, from {len(part.parents())} real ones"
        f"{f', {unseen} of which are not trained upon' * bool(unseen)}")  # fmt: skip
    labels = np.array([ready.classes.index(label) for label in part.table["label"]], np.int64)
    pixels = np.concatenate([train.pixels[train.rows], part.pixels])
    return images_of(train.how, pixels, [*train.ids, *part.ids], np.concatenate([train.labels, labels]))


def held_out(ready: Prepared, fold: int) -> set[str]:
    """Ids of the images that no training image of a fold may descend from."""
    return {*ready.folds.ids(fold), *ready.index.test["id"]}


def bound_synthetic(ready: Prepared, fold: int) -> dict[str, str]:
    """The hash of a fold's synthetic images and of what is said of them; nothing where there are none."""
    exp = ready.request.exp
    return {"synthetic_sha256": open_part(exp.synthetic, fold, exp.image_size).sha256} if exp.synthetic else {}


def synthetic_counts(ready: Prepared, fold: int) -> dict[str, dict[str, int]]:
    """For the manifest: how many synthetic images a fold trained on, and from how many real ones they were made."""
    exp = ready.request.exp
    if not exp.synthetic:
        return {}
    part = open_part(exp.synthetic, fold, exp.image_size)
    return {"synthetic": {"images": len(part.ids), "made_from": len(part.parents())}}


def chosen_images(exp: Experiment, fold: int, train: Images) -> Images:
    """The training images of a fold, or `train_per_class` of each class."""
    if not exp.train_per_class:
        return train
    kept = few_per_class(train.labels, exp.train_per_class, generator(exp.seed, fold, "few"))
    return replace(train, rows=train.rows[kept], ids=[train.ids[k] for k in kept], labels=train.labels[kept])


def finish(ready: Prepared, fold: int, folder: Path, config: dict[str, Any]) -> int:
    """Predict with the best epoch and write the manifest, which is what makes a fold finished; returns the epoch."""
    exp = ready.request.exp
    voters = load_voters(folder, exp)
    write_predictions(ready, fold, folder, voters, config)
    try:
        write_familiar(ready, fold, folder, voters[-1])
    except ood.NoLayer as error:
        say(f"fold {fold}: {error}; chestfold predict will not tell what is unlike the training data")
    checkpoint.previous(folder / "last.ckpt").unlink(missing_ok=True)
    kept = [*FOLD_FILES, *(path.name for path in loop.voting_epochs(folder))]
    files = {name: sha256_file(folder / name) for name in kept if (folder / name).exists()}
    best = checkpoint.load_weights(folder / "best.ckpt")["epoch"]
    about = {"config_sha256": sha256_json(config), "best_epoch": best, "precision": voters[0].precision}
    about |= {"minutes": minutes(folder / "metrics.jsonl"), **declined_counts(ready, fold), **describe_code()}
    about |= {**synthetic_counts(ready, fold), "files": files}
    write_json(folder / "manifest.json", about)
    return best


def declined_counts(ready: Prepared, fold: int) -> dict[str, dict[str, int]]:
    """For the manifest: how many images of each part of a fold are seen whole; nothing where no lungs are asked for."""
    if ready.lungs is None:
        return {}
    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    parts = {"training": train, "validation": val, "test": ready.images(ready.index.test)}
    return {"lungs_not_found": {kind: images.declined().total() for kind, images in parts.items()}}


def write_predictions(
    ready: Prepared, fold: int, folder: Path, voters: list[loop.Runner], config: dict[str, Any]
) -> None:
    """oof.parquet and shifted.parquet, proven against the fold file, and test.parquet where there is a test split.

    The eight shifts are predicted from one view: with the views of `tta` they would cost more than some trainings.
    """
    exp, classes = ready.request.exp, ready.classes
    provenance = config["bound"] | {"experiment": ready.request.name, "fold": fold, "data": exp.data}
    provenance |= {"folds": ready.folds.name, "config_sha256": sha256_json(config)}
    val, test = ready.rows(ready.folds.ids(fold)), ready.index.test
    images, name = ready.images(val), f"{folder.parent.name}/fold{fold}"
    table = predictions.predictions(val, fold, classes, vote(voters, images, exp.tta))
    predictions.check_against_folds(table, ready.folds, [fold], name)
    predictions.write(folder / "oof.parquet", table, provenance)
    moved = {
        s: predictions.predictions(val, fold, classes, vote(voters, moved_images(s, images), "none")) for s in SHIFTS
    }
    predictions.write(folder / "shifted.parquet", predictions.stacked(moved), provenance)
    if len(test):
        probs = vote(voters, ready.images(test), exp.tta)
        predictions.write(folder / "test.parquet", predictions.predictions(test, fold, classes, probs), provenance)


def write_familiar(ready: Prepared, fold: int, folder: Path, runner: loop.Runner) -> None:
    """familiar.npz, by which `chestfold predict` knows a picture that is unlike the training data.

    Raises:
        NoLayer: the network has no features to compare.
    """
    exp = ready.request.exp
    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    both = (chosen_images(exp, fold, train), val)
    some = [few(images, generator(exp.seed, fold, "familiar", n)) for n, images in enumerate(both)]
    known = ood.learn(runner, some[0], some[1], sha256_file(folder / "best.ckpt"))
    ood.write(folder / ood.FILE, known)


def few(images: Images, rng: np.random.Generator) -> Images:
    """At most `familiar.LOOKED_AT` of `images`, in their order."""
    chosen = np.sort(rng.permutation(len(images))[: ood.LOOKED_AT])
    return replace(images, rows=images.rows[chosen], ids=[images.ids[n] for n in chosen], labels=images.labels[chosen])


def moved_images(shift: str, images: Images) -> Images:
    """The same images under a shift of acquisition; their lungs are found anew, as they would be at another machine."""
    return images_of(images.how, shifted(shift, images.pixels[images.rows], images.ids), images.ids, images.labels)


def minutes(metrics_path: Path) -> float:
    """Training time of a fold over all its starts, from the seconds of its epochs."""
    rows = [json.loads(line) for line in metrics_path.read_text().splitlines()]
    return round(sum(row["seconds"] or 0.0 for row in rows) / 60, 2)


def collect(ready: Prepared, trained: list[int]) -> results.Result:
    """Merge the `trained` folds of a run into runs/NAME/{oof,shifted,test}.parquet, scores.json and its figures.

    Raises:
        BadInput: a fold is missing, was changed, or was trained on other folds, data or settings.
    """
    name, folder = ready.request.name, runs_dir() / ready.request.name
    with FileLock(folder / ".collect.lock"):  # two processes may finish two folds at the same moment
        manifests = {f: finished_manifest(ready, f) for f in trained}
        whole = predictions.merge_oof(fold_tables(ready, trained, "oof"), ready.folds, trained)
        tests = fold_tables(ready, trained, "test") if len(ready.index.test) else {}
        test = predictions.mean_predictions([tests[f] for f in trained]) if tests else None
        provenance: dict[str, Any] = ready.bound() | {"experiment": name, "data": ready.request.exp.data}
        provenance["folds"] = ready.folds.name
        provenance["members"] = {str(f): m["files"]["oof.parquet"] for f, m in manifests.items()}
        about = describe_run(ready, manifests)
        result = results.write_result(folder, whole, test, provenance, about, merged_shifts(ready, manifests))
        (folder / results.NOT_RUN).unlink(missing_ok=True)
        histories = {f: figures.read_history(fold_dir(name, f) / "metrics.jsonl") for f in trained}
        figures.learning_curves(folder / "curves.png", name, histories)
        figures.confusion(folder / "confusion.png", name, result.about)
        return result


def finished_manifest(ready: Prepared, fold: int) -> dict[str, Any]:
    """The manifest of a fold that is finished with the settings in hand; `BadInput` when it is not."""
    folder, config = fold_dir(ready.request.name, fold), fold_config(ready, fold)
    claim(folder, config, overwrite=False)
    if not is_finished(folder, config):
        raise BadInput(f"{folder} is not finished; train fold {fold} first")
    return read_json(folder / "manifest.json")


def fold_tables(ready: Prepared, trained: list[int], kind: str) -> dict[int, pd.DataFrame]:
    """Fold -> its table of `kind`; `BadInput` when one belongs to another fold or fold file."""
    tables = {}
    for fold in trained:
        path = fold_dir(ready.request.name, fold) / f"{kind}.parquet"
        tables[fold], origin = predictions.read(path)
        if origin["fold"] != fold or origin["folds_sha256"] != ready.folds.sha256:
            raise BadInput(f"{path} belongs to fold {origin['fold']} of another run or fold file")
    return tables


def merged_shifts(ready: Prepared, manifests: dict[int, dict[str, Any]]) -> pd.DataFrame | None:
    """The folds' predictions under each shift; None where a fold was finished before there were any."""
    if not all("shifted.parquet" in m["files"] for m in manifests.values()):
        return None
    trained = list(manifests)
    parts = {f: predictions.unstacked(table) for f, table in fold_tables(ready, trained, "shifted").items()}
    return predictions.stacked(
        {s: predictions.merge_oof({f: parts[f][s] for f in trained}, ready.folds, trained) for s in SHIFTS}
    )


def describe_run(ready: Prepared, manifests: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What scores.json says of a run besides its scores."""
    request, first = ready.request, next(iter(manifests.values()))
    about_folds: dict[str, Any] = {"file": ready.folds.name, "count": ready.folds.count, "sha256": ready.folds.sha256}
    return {
        "kind": "experiment",
        "data": request.exp.data,
        "classes": list(ready.classes),
        "positive": ready.index.dataset.positive,
        "folds": about_folds | {"trained": list(manifests)},
        "settings": request.exp.to_dict(),
        "parent": request.parent,
        "changed": {k: list(v) for k, v in request.changed.items()},
        "minutes": round(sum(m["minutes"] for m in manifests.values()), 1),
        "best_epochs": [m["best_epoch"] for m in manifests.values()],
        **({"synthetic": made} if all(made := [m.get("synthetic") for m in manifests.values()]) else {}),
        **{k: first[k] for k in ("machine", "precision", "commit", "date", "versions", "python")},
    }


def tell(result: results.Result) -> None:
    """The scores of a collected run, and what to do next."""
    say(f"\n{result.name}: {results.spoken_folds(result.about)} collected in {result.folder}")
    for metric in ("auc", "accuracy", "f1", "precision", "recall", "specificity", "ece"):
        say(f"  {metric:<12} {result.score('at_half', metric)}")
    say(f"  {'auc, shifted':<12} {result.score('shifted', 'auc')}")
    if result.name.endswith("-debug"):
        say("a debug run: it shows that everything works, its scores mean nothing")
        return
    missing = set(range(result.about["folds"]["count"])) - set(results.trained_folds(result.about))
    if missing:
        say(f"folds {sorted(missing)} are not trained yet; without them the figures speak of a part of the images")
    say(f"next: chestfold board; chestfold submit {result.name} --dry-run; chestfold publish {result.name}")
