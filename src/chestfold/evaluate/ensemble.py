"""Blend OOF files: mean, rank mean, greedy selection, logistic stacking; each scored cross-fitted and in-sample.

A member's predictions are float (M, N, K): model, row, class. A blender is fitted on some rows and applied to others,
so that one piece of code scores them all honestly. To add one, write a class and its line in `BLENDERS`.
"""

import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit, logit, softmax

from chestfold.core.errors import InputError
from chestfold.core.files import lock, require_plain_name, sha256_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import Labels, Task
from chestfold.evaluate import predictions
from chestfold.evaluate.bootstrap import Score, patient_weights
from chestfold.evaluate.calibration import Scalings, calibrated
from chestfold.evaluate.comparisons import FoldMean, mean_score, paired_fold_gain
from chestfold.evaluate.metrics import Metric, Predicted, value_of
from chestfold.evaluate.results import MethodScores, Result, ResultRecord, about_members, find_result, write_result
from chestfold.evaluate.selection import start_selection

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

BAGS = 10
PICKS = 15


class Blender(ABC):
    """Learns weights from some rows and blends others. `weights`: a number for each member, where there is one."""

    weights: list[float] | None = None

    def __init__(self, task: Task, metric: Metric) -> None:
        """`metric`: what shall be high, for those that look at it."""
        self.task = task
        self.metric = metric

    @abstractmethod
    def fit(self, probs: np.ndarray, labels: Labels, groups: np.ndarray) -> Self:
        """From probabilities (M, N, K), labels (N,) or (N, K), and patients (N,)."""

    @abstractmethod
    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (M, N, K) to (N, K)."""


class Mean(Blender):
    """The plain average; nothing is fitted."""

    def fit(self, probs: np.ndarray, labels: Labels, groups: np.ndarray) -> Self:
        """Equal weights."""
        self.weights = [1 / len(probs)] * len(probs)
        return self

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """The weighted average."""
        return np.tensordot(np.array(self.weights), probs, axes=1)


class RankMean(Mean):
    """The average of ranks within the set that is predicted: immune to differently calibrated members."""

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Mean ranks, 0 to 1, as a prediction of the task."""
        from scipy.stats import rankdata  # half a second, which nobody waits for who blends otherwise

        ranks = (rankdata(probs, axis=1) - 0.5) / probs.shape[1]
        return self.task.normalised(ranks.mean(axis=0))


class GreedySelection(Mean):
    """Members picked one after the other, with replacement, for the metric; averaged over bags of patients.

    Caruana et al., Ensemble selection from libraries of models, ICML 2004.
    """

    def fit(self, probs: np.ndarray, labels: Labels, groups: np.ndarray) -> Self:
        """The share of picks of each member."""
        counts = np.zeros(len(probs))
        for bag, weights in enumerate(patient_weights(groups, BAGS)):
            order = generator("greedy", bag).permutation(len(probs)).tolist()
            for member in self._pick(probs, labels, weights, order):
                counts[member] += 1
        self.weights = (counts / counts.sum()).tolist()
        return self

    def _pick(self, probs: np.ndarray, labels: Labels, weights: np.ndarray, order: list[int]) -> list[int]:
        """The members picked, one after the other. Ties go to the first in `order`, which is drawn for each bag."""
        selection = start_selection(self.metric, self.task, labels, probs, weights)
        picks = []
        for _ in range(PICKS):
            picks.append(selection.best(order))
            selection.add(picks[-1])
        return picks


