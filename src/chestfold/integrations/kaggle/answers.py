"""From predictions to what a competition wants to be answered: which columns, and probabilities or classes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.task import Task
from chestfold.data.dataset import ANY_OTHER, Dataset, id_column_of
from chestfold.evaluate.results import Scores

DIGITS = 6


@dataclass(frozen=True)
class AnswerFormat:
    """How the answers of one competition are written. `columns`: column of the file -> class, "" for all together.

    `threshold`: as `Task.decide` takes it, for answers that are classes.
    """

    task: Task
    dataset: Dataset
    id_column: str
    columns: dict[str, str]
    threshold: float | np.ndarray

    @property
    def wants_classes(self) -> bool:
        """Whether classes are answered, not probabilities."""
        return self.dataset.submission.answer == "class"

    @property
    def sums_to_one(self) -> bool:
        """Whether the columns of a row are a distribution over all classes."""
        every = sorted(self.columns.values()) == sorted(self.task.classes)
        return every and self.task.sums_to_one and not self.wants_classes

    def answers(self, probs: np.ndarray) -> dict[str, np.ndarray]:
        """Column -> the answers (N,) for probabilities (N, K): float of 0 to 1, or texts."""
        decided = self.task.decide(probs, self.threshold)
        found = {}
        for column, name in self.columns.items():
            if self.wants_classes and not name:
                found[column] = np.array([self._text(row) for row in decided], dtype=object)
            else:
                number = self.task.classes.index(name)
                found[column] = decided[:, number].astype(int) if self.wants_classes else probs[:, number]
        return found

    def _text(self, decided: np.ndarray) -> str:
        """What is decided for one image, bool (K,), in the words of the competition's own labels."""
        words = [cell_of(name, self.dataset) for name in np.array(self.task.classes)[decided]]
        if words:
            return (self.dataset.separator or " ").join(words)
        return self.dataset.no_finding[0] if self.dataset.no_finding else ""

    def table(self, ids: pd.Series, probs: np.ndarray, header: list[str]) -> pd.DataFrame:
        """The answers for `ids` (N,) under the sample's `header`."""
        columns = {self.id_column: ids.to_numpy(), **self.answers(probs)}
        return pd.DataFrame({name: columns[name] for name in header})


def cell_of(name: str, dataset: Dataset) -> str:
    """How a class is called in the competition's own table: the first value that stands for it."""
    mapping = dataset.labels if isinstance(dataset.labels, Mapping) else {}
    for value, meaning in mapping.items():
        if meaning == name and value != ANY_OTHER:
            return value
    return name


def answer_format(sample: pd.DataFrame, source: str, dataset: Dataset, task: Task, scores: Scores) -> AnswerFormat:
    """How to fill in a sample submission.

    Args:
        sample: the file, all cells texts.
        source: its name, for a complaint.
        dataset: the declaration.
        task: what is predicted.
        scores: whose thresholds were chosen on all out-of-fold predictions.

    Raises:
        InputError: a column is not a class, and the declaration does not say what it is.
    """
    header = list(sample.columns)
    id_column = id_column_of(header, source, dataset)
    wanted = [column for column in header if column != id_column]
    if not wanted:
        raise InputError(f"{source} names no column for an answer beside {id_column!r}")
    declared = dataset.submission.columns
    for column in declared:
        if column not in wanted:
            raise InputError(f"[submission] columns: {source} has no column {column!r} (it has {', '.join(wanted)})")
    columns = declared or _columns_by_name(wanted, source, dataset, task)
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise InputError(f"{source} asks for {missing[0]!r} too; name its class under columns in [submission]")
    return AnswerFormat(task, dataset, id_column, dict(columns), _threshold(task, scores))


def _columns_by_name(wanted: list[str], source: str, dataset: Dataset, task: Task) -> dict[str, str]:
    """Columns that are called like classes; a single one of any name is the positive class, or the decision."""
    if all(column in task.classes for column in wanted):
        return {column: column for column in wanted}
    if len(wanted) == 1:
        if dataset.submission.answer == "class":
            return {wanted[0]: ""}
        if len(task.scored_classes) == 1:
            return {wanted[0]: task.classes[task.scored_classes[0]]}
    unknown = next(column for column in wanted if column not in task.classes)
    raise InputError(
        f"{source} asks for {unknown!r}, which is none of the classes {', '.join(task.classes)}; say what it is in "
        f'dataset.toml: [submission] columns = {{ "{unknown}" = "{task.classes[0]}" }}'
    )


def _threshold(task: Task, scores: Scores) -> float | np.ndarray:
    if scores.threshold is not None:
        return scores.threshold
    if scores.thresholds:
        return np.array([scores.thresholds[name] for name in task.classes])
    return 0.5
