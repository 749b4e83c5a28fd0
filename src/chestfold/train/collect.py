"""Merge the finished folds of a run into one result, proven against the fold file."""

import shlex
from typing import Any

import pandas as pd
from filelock import FileLock

from chestfold.core.config import Experiment
from chestfold.core.console import detail, plural, say
from chestfold.core.errors import InputError
from chestfold.core.files import remove_temporary
from chestfold.core.run_folder import FoldFolder, FoldManifest, History
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import figures, paired, predictions, results, subgroups
from chestfold.train.prepare import Prepared

LEAK_WARNING = "These folds leak on purpose: the scores are too good."
DIGITS = 5
"""Significant ones, of the figures of an epoch in scores.json."""
WRITTEN = ("*.parquet", "scores.json", "*.png")
"""Names of what is written under the lock."""
TIMING = ("seconds", "images_per_second")


def collect(ready: Prepared) -> results.Result:
    """Merge the finished folds of a run into runs/NAME/{oof,corrupted,test}.parquet, scores.json and its figures.

    Raises:
        InputError: a fold was changed, or was trained on other folds, data or settings; none is finished.
    """
    folder = ready.run.path
    with FileLock(folder / ".collect.lock"):  # two processes may finish two folds at the same moment
        for name in WRITTEN:
            remove_temporary(folder, name)
        manifests = finished_manifests(ready)
        oof = merged(ready, manifests, "oof")
        corrupted = merged_corruptions(ready, manifests)
        origin: dict[str, Any] = ready.fingerprint() | {"experiment": ready.request.name, "data": ready.exp.data}
        origin["folds"] = ready.folds.name
        origin["members"] = {str(fold): manifest.files["oof.parquet"] for fold, manifest in manifests.items()}
        test = mean_of_tests(ready, manifests)
        values = subgroups.values_in(ready.index, oof["id"])
        about = describe(ready, manifests)
        result = results.write_result(folder, oof, test, corrupted, origin, about, ready.used_hooks, values)
        if not result.is_debug:
            result = paired.keep_comparison(result)
        (folder / results.NOT_RUN).unlink(missing_ok=True)
        histories = {fold: ready.run.fold(fold).history() for fold in manifests}
        kept = {fold: kept_epochs(ready.exp, manifest, histories[fold]) for fold, manifest in manifests.items()}
        figures.learning_curves(folder / "curves.png", ready.request.name, histories, ready.exp.monitor, kept)
        figures.confusion(folder / "confusion.png", result.record)
        return result


def kept_epochs(exp: Experiment, manifest: FoldManifest, history: History) -> list[int]:
    """The epochs whose weights predict: the best one, or the last ones where these are averaged."""
    if not exp.average_last:
        return [manifest.best_epoch]
    return [row["epoch"] for row in history[-exp.average_last :]]


def finished_manifests(ready: Prepared) -> dict[int, FoldManifest]:
    """Fold -> manifest, of those that are finished; each was trained with the settings in hand."""
    found = {}
    for folder in ready.run.require_finished_folds():
        folder.require_same(ready.fold_config(folder.number, threads=1))
        folder.is_finished()  # proves the hash of every file
        found[folder.number] = folder.manifest()
    return found


def fold_tables(ready: Prepared, folds: list[int], kind: str) -> dict[int, pd.DataFrame]:
    """Fold -> its table of `kind`; `InputError` when one belongs to another fold or fold file."""
    tables = {}
    for fold in folds:
        path = ready.run.fold(fold).table_path(kind)
        tables[fold], origin = predictions.read(path)
        if origin["fold"] != fold or origin["folds_sha256"] != ready.folds.sha256:
            raise InputError(f"{path} belongs to fold {origin['fold']} of another run or fold file")
    return tables


def merged(ready: Prepared, manifests: dict[int, FoldManifest], kind: str) -> pd.DataFrame:
    """The validation predictions of all finished folds, as one table."""
    trained = list(manifests)
    return predictions.merge_oof(fold_tables(ready, trained, kind), ready.folds, trained, ready.task)


