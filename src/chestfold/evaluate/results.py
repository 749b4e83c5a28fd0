"""A result: what a trained experiment or an ensemble leaves for those who come after it.

`scores.json`, `oof.parquet` and `test.parquet` in one folder: runs/NAME, or exps/results/NAME when published.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from chestfold.core.config import Request, did_you_mean
from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, require_plain_name, runs_dir, sha256_file
from chestfold.core.records import Record
from chestfold.core.run_folder import RunFolder, SyntheticCount
from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.attention import ATTENTION, Attention
from chestfold.evaluate.metrics import Score

FILES = ("oof.parquet", "corrupted.parquet", "test.parquet", "scores.json")
NOT_RUN = "not_run.json"
"""Why an experiment could not be run where it was tried."""

Figures = dict[str, Score]
"""Metric -> figure."""


class FoldsOfResult(Record):
    """Which folds a result holds: the fold file, its number of folds and its hash, and those that were trained."""

    file: str
    count: int
    sha256: str
    trained: tuple[int, ...]

    def __str__(self) -> str:
        """`5 folds`, or `fold 0 of 5`."""
        if len(self.trained) == self.count:
            return plural(self.count, "fold")
        numbers = ", ".join(map(str, self.trained))
        return f"{'fold' if len(self.trained) == 1 else 'folds'} {numbers} of {self.count}"

    @property
    def missing(self) -> list[int]:
        """Those that are not trained."""
        return sorted(set(range(self.count)) - set(self.trained))


class CorruptionScores(Record):
    """The mean AUC over all corruptions, and the AUC under each of them."""

    auc: Score
    per_corruption: dict[str, float]


class Scores(Record):
    """Scores of one labelled table.

    `at_half`: at threshold 0.5, or of the most probable of more than two classes. `cross_fitted`: at thresholds that
    were chosen on the other folds, `in_sample`: at `threshold`, which was chosen on all of them; for two classes only.
    `confusion`: counts at 0.5, row = true class. `test`: of the test images, where their labels are known.
    """

    at_half: Figures
    confusion: list[list[int]]
    cross_fitted: Figures | None = None
    in_sample: Figures | None = None
    threshold: float | None = None
    per_fold_auc: list[float] | None = None
    corrupted: CorruptionScores | None = None
    test: "Scores | None" = None

    @property
    def auc_of_folds(self) -> str:
        """Mean and standard deviation of the folds' AUCs, `0.9166 ± 0.0120`."""
        values = self.per_fold_auc or []
        if len(values) < 2:
            return "-"
        return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


class MethodScores(Record):
    """How a method of blending scored: pooled AUC, cross-fitted and in-sample, and the mean AUC of the folds."""

    cross_fitted_auc: float
    in_sample_auc: float
    fold_auc: float | None = None


class ResultRecord(Record):
    """scores.json. An experiment has settings, a parent and what was changed against it; an ensemble has members."""

    name: str
    kind: Literal["experiment", "ensemble"]
    data: str
    classes: tuple[str, ...]
    positive: str
    folds: FoldsOfResult
    minutes: float
    machine: str
    date: str
    scores: Scores
    files: dict[str, str | None]

    settings: dict[str, Any] = {}
    parent: str = ""
    changed: dict[str, tuple[Any, Any]] = {}
    best_epochs: tuple[int, ...] = ()
    synthetic: tuple[SyntheticCount, ...] = ()
    precision: str = ""
    commit: str = ""
    python: str = ""
    versions: dict[str, str] = {}

    method: str = ""
    members: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    methods: dict[str, MethodScores] = {}


class NotRun(Record):
    """not_run.json: an experiment that could not be run where it was tried."""

    name: str
    why: str
    data: str
    settings: dict[str, Any]
    date: str


