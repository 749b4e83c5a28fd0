"""Blend OOF files: mean, rank mean, greedy selection, logistic stacking; each scored cross-fitted and in-sample.

A member's predictions are float (M, N, K): model, row, class. Every method is a function that is fitted on some rows
and then applied to others, so that one piece of code scores them all honestly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from chestfold.core.errors import InputError
from chestfold.core.files import lock, runs_dir, sha256_json
from chestfold.core.rng import generator
from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.results import Result, find_result, format_folds, trained_folds, write_result

BAGS = 10
PICKS = 15
Apply = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Fitted:
    """A fitted blend: `apply` maps (M, N, K) to (N, K); `weights` a number per member where there is one."""

    apply: Apply
    weights: list[float] | None


def fit_mean(probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Fitted:
    """The plain average; nothing is fitted."""
    return _weighted([1 / len(probs)] * len(probs))


def _weighted(weights: list[float]) -> Fitted:
    return Fitted(lambda p: np.tensordot(np.array(weights), p, axes=1), weights)


def fit_rank(probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Fitted:
    """The average of ranks within the set that is predicted: immune to differently calibrated members."""
    return Fitted(_mean_of_ranks, [1 / len(probs)] * len(probs))


def _mean_of_ranks(probs: np.ndarray) -> np.ndarray:
    ranks = (rankdata(probs, axis=1) - 0.5) / probs.shape[1]
    mean = ranks.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True)


def fit_greedy(probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Fitted:
    """Greedy selection with replacement for AUC, averaged over bags of patients (Caruana et al., ICML 2004)."""
    counts = np.zeros(len(probs))
    draws = metrics.patient_weights(groups, BAGS)
    for bag, rows in enumerate(draws):
        counts += _pick(probs, labels, rows, bag)
    return _weighted((counts / counts.sum()).tolist())


def _pick(probs: np.ndarray, labels: np.ndarray, rows: np.ndarray, bag: int) -> np.ndarray:
    """How often each member is picked, float (M,). Ties go to a member drawn for the bag, not to the first."""
    order = generator("greedy", bag).permutation(len(probs))
    counts, total = np.zeros(len(probs)), np.zeros(probs.shape[1:])
    for _ in range(PICKS):
        scores = [_weighted_auc(labels, total + probs[m], rows) for m in order]
        best = order[int(np.argmax(scores))]
        counts[best] += 1
        total += probs[best]
    return counts


def _weighted_auc(labels: np.ndarray, probs: np.ndarray, rows: np.ndarray) -> float:
    classes = [1] if probs.shape[1] == 2 else range(probs.shape[1])
    return float(np.mean([metrics.Ranking(labels == c, probs[:, c]).auc(rows) for c in classes]))


def fit_stack(probs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Fitted:
    """Logistic regression on the members' log-odds (Wolpert 1992), C = 1."""
    model = LogisticRegression(max_iter=2000).fit(_features(probs), labels)
    if probs.shape[2] == 2:

        def apply(p: np.ndarray) -> np.ndarray:
            logits = model.decision_function(_features(p))
            return softmax(np.stack([np.zeros_like(logits), logits], axis=1), axis=1)

        return Fitted(apply, model.coef_[0].tolist())
    return Fitted(lambda p: softmax(model.decision_function(_features(p)), axis=1), None)


def _features(probs: np.ndarray) -> np.ndarray:
    """Log-odds against the first class, float (N, M * (K - 1))."""
    logs = np.log(np.clip(probs, 1e-6, 1))
    odds = logs[:, :, 1:] - logs[:, :, :1]
    return odds.transpose(1, 0, 2).reshape(probs.shape[1], -1)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], Fitted]] = {
    "mean": fit_mean,
    "rank": fit_rank,
    "greedy": fit_greedy,
    "stack": fit_stack,
}


@dataclass(frozen=True)
class Members:
    """The members' OOF predictions (M, N, K), aligned by id to `table`, which gives id, group, fold and label.

    `corrupted`: the same under each shift, where every member has them.
    """

    names: list[str]
    table: pd.DataFrame
    probs: np.ndarray
    about: dict[str, Any]
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


def gather(members: list[Result]) -> Members:
    """The members' OOF predictions side by side.

    Raises:
        InputError: a member was trained on other folds, or its ids or classes differ.
    """
    first, origin = members[0].oof()
    tables = []
    for member in members:
        table, theirs = member.oof()
        if theirs["folds_sha256"] != origin["folds_sha256"]:
            raise InputError(
                f"{member.name} (folds {theirs['folds']}, {theirs['folds_sha256'][:8]}) and {members[0].name} "
                f"(folds {origin['folds']}, {origin['folds_sha256'][:8]}) were trained on different folds; "
                "their OOF files cannot be blended"
            )
        if trained_folds(member.about) != trained_folds(members[0].about):
            raise InputError(
                f"{member.name} holds {format_folds(member.about)} and {members[0].name} "
                f"{format_folds(members[0].about)}; train the missing ones first"
            )
        tables.append(table)
    names = [m.name for m in members]
    return Members(names, first, _stack(first, tables), members[0].about, origin, _shifts(first, members))


def _stack(first: pd.DataFrame, tables: list[pd.DataFrame]) -> np.ndarray:
    classes = predictions.class_columns(first)
    return np.stack([predictions.probabilities(predictions.aligned(table, first["id"], classes)) for table in tables])


