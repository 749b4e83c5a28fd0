"""The images of a code competition to submission.csv: what a kernel runs where there is no network.

`chestfold kernel` sends this package and the files of a run; they are found among the kernel's inputs.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from chestfold.core import hooks
from chestfold.core.console import bar, fail, plural, say
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import write_bytes
from chestfold.data.catalogue import find_dataset
from chestfold.data.readers.files import IMAGE_SUFFIXES
from chestfold.data.tables import open_table
from chestfold.evaluate.results import find_result
from chestfold.integrations.kaggle.answers import answer_format
from chestfold.integrations.kaggle.kernel import CONTENTS, Contents
from chestfold.integrations.kaggle.submission import answers_csv
from chestfold.predict.predictor import Predictor

SUBMISSION = "submission.csv"


def main() -> None:
    """Write submission.csv into the current folder, from the inputs below the folder on the command line."""
    try:
        hooks.trust()  # whoever added the weights to the kernel added them
        with tempfile.TemporaryDirectory() as project:
            os.environ["CHESTFOLD_PROJECT"] = project
            predict_competition(Path(sys.argv[1]), Path(project))
    except ChestfoldError as error:
        fail(error)


def predict_competition(root: Path, project: Path) -> None:
    """Predict the ids of the sample submission below `root`, in its order, with the result restored into `project`.

    Raises:
        InputError: a file or an image is missing or there twice, or the sample has a column of unknown meaning.
    """
    files = all_files(root)
    contents = the_one(files, CONTENTS)
    name = restore(contents, project)
    predictor = Predictor(name)
    record = find_result(name).record
    dataset = find_dataset(record.data)
    sample = open_table(the_one(files, Path(dataset.submission.file).name)).frame
    form = answer_format(sample, dataset.submission.file, dataset, predictor.task, record.scores)
    by_stem = images_by_stem(files)
    ids = sample[form.id_column]
    paths = [image_of(image_id, by_stem) for image_id in ids]
    networks = sum(len(fold.networks) for run in predictor.runs for fold in run.folds)
    say(f"{plural(len(paths), 'image')}, {plural(networks, 'network')} of {name}")
    answers = form.table(ids, probabilities(predictor, paths), list(sample.columns))
    write_bytes(Path(SUBMISSION), answers_csv(answers))
    say(f"wrote {SUBMISSION}")


def restore(path: Path, project: Path) -> str:
    """Link the files beside chestfold.json to their paths in `project`; returns the name of the result."""
    contents = Contents.from_json(path)
    for beside, target in contents.paths.items():
        link = project / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((path.parent / beside).resolve())
    return contents.name


def probabilities(predictor: Predictor, paths: list[Path]) -> np.ndarray:
    """Of each image, float (N, K); one that cannot be read is an `InputError`."""
    rows = []
    with bar("predicting", len(paths)) as advance:
        for batch in predictor.many(paths):
            for _, image in batch:
                if isinstance(image, InputError):
                    raise image
                rows.append(list(image.prediction.probabilities.values()))
                advance()
    return np.array(rows)


def all_files(root: Path) -> list[Path]:
    """Every file below `root`, in order."""
    return sorted(Path(folder) / name for folder, _, names in os.walk(root) for name in names)


def the_one(files: list[Path], name: str) -> Path:
    """The only file of that name."""
    found = [path for path in files if path.name == name]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} files are called {name}; exactly one is needed: add the input of this kernel that has it"
        )
    return found[0]


def images_by_stem(files: list[Path]) -> dict[str, list[Path]]:
    """File name without suffix -> the images of that name."""
    found: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def image_of(image_id: str, by_stem: dict[str, list[Path]]) -> Path:
    """The image of an id: a file name or a path without its suffix; one in a test folder goes before others."""
    wanted = Path(image_id).parts or ("",)
    found = [p for p in by_stem.get(wanted[-1], []) if p.with_suffix("").parts[-len(wanted) :] == wanted]
    found = [p for p in found if any(part.startswith("test") for part in p.parts[-4:-1])] or found
    if len(found) != 1:
        raise InputError(
            f"{len(found)} images were found for the id {image_id!r} of the sample submission; exactly one is needed"
        )
    return found[0]


if __name__ == "__main__":
    main()
