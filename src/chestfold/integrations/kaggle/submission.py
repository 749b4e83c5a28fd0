"""From a result to a numbered submission file that was checked before anything leaves the machine."""

import glob
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, lock, sha256_file, sha256_json, submissions_dir, write_bytes
from chestfold.core.records import Record
from chestfold.core.run_folder import FULL, FULL_FOLDER, RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Submission
from chestfold.data.readers.files import id_key, short_names
from chestfold.data.tables import open_table
from chestfold.evaluate import predictions
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.results import FoldsOfResult, Result, find_result
from chestfold.integrations.kaggle.answers import DIGITS, AnswerFormat, answer_format


class Upload(Record):
    """What became of a file at one competition: see `upload` for its life.

    `begun`: when the upload was; `reason`: why there is no entry or no score; `scored_sha256`: of the file that Kaggle
    holds for the entry, empty where that is not known; `failed`: references of earlier entries without a score.
    """

    competition: str
    marker: str
    message: str
    begun: str = ""
    reference: int | None = None
    date: str = ""
    status: str = ""
    public: str = ""
    private: str = ""
    reason: str = ""
    scored_sha256: str = ""
    failed: tuple[int, ...] = ()
    final: bool = False
    """Whether Kaggle took the whole file and then refused it: it is not sent again unless that is asked for."""

    def proof(self, sha256: str) -> str:
        """Whether it is known that Kaggle scored the file of this hash: "", "proven", "not proven" or "other file"."""
        if self.status != "COMPLETE":
            return ""
        if not self.scored_sha256:
            return "not proven"
        return "proven" if self.scored_sha256 == sha256 else "other file"


class KernelSteps(Record):
    """How far a kernel is on its way to a competition: see `kernel_send`, which writes it down before each step.

    `identity`: owner/name at Kaggle; `weights_hash`: of its data set's content. A version is 0 until it is known;
    `before`: the newest one at Kaggle when ours was asked for.
    """

    identity: str
    weights_hash: str
    dataset: str = ""
    dataset_before: int = 0
    dataset_version: int = 0
    kernel: str = ""
    kernel_version: int = 0


class SubmissionRecord(Record):
    """submissions/NNN_NAME.json: what the CSV beside it was made of, and what became of it.

    Of a kernel, NNN_NAME-kernel.json, `sha256` is that of its content, and the CSV is what it predicted where it could
    be looked at: Kaggle scores what it predicts for the hidden images.
    """

    result: str
    data: str
    members: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    cv_auc: Score | None = None
    files: dict[str, str | None]
    folds: FoldsOfResult
    sample_sha256: str | None = None
    sha256: str
    full: bool = False
    """Whether it is what `--fold full` predicts, whose score is not that of the result."""
    uploads: tuple[Upload, ...] = ()
    kernel: KernelSteps | None = None


def all_submissions() -> list[tuple[Path, SubmissionRecord]]:
    """The JSON of every submission file, by number."""
    paths = sorted(submissions_dir().glob("[0-9][0-9][0-9]_*.json"))
    return [(path, SubmissionRecord.from_json(path)) for path in paths]


def write_submission(name: str, partial: bool = False, full: bool = False) -> tuple[Path, bool]:
    """Write submissions/NNN_NAME.csv and .json for a result; the same content again keeps its number.

    Args:
        name: of a result.
        partial: also where folds are not trained yet.
        full: predictions of the training on all images, submissions/NNN_NAME-full.csv.

    Returns the CSV's path and whether it is new.

    Raises:
        InputError: no such result, no test split, folds that are missing or not collected, or the file would be
            refused.
    """
    if full and partial:
        raise InputError("--full and --partial: all folds stand beside a training on all images; leave one of them out")
    result = find_result(name)
    require_all_folds(result, partial)
    if full and result.record.calibration:
        raise InputError(
            f"--full: {name} is calibrated by out-of-fold predictions, which a training on all images has none of; "
            f"submit {result.record.members[0]} --full as it is"
        )
    if result.is_published:
        say(f"{name} is the published result of {result.folder}, not a run of yours")
    sample, source, form = expected_answers(result)
    table = full_table(result) if full else result.test()[0]
    data = submission_csv(table, name, sample, form)
    folder, stem = submissions_dir(), f"{name}-{FULL_FOLDER}" if full else name
    with lock(folder):
        written = sorted(folder.glob(f"[0-9][0-9][0-9]_{glob.escape(stem)}.csv"))
        same = (path for path in written if path.read_bytes() == data)
        path = next(same, folder / f"{next_number(folder):03d}_{stem}.csv")
        _write_checked(path, data, sample, form)
        new = not path.with_suffix(".json").exists()
        if new:
            record = record_of(result, sha256_file(path), source)
            if full:
                record = of_full(record, result)
            record.write(path.with_suffix(".json"))
    return path, new


