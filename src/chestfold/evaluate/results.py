"""A result: what a trained experiment or an ensemble leaves for those who come after it.

`scores.json`, `oof.parquet` and `test.parquet` in one folder: runs/NAME, or exps/results/NAME when published.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import AliasChoices, Field

from chestfold.core import hooks
from chestfold.core.config import Experiment, Request, did_you_mean, require_choice
from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import (
    published_dir,
    read_json,
    require_own_files,
    require_plain_name,
    runs_dir,
    sha256_file,
    write_bytes,
    write_json,
)
from chestfold.core.records import Figure, PlainName, Record
from chestfold.core.run_folder import RunFolder, SyntheticCount
from chestfold.core.task import Task, create_task
from chestfold.data.dataset import Dataset
from chestfold.evaluate import comparisons, metrics, predictions, subgroups, thresholds
from chestfold.evaluate.attention import ATTENTION, Attention
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.calibration import Calibration
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.metrics import (
    BOARD,
    METRICS,
    Evaluation,
    Metric,
    Predicted,
    find_metric,
    is_metric,
    metric_name,
    value_of,
)
from chestfold.evaluate.subgroups import BySubgroup

FILES = ("oof.parquet", "corrupted.parquet", "test.parquet", hooks.FILE, "scores.json")
NOT_RUN = "not_run.json"
"""Why an experiment could not be run where it was tried."""

Figures = dict[str, Score]
"""Metric -> figure."""


class FoldsOfResult(Record):
    """Which folds a result holds: the fold file, its number of folds and its hash, and those that were trained."""

    file: PlainName
    count: int
    sha256: str
    trained: tuple[int, ...]
    leaky: bool = False
    """Whether they leak on purpose."""

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
    per_corruption: dict[str, Figure]


class Scores(Record):
    """Scores of one labelled table.

    `at_half`: at threshold 0.5, or of the most probable of more than two classes. `cross_fitted`: at thresholds that
    were chosen on the other folds, `in_sample`: at `threshold` (of labels: `thresholds`), chosen on all of them; where
    there are thresholds. `by_label`: of each of several labels. `confusion`: counts at 0.5, row = true class; of labels
    a row of `metrics.OUTCOMES`. `test`: of the test images, where their labels are known. `per_fold`: the competition
    metric of each fold, where that is not AUC. `folds_minus_pooled`: the mean of the folds' AUCs minus the AUC of all
    images. `by_subgroup`: of each part that the data set is divided into.
    """

    at_half: Figures
    confusion: list[list[int]]
    cross_fitted: Figures | None = None
    in_sample: Figures | None = None
    threshold: float | None = None
    thresholds: dict[str, float] | None = None
    by_label: dict[str, Figures] | None = None
    by_subgroup: BySubgroup | None = None
    per_fold_auc: list[Figure] | None = None
    per_fold: list[Figure] | None = None
    folds_minus_pooled: Score | None = None
    corrupted: CorruptionScores | None = None
    test: "Scores | None" = None

    @property
    def auc_of_folds(self) -> str:
        """Mean and standard deviation of the folds' AUCs, `0.9166 ± 0.0120`."""
        values = self.per_fold_auc or []
        if len(values) < 2:
            return "-"
        if np.isnan(values).any():
            return "-"
        return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


class MethodScores(Record):
    """How a method of blending scored by the competition metric: pooled, cross-fitted and in-sample, and the mean over
    the folds."""

    cross_fitted: Figure = Field(validation_alias=AliasChoices("cross_fitted", "cross_fitted_auc"))
    in_sample: Figure = Field(validation_alias=AliasChoices("in_sample", "in_sample_auc"))
    fold_mean: Figure | None = Field(None, validation_alias=AliasChoices("fold_mean", "fold_auc"))


