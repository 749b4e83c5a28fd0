"""The images of a code competition to submission.csv: what a kernel runs where there is no network.

`chestfold kernel` sends this package and the files of a run; they are found among the kernel's inputs. A test image
goes the way that it would have gone in training, so that the submission is that of `chestfold submit`. One that cannot
be read costs its own row, not the submission: it is answered with the share of each class in the training images.
"""

import glob
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core import hooks
from chestfold.core.console import bar, fail, plural, say
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import allow_links_into, write_bytes
from chestfold.core.run_folder import FULL, RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.data.channels import Form, Places, decode_form, form_of, places_of
from chestfold.data.dataset import Dataset
from chestfold.data.readers.wanted import Wanted, find_wanted
from chestfold.data.tables import open_table
from chestfold.evaluate import predictions
from chestfold.evaluate.ensemble import blend_tests, blender_of
from chestfold.evaluate.results import find_result
from chestfold.integrations.kaggle.answers import answer_format
from chestfold.integrations.kaggle.kernel import Contents
from chestfold.integrations.kaggle.submission import answers_csv
from chestfold.models.runner import PREDICT_BATCH
from chestfold.predict.trained_run import TrainedRun, load_folds

SUBMISSION = "submission.csv"
CHUNK = 2 * PREDICT_BATCH
"""Images that are decoded while others are predicted. Whole batches: those of a training are the same."""
SHOWN = 20
"""Images without a prediction that are named in the log."""


def main() -> None:
    """Write submission.csv into the current folder: `competition.py INPUTS CONTENTS COMPETITION`."""
    try:
        hooks.trust()  # whoever added the weights to the kernel added them
        with tempfile.TemporaryDirectory() as project:
            os.environ["CHESTFOLD_PROJECT"] = project
            root, contents, competition = sys.argv[1:]
            predict_competition(Path(root), Path(contents), competition, Path(project))
    except ChestfoldError as error:
        fail(error)


def predict_competition(root: Path, contents_path: Path, competition: str, project: Path) -> None:
    """Predict the ids of a sample submission, in its order.

    Args:
        root: below which the competition's files lie.
        contents_path: the file that describes the weights.
        competition: the slug, which the folder of its files is called by.
        project: an empty folder for the files of the run.

    Raises:
        InputError: there is no sample, it asks for nothing or for what no class is, or no image can be read.
    """
    contents = Contents.from_json(contents_path)
    restore(contents, contents_path.parent, project)
    record = find_result(contents.name).record
    dataset, task = find_dataset(record.data), record.create_task()
    sample_path, folder = find_sample(root, dataset.submission.file, competition)
    sample = open_table(sample_path).frame
    form = answer_format(sample, dataset.submission.file, dataset, task, record.scores)
    ids = sample[form.id_column]
    if not len(ids):
        raise InputError(f"{sample_path} asks for no image: it has a header and no row; add the competition's files")
    runs = load_runs(contents)
    columns = dict.fromkeys(name for run in runs for name in run.exp.tabular)
    wanted = find_wanted(dataset, folder, ids, tuple(columns))
    networks = sum(len(fold.networks) for run in runs for fold in run.folds)
    say(f"{plural(len(ids), 'image')} {wanted.how}; {plural(networks, 'network')} of {contents.name}")
    tables, lost = predict_runs(runs, wanted, np.array([contents.rates[name] for name in task.classes]))
    say_lost(lost, len(ids), contents.rates)
    table = blended(contents.name, tables)
    probs = predictions.probabilities(table.set_index("id").loc[[wanted.names[image_id] for image_id in ids]])
    write_bytes(Path(SUBMISSION), answers_csv(form.table(ids, probs, list(sample.columns))))
    say(f"wrote {SUBMISSION}")


def restore(contents: Contents, folder: Path, project: Path) -> None:
    """Link the files of the weights' folder to their paths in `project`."""
    allow_links_into(folder)
    for beside, target in contents.paths.items():
        link = project / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((folder / beside).resolve())


def find_sample(root: Path, name: str, competition: str) -> tuple[Path, Path]:
    """The sample submission, a path in the competition's folder, and that folder.

    Of several the one in a folder that is called like the competition.
    """
    parts = Path(name).parts
    called_so = sorted(root.rglob(glob.escape(parts[-1])))
    found = [path for path in called_so if path.parts[-len(parts) :] == parts]
    own = [path for path in found if competition in path.relative_to(root).parts]
    found = own or found
    if len(found) != 1:
        raise InputError(
            f"{len(found)} files are called {name}; exactly one is needed: add the competition to this kernel's inputs"
        )
    return found[0], found[0].parents[len(parts) - 1]


def load_runs(contents: Contents) -> list[TrainedRun]:
    """The runs whose networks were sent, by name."""
    names = {target.split("/")[1] for target in contents.paths.values() if target.endswith(".ckpt")}
    runs = []
    for name in sorted(names):
        folders = [RunFolder(name).fold(FULL)] if contents.full else RunFolder(name).finished_folds()
        runs.append(load_folds(name, folders))
    return runs