def full_table(result: Result) -> pd.DataFrame:
    """What the training on all images predicts for the test images.

    Raises:
        InputError: it is not finished, was changed, or was trained beside other folds than those that are scored.
    """
    folder = RunFolder(result.name).fold(FULL)
    if not folder.is_finished():
        raise InputError(f"{folder.path} is not finished; train it: python exps/..., with --fold full")
    beside = folder.config().fingerprint.get("cv_sha256")
    if folder.config().fold != FULL or beside != sha256_json(result.oof()[1].get("members")):
        raise InputError(
            f"{folder.path} was trained beside other folds than those that the scores of {result.name} are of; train "
            "it again: --fold full --overwrite"
        )
    return predictions.read(folder.table_path("test"))[0]


def of_full(record: SubmissionRecord, result: Result) -> SubmissionRecord:
    """The record of a submission of the training on all images: its predictions, and the figures of the folds."""
    path = RunFolder(result.name).fold(FULL).table_path("test")
    files = {"oof.parquet": record.files["oof.parquet"], f"{FULL_FOLDER}/test.parquet": sha256_file(path)}
    return record.model_copy(update={"full": True, "files": files})


def require_all_folds(result: Result, partial: bool) -> None:
    """Raise `InputError` where folds are trained but not collected, or where some are missing and that is not meant."""
    folds = result.record.folds
    if result.is_debug:
        raise InputError(f"{result.name} is a debug run: it predicts a few of the test images, and means nothing")
    finished = {folder.number for folder in RunFolder(result.name).finished_folds()}
    stale = sorted(finished - set(folds.trained))
    if stale and not result.is_published:
        listed = ", ".join(map(str, stale))
        raise InputError(
            f"{result.folder} holds finished folds that are not collected ({listed}); run its experiment again, "
            "which collects them"
        )
    if folds.missing and not partial:
        raise InputError(
            f"{result.name} holds {folds}; train the others, or add --partial to submit the mean of "
            f"{len(folds.trained)} of {folds.count} folds"
        )


def _write_checked(path: Path, data: bytes, sample: pd.DataFrame, form: AnswerFormat) -> None:
    """A new file that would be refused does not stay."""
    new = not path.exists()
    if new:
        write_bytes(path, data)
    try:
        check_submission(path, sample, form)
    except InputError:
        if new:
            path.unlink()
        raise


def expected_answers(result: Result) -> tuple[pd.DataFrame, Path | None, AnswerFormat]:
    """The competition's sample submission, its path, and how it is filled in.

    Where there is no sample: the test ids, with the positive class of two, else a column for each class.
    """
    record = result.record
    dataset, task = find_dataset(record.data), record.create_task()
    path = input_dir() / dataset.input_folder / dataset.submission.file
    if path.exists():
        sample = open_table(path).frame
        return sample, path, answer_format(sample, dataset.submission.file, dataset, task, record.scores)
    if dataset.submission != Submission():
        raise InputError(
            f"{path} does not exist, and dataset.toml has a [submission]; put the competition's file there"
        )
    columns = {task.classes[number]: task.classes[number] for number in task.scored_classes}
    form = AnswerFormat(task, dataset, "id", columns, 0.5)
    ids = result.test()[0]["id"]
    return pd.DataFrame({"id": ids, **dict.fromkeys(columns, "0.5")}), None, form


def submission_csv(table: pd.DataFrame, name: str, sample: pd.DataFrame, form: AnswerFormat) -> bytes:
    """The predictions in the sample's order, matched by id, in its columns.

    Args:
        table: test predictions.
        name: of the result that they are of, for a complaint.
        sample: the competition's sample submission.
        form: how it is filled in.

    Raises:
        InputError: the sample asks for ids that there are no predictions for, or leaves some out.
    """
    ids = sample[form.id_column]
    rows = table.set_index(table["id"].map(id_key))
    short = {name: id_key(image_id) for name, image_id in short_names(table["id"]).items()}
    keys = [key if key in rows.index else short.get(key, key) for key in map(id_key, ids)]
    strays = sorted(set(keys) ^ set(rows.index))
    if strays:
        raise InputError(
            f"{form.dataset.submission.file} and the test predictions of {name} differ in {len(strays)} ids, "
            f"the first is {strays[0]!r}; train again on the present test images"
        )
    answers = form.table(ids, predictions.probabilities(rows.loc[keys]), list(sample.columns))
    return answers_csv(answers)


def answers_csv(answers: pd.DataFrame) -> bytes:
    """The content of a submission file."""
    return answers.to_csv(index=False, lineterminator="\n", float_format=f"%.{DIGITS}f").encode()