def _shifts(first: pd.DataFrame, members: list[Result]) -> dict[str, np.ndarray] | None:
    """Corruption -> (M, N, K); None when a member has no corrupted predictions, or others."""
    found = [member.corrupted() for member in members]
    whole = [tables for tables in found if tables is not None]
    if len(whole) < len(members) or any(set(tables) != set(whole[0]) for tables in whole):
        return None
    return {name: _stack(first, [tables[name] for tables in whole]) for name in whole[0]}


def cross_fit(method: str, members: Members, probs: np.ndarray) -> np.ndarray:
    """Blend of `probs` (M, N, K) to (N, K), whose weights for each fold come from the OOF of the other folds."""
    folds = members.table["fold"].to_numpy()
    blended = np.empty(probs.shape[1:])
    for fold in np.unique(folds):
        others = folds != fold
        fitted = METHODS[method](members.probs[:, others], members.labels[others], members.groups[others])
        blended[~others] = fitted.apply(probs[:, ~others])
    return blended


def possible_methods(members: Members) -> list[str]:
    """All methods, or with a single fold those that fit nothing: there are no other folds to fit on."""
    return list(METHODS) if members.table["fold"].nunique() > 1 else ["mean", "rank"]


def compare(members: Members) -> dict[str, dict[str, Any]]:
    """Method -> cross-fitted and in-sample AUC with intervals, and the gain over the best single member."""
    labels, groups = members.labels, members.groups
    positive = members.about["classes"].index(members.about["positive"])
    singles = [metrics.macro_auc(labels, p) for p in members.probs]
    best = int(np.argmax(singles))
    rows = {}
    for name in possible_methods(members):
        honest = cross_fit(name, members, members.probs)
        fitted = METHODS[name](members.probs, labels, groups)
        rows[name] = {
            "cross_fitted": metrics.score(labels, honest, groups, positive),
            "in_sample": metrics.macro_auc(labels, fitted.apply(members.probs)),
            "gain": metrics.paired_auc(labels, honest, members.probs[best], groups),
            "over": members.names[best],
            "weights": fitted.weights,
        }
    return rows


def ensemble(names: list[str], target: str, method: str, overwrite: bool = False) -> tuple[Result, dict]:
    """Blend finished results into runs/TARGET, a result like any other; returns it and the table of all methods.

    Raises:
        InputError: fewer than two members, one twice, another result of this name, members of different folds.
    """
    if Path(target).name != target:
        raise InputError(f"--name {target}: a plain name is needed")
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"an ensemble needs two or more different members, got {' '.join(names)}")
    if any(name.endswith("-debug") for name in names) and not target.endswith("-debug"):
        raise InputError(f"{' '.join(names)}: a blend of debug runs means nothing; name it {target}-debug")
    results = [find_result(name) for name in names]
    members = gather(results)
    folder = runs_dir() / target
    with lock(folder):
        _claim(target, names, method, overwrite)
        if method not in possible_methods(members):
            raise InputError(
                f"--method {method} fits weights on other folds, and {names[0]} holds one; take mean or rank"
            )
        table = compare(members)
        fitted = METHODS[method](members.probs, members.labels, members.groups)
        blended = _with(members.table, cross_fit(method, members, members.probs))
        test = _blend_tests(results, members, fitted)
        origin = members.origin | {"experiment": target, "members": {r.name: _oof_hash(r) for r in results}}
        origin["config_sha256"] = sha256_json([names, method])
        about = _describe(members, results, method, table)
        return write_result(folder, blended, test, origin, about, _blend_shifts(method, members)), table


def _claim(target: str, names: list[str], method: str, overwrite: bool) -> None:
    path = runs_dir() / target / "scores.json"
    if not path.exists() or overwrite:
        if any((runs_dir() / target).glob("fold*")):
            raise InputError(f"{target} is the name of an experiment's run; choose another --name")
        return
    about = find_result(target).about
    if (about.get("members"), about.get("method")) != (names, method):
        raise InputError(f"{path.parent} holds another result; choose another --name or add --overwrite")


def _oof_hash(result: Result) -> str:
    return result.about["files"]["oof.parquet"]


def _with(table: pd.DataFrame, probs: np.ndarray) -> pd.DataFrame:
    copy = table.copy()
    copy[predictions.class_columns(table)] = probs / probs.sum(axis=1, keepdims=True)
    return copy


def _blend_tests(results: list[Result], members: Members, fitted: Fitted) -> pd.DataFrame | None:
    if any(r.about["files"]["test.parquet"] is None for r in results):
        return None
    first, _ = results[0].test()
    classes = predictions.class_columns(members.table)
    first = predictions.aligned(first, first["id"], classes)
    tables = [predictions.aligned(r.test()[0], first["id"], classes) for r in results]
    return _with(first, fitted.apply(np.stack([predictions.probabilities(t) for t in tables])))


def _blend_shifts(method: str, members: Members) -> pd.DataFrame | None:
    if members.corrupted is None:
        return None
    blends = {
        name: _with(members.table, cross_fit(method, members, probs)) for name, probs in members.corrupted.items()
    }
    return predictions.stacked(blends)


def _describe(members: Members, results: list[Result], method: str, table: dict) -> dict[str, Any]:
    same = {k: members.about[k] for k in ("data", "classes", "positive", "folds")}
    methods = {
        m: {"cross_fitted_auc": row["cross_fitted"]["auc"].value, "in_sample_auc": row["in_sample"]}
        for m, row in table.items()
    }
    return same | {
        "kind": "ensemble",
        "method": method,
        "members": members.names,
        "weights": table[method]["weights"],
        "methods": methods,
        "minutes": round(sum(r.about["minutes"] for r in results), 1),
        "date": max(r.about["date"] for r in results),
        "machine": results[0].about["machine"],
    }
