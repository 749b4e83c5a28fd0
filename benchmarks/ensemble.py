"""Choosing members and weights: ours against the package hillclimbers, and against the plain loop.

    python benchmarks/ensemble.py [--hillclimbers FOLDER] [--quick]

hillclimbers (Matt-OP, MIT, on PyPI) is used where it can be imported, or from the folder that holds it, as
`pip install --target FOLDER hillclimbers` makes it; nothing of it is part of this project. Its search adds at each step
the model and the weight, 0.01 to 0.5 in steps of 0.01, that raise the AUC most. The same search is made here with the
counts and the sort of `evaluate/selection.py`: weights are looked at one by one only where the bound of an interval of
them allows a better blend. Prints one JSON line; all times are seconds of CPU time, of one thread:

- climb: that search, 30 models, 5,000 rows. `candidates`: how many blends hillclimbers scores; `same_blend`: whether
  the two blends are equal in every bit.
- greedy: `--method greedy` of `chestfold ensemble` (10 bags, 15 picks with replacement) on the same members, over the
  plain loop that gives every candidate to the metric; `same_picks`: whether the weights are equal.
- auc: microseconds of one AUC: by the metric, by one sort of packed keys, and its bound.
- large: `--method greedy` of 500 models and 100,000 rows: one bag, and all ten; the memory is the peak of the process.
"""

import argparse
import heapq
import importlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from statistics import median
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from chestfold.core.console import say
from chestfold.core.rng import generator
from chestfold.core.task import create_task
from chestfold.evaluate import ensemble
from chestfold.evaluate.bootstrap import patient_weights
from chestfold.evaluate.ensemble import GreedySelection
from chestfold.evaluate.metrics import METRICS, Metric, Predicted, value_of
from chestfold.evaluate.selection import Area

TASK = create_task("multiclass", ("healthy", "ill"), "ill")
WEIGHTS = np.arange(0.01, 0.51, 0.01)
ROUNDS = 5
ABSENT = "not found: pip install --target FOLDER hillclimbers, and --hillclimbers FOLDER"
R = TypeVar("R")