def merged_corruptions(ready: Prepared, manifests: dict[int, FoldManifest]) -> pd.DataFrame:
    """The folds' predictions under each corruption, as one stacked table."""
    trained = list(manifests)
    parts = {}
    for fold, table in fold_tables(ready, trained, "corrupted").items():
        parts[fold] = predictions.unstacked(table)
    merged_tables = {}
    for name in CORRUPTIONS:
        merged_tables[name] = pd.concat([tables[name] for tables in parts.values()], ignore_index=True)
        predictions.check_against_folds(merged_tables[name], ready.folds, trained, f"OOF under {name}", ready.task)
    return predictions.stacked(merged_tables)


def mean_of_tests(ready: Prepared, manifests: dict[int, FoldManifest]) -> pd.DataFrame | None:
    """The mean of the folds' test predictions; None where there is no test split."""
    if not len(ready.index.test):
        return None
    return predictions.mean_predictions(list(fold_tables(ready, list(manifests), "test").values()))


def describe(ready: Prepared, manifests: dict[int, FoldManifest]) -> dict[str, Any]:
    """The fields of scores.json besides its scores."""
    request, of_folds = ready.request, list(manifests.values())
    first = of_folds[0]
    trained = results.FoldsOfResult(
        file=ready.folds.name,
        count=ready.folds.count,
        sha256=ready.folds.sha256,
        trained=tuple(manifests),
        leaky=ready.folds.record.leaky,
    )
    about: dict[str, Any] = results.about_dataset(ready.index.dataset, ready.task) | {
        "kind": "experiment",
        "folds": trained,
        "settings": ready.exp.to_dict(),
        "parent": request.parent,
        "changed": request.changed,
        "minutes": round(sum(manifest.minutes for manifest in of_folds), 1),
        "best_epochs": [manifest.best_epoch for manifest in of_folds],
        "history": {fold: epochs_of(ready.run.fold(fold)) for fold in manifests},
        "precision": first.precision,
    }
    if trained.leaky:
        about["warning"] = f"{LEAK_WARNING} {about['warning']}".rstrip()
    if request.exp.synthetic:
        about["synthetic"] = [manifest.synthetic for manifest in of_folds]
    return about | {name: getattr(first, name) for name in ("machine", "commit", "date", "versions", "python")}


def epochs_of(fold: FoldFolder) -> list[dict[str, float]]:
    """The figures of a fold's epochs, rounded; without what depends on the machine's speed."""
    epochs = []
    for row in fold.history():
        figures = {name: float(f"{value:.{DIGITS}g}") for name, value in row.items() if name not in TIMING}
        epochs.append(figures | {"epoch": row["epoch"]})
    return epochs


def report(result: results.Result) -> None:
    """The scores of a collected run, and what to do next."""
    record = result.record
    title = record.competition_metric.title
    detail("")
    say(f"{result.name}: {record.folds} collected in {result.folder}, {title} {result.competition_score}")
    if record.warning:
        say(record.warning)
    for name, score in record.scores.at_half.items():
        detail(f"  {name:<13} {score}")
    for label, of_label in (record.scores.by_label or {}).items():
        detail(f"  auc of {label:<13} {of_label['auc']}")
    if len(record.folds.trained) > 1:
        detail(f"  {'auc of folds':<13} {record.scores.auc_of_folds}")
    detail(f"  {'auc, shifted':<13} {result.score('corrupted', 'auc')}")
    if result.is_debug:
        say("a debug run: it shows that everything works, its scores mean nothing")
        return
    if record.folds.missing:
        missing = ", ".join(map(str, record.folds.missing))
        count = plural(len(record.folds.missing), "fold")
        say(f"{count} ({missing}) not trained yet; without them the figures are of a part of the images")
    name = shlex.quote(result.name)
    detail(f"next: chestfold board; chestfold submit {name} --dry-run; chestfold publish {name}")
