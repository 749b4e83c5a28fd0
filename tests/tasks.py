"""Tasks that tests share, and the AUC of predictions of one."""

import numpy as np

from chestfold.core.task import Labels, Task, create_task
from chestfold.evaluate.metrics import METRICS, Predicted, value_of

NAMES = ("healthy", "ill", "dying", "dead")


def exclusive(count: int = 2, positive: int = 1) -> Task:
    """One of the first `count` of `NAMES`; of two, without more, that of the `tiny` data set."""
    return create_task("multiclass", NAMES[:count], NAMES[positive])


def auc(labels: Labels, probs: np.ndarray, task: Task | None = None) -> float:
    """Of predictions (N, K) of exclusive classes, or of `task`."""
    return value_of(METRICS["auc"], Predicted(task or exclusive(probs.shape[1]), labels, probs))