class ResultRecord(Record):
    """scores.json. An experiment has settings, a parent and what was changed against it; an ensemble has members.
    What was imported has a `source`, the name of the file. What is calibrated has one member and a `calibration`.

    `metric`: the competition's, with `metric_weights` of its classes, and whether more of it is better. `warning`: what
    the data set says that must be read beside its scores. `images`, `patients`: of the out-of-fold predictions; 0 in
    results of before they were counted. `against`: the parent, as it was when this was written. `history`: fold -> the
    figures of its epochs.
    """

    name: str
    kind: Literal["experiment", "ensemble", "imported", "calibrated"]
    data: PlainName
    classes: tuple[str, ...]
    positive: str
    folds: FoldsOfResult
    minutes: float
    machine: str
    date: str
    scores: Scores
    files: dict[str, str | None]

    task: str = "multiclass"
    metric: str = "auc"
    metric_weights: dict[str, float] = {}
    higher_is_better: bool = True
    warning: str = ""
    images: int = 0
    patients: int = 0
    settings: dict[str, Any] = {}
    parent: PlainName = ""
    changed: dict[str, tuple[Any, Any]] = {}
    against: Comparison | None = None
    best_epochs: tuple[int, ...] = ()
    history: dict[int, tuple[dict[str, int | Figure], ...]] = {}
    synthetic: tuple[SyntheticCount, ...] = ()
    precision: str = ""
    commit: str = ""
    python: str = ""
    versions: dict[str, str] = {}

    source: str = ""
    method: str = ""
    members: tuple[PlainName, ...] = ()
    weights: tuple[float, ...] | None = None
    methods: dict[str, MethodScores] = {}
    calibration: Calibration | None = None

    def create_task(self) -> Task:
        """What its labels and probabilities mean."""
        return create_task(self.task, self.classes, self.positive)

    def setting(self, name: str) -> Any:
        """A setting of an experiment; `InputError` where the record lacks it."""
        if name not in self.settings:
            raise InputError(f"scores.json of {self.name}: settings.{name}: field required; restore the file")
        return self.settings[name]

    @property
    def all_settings(self) -> dict[str, Any]:
        """The settings of an experiment; those that are younger than the record have their defaults."""
        return Experiment().to_dict() | self.settings

    @property
    def measures_the_data(self) -> bool:
        """Whether it tells something of its data set and not of a recipe: folds that leak, images without lungs."""
        return self.folds.leaky or self.settings.get("frame") == "lungs_black"

    @property
    def competition_metric(self) -> Metric:
        """What results on this data set are compared by; one of hooks that were not run cannot be computed here."""
        if self.settings.get("hooks") and not is_metric(self.metric):
            return Metric(self.metric, _refuse_unknown, self.higher_is_better)
        return find_metric(self.metric, self.metric_weights)


