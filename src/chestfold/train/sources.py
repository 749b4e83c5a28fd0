"""What a fold takes over from elsewhere: weights to begin with, and images that join its training part.

Each is proven to know nothing of the fold's held-out images, and its hash is a part of the fold's fingerprint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file
from chestfold.core.run_folder import FULL, FoldFolder, fold_title
from chestfold.core.task import Task
from chestfold.data.additions import Addition
from chestfold.data.cache import Cache
from chestfold.data.channels import form_of
from chestfold.data.dataset import Index
from chestfold.data.extra import ExtraSet, open_extra
from chestfold.data.folds import Folds
from chestfold.data.synthetic import SyntheticPart, open_part, require_unrelated
from chestfold.data.tabular import Cells
from chestfold.data.transforms import preprocess
from chestfold.data.twins import Twin, find_twins
from chestfold.models.warm_start import Start
from chestfold.train.lineage import earlier_fold, earlier_test_predictions, file_of_test_predictions


@dataclass(frozen=True)
class Sources:
    """Those of the folds of a run. `fingerprint`: the hashes of what every prediction of the run is made from."""

    run: str
    exp: Experiment
    index: Index
    folds: Folds
    cache: Cache
    cells: Cells | None
    task: Task
    fingerprint: dict[str, str]

    def hashes(self, fold: int) -> dict[str, str]:
        """Name in the fold's fingerprint -> hash of each source.

        Raises:
            InputError: one does not exist, was changed, or cannot be proven to be of this fold.
        """
        found = {}
        if self.exp.synthetic:
            found["synthetic_sha256"] = self._synthetic_part(fold).sha256
        start = self.start(fold)
        if start:
            found["start_sha256"] = sha256_file(start.checkpoint)
        if self.extra:
            found["extra_sha256"] = self.extra.sha256(self.exp.channels)
        if self.exp.pseudo:
            found["pseudo_sha256"] = sha256_file(file_of_test_predictions(self._of_pseudo, self._pseudo_fold(fold)))
        return found

    def require(self, fold: int) -> None:
        """Raise `InputError` where a fold cannot have what it takes over from other runs and data sets."""
        if self.exp.synthetic and fold == FULL:
            raise InputError(
                f"synthetic = {self.exp.synthetic!r}: these images are made for single folds, and there are none for "
                "--fold full"
            )
        self.start(fold)
        if self.extra:
            self._require_no_extra_twins(fold)
        if self.exp.pseudo:
            self._soft_labels(fold)
            self._require_no_test_twins(fold)

    # Weights

    def start(self, fold: int) -> Start | None:
        """The weights that a fold begins with, where they are those of an earlier run; raises as `earlier_fold`."""
        if not self.exp.start_from:
            return None
        folder = self._earlier_fold("start_from", self.exp.start_from, fold)
        config = folder.config()
        same_classes = (config.classes, config.task) == (self.task.classes, self.task.name)
        return Start(folder.best_checkpoint, same_classes)

    def _earlier_fold(self, setting: str, name: str, fold: int) -> FoldFolder:
        """The same fold of an earlier run, which a setting names."""
        source = f"{setting} = {name!r}"
        if name == self.run:
            raise InputError(f"{source}: a run cannot take over anything from itself; name another run")
        return earlier_fold(source, name, fold, self.fingerprint)

    # Images

    def additions(self, fold: int, trained_on: Sequence[str]) -> list[Addition]:
        """The images that join those of the ids `trained_on`.

        Raises:
            InputError: one is held out in this fold, or is related to one that is.
        """
        found = []
        if self.exp.synthetic:
            found.append(self._synthetic(fold, trained_on))
        if self.extra:
            self._require_no_extra_twins(fold)
            found.append(self.extra.addition(form_of(self.exp)))
        if self.exp.pseudo:
            self._require_no_test_twins(fold)
            found.append(self._pseudo(fold))
        return found

    def _held_out(self, fold: int) -> list[str]:
        """Ids of the images that the training part of a fold must not know: those validated on, and the test images."""
        return [*self.folds.ids(fold), *self.index.test["id"]]

    def _synthetic_part(self, fold: int) -> SyntheticPart:
        return open_part(self.exp.synthetic, fold, form_of(self.exp))

    def _synthetic(self, fold: int, trained_on: Sequence[str]) -> Addition:
        part = self._synthetic_part(fold)
        require_unrelated(part, self._group_of(), set(self._held_out(fold)))
        unknown = sorted(set(part.table["label"]) - set(self.task.classes))
        if unknown:
            raise InputError(f"{part.path}: class {unknown[0]!r} is not one of {', '.join(self.task.classes)}")
        parents = part.parents()
        about = f"synthetic, made from {len(parents)} real ones"
        unseen = len(parents - set(trained_on))
        if unseen:
            about += f", {unseen} of which are not trained on"
        labels = self.task.labels(part.table["label"].tolist())
        return Addition("synthetic", part.pixels, part.ids, labels, about, made_from=len(parents))

    def _group_of(self) -> dict[str, str]:
        """Id -> patient of every real image."""
        real = pd.concat([self.folds.table, self.index.test])
        return dict(zip(real["id"], real["group"], strict=True))

    @cached_property
    def extra(self) -> ExtraSet | None:
        """The other data set, where there is one."""
        if not self.exp.extra:
            return None
        if self.exp.extra == self.exp.data:
            raise InputError(f"extra = {self.exp.extra!r}: this is the experiment's own data set; name another one")
        found = open_extra(self.exp.extra, self.task, self.exp.tabular)
        preprocess.require_lungs(self.exp, found.index.dataset)
        return found

    @cached_property
    def _extra_twins(self) -> list[Twin]:
        """Of its images and any of the experiment's own."""
        assert self.extra is not None
        return find_twins(self.extra.index, self.extra.ids, self.index, self.index.table["id"].tolist())

    def _require_no_extra_twins(self, fold: int) -> None:
        advice = f"take such images out of the data set {self.exp.extra}"
        self._refuse(f"extra = {self.exp.extra!r}", self._extra_twins, self._held_out(fold), fold, advice)

    def _refuse(self, source: str, twins: list[Twin], held_out: list[str], fold: int, advice: str) -> None:
        """Raise `InputError` with the first of `twins` whose own image is one of those `held_out` in a fold."""
        guilty = [twin for twin in twins if twin.own in set(held_out)]
        if not guilty:
            return
        first = guilty[0]
        what = f"validated on in {fold_title(fold)}" if first.own in set(self.folds.ids(fold)) else "a test image"
        more = f" (and {len(guilty) - 1} more such pairs)" if len(guilty) > 1 else ""
        raise InputError(f"{source}: {first}, which is {what}{more}; {advice}")

    # Test images with predictions

    @property
    def _of_pseudo(self) -> str:
        return f"pseudo = {self.exp.pseudo!r}"

    @property
    def _test_ids(self) -> list[str]:
        return self.index.test["id"].tolist()

    def _pseudo_fold(self, fold: int) -> FoldFolder:
        return self._earlier_fold("pseudo", self.exp.pseudo, fold)

    def _soft_labels(self, fold: int) -> np.ndarray:
        """What the same fold of an earlier run predicted for the test images, float64 (N, K)."""
        if not self._test_ids:
            raise InputError(f"{self._of_pseudo}: the data set {self.exp.data} has no test images; leave it empty")
        earlier = self._pseudo_fold(fold)
        return earlier_test_predictions(self._of_pseudo, earlier, self._test_ids, self.task, self.fingerprint)

    def _pseudo(self, fold: int) -> Addition:
        rows = self.cache.rows(self._test_ids)
        labels = self._soft_labels(fold).astype(np.float32)
        about = f"test images, with what {fold_title(fold)} of {self.exp.pseudo} predicted for them"
        ids = [f"test/{image_id}" for image_id in self._test_ids]
        cells = self.cells.take(rows) if self.cells else None
        return Addition("pseudo", np.asarray(self.cache.images[rows]), ids, labels, about, cells)

    @cached_property
    def _test_twins(self) -> list[Twin]:
        """Of test images and training images."""
        return find_twins(self.index, self._test_ids, self.index, self.index.train["id"].tolist())

    def _require_no_test_twins(self, fold: int) -> None:
        advice = "take one of the two out of the data set, or leave pseudo empty"
        self._refuse(self._of_pseudo, self._test_twins, self.folds.ids(fold), fold, advice)
