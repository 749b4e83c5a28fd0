"""An experiment with its data in hand: which images a fold trains, validates and tests on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from chestfold.core.config import Experiment, Request
from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.cache import Cache, open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.loader import Images, images_of
from chestfold.data.sampling import random_share, sample_per_class
from chestfold.data.synthetic import open_part, require_unrelated
from chestfold.data.transforms import preprocess
from chestfold.data.transforms.corruptions import corrupt
from chestfold.models import ood, weights_identity


@dataclass(frozen=True)
class Prepared:
    """An experiment with its data in hand."""

    request: Request
    index: Index
    folds: folds.Folds
    cache: Cache

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the prediction columns."""
        return self.index.dataset.classes

    def images(self, rows: pd.DataFrame) -> Images:
        """The pixels and class numbers of some rows (id, label); -1 where the label is withheld."""
        number = {name: n for n, name in enumerate(self.classes)} | {"": -1}
        labels = np.array([number[label] for label in rows["label"]], np.int64)
        how = preprocess.preprocess_of(self.request.exp)
        return Images(self.cache.images, self.cache.rows(rows["id"]), rows["id"].tolist(), labels, how, self.lungs)

    @cached_property
    def lungs(self) -> preprocess.Lungs | None:
        """Those in all images of the cache, found once, where the experiment needs them."""
        return preprocess.find_lungs(preprocess.preprocess_of(self.request.exp), self.cache.images)

    def rows(self, ids: list[str]) -> pd.DataFrame:
        """id, group, fold, label of training images, in the order of `ids`."""
        return self.folds.table.set_index("id").loc[ids].reset_index()

    def fingerprint(self) -> dict[str, str]:
        """The hashes of what every prediction of this run is made from."""
        return {
            "index_sha256": self.index.sha256(),
            "content_sha256": self.cache.content,
            "folds_sha256": self.folds.sha256,
            "weights": weights_identity(self.request.exp),
            **preprocess.lung_method(self.request.exp),
        }


def prepare(request: Request) -> Prepared:
    """Index, folds and decoded images of an experiment."""
    index = open_index(request.exp.data)
    preprocess.require_lungs(request.exp, index.dataset)
    for note in index.notes:
        say(f"{request.exp.data}: {note}")
    chosen = folds.load(request.exp.fold_file, index)
    return Prepared(request, index, chosen, open_cache(index, request.exp.image_size))


def format_lungs_not_found(kind: str, images: Images) -> list[str]:
    """How many of these images are seen whole because no lungs were found in them, and why; empty where none is."""
    reasons = images.lungs_not_found()
    if not reasons:
        return []
    why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common())
    return [f"no lungs were found in {reasons.total()} of {len(images)} {kind} images, which are seen whole ({why})"]


def with_share(ready: Prepared, fold: int, train: Images) -> Images:
    """The training images of a fold, with `positive_share` of the positive class."""
    exp, positive = ready.request.exp, ready.classes.index(ready.index.dataset.positive)
    if exp.positive_share == 1:
        return train
    ids = [i for i, label in zip(train.ids, train.labels, strict=True) if label == positive]
    dropped = set(ids) - set(random_share(ids, exp.positive_share, exp.seed, fold))
    kept = np.array([n for n, i in enumerate(train.ids) if i not in dropped], np.int64)
    return replace(train, rows=train.rows[kept], ids=[train.ids[k] for k in kept], labels=train.labels[kept])


def with_synthetic(ready: Prepared, fold: int, train: Images, log: Callable[[str], None]) -> Images:
    """The training images of a fold and its synthetic ones, after the proof that none is related to a held-out image.

    Raises:
        InputError: one is; the classes of the two sets differ.
    """
    exp = ready.request.exp
    if not exp.synthetic:
        return train
    part = open_part(exp.synthetic, fold, exp.image_size)
    real = pd.concat([ready.folds.table, ready.index.test])
    require_unrelated(part, dict(zip(real["id"], real["group"], strict=True)), held_out(ready, fold))
    strangers = sorted(set(part.table["label"]) - set(ready.classes))
    if strangers:
        raise InputError(f"{part.path}: class {strangers[0]!r} is not one of {', '.join(ready.classes)}")
    unseen = len(part.parents() - set(train.ids))
    log(f"{len(part.ids)} synthetic images of {part.name}, from {len(part.parents())} real ones"
        f"{f', {unseen} of which are not trained upon' * bool(unseen)}")  # fmt: skip
    labels = np.array([ready.classes.index(label) for label in part.table["label"]], np.int64)
    pixels = np.concatenate([train.pixels[train.rows], part.pixels])
    return images_of(train.how, pixels, [*train.ids, *part.ids], np.concatenate([train.labels, labels]))


def held_out(ready: Prepared, fold: int) -> set[str]:
    """Ids of the images that no training image of a fold may descend from."""
    return {*ready.folds.ids(fold), *ready.index.test["id"]}


def synthetic_fingerprint(ready: Prepared, fold: int) -> dict[str, str]:
    """The hash of a fold's synthetic images and of what is said of them; nothing where there are none."""
    exp = ready.request.exp
    return {"synthetic_sha256": open_part(exp.synthetic, fold, exp.image_size).sha256} if exp.synthetic else {}


def synthetic_counts(ready: Prepared, fold: int) -> dict[str, dict[str, int]]:
    """For the manifest: how many synthetic images a fold trained on, and from how many real ones they were made."""
    exp = ready.request.exp
    if not exp.synthetic:
        return {}
    part = open_part(exp.synthetic, fold, exp.image_size)
    return {"synthetic": {"images": len(part.ids), "made_from": len(part.parents())}}


def limit_per_class(exp: Experiment, fold: int, train: Images) -> Images:
    """The training images of a fold, or `train_per_class` of each class."""
    if not exp.train_per_class:
        return train
    kept = sample_per_class(train.labels, exp.train_per_class, generator(exp.seed, fold, "few"))
    return replace(train, rows=train.rows[kept], ids=[train.ids[k] for k in kept], labels=train.labels[kept])


def lungs_not_found_counts(ready: Prepared, fold: int) -> dict[str, dict[str, int]]:
    """For the manifest: how many images of each part of a fold are seen whole; nothing where no lungs are asked for."""
    if ready.lungs is None:
        return {}
    train, val = (ready.images(ready.rows(ids)) for ids in (ready.folds.other_ids(fold), ready.folds.ids(fold)))
    parts = {"training": train, "validation": val, "test": ready.images(ready.index.test)}
    return {"lungs_not_found": {kind: images.lungs_not_found().total() for kind, images in parts.items()}}


def few(images: Images, rng: np.random.Generator) -> Images:
    """At most `familiar.MAX_IMAGES` of `images`, in their order."""
    chosen = np.sort(rng.permutation(len(images))[: ood.MAX_IMAGES])
    return replace(images, rows=images.rows[chosen], ids=[images.ids[n] for n in chosen], labels=images.labels[chosen])


def corrupted_images(shift: str, images: Images) -> Images:
    """The same images under a shift of acquisition; their lungs are found anew, as they would be at another machine."""
    return images_of(images.how, corrupt(shift, images.pixels[images.rows], images.ids), images.ids, images.labels)
