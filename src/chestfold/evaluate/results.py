"""A result: what a trained experiment or an ensemble leaves for those who come after it.

`scores.json`, `oof.parquet` and `test.parquet` in one folder: runs/NAME, or exps/results/NAME when published.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, read_json, runs_dir, sha256_file, write_json
from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.metrics import Score

FILES = ("oof.parquet", "corrupted.parquet", "test.parquet", "scores.json")
NOT_RUN = "not_run.json"
"""Why an experiment could not be run where it was tried."""
ATTENTION = "explain/gradcam/attention.json"
"""Where a model looks, by the default method: beside a result in runs/, and beside its published copy."""


@dataclass(frozen=True)
class Result:
    """A finished result; `about` is its scores.json."""

    name: str
    folder: Path
    about: dict[str, Any]

    def oof(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Out-of-fold predictions and their provenance; `InputError` when the file is not the one that was scored."""
        return self._table("oof.parquet")

    def test(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Test predictions and their provenance; `InputError` when there is no test split."""
        if self.about["files"].get("test.parquet") is None:
            raise InputError(f"{self.name}: the data set {self.about['data']} has no test split")
        return self._table("test.parquet")

    def corrupted(self) -> dict[str, pd.DataFrame] | None:
        """Corruption -> out-of-fold predictions of the corrupted images; None where there are none."""
        if self.about["files"].get("corrupted.parquet") is None:
            return None
        return predictions.unstacked(self._table("corrupted.parquet")[0])

    def _table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        path = self.folder / name
        table = predictions.read(path)
        if sha256_file(path) != self.about["files"][name]:
            raise InputError(f"{path} is not the file that scores.json speaks of (hash differs); collect it again")
        return table

    def score(self, kind: str, metric: str) -> Score | None:
        """A figure of `kind` "at_half", "cross_fitted" or "corrupted"; None where it does not apply."""
        figures = self.about["scores"].get(kind)
        return Score(**figures[metric]) if figures else None

    def attention(self) -> dict[str, Any] | None:
        """Where the model looks, as `chestfold explain` left it; None where it was not asked."""
        path = self.folder / ATTENTION
        return read_json(path) if path.exists() else None


def trained_folds(about: dict[str, Any]) -> list[int]:
    """The folds that a result holds; all of them where it was collected before there were others."""
    return about["folds"].get("trained", list(range(about["folds"]["count"])))


def format_folds(about: dict[str, Any]) -> str:
    """`5 folds`, or `fold 0 of 5`."""
    trained, count = trained_folds(about), about["folds"]["count"]
    if len(trained) == count:
        return f"{count} folds"
    return f"fold{'s' * (len(trained) > 1)} {', '.join(map(str, trained))} of {count}"


def score_table(table: pd.DataFrame, positive: str) -> dict[str, Any]:
    """Scores of a labelled prediction table as JSON: at 0.5, at the cross-fitted and at the in-sample threshold.

    For more than two classes the most probable class counts and there is no threshold to choose.
    """
    labels, probs = predictions.labels(table), predictions.probabilities(table)
    groups, number = table["group"].to_numpy(), predictions.class_columns(table).index(positive)
    scores: dict[str, Any] = {"at_half": _format(metrics.score(labels, probs, groups, number))}
    predicted = metrics.decide(probs, number)
    scores["confusion"] = _counts(labels, predicted, probs.shape[1])
    if probs.shape[1] == 2 and table["fold"].nunique() > 1:
        fitted = metrics.cross_fitted_thresholds(labels, probs, table["fold"].to_numpy(), number)
        whole = metrics.best_threshold(labels, probs[:, number], number)
        scores["cross_fitted"] = _format(metrics.score(labels, probs, groups, number, fitted))
        scores["in_sample"] = _format(metrics.score(labels, probs, groups, number, whole))
        scores["threshold"] = whole
    return scores


def _format(scores: dict[str, Score]) -> dict[str, dict[str, float]]:
    return {name: asdict(score) for name, score in scores.items()}


def _counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[list[int]]:
    return metrics.confusion(labels, predicted, classes, np.ones(len(labels))).astype(int).tolist()


def write_result(
    folder: Path,
    oof_table: pd.DataFrame,
    test_table: pd.DataFrame | None,
    provenance: dict[str, Any],
    about: dict[str, Any],
    corrupted: pd.DataFrame | None = None,
) -> Result:
    """Write the files of a result; `provenance` goes into the parquet schemas, `about` into scores.json.

    `corrupted` is a stacked table. `about` names at least `data`, `classes` and `positive`.
    """
    predictions.write(folder / "oof.parquet", oof_table, provenance)
    files: dict[str, str | None] = {"oof.parquet": sha256_file(folder / "oof.parquet")}
    files |= {"corrupted.parquet": None, "test.parquet": None}
    scores = score_table(oof_table, about["positive"])
    scores["per_fold_auc"] = _per_fold(oof_table)
    if corrupted is not None:
        predictions.write(folder / "corrupted.parquet", corrupted, provenance)
        files["corrupted.parquet"] = sha256_file(folder / "corrupted.parquet")
        scores["corrupted"] = score_corrupted(predictions.unstacked(corrupted))
    if test_table is not None:
        predictions.write(folder / "test.parquet", test_table, provenance)
        files["test.parquet"] = sha256_file(folder / "test.parquet")
        if set(test_table["label"]) == set(about["classes"]):  # labels that are withheld are ""
            scores["test"] = score_table(test_table, about["positive"])
    about = {"name": folder.name, **about, "scores": scores, "files": files}
    write_json(folder / "scores.json", about)
    return Result(folder.name, folder, about)


def score_corrupted(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The mean AUC over all shifts with its interval, and the AUC under each of them."""
    first = next(iter(tables.values()))
    labels, groups = predictions.labels(first), first["group"].to_numpy()
    probs = {
        name: predictions.probabilities(predictions.aligned(t, first["id"], predictions.class_columns(first)))
        for name, t in tables.items()
    }
    whole = metrics.mean_auc(labels, list(probs.values()), groups)
    return {"auc": asdict(whole), "per_corruption": {name: metrics.macro_auc(labels, p) for name, p in probs.items()}}


def _per_fold(table: pd.DataFrame) -> list[float]:
    return [metrics.macro_auc(predictions.labels(t), predictions.probabilities(t)) for _, t in table.groupby("fold")]


def find_result(name: str) -> Result:
    """The result called `name`: in runs/, else in exps/results/.

    Raises:
        InputError: there is none.
    """
    for base in (runs_dir(), published_dir()):
        path = base / name / "scores.json"
        if Path(name).name == name and path.exists():
            return Result(name, path.parent, read_json(path))
    known = ", ".join(r.name for r in all_results()) or "none yet"
    raise InputError(f"no finished result called {name!r} (finished: {known}); train all its folds first")


def all_results() -> list[Result]:
    """Every finished result, by name; one in runs/ stands before its published copy."""
    found = published_results()
    for path in sorted(runs_dir().glob("*/scores.json")):
        found[path.parent.name] = Result(path.parent.name, path.parent, read_json(path))
    return [found[name] for name in sorted(found)]


def published_results() -> dict[str, Result]:
    """Name -> result, for what lies in exps/results/."""
    paths = sorted(published_dir().glob("*/scores.json"))
    return {p.parent.name: Result(p.parent.name, p.parent, read_json(p)) for p in paths}


def not_run(base: Path) -> dict[str, dict[str, Any]]:
    """Name -> not_run.json, for the experiments under `base` that could not be run and have no result there."""
    paths = sorted(p for p in base.glob(f"*/{NOT_RUN}") if not (p.parent / "scores.json").exists())
    return {p.parent.name: read_json(p) for p in paths}
