"""Which images a run was trained on, known by their content: a network remembers those, and is too sure of them.

The folder of images may be missing where a run is used: then nothing can be told, and nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.data.catalogue import find_dataset, folders_of, open_index
from chestfold.data.channels import form_of
from chestfold.data.lookup import Found, ImageLookup
from chestfold.evaluate import predictions
from chestfold.predict.trained_run import TrainedRun


@dataclass(frozen=True)
class Seen:
    """An image that a run was trained on.

    `image`: its id, or that of the one that it nearly is; `same_file`: byte for byte. `unseen_by`: of each run the
    number of the fold that was not trained on it; empty where a run has none.
    """

    image: str
    same_file: bool
    unseen_by: tuple[int, ...] = ()


class TrainingImages:
    """The images that one run was trained on.

    Raises:
        InputError: they are here and cannot be read, or the run does not say what its folds hold out.
    """

    def __init__(self, run: TrainedRun) -> None:
        form, exp = form_of(run.exp), run.exp
        folders = [RunFolder(run.name).fold(number) for number in run.numbers]
        index = open_index(exp.data)
        self._own = ImageLookup(index, form)
        self._tests = set(index.test["id"])
        self._fold_of = held_out_by(folders)
        self._is_sample = run.is_debug
        self._pseudo = bool(exp.pseudo)
        self._joined = [ImageLookup(open_index(name), form) for name in joined_sets(exp, run.numbers)]

    def find(self, digest: str, pixels: np.ndarray) -> Seen | None:
        """Whether the run was trained on an image; arguments as of `ImageLookup.find`."""
        own = self._own.find(digest, pixels)
        if own is not None:
            seen = self._of_own(own)
            if seen is not None or own.same_file:
                return seen
        for lookup in self._joined:
            found = lookup.find(digest, pixels)
            if found is not None:
                return Seen(found.ids[0], found.same_file)
        return None

    def _of_own(self, found: Found) -> Seen | None:
        """Of an image of the run's own data set; one that is held out by all, or was left out, is not seen."""
        trained = [image_id for image_id in found.ids if self._is_trained_on(image_id)]
        if not trained:
            return None
        folds = {self._fold_of.get(image_id) for image_id in trained}
        fold = folds.pop() if len(folds) == 1 else None
        return Seen(trained[0], found.same_file, () if fold is None else (fold,))

    def _is_trained_on(self, image_id: str) -> bool:
        if image_id in self._tests:
            return self._pseudo
        return image_id in self._fold_of or not self._is_sample


def held_out_by(folders: Sequence[FoldFolder]) -> dict[str, int]:
    """Id -> number of the fold that validated it, as the folds' own predictions say."""
    fold_of = {}
    for folder in folders:
        path = folder.table_path("oof")
        if not path.exists():
            raise InputError(f"{path} is missing, which says what {folder.path.name} was not trained on")
        fold_of.update(dict.fromkeys(predictions.read(path)[0]["id"], folder.number))
    return fold_of


def joined_sets(exp: Experiment, folds: Sequence[int]) -> list[str]:
    """The data sets whose images joined the training part of the folds."""
    names = [exp.extra] if exp.extra else []
    if exp.synthetic:
        names += [f"{exp.synthetic}_fold{fold}" for fold in folds]
    return [name for name in names if is_here(name)]


def is_here(name: str) -> bool:
    """Whether the folders of a data set are in input/."""
    try:
        return all(folder.is_dir() for folder in folders_of(find_dataset(name)))
    except InputError:  # a data set of one's own, whose folder is not here
        return False


@dataclass(frozen=True)
class SeenImages:
    """The training images of all runs behind a name. `note`: why nothing can be told of them, else ""."""

    runs: tuple[TrainingImages, ...] = ()
    note: str = ""

    def find(self, digest: str, pixels: Sequence[np.ndarray]) -> Seen | None:
        """Whether any run was trained on an image; `pixels`: in the form of each run."""
        of_runs = [run.find(digest, pixels[n]) for n, run in enumerate(self.runs)]
        found = [seen for seen in of_runs if seen is not None]
        if not found:
            return None
        first = found[0]
        if not all(seen.unseen_by for seen in found):
            return Seen(first.image, first.same_file)
        unseen_by = [(seen or first).unseen_by[0] for seen in of_runs]
        return Seen(first.image, first.same_file, tuple(unseen_by))


def open_seen_images(runs: Sequence[TrainedRun]) -> SeenImages:
    """Those of `runs`; empty where their data are not here, and with a note where these cannot be read."""
    if not all(is_here(run.exp.data) for run in runs):
        return SeenImages()
    try:
        return SeenImages(tuple(TrainingImages(run) for run in runs))
    except InputError as error:
        return SeenImages(note=f"whether the model was trained on these images cannot be told: {error}")