def _refuse_unknown(evaluation: Evaluation) -> float:
    raise InputError("a metric of hooks that came with a result is needed; read its hooks.py, then add --trust-hooks")


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
        """What the results of one table share: the fold file's hash and the folds."""
        return self.record.folds.sha256, self.record.folds.trained

    @property
    def images(self) -> int:
        """How many were predicted out of fold."""
        return self.record.images or len(self._column("id"))

    @property
    def patients(self) -> int:
        """How many they are of."""
        return self.record.patients or len(set(self._column("group")))

    def _column(self, name: str) -> pd.Series:
        """A column of the out-of-fold predictions."""
        return self.oof()[0][name]

    def oof(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Out-of-fold predictions and their provenance; `InputError` when the file is not the one that was scored."""
        return self._table("oof.parquet")

    def test(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Test predictions and their provenance; `InputError` when there is no test split."""
        if self.record.files.get("test.parquet") is None:
            if self.record.kind == "imported":
                raise InputError(f"{self.name} was imported without test predictions; import it again with --test")
            raise InputError(f"{self.name}: the data set {self.record.data} has no test split")
        return self._table("test.parquet")

    def corrupted(self) -> dict[str, pd.DataFrame] | None:
        """Corruption -> out-of-fold predictions of the corrupted images; None where there are none."""
        if self.record.files.get("corrupted.parquet") is None:
            return None
        return predictions.unstacked(self._table("corrupted.parquet")[0])

    def _table(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]]:
        path = self.folder / name
        if path.exists() and sha256_file(path) != self.record.files[name]:
            raise InputError(f"{path} is not the file that scores.json is about (hash differs); collect it again")
        return predictions.read(path)

    def score(self, kind: str, metric: str) -> Score | None:
        """A figure of `kind` "at_half", "cross_fitted", "corrupted" or "test"; None where there is none."""
        scores = self.record.scores
        if kind == "corrupted":
            return scores.corrupted.auc if scores.corrupted and metric == "auc" else None
        if kind == "test":
            return scores.test.at_half.get(metric) if scores.test else None
        figures: Figures | None = getattr(scores, kind)
        return figures.get(metric) if figures else None

    def value(self, metric: str) -> float:
        """A figure of the out-of-fold predictions, thresholded at 0.5 where it decides: `value("auc")`.

        Raises:
            InputError: it was not scored.
        """
        require_choice("metric", metric, self.record.scores.at_half)
        return self.record.scores.at_half[metric].value

    def by_subgroup(self) -> BySubgroup:
        """Title of a division -> value -> figures; of results of before they were scored by what the ids say."""
        kept = self.record.scores.by_subgroup
        if kept is not None or not subgroups.are_in_ids(self.record.data):
            return kept or {}
        table, task = self.oof()[0], self.record.create_task()
        values = subgroups.values_of(self.record.data, table["id"])
        return subgroups.score(table, task, values, self.record.competition_metric) or {}

    def rewritten(self, **fields: Any) -> "Result":
        """The result with some fields changed, in scores.json too; what else is written there stays as it is."""
        record = self.record.model_copy(update=fields)
        path, now = self.folder / "scores.json", record.to_dict()
        written = read_json(path) | {name: now[name] for name in fields if name in now}
        write_json(path, {name: value for name, value in written.items() if name in now or name not in fields})
        return Result(self.folder, record)

    def load_hooks(self) -> hooks.Hooks | None:
        """Run the hooks that it was made with, its metric among them perhaps; None where it has none.

        Raises:
            InputError: they are missing or changed, or came from elsewhere and are not trusted.
        """
        digest = self.record.files.get(hooks.FILE)
        name = self.record.settings.get("hooks", "")
        return hooks.load_stored(self.folder / hooks.FILE, name, digest) if digest else None

    @property
    def competition_score(self) -> Score | None:
        """The competition's metric at 0.5."""
        return self.score("at_half", metric_name(self.record.metric))

    def attention(self) -> Attention | None:
        """Where the model looks, as `chestfold explain` left it; None where it was not explained."""
        path = self.folder / ATTENTION
        return Attention.from_json(path) if path.exists() else None


def about_dataset(dataset: Dataset, task: Task) -> dict[str, Any]:
    """What the record of a result says of its data set."""
    metric = metric_name(dataset.metric or task.metric)
    return {
        "data": dataset.name,
        "classes": task.classes,
        "positive": dataset.positive,
        "task": task.name,
        "metric": metric,
        "metric_weights": dataset.metric_weights,
        "warning": dataset.warning,
        "higher_is_better": find_metric(metric).higher_is_better,
    }


def about_members(members: list[Result]) -> dict[str, Any]:
    """What the record of a result says that is made of others on the same images, the first of which it takes after."""
    record = members[0].record
    same = ("data", "classes", "positive", "task", "metric", "metric_weights", "higher_is_better", "warning", "folds")
    return {name: getattr(record, name) for name in (*same, "machine")} | {
        "settings": {"hooks": record.settings["hooks"]} if record.settings.get("hooks") else {},
        "members": [member.name for member in members],
        "minutes": round(sum(member.record.minutes for member in members), 1),
        "date": max(member.record.date for member in members),
    }


def metrics_of(record_metric: str, metric_weights: dict[str, float]) -> dict[str, Metric]:
    """Name -> metric: those of the board, the competition's, and those of the hooks that were run."""
    found = {name: METRICS[name] for name in BOARD}
    name = metric_name(record_metric)
    found[name] = find_metric(name, metric_weights)
    return found | {name: find_metric(name) for name in hooks.names("METRICS")}


