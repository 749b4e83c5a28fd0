"""Results whose predictions are drawn, not trained: of any task, in a moment."""

from collections.abc import Sequence

import pandas as pd
from conftest import Project, record_of
from tasks import drawn_probs

from chestfold.core.task import Task
from chestfold.core.task.multilabel import label_text
from chestfold.evaluate import results
from chestfold.evaluate.results import FoldsOfResult, Result


def texts(task: Task, labels) -> list[str]:
    """Labels as an index has them."""
    if task.sums_to_one:
        return [task.classes[n] for n in labels]
    return [label_text(task.classes, row) for row in labels]


def rows_of(task: Task, labels, folds: int = 3) -> pd.DataFrame:
    """id, group, fold and label: two images a patient."""
    ids = [f"t{n:03d}" for n in range(len(labels))]
    groups = [f"p{n // 2:03d}" for n in range(len(labels))]
    numbers = [n // 2 % folds for n in range(len(labels))]
    return pd.DataFrame({"id": ids, "group": groups, "fold": numbers, "label": texts(task, labels)})


def with_probs(rows: pd.DataFrame, task: Task, draw: str) -> pd.DataFrame:
    """`rows` with predictions that know something of their labels."""
    table = rows[["id", "group", "fold", "label"]].reset_index(drop=True)
    table[list(task.classes)] = drawn_probs(task, task.labels(rows["label"].tolist()), 1.0, draw)
    return table


def store(
    project: Project,
    name: str,
    task: Task,
    rows: pd.DataFrame,
    tests: pd.DataFrame | None = None,
    trained: Sequence[int] = (0, 1, 2),
    **fields,
) -> Result:
    """A finished result in runs/NAME, with out-of-fold predictions of the rows in the folds `trained`."""
    folds = FoldsOfResult(file="tiny", count=3, sha256="f" * 64, trained=tuple(trained))
    of_task = {"task": task.name, "classes": task.classes, "positive": task.positive if task.sums_to_one else ""}
    record = record_of(name, **({"folds": folds} | of_task | fields))
    about = record.model_dump(exclude={"name", "scores", "files", "images", "patients"})
    oof = with_probs(rows[rows["fold"].isin(trained)], task, name)
    test = None if tests is None else with_probs(tests, task, f"{name} test")
    origin = {"folds_sha256": folds.sha256, "folds": folds.file, "task": task.name}
    return results.write_result(project.runs / name, oof, test, None, origin, about)
