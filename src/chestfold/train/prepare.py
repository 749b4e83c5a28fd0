"""An experiment with its data in hand: which images a fold trains, validates and tests on."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from chestfold.core import hooks
from chestfold.core.config import Experiment, Request
from chestfold.core.console import plural, say
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.core.hooks import Hooks
from chestfold.core.rng import generator
from chestfold.core.run_folder import FULL, FoldConfig, FoldFolder, RunFolder, SyntheticCount
from chestfold.core.task import Task, create_task
from chestfold.data import folds
from chestfold.data.additions import Addition, join
from chestfold.data.cache import Cache, open_cache
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.data.channels import form_of, require_channels, shown_as
from chestfold.data.dataset import Dataset, Index
from chestfold.data.loader import Images, images_of
from chestfold.data.sampling import random_share, sample_per_class
from chestfold.data.tabular import Cells, fit_encoding, read_cells
from chestfold.data.transforms import preprocess
from chestfold.data.transforms.augment import require_augmentation
from chestfold.data.transforms.corruptions import corrupt
from chestfold.data.transforms.normalise import require_normalisation
from chestfold.evaluate import predictions
from chestfold.evaluate.metrics import declared_metric, find_metric, require_metric
from chestfold.models import weights_identity
from chestfold.models.create import require_known
from chestfold.train.full import FullPlan, plan_full
from chestfold.train.loop import Goal
from chestfold.train.losses import require_loss
from chestfold.train.optim import require_optimizer
from chestfold.train.sources import Sources

DEBUG_IMAGES = 64
"""Validation images of each fold, and test images, that a `--debug` run predicts."""


@dataclass(frozen=True)
class FoldImages:
    """The images of one fold: exactly those trained on, validated on and tested on.

    `additions`: those of the training images that are of elsewhere.
    """

    train: Images
    val: Images
    test: Images
    additions: tuple[Addition, ...] = ()

    @property
    def synthetic(self) -> SyntheticCount | None:
        """How many synthetic images are trained on, where there are some."""
        for addition in self.additions:
            if addition.kind == "synthetic":
                return SyntheticCount(images=len(addition), made_from=addition.made_from)
        return None

    @property
    def joined(self) -> dict[str, int] | None:
        """Kind -> images of elsewhere that are trained on, where there are some."""
        return {addition.kind: len(addition) for addition in self.additions} or None

    def lungs_not_found(self) -> dict[str, int] | None:
        """Part -> how many of its images are left unmasked; None where no lungs are wanted."""
        if self.val.lungs is None:
            return None
        parts = {"training": self.train, "validation": self.val, "test": self.test}
        return {name: images.lungs_not_found().total() for name, images in parts.items()}

    def describe(self) -> list[str]:
        """What a person should know of them, in lines."""
        lines = [f"{len(self.train)} training, {len(self.val)} validation and {len(self.test)} test images"]
        lines += [f"{len(addition)} of the training images are {addition.about}" for addition in self.additions]
        lines += self._describe_tabular()
        parts = {"training": self.train, "validation": self.val, "test": self.test}
        for name, images in parts.items():
            reasons = images.lungs_not_found()
            if reasons:
                why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
                count = f"{reasons.total()} of {plural(len(images), f'{name} image')}"
                lines.append(f"no lungs were found in {count}, which stay unmasked ({why})")
        return lines

    def _describe_tabular(self) -> list[str]:
        """The columns beside the images, and which categories training does not know."""
        if not self.train.cells:
            return []
        encoding = fit_encoding(self.train.cells)
        lines = [f"columns beside the images: {encoding.describe()}"]
        for name, images in {"validation": self.val, "test": self.test}.items():
            for column, count in encoding.unknown(images.cells).items() if images.cells else []:
                where = f"{count} of {plural(len(images), f'{name} image')}"
                lines.append(f"{column}: {where} have a category that no training image has; it counts as missing")
        return lines


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data in hand."""

    request: Request
    index: Index
    folds: folds.Folds
    cache: Cache
    used_hooks: Hooks | None = None

    @property
    def exp(self) -> Experiment:
        """The settings."""
        return self.request.exp

    @property
    def run(self) -> RunFolder:
        """Where the folds leave what they make."""
        return RunFolder(self.request.name)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the prediction columns."""
        return self.index.dataset.classes

    @cached_property
    def task(self) -> Task:
        """What labels, probabilities and decisions mean."""
        dataset = self.index.dataset
        return create_task(dataset.task, dataset.classes, dataset.positive)

    def goal(self, fold: int) -> Goal:
        """What a fold learns, and what it begins with."""
        weights = self.index.dataset.metric_weights
        monitored = {self.exp.monitor: find_metric(self.exp.monitor, weights)}
        epochs = self.full_plan.epochs if fold == FULL else 0
        return Goal(self.task, monitored, self.sources.start(fold), epochs)

    @cached_property
    def full_plan(self) -> FullPlan:
        """How all training images are trained on; raises as `plan_full`."""
        return plan_full(self.run, self.folds.count, self.exp)

    @cached_property
    def sources(self) -> Sources:
        """What the folds take over from elsewhere."""
        name, fingerprint = self.request.name, self.fingerprint()
        return Sources(name, self.exp, self.index, self.folds, self.cache, self.cells, self.task, fingerprint)

    @property
    def test_rows(self) -> pd.DataFrame:
        """The test images, id, group and label; of a `--debug` run a few."""
        test = self.index.test
        return test.iloc[:DEBUG_IMAGES] if self.request.is_debug else test

    def images(self, rows: pd.DataFrame) -> Images:
        """The pixels and labels of some rows (id, label)."""
        labels = self.task.labels(rows["label"].tolist())
        seen_as = preprocess.preprocess_of(self.exp)
        ids = rows["id"].tolist()
        return Images(
            self.cache.images, self.cache.rows(rows["id"]), ids, labels, seen_as, self.lungs, self._cells_of(ids)
        )

    def _cells_of(self, ids: list[str]) -> Cells | None:
        """What the table says of some images; None where the network does not see it."""
        return self.cells.take(self._row_of_id.loc[ids].to_numpy()) if self.cells else None

    @cached_property
    def cells(self) -> Cells | None:
        """What the table says of all images of the index, in its order."""
        if not self.exp.tabular:
            return None
        return read_cells(self.index.table, self.exp.tabular, self.index.dataset)

    @cached_property
    def _row_of_id(self) -> pd.Series:
        return pd.Series(np.arange(len(self.index.table)), index=self.index.table["id"])

    @cached_property
    def lungs(self) -> preprocess.Lungs | None:
        """Those in all images of the cache, found once, where the experiment needs them."""
        self.cache.prove()
        return preprocess.find_lungs(preprocess.preprocess_of(self.exp), self.cache.images)

    def rows(self, ids: list[str]) -> pd.DataFrame:
        """id, group, fold, label of training images, in the order of `ids`."""
        return self.folds.table.set_index("id").loc[ids].reset_index()

    def fingerprint(self) -> dict[str, str]:
        """The hashes of what every prediction of this run is made from."""
        return {
            "index_sha256": self.index.sha256(),
            "content_sha256": self.cache.content,
            "folds_sha256": self.folds.sha256,
            "weights": weights_identity(self.exp),
            **preprocess.lung_method(self.exp),
            **predictions.task_identity(self.task),
            **self._tabular_identity(),
            **hooks.identity(self.used_hooks),
        }

    def _tabular_identity(self) -> dict[str, str]:
        if not self.cells:
            return {}
        return {"tabular_sha256": sha256_json([self.index.table["id"].tolist(), self.cells.texts.tolist()])}

    def fold_config(self, fold: int, threads: int) -> FoldConfig:
        """All that decides the bytes of a fold's predictions."""
        request = self.request
        fingerprint = self.fingerprint() | self.sources.hashes(fold)
        if fold == FULL:
            fingerprint |= self.full_plan.fingerprint()
        return FoldConfig(
            experiment=request.name,
            fold=fold,
            settings=self.exp.to_dict(),
            parent=request.parent,
            changed=request.changed,
            classes=self.classes,
            positive=self.index.dataset.positive,
            task=self.task.name,
            fingerprint=fingerprint,
            threads=threads,
            shown=shown_as(self.index.dataset, self.exp.channels),
        )

    def fold_images(self, fold: int) -> FoldImages:
        """The images that `fold` trains, validates and tests on.

        Raises:
            InputError: an image that joins is related to a held-out one, or a class has too few images.
        """
        train = self.images(self.rows(self.folds.other_ids(fold)))
        train = with_positive_share(self.exp, fold, train, self.task)
        train = limit_per_class(self.exp, fold, train, self.task)
        val, test = self.images(self.rows(self.folds.ids(fold))), self.images(self.test_rows)
        additions = self.sources.additions(fold, train.ids)
        return FoldImages(join(train, additions, self.task), val, test, tuple(additions))


