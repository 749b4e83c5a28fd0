"""An experiment with its data in hand: which images a fold trains, validates and tests on."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from chestfold.core.config import Experiment, Request
from chestfold.core.console import plural, say
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldConfig, RunFolder, SyntheticCount
from chestfold.data import folds
from chestfold.data.cache import Cache, open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import form_of, require_channels
from chestfold.data.dataset import Index
from chestfold.data.loader import Images, images_of
from chestfold.data.sampling import random_share, sample_per_class
from chestfold.data.synthetic import SyntheticPart, open_part, require_unrelated
from chestfold.data.transforms import preprocess
from chestfold.data.transforms.augment import require_augmentation
from chestfold.data.transforms.corruptions import corrupt
from chestfold.data.transforms.normalise import require_normalisation
from chestfold.models import weights_identity
from chestfold.models.create import require_known
from chestfold.train.optim import require_optimizer

DEBUG_IMAGES = 64
"""Validation images of each fold, and test images, that a `--debug` run predicts."""


@dataclass(frozen=True)
class FoldImages:
    """The images of one fold: exactly those trained on, validated on and tested on.

    `unseen_parents`: of the real images that the synthetic ones were made from, how many are not trained on.
    """

    train: Images
    val: Images
    test: Images
    synthetic: SyntheticCount | None = None
    unseen_parents: int = 0

    def lungs_not_found(self) -> dict[str, int] | None:
        """Part -> how many of its images are left unmasked; None where no lungs are wanted."""
        if self.val.lungs is None:
            return None
        parts = {"training": self.train, "validation": self.val, "test": self.test}
        return {name: images.lungs_not_found().total() for name, images in parts.items()}

    def describe(self) -> list[str]:
        """What a person should know of them, in lines."""
        lines = [f"{len(self.train)} training, {len(self.val)} validation and {len(self.test)} test images"]
        if self.synthetic:
            made = self.synthetic
            line = f"{made.images} of the training images are synthetic, made from {made.made_from} real ones"
            if self.unseen_parents:
                line += f", {self.unseen_parents} of which are not trained on"
            lines.append(line)
        parts = {"training": self.train, "validation": self.val, "test": self.test}
        for name, images in parts.items():
            reasons = images.lungs_not_found()
            if reasons:
                why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
                count = f"{reasons.total()} of {plural(len(images), f'{name} image')}"
                lines.append(f"no lungs were found in {count}, which stay unmasked ({why})")
        return lines


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data in hand."""

    request: Request
    index: Index
    folds: folds.Folds
    cache: Cache

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

    @property
    def positive(self) -> int:
        """Number of the positive class."""
        return self.classes.index(self.index.dataset.positive)

    @property
    def test_rows(self) -> pd.DataFrame:
        """The test images, id, group and label; of a `--debug` run a few."""
        test = self.index.test
        return test.iloc[:DEBUG_IMAGES] if self.request.is_debug else test

    def images(self, rows: pd.DataFrame) -> Images:
        """The pixels and class numbers of some rows (id, label); -1 where the label is withheld."""
        number = {name: n for n, name in enumerate(self.classes)} | {"": -1}
        labels = np.array([number[label] for label in rows["label"]], np.int64)
        seen_as = preprocess.preprocess_of(self.exp)
        return Images(self.cache.images, self.cache.rows(rows["id"]), rows["id"].tolist(), labels, seen_as, self.lungs)

    @cached_property
    def lungs(self) -> preprocess.Lungs | None:
        """Those in all images of the cache, found once, where the experiment needs them."""
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
        }

    def fold_config(self, fold: int, threads: int) -> FoldConfig:
        """All that decides the bytes of a fold's predictions."""
        request, fingerprint = self.request, self.fingerprint()
        if self.exp.synthetic:
            fingerprint["synthetic_sha256"] = open_part(self.exp.synthetic, fold, form_of(self.exp)).sha256
        return FoldConfig(
            experiment=request.name,
            fold=fold,
            settings=self.exp.to_dict(),
            parent=request.parent,
            changed=request.changed,
            classes=self.classes,
            positive=self.index.dataset.positive,
            fingerprint=fingerprint,
            threads=threads,
        )

    def fold_images(self, fold: int) -> FoldImages:
        """The images that `fold` trains, validates and tests on.

        Raises:
            InputError: a synthetic image is related to a held-out one, or a class has too few images.
        """
        train = self.images(self.rows(self.folds.other_ids(fold)))
        train = with_positive_share(self.exp, fold, train, self.positive)
        train = limit_per_class(self.exp, fold, train)
        val, test = self.images(self.rows(self.folds.ids(fold))), self.images(self.test_rows)
        if not self.exp.synthetic:
            return FoldImages(train, val, test)
        part = open_part(self.exp.synthetic, fold, form_of(self.exp))
        require_unrelated(part, self._group_of(), held_out={*val.ids, *self.index.test["id"]})
        parents = part.parents()
        count = SyntheticCount(images=len(part.ids), made_from=len(parents))
        return FoldImages(self._with_synthetic(train, part), val, test, count, len(parents - set(train.ids)))

    def _group_of(self) -> dict[str, str]:
        """Id -> patient of every real image."""
        real = pd.concat([self.folds.table, self.index.test])
        return dict(zip(real["id"], real["group"], strict=True))

    def _with_synthetic(self, train: Images, part: SyntheticPart) -> Images:
        unknown = sorted(set(part.table["label"]) - set(self.classes))
        if unknown:
            raise InputError(f"{part.path}: class {unknown[0]!r} is not one of {', '.join(self.classes)}")
        labels = np.array([self.classes.index(label) for label in part.table["label"]], np.int64)
        pixels = np.concatenate([train.pixels[train.rows], part.pixels])
        return images_of(train.preprocess, pixels, [*train.ids, *part.ids], np.concatenate([train.labels, labels]))


def prepare(request: Request) -> Prepared:
    """Index, folds and decoded images of an experiment."""
    require_known(request.exp.backbone)
    require_optimizer(request.exp.optimizer)
    require_augmentation(request.exp)
    require_normalisation(request.exp)
    index = open_index(request.exp.data)
    require_channels(form_of(request.exp), index.dataset)
    preprocess.require_lungs(request.exp, index.dataset)
    for note in index.notes:
        say(f"{request.exp.data}: {note}")
    chosen = folds.load(request.exp.fold_file, index)
    if request.is_debug:
        chosen = chosen.sample(DEBUG_IMAGES)
    form = form_of(request.exp)
    return Prepared(request, index, chosen, open_cache(index, form.size, form.channels, form.depth))


def with_positive_share(exp: Experiment, fold: int, train: Images, positive: int) -> Images:
    """The training images of a fold, with `positive_share` of the positive class."""
    if exp.positive_share == 1:
        return train
    ids = [train.ids[n] for n in np.flatnonzero(train.labels == positive)]
    dropped = set(ids) - set(random_share(ids, exp.positive_share, exp.seed, fold))
    return train.take(np.array([n for n, image_id in enumerate(train.ids) if image_id not in dropped], np.int64))


def limit_per_class(exp: Experiment, fold: int, train: Images) -> Images:
    """The training images of a fold, or `train_per_class` of each class."""
    if not exp.train_per_class:
        return train
    return train.take(sample_per_class(train.labels, exp.train_per_class, generator(exp.seed, fold, "few")))


def corrupted_images(name: str, images: Images) -> Images:
    """The same images under a corruption; their lungs are found anew, as they would be at another machine."""
    pixels = corrupt(name, images.pixels[images.rows], images.ids)
    return images_of(images.preprocess, pixels, images.ids, images.labels)
