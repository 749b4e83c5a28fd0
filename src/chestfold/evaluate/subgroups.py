"""Scores of the parts that a data set is divided into: bacterial and viral pneumonia, women and men, two scanners."""

import math

import numpy as np
import pandas as pd

from chestfold.core.records import Record
from chestfold.core.task import Task
from chestfold.data.catalogue import known_dataset
from chestfold.data.dataset import Index, subgroup_values
from chestfold.evaluate import predictions, thresholds
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS, Metric, Predicted, evaluate

SHARES = {name: METRICS[name] for name in ("recall", "specificity", "accuracy")}
AUC = {"auc": METRICS["auc"]}


class SubgroupScores(Record):
    """How the images of one part are predicted: the positive class (of labels the first) against the rest.

    `positives`: images that have it. `recall`, `specificity`: at 0.5, or of the most probable class; `tuned_recall`,
    `tuned_specificity`: at thresholds of the other folds. None where there is nothing to count. `accuracy`: at 0.5; of
    exclusive classes over all of them. `auc`: where the part has no positives, or nothing else, against all of the
    others (`auc_against_all`).
    """

    images: int
    patients: int
    positives: int
    recall: Score | None = None
    specificity: Score | None = None
    tuned_recall: Score | None = None
    tuned_specificity: Score | None = None
    accuracy: Score | None = None
    auc: Score | None = None
    auc_against_all: bool = False


BySubgroup = dict[str, dict[str, SubgroupScores]]
"""Title of a division -> value -> figures."""
Values = dict[str, np.ndarray]
"""Title of a division -> the value of each image (N,), "" where it has none."""


def are_in_ids(data: str) -> bool:
    """Whether the ids of a data set say which part an image is of."""
    dataset = known_dataset(data)
    return dataset is not None and any(subgroup.pattern for subgroup in dataset.subgroups.values())


def values_of(data: str, ids: pd.Series) -> Values:
    """What the `ids` of a data set say; nothing of one that is not declared here."""
    dataset = known_dataset(data)
    return subgroup_values(dataset, ids.to_frame("id")) if dataset else {}


def values_in(index: Index, ids: pd.Series) -> Values:
    """What an index says of the images with these `ids`, in their order."""
    if not index.dataset.subgroups:
        return {}
    rows = index.table.set_index("id", drop=False).loc[ids].reset_index(drop=True)
    return subgroup_values(index.dataset, rows)


def score(table: pd.DataFrame, task: Task, values: Values, metric: Metric | None = None) -> BySubgroup | None:
    """The figures of each part; None where images are not divided.

    Args:
        table: predictions (N rows).
        task: what they are of.
        values: the value of each row in each division.
        metric: what thresholds are chosen for, as in `thresholds.best_thresholds`.
    """
    if not values:
        return None
    parts = _Parts(table, task, metric)
    found: BySubgroup = {}
    for title, of_rows in values.items():
        found[title] = {}
        for value in np.unique(of_rows[of_rows != ""]):
            found[title][str(value)] = parts.score(of_rows == value)
    return found


class _Parts:
    """Predictions of which parts are scored."""

    def __init__(self, table: pd.DataFrame, task: Task, metric: Metric | None) -> None:
        self.task = task
        self.labels = task.labels(table["label"].tolist())
        self.probs = predictions.probabilities(table)
        self.groups = table["group"].to_numpy()
        self.positive = task.truth(self.labels)[:, task.positive_number]
        self.tuned: np.ndarray | None = None
        folds = table["fold"].to_numpy()
        if thresholds.have_thresholds(task) and len(np.unique(folds)) > 1:
            chosen = thresholds.cross_fitted_thresholds(task, self.labels, self.probs, folds, metric)
            self.tuned = thresholds.as_given(task, chosen)

    def score(self, rows: np.ndarray) -> SubgroupScores:
        """Of some rows, bool (N,)."""
        at_half = self._figures(rows, SHARES)
        tuned = self._figures(rows, SHARES, self.tuned) if self.tuned is not None else {}
        has_both = {0, 1} <= set(self.positive[rows])
        compared = rows if has_both else rows | self._lacking(rows)
        return SubgroupScores(
            images=int(rows.sum()),
            patients=len(np.unique(self.groups[rows])),
            positives=int((self.positive[rows] == 1).sum()),
            recall=at_half["recall"],
            specificity=at_half["specificity"],
            tuned_recall=tuned.get("recall"),
            tuned_specificity=tuned.get("specificity"),
            accuracy=at_half["accuracy"],
            auc=self._figures(compared, AUC)["auc"],
            auc_against_all=not has_both,
        )

    def _lacking(self, rows: np.ndarray) -> np.ndarray:
        """All rows of the kind, positive or not, that `rows` has none of; bool (N,)."""
        lacking = {0, 1} - set(self.positive[rows])
        return np.isin(self.positive, list(lacking))

    def _figures(
        self, rows: np.ndarray, scored: dict[str, Metric], threshold: np.ndarray | None = None
    ) -> dict[str, Score | None]:
        """Metric -> figure of some rows, None where it is not defined."""
        at = 0.5 if threshold is None else threshold[rows]
        predicted = Predicted(self.task, self.labels[rows], self.probs[rows], at)
        found = evaluate(predicted, self.groups[rows], scored, [self.task.positive_number])
        return {name: None if math.isnan(score.value) else score for name, score in found.items()}