class Decoder:
    """The images of an index in every form that a run wants, with their values of the columns beside them."""

    def __init__(self, runs: Sequence[TrainedRun], wanted: Wanted) -> None:
        self._runs, self._root = runs, wanted.index.root
        self._places: dict[tuple[str, Form], tuple[Dataset, list[Places]]] = {}
        for run in runs:
            dataset, form = find_dataset(run.exp.data), form_of(run.exp)
            run.require_shown(dataset)
            self._places[run.exp.data, form] = dataset, places_of(replace(wanted.index, dataset=dataset), form)
        columns = wanted.index.table.drop(columns=["path", "label", "group", "split"])
        self._values = [{str(name): str(cell) for name, cell in row.items()} for row in columns.to_dict("records")]

    def decode(self, row: int) -> "Pixels | InputError":
        """The image of a row, or why it cannot be predicted."""
        try:
            pixels = {}
            for (data, form), (dataset, places) in self._places.items():
                pixels[data, form] = decode_form(dataset, self._root, places[row], form, dataset.levels)
            self._require_values(row)
        except InputError as error:
            return error
        return pixels

    def _require_values(self, row: int) -> None:
        """Raise `InputError` where a column of numbers holds something else."""
        for run in self._runs:
            encoding = run.folds[0].networks[0].network.encoding
            if encoding is not None:
                encoding.encode(np.array([[self._values[row][name] for name in encoding.names]], str))

    def predict(self, run: TrainedRun, rows: Sequence[int], decoded: Sequence["Pixels"]) -> np.ndarray:
        """Probabilities (F, N, K) of the decoded images of some rows."""
        key = run.exp.data, form_of(run.exp)
        pixels = np.stack([image[key] for image in decoded])
        predicted = run.predict(pixels, [self._values[row] for row in rows])
        return predicted.probs


Pixels = dict[tuple[str, Form], np.ndarray]
"""An image by data set and form."""


def chunks(decoder: Decoder, count: int) -> Iterator[dict[int, Pixels | InputError]]:
    """Row -> decoded image, by the chunk; the next one is decoded while one is used."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: list[dict[int, Future[Pixels | InputError]]] = []
        for start in range(0, count, CHUNK):
            waiting.append({row: pool.submit(decoder.decode, row) for row in range(start, min(start + CHUNK, count))})
            if len(waiting) == 2:
                yield {row: made.result() for row, made in waiting.pop(0).items()}
        for last in waiting:
            yield {row: made.result() for row, made in last.items()}


def predict_runs(
    runs: Sequence[TrainedRun], wanted: Wanted, rates: np.ndarray
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Name of a run -> its predictions, the mean of its folds; and id -> why it has `rates` (K,) instead of one.

    Raises:
        InputError: not one image can be read.
    """
    ids = wanted.index.table["id"].tolist()
    lost = dict(wanted.lost)
    found: dict[str, list[np.ndarray]] = {run.name: [] for run in runs}
    order: list[str] = []
    decoder = Decoder(runs, wanted)
    with bar("predicting", len(ids)) as advance:
        for chunk in chunks(decoder, len(ids)):
            lost |= {ids[row]: str(image) for row, image in chunk.items() if isinstance(image, InputError)}
            read = {row: image for row, image in chunk.items() if not isinstance(image, InputError)}
            for run in runs if read else ():
                found[run.name].append(decoder.predict(run, list(read), list(read.values())))
            order += [ids[row] for row in read]
            advance(len(chunk))
    if not order:
        raise InputError(f"not one of {plural(len(lost), 'image')} can be read; the first: {next(iter(lost.values()))}")
    tables = {}
    for run in runs:
        probs = np.concatenate(found[run.name], axis=1)
        tables[run.name] = mean_table(run, order, probs, list(lost), rates)
    return tables, lost


def mean_table(run: TrainedRun, ids: list[str], probs: np.ndarray, lost: list[str], rates: np.ndarray) -> pd.DataFrame:
    """The mean over the folds (F, N, K) as a training makes it, and rows of `rates` (K,) for those that are lost."""
    rows = pd.DataFrame({"id": [*ids, *lost], "group": "", "label": ""})
    parts = []
    for number, of_fold in zip(run.numbers, probs, strict=True):
        whole = np.concatenate([of_fold, np.tile(rates, (len(lost), 1))])
        parts.append(predictions.predictions(rows, number, run.task.classes, whole))
    return predictions.mean_predictions(parts)


def blended(name: str, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The predictions of a run, or the blend of an ensemble's members."""
    if name in tables:
        return tables[name]
    result = find_result(name)
    parts = [blended(member, tables) for member in result.record.members]
    return blend_tests(parts, blender_of(result))


def say_lost(lost: dict[str, str], count: int, rates: dict[str, float]) -> None:
    """Name the images without a prediction, and say what stands in their rows."""
    if not lost:
        return
    shares = ", ".join(f"{name} {share:.3f}" for name, share in rates.items())
    say(f"not predicted: {len(lost)} of {plural(count, 'image')}; they are answered with the training images' {shares}")
    for image_id, reason in list(lost.items())[:SHOWN]:
        say(f"not predicted: {image_id}: {reason}")


if __name__ == "__main__":
    main()