def check_submission(path: Path, sample: pd.DataFrame, form: AnswerFormat) -> None:
    """Hold a submission file against the sample: what the server would refuse, or score as nonsense.

    Raises:
        InputError: columns, missing, doubled, foreign or reordered ids, not a number, out of range, constant
            columns, or class probabilities that do not sum to 1.
    """
    given = open_table(path).frame
    if list(given.columns) != list(sample.columns):
        raise InputError(f"{path}: columns are {list(given.columns)}, not {list(sample.columns)}")
    _check_ids(path, given[form.id_column], sample[form.id_column])
    if form.wants_classes:
        _check_classes(path, given, form)
    else:
        _check_probabilities(path, given, form)


def _check_classes(path: Path, given: pd.DataFrame, form: AnswerFormat) -> None:
    """That something is decided differently for different images."""
    if len(given) > 1 and all(given[column].nunique() == 1 for column in form.columns):
        raise InputError(f"{path}: every image has the same answer; the model decides the same for all of them")


def _check_probabilities(path: Path, given: pd.DataFrame, form: AnswerFormat) -> None:
    columns = list(form.columns)
    try:
        values = given[columns].to_numpy(dtype=float)
    except ValueError as error:
        raise InputError(f"{path}: a prediction is not a number ({error})") from error

    def require(right: np.ndarray, complaint: str) -> None:
        """Name the first row (N,) that is not right."""
        if not right.all():
            raise InputError(f"{path}: the {complaint.format(repr(given[form.id_column][int(right.argmin())]))}")

    require(np.isfinite(values).all(axis=1), "prediction for {} is not a number")
    require(((values >= 0) & (values <= 1)).all(axis=1), "prediction for {} lies outside 0 to 1")
    for name, column in zip(columns, values.T, strict=True):
        if len(column) > 1 and np.ptp(column) == 0:
            raise InputError(f"{path}: the column {name!r} is constant; the model predicts the same for every image")
    if form.sums_to_one:
        require(np.abs(values.sum(axis=1) - 1) <= 1e-3, "probabilities of {} do not sum to 1")


def _check_ids(path: Path, given: pd.Series, wanted: pd.Series) -> None:
    if given.duplicated().any():
        raise InputError(f"{path}: id {given[given.duplicated()].iloc[0]!r} occurs twice")
    missing, foreign = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing:
        raise InputError(f"{path}: {len(missing)} ids are missing, the first is {missing[0]!r}")
    if foreign:
        raise InputError(f"{path}: {len(foreign)} ids are not in the sample, the first is {foreign[0]!r}")
    if given.tolist() != wanted.tolist():
        raise InputError(f"{path}: the ids are in another order than in sample_submission.csv")


def next_number(folder: Path) -> int:
    """One that no submission has, neither a file nor a kernel."""
    numbers = [int(p.name[:3]) for p in folder.glob("[0-9][0-9][0-9]_*")]
    return max(numbers, default=0) + 1


def record_of(result: Result, sha256: str, sample_path: Path | None = None) -> SubmissionRecord:
    """What is known of a submission of this content before it is sent."""
    record = result.record
    return SubmissionRecord(
        result=result.name,
        data=record.data,
        members=record.members or (result.name,),
        weights=record.weights,
        cv_auc=result.score("at_half", "auc"),
        files={name: record.files.get(name) for name in ("oof.parquet", "test.parquet")},
        folds=record.folds,
        sample_sha256=sha256_file(sample_path) if sample_path else None,
        sha256=sha256,
    )


@dataclass(frozen=True)
class Standing:
    """A submission on a competition's leaderboard; None: not known, or not yet."""

    public: float | None
    private: float | None
    competition: str = ""


NOT_SENT = Standing(None, None)


def standings(results: Sequence[Result]) -> dict[str, Standing]:
    """Name -> the newest scored submission of each result. One of an older OOF file of that name does not count."""
    hashes = {result.name: result.record.files["oof.parquet"] for result in results}
    found = {}
    for _, record in all_submissions():
        if record.full or record.files["oof.parquet"] != hashes.get(record.result):
            continue
        for upload in record.uploads:
            if upload.proof(record.sha256) == "other file":
                continue
            public, private = _number(upload.public), _number(upload.private)
            if (public, private) != (None, None):
                found[record.result] = Standing(public, private, upload.competition)
    return found


DECIMAL_COMMA = re.compile(r"-?(0,\d+|\d+,(\d{1,2}|\d{4,}))")
"""A number whose comma cannot part thousands: it follows a zero, or other than three digits follow it."""


def _number(text: str) -> float | None:
    """Kaggle gives its scores as texts, empty where there is none; one that is not finite, or is unclear, is none."""
    plain = text.strip()
    if DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