def members(models: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities float64 (M, N, 2): models of different skill that share half of their errors."""
    rng = generator("benchmark", "ensemble", models, rows)
    labels = (rng.random(rows) < 0.3).astype(int)
    shared = rng.normal(0, 0.7, rows)
    probs = np.empty((models, rows, 2))
    for model in probs:
        odds = rng.uniform(0.8, 1.6) * labels + shared + rng.normal(0, 0.7, rows)
        model[:, 1] = expit(1.5 * odds - 1)
        model[:, 0] = 1 - model[:, 1]
    return labels, probs


def cpu_seconds(work: Callable[[], R]) -> tuple[float, R]:
    began = time.process_time()
    made = work()
    return time.process_time() - began, made


# The search of hillclimbers


def with_hillclimbers(package: Any, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The blend (N,) that it ends with."""
    names = [f"m{n}" for n in range(len(scores))]
    table = pd.DataFrame(scores.T, columns=names)
    with redirect_stdout(io.StringIO()):
        _, blend = package.climb_hill(
            train=pd.DataFrame({"target": labels}),
            oof_pred_df=table,
            test_pred_df=table,
            target="target",
            objective="maximize",
            eval_metric=partial(roc_auc_score),
            plot_hill=False,
            return_oof_preds=True,
        )
    return blend


class Climb:
    """The same search, made with bounds. `candidates`: how many blends would have been scored without them."""

    def __init__(self, labels: np.ndarray, probs: np.ndarray) -> None:
        truth = Predicted(TASK, labels, probs[0])
        self.area = Area(probs, TASK.positive_number, truth, np.ones(len(labels), int))
        self.candidates = 0

    def run(self) -> np.ndarray:
        """The blend (N,), in the order of the rows of `area`."""
        alone = np.array([self.area.value(scores) for scores in self.area.scores])
        first, *left = np.argsort(-alone, kind="stable").tolist()
        blend, highest = self.area.scores[first], alone[first]
        while left:
            self.candidates += len(left) * len(WEIGHTS)
            found = self._best_step(blend, left, highest)
            if found is None:
                break
            highest, place, weight = found
            blend = (1 - weight) * blend + weight * self.area.scores[left.pop(place)]
        return blend

    def _best_step(self, blend: np.ndarray, left: list[int], highest: float) -> tuple[float, int, float] | None:
        """AUC, place in `left` and weight of the best step, the first of equals; None where none is a gain.

        What may hold it waits in the order of its bound: all weights of a model, then halves, then one weight.
        """
        rest = [(1 - weight) * blend for weight in WEIGHTS]

        def bound(place: int, low: int, high: int) -> float:
            scores = self.area.scores[left[place]]
            one = rest[low] + WEIGHTS[low] * scores
            if low == high:
                return self.area.bound(*self.area.split(one))
            other = rest[high] + WEIGHTS[high] * scores
            positives, negatives = zip(self.area.split(one), self.area.split(other), strict=True)
            return self.area.bound(np.maximum(*positives), np.minimum(*negatives))

        waiting = []
        for place in range(len(left)):
            waiting.append((-bound(place, 0, len(WEIGHTS) - 1), place, 0, len(WEIGHTS) - 1, False))
        heapq.heapify(waiting)
        while waiting:
            worth, place, low, high, is_exact = heapq.heappop(waiting)
            if -worth <= highest:
                return None
            if is_exact:
                return -worth, place, WEIGHTS[low]
            if low == high:
                value = self.area.value(rest[low] + WEIGHTS[low] * self.area.scores[left[place]])
                heapq.heappush(waiting, (-value, place, low, low, True))
                continue
            middle = (low + high) // 2
            heapq.heappush(waiting, (-bound(place, low, middle), place, low, middle, False))
            heapq.heappush(waiting, (-bound(place, middle + 1, high), place, middle + 1, high, False))
        return None


def measure_climb(package: Any, labels: np.ndarray, probs: np.ndarray, rounds: int) -> dict[str, Any]:
    ours = [cpu_seconds(Climb(labels, probs).run)[0] for _ in range(rounds)]
    climb = Climb(labels, probs)
    blend = climb.run()
    figures: dict[str, Any] = {"models": len(probs), "rows": len(labels), "candidates": climb.candidates}
    if package:
        theirs, their_blend = cpu_seconds(lambda: with_hillclimbers(package, labels, probs[:, :, 1]))
        ours += [cpu_seconds(Climb(labels, probs).run)[0] for _ in range(rounds)]
        in_order = np.concatenate([their_blend[labels == 1], their_blend[labels == 0]])
        scale = climb.area.scale
        figures |= {
            "hillclimbers_s": round(theirs, 2),
            "ratio": round(theirs / median(ours)),
            "same_blend": bool(np.array_equal(blend / scale, in_order)),
        }
    else:
        figures["hillclimbers"] = ABSENT
    return figures | {"ours_s": round(median(ours), 4)}


# The plain loop


def plain_weights(metric: Metric, labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> list[float]:
    """What `GreedySelection` finds, every candidate given to the metric."""
    counts = np.zeros(len(probs))
    for bag, weights in enumerate(patient_weights(groups, ensemble.BAGS)):
        order = generator("greedy", bag).permutation(len(probs))
        total = np.zeros(probs.shape[1:])
        for picked in range(ensemble.PICKS):
            worths = []
            for member in order:
                predicted = Predicted(TASK, labels, (total + probs[member]) / (picked + 1))
                worths.append(metric.worth(value_of(metric, predicted, weights)))
            best = order[int(np.argmax(worths))]
            counts[best] += 1
            total += probs[best]
    return (counts / counts.sum()).tolist()


def greedy_weights(metric: Metric, labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> list[float]:
    weights = GreedySelection(TASK, metric).fit(probs, labels, groups).weights
    assert weights
    return weights


def measure_greedy(name: str, labels: np.ndarray, probs: np.ndarray, rounds: int) -> dict[str, Any]:
    groups = np.arange(len(labels)) // 2
    work = partial(greedy_weights, METRICS[name], labels, probs, groups)
    ours = [cpu_seconds(work)[0] for _ in range(rounds)]
    plain, expected = cpu_seconds(lambda: plain_weights(METRICS[name], labels, probs, groups))
    ours += [cpu_seconds(work)[0] for _ in range(rounds)]
    return {
        "plain_s": round(plain, 3),
        "ours_s": round(median(ours), 4),
        "ratio": round(plain / median(ours), 1),
        "same_picks": work() == expected,
    }


def measure_auc(labels: np.ndarray, probs: np.ndarray, rounds: int) -> dict[str, float]:
    """Microseconds."""
    predicted = Predicted(TASK, labels, probs[0])
    area = Area(probs[:1], TASK.positive_number, predicted, np.ones(len(labels), int))
    works: dict[str, Callable[[], object]] = {
        "metric": lambda: value_of(METRICS["auc"], Predicted(TASK, labels, probs[0])),
        "sort": lambda: area.value(area.scores[0]),
        "bound": lambda: area.bound(*area.split(area.scores[0])),
    }
    figures = {}
    for name, work in works.items():
        times = [cpu_seconds(work)[0] for _ in range(50 * rounds)]
        figures[name] = round(median(times) * 1e6, 1)
    return figures


def measure_large(models: int, rows: int) -> dict[str, Any]:
    labels, probs = members(models, rows)
    groups = np.arange(rows) // 2
    figures: dict[str, Any] = {"models": models, "rows": rows}
    bags = ensemble.BAGS
    for name, count in (("one_bag_s", 1), ("ten_bags_s", bags)):
        ensemble.BAGS = count
        figures[name] = round(cpu_seconds(lambda: greedy_weights(METRICS["auc"], labels, probs, groups))[0], 2)
    ensemble.BAGS = bags
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return figures


def find_hillclimbers(folder: str) -> Any:
    """The package; None where there is none and no folder was named."""
    if folder:
        sys.path.append(folder)
    try:
        return importlib.import_module("hillclimbers")
    except ImportError as error:
        if folder:
            raise SystemExit(
                f"--hillclimbers {folder}: {error}; install the package and what it needs there"
            ) from error
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hillclimbers", default="", metavar="FOLDER", help="folder that the package is in")
    parser.add_argument("--quick", action="store_true", help="few models and rows, one round: does it run at all")
    arguments = parser.parse_args()
    package = find_hillclimbers(arguments.hillclimbers)
    rounds = 1 if arguments.quick else ROUNDS
    labels, probs = members(4, 300) if arguments.quick else members(30, 5000)
    figures: dict[str, Any] = {"climb": measure_climb(package, labels, probs, rounds)}
    for name in ("auc", "log_loss", "accuracy"):
        figures[f"greedy_{name}"] = measure_greedy(name, labels, probs, rounds)
    figures["auc_us"] = measure_auc(labels, probs, rounds)
    figures["large"] = measure_large(10, 2000) if arguments.quick else measure_large(500, 100_000)
    say(json.dumps(figures))


if __name__ == "__main__":
    main()