@dataclass(frozen=True)
class Result:
    """A finished result and its folder."""

    folder: Path
    record: ResultRecord

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.name

    @property
    def is_debug(self) -> bool:
        """Whether it is of a `--debug` run, whose scores mean nothing."""
        return self.name.endswith("-debug")

    @property
    def is_published(self) -> bool:
        """Whether it is in exps/results/."""
        return self.folder.parent == published_dir()

    @property
    def images_scored(self) -> tuple[str, tuple[int, ...]]:
        """What two results must share to be compared row by row: the fold file's hash and the folds."""
        return self.record.folds.sha256, self.record.folds.trained

    def oof(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Out-of-fold predictions and their provenance; `InputError` when the file is not the one that was scored."""
        return self._table("oof.parquet")

    def test(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Test predictions and their provenance; `InputError` when there is no test split."""
        if self.record.files.get("test.parquet") is None:
            raise InputError(f"{self.name}: the data set {self.record.data} has no test split")
        return self._table("test.parquet")

    def corrupted(self) -> dict[str, pd.DataFrame] | None:
        """Corruption -> out-of-fold predictions of the corrupted images; None where there are none."""
        if self.record.files.get("corrupted.parquet") is None:
            return None
        return predictions.unstacked(self._table("corrupted.parquet")[0])

    def _table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        path = self.folder / name
        table = predictions.read(path)
        if sha256_file(path) != self.record.files[name]:
            raise InputError(f"{path} is not the file that scores.json is about (hash differs); collect it again")
        return table

    def score(self, kind: str, metric: str) -> Score | None:
        """A figure of `kind` "at_half", "cross_fitted", "corrupted" or "test"; None where there is none."""
        scores = self.record.scores
        if kind == "corrupted":
            return scores.corrupted.auc if scores.corrupted and metric == "auc" else None
        if kind == "test":
            return scores.test.at_half.get(metric) if scores.test else None
        figures: Figures | None = getattr(scores, kind)
        return figures.get(metric) if figures else None

    def attention(self) -> Attention | None:
        """Where the model looks, as `chestfold explain` left it; None where it was not explained."""
        path = self.folder / ATTENTION
        return Attention.from_json(path) if path.exists() else None


def score_table(table: pd.DataFrame, positive: str) -> Scores:
    """The scores of a labelled prediction table, without those that need more than the table."""
    labels, probs = predictions.labels(table), predictions.probabilities(table)
    groups, number = table["group"].to_numpy(), predictions.class_columns(table).index(positive)
    counts = metrics.confusion(labels, metrics.decide(probs, number), probs.shape[1], np.ones(len(labels)))
    scores = Scores(at_half=metrics.evaluate(labels, probs, groups, number), confusion=counts.astype(int).tolist())
    folds = table["fold"].to_numpy()
    if probs.shape[1] != 2 or len(np.unique(folds)) < 2:
        return scores
    cross_fitted = metrics.cross_fitted_thresholds(labels, probs, folds, number)
    threshold = metrics.best_threshold(labels, probs[:, number], number)
    return scores.model_copy(
        update={
            "cross_fitted": metrics.evaluate(labels, probs, groups, number, cross_fitted),
            "in_sample": metrics.evaluate(labels, probs, groups, number, threshold),
            "threshold": threshold,
        }
    )


def score_corrupted(tables: dict[str, pd.DataFrame]) -> CorruptionScores:
    """The mean AUC over all corruptions with its interval, and the AUC under each of them."""
    first = next(iter(tables.values()))
    labels, groups, classes = predictions.labels(first), first["group"].to_numpy(), predictions.class_columns(first)
    probs = {}
    for name, table in tables.items():
        probs[name] = predictions.probabilities(predictions.aligned(table, first["id"], classes))
    return CorruptionScores(
        auc=metrics.mean_auc(labels, list(probs.values()), groups),
        per_corruption={name: metrics.macro_auc(labels, p) for name, p in probs.items()},
    )


def _auc_of_each_fold(table: pd.DataFrame) -> list[float]:
    return [metrics.macro_auc(predictions.labels(t), predictions.probabilities(t)) for _, t in table.groupby("fold")]


def write_result(
    folder: Path,
    oof: pd.DataFrame,
    test: pd.DataFrame | None,
    corrupted: pd.DataFrame | None,
    provenance: dict[str, Any],
    about: dict[str, Any],
) -> Result:
    """Score the tables and write the files of a result.

    Args:
        folder: runs/NAME.
        oof: out-of-fold predictions.
        test: test predictions, where there is a test split.
        corrupted: a stacked table of the out-of-fold predictions of corrupted images.
        provenance: goes into the schema of each table.
        about: the other fields of the record.
    """
    tables = {"oof.parquet": oof, "corrupted.parquet": corrupted, "test.parquet": test}
    files: dict[str, str | None] = {}
    for name, table in tables.items():
        files[name] = None
        if table is not None:
            predictions.write(folder / name, table, provenance)
            files[name] = sha256_file(folder / name)
    extra: dict[str, Any] = {"per_fold_auc": _auc_of_each_fold(oof)}
    if corrupted is not None:
        extra["corrupted"] = score_corrupted(predictions.unstacked(corrupted))
    if test is not None and set(test["label"]) == set(about["classes"]):  # labels that are withheld are ""
        extra["test"] = score_table(test, about["positive"])
    scores = score_table(oof, about["positive"]).model_copy(update=extra)
    record = ResultRecord(name=folder.name, scores=scores, files=files, **about)
    record.write(folder / "scores.json")
    return Result(folder, record)


def find_result(name: str) -> Result:
    """The result `name`: in runs/, else in exps/results/.

    Raises:
        InputError: there is none.
    """
    require_plain_name(name, "result")
    for base in (runs_dir(), published_dir()):
        path = base / name / "scores.json"
        if path.exists():
            return _read(path)
    if RunFolder(name).begun_folds():
        raise InputError(f"{name} is not finished: run its experiment again, it trains the missing folds")
    known = [result.name for result in all_results()]
    hint = did_you_mean(name, known) or "; chestfold board lists the finished ones"
    raise InputError(f"no finished result called {name!r}{hint}")


def _read(path: Path) -> Result:
    return Result(path.parent, ResultRecord.from_json(path))


def all_results() -> list[Result]:
    """Every finished result, by name; one in runs/ goes before its published copy."""
    found = published_results()
    for path in sorted(runs_dir().glob("*/scores.json")):
        found[path.parent.name] = _read(path)
    return [found[name] for name in sorted(found)]


def published_results() -> dict[str, Result]:
    """Name -> result, for the contents of exps/results/."""
    paths = sorted(published_dir().glob("*/scores.json"))
    return {path.parent.name: _read(path) for path in paths}


def not_run(base: Path) -> dict[str, NotRun]:
    """Name -> not_run.json, for the experiments under `base` that could not be run and have no result there."""
    found = {}
    for path in sorted(base.glob(f"*/{NOT_RUN}")):
        if not (path.parent / "scores.json").exists():
            found[path.parent.name] = NotRun.from_json(path)
    return found


def write_not_run(request: Request, why: str, date: str) -> None:
    """Leave runs/NAME/not_run.json: the board has a row for an experiment that could not be run."""
    record = NotRun(name=request.name, why=why, data=request.exp.data, settings=request.exp.to_dict(), date=date)
    record.write(runs_dir() / request.name / NOT_RUN)