def score_table(table: pd.DataFrame, task: Task, scored: dict[str, Metric], metric: Metric | None = None) -> Scores:
    """The scores of a labelled prediction table, without those that need more than the table.

    Args:
        table: predictions.
        task: what they are of.
        scored: name -> metric.
        metric: what thresholds are chosen for, where it is one of decisions; else for F1.
    """
    labels, probs = task.labels(table["label"].tolist()), predictions.probabilities(table)
    groups, folds = table["group"].to_numpy(), table["fold"].to_numpy()
    at_half = Predicted(task, labels, probs)
    found: dict[str, Any] = {
        "at_half": metrics.evaluate(at_half, groups, scored),
        "confusion": metrics.confusion(at_half),
    }
    if not task.sums_to_one:
        found["by_label"] = metrics.evaluate_each_class(at_half, groups, scored)
    if thresholds.have_thresholds(task) and len(np.unique(folds)) > 1:
        chosen = thresholds.best_thresholds(task, labels, probs, metric)
        others = thresholds.cross_fitted_thresholds(task, labels, probs, folds, metric)
        for name, value in (("in_sample", chosen), ("cross_fitted", others)):
            decided = Predicted(task, labels, probs, thresholds.as_given(task, value))
            found[name] = metrics.evaluate(decided, groups, scored)
        if task.sums_to_one:
            found["threshold"] = float(chosen[0])
        else:
            found["thresholds"] = dict(zip(task.classes, chosen.tolist(), strict=True))
    return Scores(**found)


def score_corrupted(tables: dict[str, pd.DataFrame], task: Task) -> CorruptionScores:
    """The mean AUC over all corruptions with its interval, and the AUC under each of them."""
    first = next(iter(tables.values()))
    labels, groups, classes = task.labels(first["label"].tolist()), first["group"].to_numpy(), list(task.classes)
    probs = {}
    for name, table in tables.items():
        probs[name] = predictions.probabilities(predictions.aligned(table, first["id"], classes))
    return CorruptionScores(
        auc=comparisons.mean_score(task, labels, list(probs.values()), groups),
        per_corruption={name: value_of(METRICS["auc"], Predicted(task, labels, p)) for name, p in probs.items()},
    )


def score_each_fold(table: pd.DataFrame, task: Task, metric: Metric) -> list[float]:
    """A metric of each fold alone, in their order."""
    values = []
    for _, part in table.groupby("fold"):
        rows = Predicted(task, task.labels(part["label"].tolist()), predictions.probabilities(part))
        values.append(value_of(metric, rows))
    return values


def folds_minus_pooled(table: pd.DataFrame, task: Task) -> Score | None:
    """`comparisons.folds_minus_pooled` of a prediction table; None of one fold."""
    labels, probs = task.labels(table["label"].tolist()), predictions.probabilities(table)
    groups, folds = table["group"].to_numpy(), table["fold"].to_numpy()
    if len(np.unique(folds)) < 2:
        return None
    return comparisons.folds_minus_pooled(task, labels, probs, groups, folds)


def write_result(
    folder: Path,
    oof: pd.DataFrame,
    test: pd.DataFrame | None,
    corrupted: pd.DataFrame | None,
    provenance: dict[str, Any],
    about: dict[str, Any],
    used: hooks.Hooks | None = None,
    values: dict[str, np.ndarray] | None = None,
) -> Result:
    """Score the tables and write the files of a result.

    Args:
        folder: runs/NAME.
        oof: out-of-fold predictions.
        test: test predictions, where there is a test split.
        corrupted: a stacked table of the out-of-fold predictions of corrupted images.
        provenance: goes into the schema of each table.
        about: the other fields of the record.
        used: the hooks that it was made with, whose file is kept with it.
        values: title of a division -> the value of each row of `oof`; what the ids say where nothing is given.
    """
    tables = {"oof.parquet": oof, "corrupted.parquet": corrupted, "test.parquet": test}
    files: dict[str, str | None] = {}
    for name, table in tables.items():
        files[name] = None
        if table is not None:
            predictions.write(folder / name, table, provenance)
            files[name] = sha256_file(folder / name)
    if used:
        write_bytes(folder / hooks.FILE, used.data)
        files[hooks.FILE] = used.sha256
    found = {
        "name": folder.name,
        "scores": _score(oof, test, corrupted, about, values),
        "files": files,
        "images": len(oof),
        "patients": oof["group"].nunique(),
    }
    record = ResultRecord(**(about | found))
    record.write(folder / "scores.json")
    return Result(folder, record)