def resolved(request: Request, dataset: Dataset) -> Request:
    """The request with what its settings leave to the data set: the monitored figure.

    Raises:
        InputError: there is no such loss or metric, or not for this task.
    """
    exp, task = request.exp, create_task(dataset.task, dataset.classes, dataset.positive)
    require_loss(exp.loss)
    declared = declared_metric(dataset, task)
    if exp.monitor == "auto":
        exp = replace(exp, monitor=declared, parent=exp.parent)
    require_metric(exp.monitor, task)
    return replace(request, exp=exp)


def prepare(request: Request, trained: FoldFolder | None = None) -> Prepared:
    """Index, folds and decoded images of an experiment.

    Args:
        request: the experiment.
        trained: a fold that was trained already: its own hooks are run, which this project need not have.
    """
    used = _load_hooks(request.exp, trained)
    require_known(request.exp.backbone)
    require_optimizer(request.exp.optimizer)
    require_augmentation(request.exp)
    require_normalisation(request.exp)
    request = resolved(request, find_dataset(request.exp.data))
    index = open_index(request.exp.data)
    require_channels(form_of(request.exp), index.dataset)
    preprocess.require_lungs(request.exp, index.dataset)
    for note in index.notes:
        say(f"{request.exp.data}: {note}")
    if request.exp.tabular:
        read_cells(index.table, request.exp.tabular, index.dataset)
    chosen = folds.load(request.exp.fold_file, index)
    if request.is_debug:
        chosen = chosen.sample(DEBUG_IMAGES)
    form = form_of(request.exp)
    return Prepared(request, index, chosen, open_cache(index, form.size, form.channels, form.depth), used)


