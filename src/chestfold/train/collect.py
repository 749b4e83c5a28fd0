"""Merge the finished folds of a run into one result, proven against the fold file."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, runs_dir
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import figures, predictions, results
from chestfold.train.fold_folder import claim, fold_config, fold_dir, is_finished
from chestfold.train.prepare import Prepared


def finished_folds(ready: Prepared) -> list[int]:
    """Numbers of the folds that have their manifest."""
    return [f for f in range(ready.folds.count) if (fold_dir(ready.request.name, f) / "manifest.json").exists()]


def minutes(metrics_path: Path) -> float:
    """Training time of a fold over all its starts, from the seconds of its epochs."""
    rows = [json.loads(line) for line in metrics_path.read_text().splitlines()]
    return round(sum(row["seconds"] or 0.0 for row in rows) / 60, 2)


def collect(ready: Prepared, trained: list[int]) -> results.Result:
    """Merge the `trained` folds of a run into runs/NAME/{oof,corrupted,test}.parquet, scores.json and its figures.

    Raises:
        InputError: a fold is missing, was changed, or was trained on other folds, data or settings.
    """
    name, folder = ready.request.name, runs_dir() / ready.request.name
    with FileLock(folder / ".collect.lock"):  # two processes may finish two folds at the same moment
        manifests = {f: finished_manifest(ready, f) for f in trained}
        whole = predictions.merge_oof(fold_tables(ready, trained, "oof"), ready.folds, trained)
        tests = fold_tables(ready, trained, "test") if len(ready.index.test) else {}
        test = predictions.mean_predictions([tests[f] for f in trained]) if tests else None
        provenance: dict[str, Any] = ready.fingerprint() | {"experiment": name, "data": ready.request.exp.data}
        provenance["folds"] = ready.folds.name
        provenance["members"] = {str(f): m["files"]["oof.parquet"] for f, m in manifests.items()}
        about = describe_run(ready, manifests)
        result = results.write_result(folder, whole, test, provenance, about, merged_corruptions(ready, manifests))
        (folder / results.NOT_RUN).unlink(missing_ok=True)
        histories = {f: figures.read_history(fold_dir(name, f) / "metrics.jsonl") for f in trained}
        figures.learning_curves(folder / "curves.png", name, histories)
        figures.confusion(folder / "confusion.png", name, result.about)
        return result


def finished_manifest(ready: Prepared, fold: int) -> dict[str, Any]:
    """The manifest of a fold that is finished with the settings in hand; `InputError` when it is not."""
    folder, config = fold_dir(ready.request.name, fold), fold_config(ready, fold)
    claim(folder, config, overwrite=False)
    if not is_finished(folder, config):
        raise InputError(f"{folder} is not finished; train fold {fold} first")
    return read_json(folder / "manifest.json")


def fold_tables(ready: Prepared, trained: list[int], kind: str) -> dict[int, pd.DataFrame]:
    """Fold -> its table of `kind`; `InputError` when one belongs to another fold or fold file."""
    tables = {}
    for fold in trained:
        path = fold_dir(ready.request.name, fold) / f"{kind}.parquet"
        tables[fold], origin = predictions.read(path)
        if origin["fold"] != fold or origin["folds_sha256"] != ready.folds.sha256:
            raise InputError(f"{path} belongs to fold {origin['fold']} of another run or fold file")
    return tables


def merged_corruptions(ready: Prepared, manifests: dict[int, dict[str, Any]]) -> pd.DataFrame | None:
    """The folds' predictions under each shift; None where a fold was finished before there were any."""
    if not all("corrupted.parquet" in m["files"] for m in manifests.values()):
        return None
    trained = list(manifests)
    parts = {f: predictions.unstacked(table) for f, table in fold_tables(ready, trained, "corrupted").items()}
    return predictions.stacked(
        {s: predictions.merge_oof({f: parts[f][s] for f in trained}, ready.folds, trained) for s in CORRUPTIONS}
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
    say(f"\n{result.name}: {results.format_folds(result.about)} collected in {result.folder}")
    for metric in ("auc", "accuracy", "f1", "precision", "recall", "specificity", "ece"):
        say(f"  {metric:<12} {result.score('at_half', metric)}")
    say(f"  {'auc, shifted':<12} {result.score('corrupted', 'auc')}")
    if result.name.endswith("-debug"):
        say("a debug run: it shows that everything works, its scores mean nothing")
        return
    missing = set(range(result.about["folds"]["count"])) - set(results.trained_folds(result.about))
    if missing:
        say(f"folds {sorted(missing)} are not trained yet; without them the figures speak of a part of the images")
    say(f"next: chestfold board; chestfold submit {result.name} --dry-run; chestfold publish {result.name}")
