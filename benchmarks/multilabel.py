"""One label of several beside a class of two: what does it cost to ask for three labels at once?

    python benchmarks/multilabel.py [--quick]

Compares the out-of-fold predictions of results that are finished, in runs/ or published: the label PNEUMONIA of exp035
(cross entropy of each of three labels) and of exp036 (focal loss) with the class PNEUMONIA of exp021-64px, which is the
same network on the same images and folds for as many epochs. Prints one JSON line: the AUC of each, and the paired
difference to the two classes with its 95 % interval by a bootstrap over patients. `--quick` draws fewer patients.
"""

import argparse
import json

import numpy as np

from chestfold.core.task import create_task
from chestfold.evaluate import bootstrap
from chestfold.evaluate.metrics import METRICS, Predicted, value_of
from chestfold.evaluate.paired import Paired, gain_of
from chestfold.evaluate.results import find_result

CLASS = "PNEUMONIA"
TWO_CLASSES = "exp021-64px"
LABELS = ("exp035", "exp036")
TASK = create_task("multiclass", ("rest", CLASS), CLASS)


def as_two_classes(positive: np.ndarray) -> np.ndarray:
    """The probability of one class (N,) as that of it and the rest (N, 2)."""
    return np.stack([1 - positive, positive], axis=1)


def compare() -> dict[str, object]:
    table = find_result(TWO_CLASSES).oof()[0]
    folds = tuple(sorted(set(table["fold"])))
    classes = as_two_classes(table[CLASS].to_numpy())
    table["label"] = np.where(table["label"] == CLASS, CLASS, "rest")
    labels = TASK.labels(table["label"].tolist())
    auc = METRICS["auc"]
    found: dict[str, object] = {TWO_CLASSES: round(value_of(auc, Predicted(TASK, labels, classes)), 4)}
    for name in LABELS:
        other = find_result(name).oof()[0].set_index("id").loc[table["id"]]
        probs = as_two_classes(other[CLASS].to_numpy())
        paired = Paired(TASK, auc, folds, table, probs, classes)
        gain = gain_of(paired, auc, paired.at_half).score
        found[name] = round(value_of(auc, Predicted(TASK, labels, probs)), 4)
        found[f"{name} minus {TWO_CLASSES}"] = gain.format_gain()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50 instead of 1000 bootstrap replicates")
    if parser.parse_args().quick:
        bootstrap.REPLICATES = 50
    print(json.dumps({"benchmark": "multilabel", "class": CLASS} | compare()))


if __name__ == "__main__":
    main()