class LogisticStack(Blender):
    """Logistic regression on the members' log-odds (Wolpert 1992), C = 1; one for each of several labels."""

    def fit(self, probs: np.ndarray, labels: Labels, groups: np.ndarray) -> Self:
        """The coefficients; of two classes they are the weights."""
        self._models: list[LogisticRegression | None] = []
        if self.task.sums_to_one:
            model = _regression(_log_odds(probs), labels)
            self._models.append(model)
            if probs.shape[2] == 2:
                self.weights = model.coef_[0].tolist()
            return self
        for number in range(probs.shape[2]):
            known = ~np.isnan(labels[:, number])
            self._models.append(_regression_of_label(_log_odds_of(probs[:, known], number), labels[known, number]))
        return self

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """The regression's probabilities; a class that it was not shown has none."""
        if not self.task.sums_to_one:
            of_labels = [_decision(model, _log_odds_of(probs, n)) for n, model in enumerate(self._models)]
            return expit(np.stack(of_labels, axis=1))
        (model,) = self._models
        assert model is not None
        logits = model.decision_function(_log_odds(probs))
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        blended = np.zeros(probs.shape[1:])
        blended[:, model.classes_] = softmax(logits, axis=1)
        return blended


def _regression(features: np.ndarray, labels: np.ndarray) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression  # half a second, and not for other blends

    return LogisticRegression(max_iter=2000).fit(features, labels)


def _regression_of_label(features: np.ndarray, labels: np.ndarray) -> "LogisticRegression | None":
    """None where all rows have the label, or none has: there is nothing to be learned."""
    return _regression(features, labels) if len(np.unique(labels)) == 2 else None


def _decision(model: "LogisticRegression | None", features: np.ndarray) -> np.ndarray:
    """Log-odds (N,) of a label; without a model the mean of the members'."""
    return features.mean(axis=1) if model is None else model.decision_function(features)


def _log_odds(probs: np.ndarray) -> np.ndarray:
    """Of exclusive classes against the first one, float (N, M * (K - 1))."""
    logs = np.log(np.clip(probs, 1e-6, 1))
    odds = logs[:, :, 1:] - logs[:, :, :1]
    return odds.transpose(1, 0, 2).reshape(probs.shape[1], -1)


def _log_odds_of(probs: np.ndarray, number: int) -> np.ndarray:
    """Of one label by each member, float (N, M)."""
    return logit(np.clip(probs[:, :, number], 1e-6, 1 - 1e-6)).T


BLENDERS: dict[str, type[Blender]] = {
    "mean": Mean,
    "rank": RankMean,
    "greedy": GreedySelection,
    "stack": LogisticStack,
}
"""Name of a method -> its blender."""
UNFITTED = ("mean", "rank")
"""Methods that fit nothing, and need no other folds to be fitted on."""


@dataclass(frozen=True)
class Members:
    """The members' OOF predictions (M, N, K), aligned by id to `table`, which gives id, group, fold and label.

    `record`, `origin`: of the first member. `corrupted`: the same under each corruption, where every member has them.
    """

    names: list[str]
    table: pd.DataFrame
    probs: np.ndarray
    record: ResultRecord
    origin: dict[str, Any]
    corrupted: dict[str, np.ndarray] | None = None

    @property
    def task(self) -> Task:
        """What they are predictions of."""
        return self.record.create_task()

    @property
    def are_of_one_split(self) -> bool:
        """Whether all were trained on the same folds; else on several splits of the same images."""
        return not self.origin.get("other_folds")

    @property
    def labels(self) -> Labels:
        """The truth, as the task has it."""
        return self.task.labels(self.table["label"].tolist())

    @property
    def groups(self) -> np.ndarray:
        """Patients (N,)."""
        return self.table["group"].to_numpy()

    @property
    def folds(self) -> np.ndarray:
        """Fold of each row (N,)."""
        return self.table["fold"].to_numpy()


def gather(members: list[Result]) -> Members:
    """The members' OOF predictions side by side.

    Raises:
        InputError: a member was trained on other images or lacks folds, or its ids or classes differ.
    """
    first = members[0]
    table, origin = first.oof()
    tables = []
    for member in members:
        theirs, their_origin = member.oof()
        _require_same_images(member, their_origin, first, origin)
        tables.append(theirs)
        origin = origin | _other_folds(origin, their_origin)
    names = [member.name for member in members]
    return Members(names, table, _stack(table, tables), first.record, origin, _corrupted(table, members))


