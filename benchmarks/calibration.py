"""What calibrating gains, on every published result of two or more folds.

    python benchmarks/calibration.py [--quick]

A fold is calibrated by the others: by a temperature alone (Guo et al., ICML 2017), and by slope and shift (Platt 1999),
as `chestfold calibrate` does it. Prints log loss, Brier score, ECE, the pooled AUC, F1 and accuracy at 0.5, and both at
thresholds that were chosen on the other folds, before and after. Beside it what a fold's own labels would give: those
of its other patients, in five parts, and all of them, which is no honest figure. At the end a line of JSON with the
means (`folds`: the mean of the folds' AUCs); `ratio`: log loss after over that before. `--quick` takes three results.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chestfold.core.rng import generator
from chestfold.core.task import Labels, Task
from chestfold.evaluate import predictions, thresholds
from chestfold.evaluate.calibration import calibrated, fit
from chestfold.evaluate.comparisons import FoldMean
from chestfold.evaluate.metrics import METRICS, Predicted, value_of
from chestfold.evaluate.results import Result, published_results

FREE = ("log_loss", "brier", "ece", "auc", "f1", "accuracy")
TUNED = ("f1", "accuracy")
WAYS = ("as it is", "temperature", "slope and shift", "own patients", "own labels")
PARTS = 5


@dataclass(frozen=True)
class Given:
    """Out-of-fold predictions; `parts` (N,): of the patients of a fold, drawn."""

    task: Task
    labels: Labels
    probs: np.ndarray
    folds: np.ndarray
    parts: np.ndarray


def splits(given: Given, way: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows that a calibration is fitted on in one of `WAYS`, and those that it is applied to, bool (N,) each."""
    for fold in np.unique(given.folds):
        rows = given.folds == fold
        if way == "own labels":
            yield rows, rows
        elif way == "own patients":
            for part in range(PARTS):
                yield rows & (given.parts != part), rows & (given.parts == part)
        else:
            yield ~rows, rows


def calibrate(given: Given, way: str) -> np.ndarray:
    """Probabilities (N, K), each fold calibrated in one of `WAYS`."""
    made = given.probs.copy()
    if way == "as it is":
        return made
    for fitted, rows in splits(given, way):
        scalings = fit(given.task, given.labels[fitted], given.probs[fitted], shifted=way != "temperature")
        made[rows] = calibrated(given.task, given.probs[rows], scalings)
    return made


def figures_of(task: Task, labels: Labels, probs: np.ndarray, folds: np.ndarray) -> dict[str, float]:
    at_half = Predicted(task, labels, probs)
    found = {name: value_of(METRICS[name], at_half) for name in FREE}
    found["folds"] = float(FoldMean(task, labels, probs, folds)(np.ones(len(probs))))
    if thresholds.have_thresholds(task):
        chosen = thresholds.cross_fitted_thresholds(task, labels, probs, folds)
        tuned = Predicted(task, labels, probs, thresholds.as_given(task, chosen))
        found |= {f"{name} tuned": value_of(METRICS[name], tuned) for name in TUNED}
    return found


def measure(result: Result) -> dict[str, dict[str, float]]:
    """Way -> figures of a result."""
    table, task = result.oof()[0], result.record.create_task()
    labels, probs = task.labels(table["label"].tolist()), predictions.probabilities(table)
    folds = table["fold"].to_numpy()
    patients, patient = np.unique(table["group"], return_inverse=True)
    parts = generator("calibration", len(patients)).integers(0, PARTS, len(patients))[patient]
    given = Given(task, labels, probs, folds, parts)
    return {way: figures_of(task, labels, calibrate(given, way), folds) for way in WAYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the first three results only")
    quick = parser.parse_args().quick
    results = [r for r in published_results().values() if len(r.record.folds.trained) > 1]
    measured = []
    for result in results[:3] if quick else results:
        measured.append(measure(result))
        for way, figures in measured[-1].items():
            texts = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            print(f"{result.name:<18} {way:<18} {texts}")
    means: dict[str, dict[str, float]] = {}
    for way in WAYS:
        of_way = [found[way] for found in measured]
        means[way] = {name: round(float(np.mean([of[name] for of in of_way])), 4) for name in of_way[0]}
    ratio = means["slope and shift"]["log_loss"] / means["as it is"]["log_loss"]
    print(json.dumps({"benchmark": "calibration", "results": len(measured), "ratio": round(ratio, 3), "means": means}))


if __name__ == "__main__":
    main()
