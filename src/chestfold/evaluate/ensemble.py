"""Blend OOF files: mean, rank mean, greedy selection, logistic stacking; each scored cross-fitted and in-sample.

A member's predictions are float (M, N, K): model, row, class. A blender is fitted on some rows and applied to others,
so that one piece of code scores them all honestly. To add one, write a class and its line in `BLENDERS`.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from chestfold.core.errors import InputError
from chestfold.core.files import lock, require_plain_name, sha256_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import RunFolder
from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.metrics import FoldAuc, Score
from chestfold.evaluate.results import MethodScores, Result, ResultRecord, find_result, write_result

BAGS = 10
PICKS = 15


class Blender(Protocol):
    """Learns weights from some rows and blends others. `weights`: a number for each member, where there is one."""

    weights: list[float] | None

    def fit(self, probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Self:
        """From probabilities (M, N, K), class numbers (N,) and patients (N,)."""

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities (M, N, K) to (N, K)."""


class Mean:
    """The plain average; nothing is fitted."""

    weights: list[float] | None = None

    def fit(self, probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Self:
        """Equal weights."""
        self.weights = [1 / len(probs)] * len(probs)
        return self

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """The weighted average."""
        return np.tensordot(np.array(self.weights), probs, axes=1)


class RankMean(Mean):
    """The average of ranks within the set that is predicted: immune to differently calibrated members."""

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Mean ranks, rows summing to 1."""
        ranks = (rankdata(probs, axis=1) - 0.5) / probs.shape[1]
        mean = ranks.mean(axis=0)
        return mean / mean.sum(axis=1, keepdims=True)


class GreedySelection(Mean):
    """Members picked one after the other, with replacement, for AUC; averaged over bags of patients.

    Caruana et al., Ensemble selection from libraries of models, ICML 2004.
    """

    def fit(self, probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Self:
        """The share of picks of each member."""
        counts = np.zeros(len(probs))
        for bag, rows in enumerate(metrics.patient_weights(groups, BAGS)):
            counts += _pick(probs, labels, rows, bag)
        self.weights = (counts / counts.sum()).tolist()
        return self


def _pick(probs: np.ndarray, labels: np.ndarray, rows: np.ndarray, bag: int) -> np.ndarray:
    """How often each member is picked, float (M,). Ties go to a member drawn for the bag, not to the first."""
    order = generator("greedy", bag).permutation(len(probs))
    counts, total = np.zeros(len(probs)), np.zeros(probs.shape[1:])
    for _ in range(PICKS):
        areas = [metrics.mean_auc_of(metrics.rank_classes(labels, total + probs[m]), rows) for m in order]
        best = order[int(np.argmax(areas))]
        counts[best] += 1
        total += probs[best]
    return counts


class LogisticStack:
    """Logistic regression on the members' log-odds (Wolpert 1992), C = 1."""

    weights: list[float] | None = None

    def fit(self, probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Self:
        """The coefficients; of two classes they are the weights."""
        self._model = LogisticRegression(max_iter=2000).fit(_log_odds(probs), labels)
        if probs.shape[2] == 2:
            self.weights = self._model.coef_[0].tolist()
        return self

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """The regression's probabilities."""
        logits = self._model.decision_function(_log_odds(probs))
        if logits.ndim == 1:
            logits = np.stack([np.zeros_like(logits), logits], axis=1)
        return softmax(logits, axis=1)


def _log_odds(probs: np.ndarray) -> np.ndarray:
    """Against the first class, float (N, M * (K - 1))."""
    logs = np.log(np.clip(probs, 1e-6, 1))
    odds = logs[:, :, 1:] - logs[:, :, :1]
    return odds.transpose(1, 0, 2).reshape(probs.shape[1], -1)


BLENDERS: dict[str, type[Mean] | type[LogisticStack]] = {
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
    def labels(self) -> np.ndarray:
        """Class numbers, int64 (N,)."""
        return predictions.labels(self.table)

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
        InputError: a member was trained on other folds, or its ids or classes differ.
    """
    first = members[0]
    table, origin = first.oof()
    tables = []
    for member in members:
        theirs, their_origin = member.oof()
        if their_origin["folds_sha256"] != origin["folds_sha256"]:
            raise InputError(
                f"{member.name} (folds {their_origin['folds']}, {their_origin['folds_sha256'][:8]}) and {first.name} "
                f"(folds {origin['folds']}, {origin['folds_sha256'][:8]}) were trained on different folds; their OOF "
                "files cannot be blended"
            )
        if member.record.folds.trained != first.record.folds.trained:
            raise InputError(
                f"{_with_origin(member)} holds {member.record.folds} and {_with_origin(first)} {first.record.folds}; "
                "train the missing ones first"
            )
        tables.append(theirs)
    names = [member.name for member in members]
    return Members(names, table, _stack(table, tables), first.record, origin, _corrupted(table, members))


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


def cross_fit(method: str, members: Members, probs: np.ndarray) -> np.ndarray:
    """Blend of `probs` (M, N, K) to (N, K), whose weights for each fold come from the OOF of the other folds."""
    blended = np.empty(probs.shape[1:])
    for fold in np.unique(members.folds):
        others = members.folds != fold
        blender = BLENDERS[method]().fit(members.probs[:, others], members.labels[others], members.groups[others])
        blended[~others] = blender.predict(probs[:, ~others])
    return blended


def possible_methods(members: Members) -> list[str]:
    """All methods, or with a single fold those that fit nothing: there are no other folds to fit on."""
    return list(BLENDERS) if len(np.unique(members.folds)) > 1 else list(UNFITTED)


@dataclass(frozen=True)
class Comparison:
    """How a method scores. `gain`: in the mean AUC of the folds over the best single member, paired.

    The folds' mean is compared because it treats members and blends alike: a pooled AUC also counts offsets between
    the folds, which ranking within the folds removes, and which play no part in a test prediction.
    """

    auc: Score
    fold_auc: float
    in_sample_auc: float
    gain: Score
    over: str
    weights: list[float] | None


def compare(members: Members) -> dict[str, Comparison]:
    """Method -> its scores, beside the best single member."""
    labels, groups, folds = members.labels, members.groups, members.folds
    equal_weights = np.ones(len(labels))
    singles = [FoldAuc(labels, probs, folds)(equal_weights) for probs in members.probs]
    best = int(np.argmax(singles))
    compared = {}
    for name in possible_methods(members):
        honest = cross_fit(name, members, members.probs)
        blender = BLENDERS[name]().fit(members.probs, labels, groups)
        compared[name] = Comparison(
            auc=metrics.mean_auc(labels, [honest], groups),
            fold_auc=FoldAuc(labels, honest, folds)(equal_weights),
            in_sample_auc=metrics.macro_auc(labels, blender.predict(members.probs)),
            gain=metrics.paired_fold_auc(labels, honest, members.probs[best], groups, folds),
            over=members.names[best],
            weights=blender.weights,
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
    members = gather(results)
    folder = RunFolder(target)
    with lock(folder.path):
        _claim(folder, names, method, overwrite)
        if method not in possible_methods(members):
            raise InputError(
                f"--method {method} fits weights on other folds, and {names[0]} holds one; take mean or rank"
            )
        compared = compare(members)
        blender = BLENDERS[method]().fit(members.probs, members.labels, members.groups)
        oof = _with(members.table, cross_fit(method, members, members.probs))
        test, corrupted = _blend_tests(results, members, blender), _blend_corrupted(method, members)
        origin = members.origin | {"experiment": target, "config_sha256": sha256_json([names, method])}
        origin["members"] = {result.name: result.record.files["oof.parquet"] for result in results}
        about = _describe(members, results, method, compared)
        return write_result(folder.path, oof, test, corrupted, origin, about), compared


def _claim(folder: RunFolder, names: list[str], method: str, overwrite: bool) -> None:
    if folder.begun_folds():
        raise InputError(f"{folder.name} is the name of an experiment's run; choose another --name")
    path = folder.path / "scores.json"
    if overwrite or not path.exists():
        return
    record = ResultRecord.from_json(path)
    if (list(record.members), record.method) != (names, method):
        raise InputError(f"{folder.path} holds another result; choose another --name or add --overwrite")


def _with(table: pd.DataFrame, probs: np.ndarray) -> pd.DataFrame:
    """A copy of `table` with other probabilities, rows summing to 1."""
    copy = table.copy()
    copy[predictions.class_columns(table)] = probs / probs.sum(axis=1, keepdims=True)
    return copy


def _blend_tests(results: list[Result], members: Members, blender: Blender) -> pd.DataFrame | None:
    if any(result.record.files.get("test.parquet") is None for result in results):
        return None
    tables = [result.test()[0] for result in results]
    first = predictions.aligned(tables[0], tables[0]["id"], predictions.class_columns(members.table))
    return _with(first, blender.predict(_stack(first, tables)))


def _blend_corrupted(method: str, members: Members) -> pd.DataFrame | None:
    if members.corrupted is None:
        return None
    blends = {}
    for name, probs in members.corrupted.items():
        blends[name] = _with(members.table, cross_fit(method, members, probs))
    return predictions.stacked(blends)


def _describe(members: Members, results: list[Result], method: str, compared: dict[str, Comparison]) -> dict[str, Any]:
    """The fields of scores.json besides its scores."""
    record, methods = members.record, {}
    for name, row in compared.items():
        methods[name] = MethodScores(
            cross_fitted_auc=row.auc.value, in_sample_auc=row.in_sample_auc, fold_auc=row.fold_auc
        )
    return {
        "kind": "ensemble",
        "data": record.data,
        "classes": record.classes,
        "positive": record.positive,
        "folds": record.folds,
        "method": method,
        "members": members.names,
        "weights": compared[method].weights,
        "methods": methods,
        "minutes": round(sum(result.record.minutes for result in results), 1),
        "date": max(result.record.date for result in results),
        "machine": record.machine,
    }