def _require_same_images(member: Result, theirs: dict[str, Any], first: Result, origin: dict[str, Any]) -> None:
    """Raise `InputError` where two members do not predict the same images, each by a model that did not see it."""
    if theirs["folds_sha256"] == origin["folds_sha256"]:
        if member.record.folds.trained != first.record.folds.trained:
            raise InputError(
                f"{_with_origin(member)} holds {member.record.folds} and {_with_origin(first)} {first.record.folds}; "
                "train the missing ones first"
            )
        return
    for result in (member, first):
        if result.record.folds.leaky:
            raise InputError(f"the folds of {result.name} leak on purpose; it cannot be blended with another split's")
    if "index_sha256" not in origin or theirs.get("index_sha256") != origin["index_sha256"]:
        raise InputError(
            f"{member.name} (folds {theirs['folds']}, {theirs['folds_sha256'][:8]}) and {first.name} (folds "
            f"{origin['folds']}, {origin['folds_sha256'][:8]}) were trained on different folds of different images; "
            "their OOF files cannot be blended"
        )
    for result in (member, first):
        if result.record.folds.missing:
            raise InputError(
                f"{member.name} and {first.name} were trained on different folds, and {_with_origin(result)} holds "
                f"{result.record.folds}; train the missing ones first"
            )


def _other_folds(origin: dict[str, Any], theirs: dict[str, Any]) -> dict[str, list[str]]:
    """Name in a provenance -> hashes of the other fold files that a blend's predictions come from; {} without any."""
    known = {*origin.get("other_folds", []), theirs["folds_sha256"], *theirs.get("other_folds", [])}
    others = sorted(known - {origin["folds_sha256"]})
    return {"other_folds": others} if others else {}


def _with_origin(result: Result) -> str:
    return f"{result.name} (published)" if result.is_published else f"{result.name} (runs/)"


def _stack(first: pd.DataFrame, tables: list[pd.DataFrame]) -> np.ndarray:
    """Probabilities (M, N, K), rows in the order of `first`."""
    classes = predictions.class_columns(first)
    aligned = [predictions.aligned(table, first["id"], classes) for table in tables]
    return np.stack([predictions.probabilities(table) for table in aligned])


def _corrupted(first: pd.DataFrame, members: list[Result]) -> dict[str, np.ndarray] | None:
    """Corruption -> (M, N, K); None when a member has no corrupted predictions, or others."""
    found = [member.corrupted() for member in members]
    present = [tables for tables in found if tables is not None]
    if len(present) < len(members) or any(set(tables) != set(present[0]) for tables in present):
        return None
    return {name: _stack(first, [tables[name] for tables in present]) for name in present[0]}


def create_blender(method: str, members: Members) -> Blender:
    """A blender for what `members` predict, which climbs their data set's competition metric."""
    return BLENDERS[method](members.task, members.record.competition_metric)


class CrossFit:
    """A method fitted for each fold on the OOF of the other folds, and once on all, for what is in no fold."""

    def __init__(self, method: str, members: Members) -> None:
        labels, groups = members.labels, members.groups
        self._folds = members.folds
        self.on_all = create_blender(method, members).fit(members.probs, labels, groups)
        self._on_others: dict[int, Blender] = {}
        for fold in np.unique(self._folds):
            others = self._folds != fold
            blender = create_blender(method, members)
            self._on_others[fold] = blender.fit(members.probs[:, others], labels[others], groups[others])

    def blend(self, probs: np.ndarray) -> np.ndarray:
        """Predictions (M, N, K) of the members' images as (N, K), each fold by weights from the other folds."""
        blended = np.empty(probs.shape[1:])
        for fold, blender in self._on_others.items():
            inside = self._folds == fold
            blended[inside] = blender.predict(probs[:, inside])
        return blended


def possible_methods(members: Members) -> list[str]:
    """All methods, or those that fit nothing where there are no other folds to fit on.

    So it is with a single fold, and with several splits, of which none holds out an image from all members.
    """
    return list(BLENDERS) if len(np.unique(members.folds)) > 1 and members.are_of_one_split else list(UNFITTED)


