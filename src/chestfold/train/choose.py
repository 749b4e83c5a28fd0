"""How a fold predicts after its training, where its settings leave that to its validation images.

In bf16, where the monitored figure stays as it was in the precision of the training; and by the first view alone of an
image that is surer than a confidence, where the figure stays as it is by all views. Where the loss is monitored, which
moves with every probability, the AUC is compared in its place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.core.run_folder import Chosen, FoldFolder
from chestfold.core.task import Task
from chestfold.data.loader import Images
from chestfold.evaluate.metrics import find_metric
from chestfold.models.load import as_chosen
from chestfold.models.runner import Runner, count_views, first_and_all_views, in_bf16, predict

TOLERANCE = 1e-3
"""By which the figure may differ."""
SHARES = np.arange(0, 1, 0.05)
"""Of the validation images that have further views, of which the smallest that is within the tolerance is chosen."""
Figure = Callable[[np.ndarray], float]
"""The figure `compared_figure` of predictions (N, K) for the validation images."""


@dataclass(frozen=True)
class Choice:
    """The networks as they predict, what is recorded of it, and out-of-fold predictions (N, K) where they are known."""

    networks: list[Runner]
    chosen: Chosen | None = None
    oof: np.ndarray | None = None

    def describe(self, exp: Experiment) -> str:
        """What was chosen, in a line."""
        if self.chosen is None:
            return "predicting: as trained, all views"
        figures = ", ".join(f"{name} {value:.4f}" for name, value in self.chosen.figures.items())
        return f"predicting: {self.chosen.precision}, {self.chosen.views:.0%} of the views of {exp.tta} ({figures})"


def compared_figure(exp: Experiment) -> str:
    """Name of the metric that a choice must leave as it is."""
    return "auc" if exp.monitor == "loss" else exp.monitor


def choose(exp: Experiment, folder: FoldFolder, networks: list[Runner], val: Images, figure: Figure) -> Choice:
    """Choose by the validation images; where there are none, or nothing is left to them, all stays as trained."""
    selective = exp.tta_selective and exp.tta != "none"
    if not len(val) or (exp.predict_precision == "trained" and not selective):
        return Choice(networks)
    name = compared_figure(exp)
    figures: dict[str, float] = {}
    if exp.predict_precision == "fastest":
        networks, figures = _choose_precision(exp, folder, networks, val, figure)
    confidence, views, oof = None, 1.0, None
    if selective:
        passes = [first_and_all_views(network, val, exp.tta, "choosing views") for network in networks]
        firsts, every = (np.stack(arrays) for arrays in zip(*passes, strict=True))
        sign = find_metric(name).sign
        confidence, share = _choose_confidence(networks[0].task, firsts, every, lambda probs: sign * figure(probs))
        oof = _by_confidence(networks[0].task, firsts, every, confidence)
        views = (1 + (count_views(exp.tta) - 1) * share) / count_views(exp.tta)
        figures |= {f"{name} of all views": figure(every.mean(axis=0)), f"{name} of these": figure(oof)}
    chosen = Chosen(precision=networks[0].precision, confidence=confidence, views=round(views, 4), figures=figures)
    return Choice([as_chosen(network, chosen) for network in networks], chosen, oof)


def _choose_precision(
    exp: Experiment, folder: FoldFolder, networks: list[Runner], val: Images, figure: Figure
) -> tuple[list[Runner], dict[str, float]]:
    """The networks in bf16, if each has the figure of its epoch; and the figures of the last one in both precisions."""
    name = compared_figure(exp)
    of_epoch = {row["epoch"]: row[name] for row in folder.history()}
    faster, figures = [], {}
    for network, path in zip(networks, folder.predicting_checkpoints(exp), strict=True):
        fast = in_bf16(network)
        if fast is None:
            return networks, {}
        trained = of_epoch[checkpoint.load_weights(path)["epoch"]]
        found = figure(predict(fast, val, label="choosing the precision"))
        figures = {f"{name} in {network.precision}": trained, f"{name} in bf16": found}
        if not abs(found - trained) <= TOLERANCE:
            return networks, figures
        faster.append(fast)
    return faster, figures


def _choose_confidence(task: Task, firsts: np.ndarray, every: np.ndarray, worth: Figure) -> tuple[float | None, float]:
    """The lowest confidence from which on one view is enough, and the share of the images that are below it.

    Taken from probabilities (M, N, K) of M networks by the first and by all views. `worth`: the figure, higher is
    better. From all images down, shares are tried until the figure is worse than by all views; of them the smallest
    counts whose figure is the same. None, and 1, where even a few images with one view make it worse.
    """
    wanted = worth(every.mean(axis=0))
    sure = np.stack([task.confidence(first) for first in firsts])
    chosen, share_below = None, 1.0
    for share in SHARES[::-1]:
        confidence = float(np.quantile(sure, share))
        gained = worth(_by_confidence(task, firsts, every, confidence)) - wanted
        if not gained >= -TOLERANCE:
            break
        if gained <= TOLERANCE:
            chosen, share_below = confidence, float((sure < confidence).mean())
    return chosen, share_below


def _by_confidence(task: Task, firsts: np.ndarray, every: np.ndarray, confidence: float | None) -> np.ndarray:
    """The networks' mean (N, K), each by the first view of the images that it is sure of."""
    if confidence is None:
        return every.mean(axis=0)
    sure = np.stack([task.confidence(first) for first in firsts])
    return np.where(sure[..., None] < confidence, every, firsts).mean(axis=0)
