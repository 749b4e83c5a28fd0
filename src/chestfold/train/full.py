"""One training on all training images, for as many epochs as the folds chose: it has no validation, and no score.

What it is worth the folds say. So all of them are finished first, and what it predicts is submitted beside their
figures only.
"""

from dataclasses import dataclass
from statistics import median_low

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.core.run_folder import FoldFolder, RunFolder


@dataclass(frozen=True)
class FullPlan:
    """What the folds decide. `cv_sha256`: of their out-of-fold predictions."""

    epochs: int
    cv_sha256: str

    def fingerprint(self) -> dict[str, str]:
        """What is bound into the training."""
        return {"cv_sha256": self.cv_sha256, "full_epochs": str(self.epochs)}


def plan_full(run: RunFolder, count: int, exp: Experiment) -> FullPlan:
    """The plan that the finished folds of a run of `count` folds give.

    Raises:
        InputError: one of them is not finished, or was changed.
    """
    epochs, members = [], {}
    for number in range(count):
        folder = run.fold(number)
        if not folder.is_finished():
            raise InputError(
                f"--fold full: fold {number} of {run.name} is not finished, and all {count} decide for how many epochs "
                "all images are trained on; train them first"
            )
        epochs.append(predicting_epoch(folder, exp))
        members[str(number)] = folder.manifest().files["oof.parquet"]
    return FullPlan(median_low(epochs), sha256_json(members))


def predicting_epoch(folder: FoldFolder, exp: Experiment) -> int:
    """The last epoch whose weights predict: the best one, or where epochs are averaged the last one."""
    return len(folder.history()) if exp.average_last else folder.manifest().best_epoch