def fit_methods(members: Members) -> dict[str, CrossFit]:
    """Every method that is possible, by name."""
    return {name: CrossFit(name, members) for name in possible_methods(members)}


@dataclass(frozen=True)
class Comparison:
    """How a method scores by the competition metric. `gain`: in the folds' mean over the best single member, paired.

    The folds' mean is compared because it treats members and blends alike: a pooled figure also counts offsets between
    the folds, which ranking within the folds removes, and which play no part in a test prediction.
    """

    score: Score
    fold_mean: float
    in_sample: float
    gain: Score
    over: str
    weights: list[float] | None


def compare(members: Members, fitted: dict[str, CrossFit]) -> dict[str, Comparison]:
    """Method -> its scores, beside the best single member. `fitted`: the methods that are compared."""
    task, metric = members.task, members.record.competition_metric
    labels, groups, folds = members.labels, members.groups, members.folds
    equal_weights = np.ones(len(folds))
    singles = [
        metric.worth(float(FoldMean(task, labels, probs, folds, metric)(equal_weights))) for probs in members.probs
    ]
    best = int(np.argmax(singles))
    compared = {}
    for name, fit in fitted.items():
        honest = task.normalised(fit.blend(members.probs))
        in_sample = Predicted(task, labels, task.normalised(fit.on_all.predict(members.probs)))
        compared[name] = Comparison(
            score=mean_score(task, labels, [honest], groups, metric),
            fold_mean=float(FoldMean(task, labels, honest, folds, metric)(equal_weights)),
            in_sample=value_of(metric, in_sample),
            gain=paired_fold_gain(task, labels, honest, members.probs[best], groups, folds, metric),
            over=members.names[best],
            weights=fit.on_all.weights,
        )
    return compared


def ensemble(
    names: list[str], target: str, method: str, overwrite: bool = False
) -> tuple[Result, dict[str, Comparison]]:
    """Blend finished results into runs/TARGET, a result like any other; returns it and the table of all methods.

    Raises:
        InputError: fewer than two members, one twice, another result of this name, members of different folds.
    """
    require_plain_name(target, "--name")
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"an ensemble needs two or more different members, got {' '.join(names)}")
    if any(name.endswith("-debug") for name in names) and not target.endswith("-debug"):
        raise InputError(f"{' '.join(names)}: a blend of debug runs means nothing; name it {target}-debug")
    results = [find_result(name) for name in names]
    _require_uncalibrated(results)
    used = [result.load_hooks() for result in results]
    members = gather(results)
    folder = RunFolder(target)
    with lock(folder.path):
        _claim(folder, names, method, overwrite)
        if method not in possible_methods(members):
            why = f"{names[0]} holds one" if members.are_of_one_split else "the members were trained on different ones"
            raise InputError(f"--method {method} fits weights on other folds, and {why}; take mean or rank")
        fitted = fit_methods(members)
        compared = compare(members, fitted)
        fit = fitted[method]
        oof = _with(members.table, fit.blend(members.probs), members.task)
        test, corrupted = _blend_own_tests(results, members, fit.on_all), _blend_corrupted(members, fit)
        origin = members.origin | {"experiment": target, "config_sha256": sha256_json([names, method])}
        origin["members"] = {result.name: result.record.files["oof.parquet"] for result in results}
        about = _describe(members, results, method, compared)
        return write_result(folder.path, oof, test, corrupted, origin, about, used[0]), compared


def _require_uncalibrated(results: list[Result]) -> None:
    """Raise `InputError` for a calibrated member: the mean of calibrated predictions is not calibrated itself.

    Ranjan and Gneiting, Journal of the Royal Statistical Society B 72, 2010.
    """
    for result in results:
        if result.record.calibration:
            raise InputError(
                f"{result.name} is calibrated, and a mean of calibrated predictions is not; blend "
                f"{result.record.members[0]} and calibrate the blend: chestfold calibrate NAME"
            )