def rescored(result: Result) -> Result:
    """The same predictions, scored by today's rules; of scores.json the scores are written again.

    Parts of the data set that its ids do not tell keep their figures: which image is of which part is not kept here.

    Raises:
        InputError: a file is not the one that was scored, or hooks that made it are not trusted.
    """
    result.load_hooks()
    record = result.record
    found = {}
    for name in ("oof", "test", "corrupted"):
        file = f"{name}.parquet"
        found[name] = result._table(file)[0] if record.files.get(file) else None
    assert found["oof"] is not None
    about = {
        name: getattr(record, name) for name in ("task", "classes", "positive", "metric", "metric_weights", "data")
    }
    scores = _score(found["oof"], found["test"], found["corrupted"], about, None)
    parts = (record.scores.by_subgroup or {}) | (scores.by_subgroup or {})
    return result.rewritten(scores=scores.model_copy(update={"by_subgroup": parts or None}))


def _score(
    oof: pd.DataFrame,
    test: pd.DataFrame | None,
    corrupted: pd.DataFrame | None,
    about: dict[str, Any],
    values: dict[str, np.ndarray] | None,
) -> Scores:
    """All scores of a result whose other fields are `about`."""
    task = create_task(about["task"], about["classes"], about["positive"])
    scored = metrics_of(about["metric"], about["metric_weights"])
    competition = scored[metric_name(about["metric"])]
    extra: dict[str, Any] = {"per_fold_auc": score_each_fold(oof, task, METRICS["auc"])}
    extra["folds_minus_pooled"] = folds_minus_pooled(oof, task)
    if competition is not METRICS["auc"]:
        extra["per_fold"] = score_each_fold(oof, task, competition)
    if corrupted is not None:
        extra["corrupted"] = score_corrupted(predictions.unstacked(corrupted), task)
    values = subgroups.values_of(about["data"], oof["id"]) if values is None else values
    extra["by_subgroup"] = subgroups.score(oof, task, values, competition)
    if test is not None and _has_every_class(test, task):
        extra["test"] = score_table(test, task, scored, competition)
    return score_table(oof, task, scored, competition).model_copy(update=extra)


def _has_every_class(table: pd.DataFrame, task: Task) -> bool:
    """Whether no label is withheld, and each class is there: an AUC needs both."""
    if (table["label"] == "").any():
        return False
    truth = task.truth(task.labels(table["label"].tolist()))
    return bool((truth == 1).any(axis=0).all() and (truth == 0).any(axis=0).all())


def find_result(name: str) -> Result:
    """The result `name`: in runs/, else in exps/results/.

    Raises:
        InputError: there is none.
    """
    require_plain_name(name, "result")
    found = known_result(name)
    if found:
        return found
    if RunFolder(name).begun_folds():
        raise InputError(f"{name} is not finished: run its experiment again, it trains the missing folds")
    known = [result.name for result in all_results()]
    hint = did_you_mean(name, known) or "; chestfold board lists the finished ones"
    raise InputError(f"no finished result called {name!r}{hint}")


def known_result(name: str) -> Result | None:
    """The result `name`: in runs/, else in exps/results/; None where there is none, or no name."""
    for base in (runs_dir(), published_dir()):
        path = base / name / "scores.json"
        if name and path.exists():
            return _read(path)
    return None


def _read(path: Path) -> Result:
    require_own_files(path.parent)
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