def _load_hooks(exp: Experiment, trained: FoldFolder | None) -> Hooks | None:
    if not exp.hooks:
        return None
    return trained.load_hooks() if trained else hooks.load_own(exp.hooks)


def with_positive_share(exp: Experiment, fold: int, train: Images, task: Task) -> Images:
    """The training images of a fold, with `positive_share` of the positive class."""
    if exp.positive_share == 1:
        return train
    if not task.sums_to_one:
        raise InputError(f"positive_share = {exp.positive_share}: a {task.name} task has no positive class")
    ids = [train.ids[n] for n in np.flatnonzero(train.labels == task.positive_number)]
    dropped = set(ids) - set(random_share(ids, exp.positive_share, exp.seed, fold))
    return train.take(np.array([n for n, image_id in enumerate(train.ids) if image_id not in dropped], np.int64))


def limit_per_class(exp: Experiment, fold: int, train: Images, task: Task) -> Images:
    """The training images of a fold, or `train_per_class` of each class."""
    if not exp.train_per_class:
        return train
    drawn = sample_per_class(task.strata(train.labels), exp.train_per_class, generator(exp.seed, fold, "few"))
    return train.take(drawn)


def corrupted_images(name: str, images: Images) -> Images:
    """The same images under a corruption; their lungs are found anew, as they would be at another machine."""
    pixels = corrupt(name, images.pixels[images.rows], images.ids)
    return replace(images_of(images.preprocess, pixels, images.ids, images.labels), cells=images.cells)