def find_blend(target: str, names: list[str], method: str) -> Result | None:
    """The result runs/TARGET, where it is the blend of these members as they are now; else None."""
    if not (RunFolder(target).path / "scores.json").exists():
        return None
    found = find_result(target)
    if (list(found.record.members), found.record.method) != (names, method):
        return None
    now = {name: find_result(name).record.files["oof.parquet"] for name in names}
    return found if found.oof()[1]["members"] == now else None


def _claim(folder: RunFolder, names: list[str], method: str, overwrite: bool) -> None:
    if folder.begun_folds():
        raise InputError(f"{folder.name} is the name of an experiment's run; choose another --name")
    path = folder.path / "scores.json"
    if overwrite or not path.exists():
        return
    record = ResultRecord.from_json(path)
    if (list(record.members), record.method) != (names, method):
        raise InputError(f"{folder.path} holds another result; choose another --name or add --overwrite")


def _with(table: pd.DataFrame, probs: np.ndarray, task: Task) -> pd.DataFrame:
    """A copy of `table` with other scores, as predictions of `task`."""
    return predictions.with_probabilities(table, task.normalised(probs))


def _blend_own_tests(results: list[Result], members: Members, blender: Blender) -> pd.DataFrame | None:
    if any(result.record.files.get("test.parquet") is None for result in results):
        return None
    return blend_tests([result.test()[0] for result in results], blender)


def blend_tests(tables: list[pd.DataFrame], blender: Blender) -> pd.DataFrame:
    """The members' predictions of the same images as one table, in the order of the first."""
    first = predictions.aligned(tables[0], tables[0]["id"], blender.task.classes)
    return _with(first, blender.predict(_stack(first, tables)), blender.task)


class Calibrated(Blender):
    """The only member, its probabilities scaled as `scalings` say."""

    def __init__(self, task: Task, metric: Metric, scalings: Scalings) -> None:
        super().__init__(task, metric)
        self._scalings = scalings

    def fit(self, probs: np.ndarray, labels: Labels, groups: np.ndarray) -> Self:
        """Nothing: `calibration.fit_calibration` has done it."""
        return self

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities."""
        return calibrated(self.task, self.task.normalised(probs[0]), self._scalings)


def blender_of(result: Result) -> Blender:
    """What makes a result of its members.

    The blender of an ensemble, with the weights that it kept, or, a stack, fitted to its members again; what calibrates
    the member of a calibrated result.
    """
    record = result.record
    if record.calibration:
        return Calibrated(record.create_task(), record.competition_metric, record.calibration.on_all)
    if record.method == "stack":
        members = gather([find_result(name) for name in record.members])
        return create_blender("stack", members).fit(members.probs, members.labels, members.groups)
    blender = BLENDERS[record.method](record.create_task(), record.competition_metric)
    blender.weights = list(record.weights) if record.weights else None
    return blender


def require_same_members(result: Result) -> None:
    """Raise `InputError` where a member of a result was trained again after the result was made."""
    made_from = result.oof()[1]["members"]
    for name in result.record.members:
        if find_result(name).record.files["oof.parquet"] != made_from[name]:
            again = f"chestfold calibrate {shlex.quote(name)}" if result.record.calibration else "blend them again"
            raise InputError(f"{name} was trained again after {result.name} was made from it; {again}")


def _blend_corrupted(members: Members, fit: CrossFit) -> pd.DataFrame | None:
    if members.corrupted is None:
        return None
    blends = {}
    for name, probs in members.corrupted.items():
        blends[name] = _with(members.table, fit.blend(probs), members.task)
    return predictions.stacked(blends)


def _describe(members: Members, results: list[Result], method: str, compared: dict[str, Comparison]) -> dict[str, Any]:
    """The fields of scores.json besides its scores."""
    methods = {}
    for name, row in compared.items():
        methods[name] = MethodScores(cross_fitted=row.score.value, in_sample=row.in_sample, fold_mean=row.fold_mean)
    return about_members(results) | {
        "kind": "ensemble",
        "method": method,
        "weights": compared[method].weights,
        "methods": methods,
    }
