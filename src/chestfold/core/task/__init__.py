"""Tasks by name: what labels, probabilities and decisions mean. To add one, write its file and its line in `TASKS`."""

from collections.abc import Sequence

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.task.base import Labels, Task
from chestfold.core.task.multiclass import Multiclass
from chestfold.core.task.multilabel import Multilabel
from chestfold.core.task.ordinal import Ordinal

__all__ = ["TASKS", "Labels", "Task", "create_task"]

TASKS: dict[str, type[Task]] = {"multiclass": Multiclass, "multilabel": Multilabel, "ordinal": Ordinal}
"""Name in a dataset.toml -> task."""


def create_task(name: str, classes: Sequence[str], positive: str = "") -> Task:
    """The task of that name for some classes.

    Raises:
        InputError: there is no such task, or a class name is not possible in it.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}{did_you_mean(name, TASKS)}; there are {', '.join(TASKS)}")
    task = TASKS[name](tuple(classes), positive)
    task.require_classes()
    return task
