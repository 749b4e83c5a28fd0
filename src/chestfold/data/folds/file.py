"""The file of a split: folds/NAME.csv, and folds/NAME.json that says where it comes from."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, sha256, write_bytes
from chestfold.core.records import Record
from chestfold.core.rng import key
from chestfold.core.run_folder import FULL
from chestfold.core.task import Task
from chestfold.data.dataset import Index
from chestfold.data.folds.checks import (
    DEFAULT_COUNT,
    LeakReport,
    assert_sound,
    label_rates,
    leak_report,
    linked_duplicates,
    task_of,
)
from chestfold.data.folds.splitting import COVERED, Images, Split, linked_images, split_images
from chestfold.data.tables import read_table

COLUMNS = ("id", "group", "label", "fold")
LEAKY = "stratified by label; patients and duplicates are in several folds, to measure what that adds"
"""The scheme of a split that leaks on purpose."""


class Repeat(Record):
    """Which of several splits of the same images a fold file is: `number` from 1, `of` so many."""

    family: str
    number: int
    of: int


class Deviation(Record):
    """How far a label's rate in a fold lies at most from its rate in all images (0 to 1)."""

    rate: float
    percentage_points: float
    relative: float


class FoldsRecord(Record):
    """folds/NAME.json. `images`: fold -> class or label -> number of images that have it."""

    data: str
    scheme: str
    seed: int | None = None
    """The one that was asked for."""
    seed_used: int | None = None
    """The one that gave the split, where it is another."""
    folds: int
    repeat: Repeat | None = None
    patient: str
    index_sha256: str
    sha256: str
    leaks: LeakReport
    images: dict[str, dict[str, int]]
    sizes: tuple[int, ...] | None = None
    """Images of each fold, where they may have several labels each."""
    deviations: dict[str, Deviation] | None = None

    @property
    def covered(self) -> bool:
        """Whether no seed was found whose split has every class in every fold."""
        return self.scheme.endswith(COVERED)

    @property
    def leaky(self) -> bool:
        """Whether it leaks on purpose."""
        return self.scheme == LEAKY


@dataclass(frozen=True)
class Folds:
    """A fold file that was read and checked. `table`: id, group, label, fold; one row per training image."""

    name: str
    table: pd.DataFrame
    record: FoldsRecord
    task: Task

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self.record.sha256

    @property
    def count(self) -> int:
        """Number of folds."""
        return self.record.folds

    @property
    def sizes(self) -> list[int]:
        """Images of each fold."""
        return self.table["fold"].value_counts().sort_index().tolist()

    def ids(self, fold: int) -> list[str]:
        """Ids of the validation images of `fold`; none where that is `FULL`."""
        self.require(fold)
        return self.table.loc[self.table["fold"] == fold, "id"].tolist()

    def other_ids(self, fold: int) -> list[str]:
        """Ids of the training images of `fold`: those of all other folds; of `FULL` all."""
        self.require(fold)
        return self.table.loc[self.table["fold"] != fold, "id"].tolist()

    def sample(self, images: int) -> "Folds":
        """Of each fold about so many images, of each of its strata the same number where there are enough."""
        strata = pd.Series(self.task.strata(self.task.labels(self.table["label"].tolist())), self.table.index)
        order = self.table["id"].map(lambda image_id: key("folds sample", image_id))
        shuffled = self.table.assign(stratum=strata).loc[order.sort_values().index]
        kept = shuffled.groupby(["fold", "stratum"], sort=False).head(max(1, images // strata.nunique()))
        return replace(self, table=self.table.loc[sorted(kept.index)].reset_index(drop=True))

    def require(self, fold: int) -> None:
        """Raise `InputError` when there is no such fold."""
        if fold != FULL and not 0 <= fold < self.count:
            raise InputError(f"fold {fold} does not exist: folds/{self.name}.csv has folds 0 to {self.count - 1}")


# Writing


def make(index: Index, name: str, count: int = DEFAULT_COUNT, seed: int = 0) -> tuple[Folds, bool]:
    """Write folds/NAME.csv and .json; True when they are new, False when the same split was there already.

    Raises:
        InputError: another split of this name exists (fold files are never edited), or there is no sound one.
    """
    images = linked_images(index)
    return _store_split(name, images, split_images(images, count, seed), count, seed)


def make_repeats(index: Index, name: str, repeats: int, count: int, seed: int) -> list[tuple[Folds, bool]]:
    """Write `repeats` splits of the same images, NAME-r1, NAME-r2 and so on, of the seeds from `seed` on.

    Raises:
        InputError: as `make`; or two of them would be the same split.
    """
    images = linked_images(index)
    seeds = range(seed, seed + repeats)
    splits = [split_images(images, count, each) for each in seeds]
    _require_different(splits, count)
    made = []
    for number, each in enumerate(splits, start=1):
        repeat = Repeat(family=name, number=number, of=repeats)
        made.append(_store_split(f"{name}-r{number}", images, each, count, seeds[number - 1], repeat))
    return made


def _require_different(splits: list[Split], count: int) -> None:
    """Raise `InputError` where two splits are the same; how their folds are numbered does not matter."""
    first: dict[bytes, int] = {}
    for number, each in enumerate(splits, start=1):
        partition = pd.factorize(each.table["fold"])[0].tobytes()
        same = first.setdefault(partition, number)
        if same != number:
            raise InputError(
                f"repeat {number} would be the split of repeat {same} again: the patients allow too few splits into "
                f"{count} folds; ask for fewer --repeats, or start from another --seed"
            )


def _store_split(
    name: str, images: Images, found: Split, count: int, seed: int, repeat: Repeat | None = None
) -> tuple[Folds, bool]:
    record = describe(images.index, found.table, found.leaks, found.scheme, count)
    used = None if found.seed == seed else found.seed
    record = record.model_copy(update={"seed": seed, "seed_used": used, "repeat": repeat})
    return store(name, images.index, found.table, record)


def describe(index: Index, table: pd.DataFrame, leaks: LeakReport, scheme: str, count: int) -> FoldsRecord:
    """What the JSON of a fold table says, without a seed."""
    task = task_of(index)
    record = FoldsRecord(
        data=index.dataset.name,
        scheme=scheme,
        folds=count,
        patient=index.dataset.patient,
        index_sha256=index.sha256(),
        sha256=sha256(_csv(table)),
        leaks=leaks,
        images={str(f): c.to_dict() for f, c in pd.crosstab(table["fold"], table["label"]).iterrows()},
    )
    return record if task.sums_to_one else record.model_copy(update=_of_labels(table, task))


def _of_labels(table: pd.DataFrame, task: Task) -> dict[str, object]:
    """What the JSON says instead of, and beside, images a class where an image has several labels."""
    truth = task.truth(task.labels(table["label"].tolist()))
    counts = pd.DataFrame(truth == 1, columns=list(task.classes)).groupby(table["fold"].to_numpy()).sum()
    deviations = {
        row.label: Deviation(
            rate=round(row.rate, 6),
            percentage_points=round(100 * row.deviation, 4),
            relative=round(row.relative, 6),
        )
        for row in label_rates(table, task).itertuples()
    }
    return {
        "images": {str(fold): row.astype(int).to_dict() for fold, row in counts.iterrows()},
        "sizes": tuple(table["fold"].value_counts().sort_index().tolist()),
        "deviations": deviations,
    }


def store(name: str, index: Index, table: pd.DataFrame, record: FoldsRecord) -> tuple[Folds, bool]:
    """Write folds/NAME.csv and .json; True when they are new, False when the same split was there already.

    Raises:
        InputError: another split of this name exists (fold files are never edited).
    """
    csv_path, json_path = _paths(name)
    data = _csv(table)
    if csv_path.exists() and csv_path.read_bytes() != data:
        raise InputError(f"{csv_path} exists and differs; fold files are never edited, choose a new --name")
    if csv_path.exists() and json_path.exists():
        return load(name, index), False
    write_bytes(csv_path, data)
    record.write(json_path)
    return load(name, index), True


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _paths(name: str) -> tuple[Path, Path]:
    return folds_dir() / f"{name}.csv", folds_dir() / f"{name}.json"


# Reading


def load(name: str, index: Index) -> Folds:
    """Read and check folds/NAME.csv against its JSON and against the data set.

    Raises:
        InputError: it is missing, was edited, belongs to other data, or is not sound.
    """
    csv_path, json_path = _paths(name)
    data = index.dataset.name
    if not (csv_path.exists() and json_path.exists()):
        words = shlex.join(["chestfold", "folds", "make", data, "--name", name])
        raise InputError(f"{csv_path} does not exist; make it: {words}")
    record = FoldsRecord.from_json(json_path)
    if record.data != data:
        raise InputError(f"{csv_path} belongs to the data set {record.data!r}, not to {data!r}")
    if sha256(csv_path.read_bytes()) != record.sha256:
        raise InputError(f"{csv_path} was changed after it was made (hash differs); restore it or make a new one")
    table = read_table(csv_path)
    for column in COLUMNS:
        if column not in table:
            raise InputError(f"{csv_path} has no column {column!r}; restore it or make a new one")
    for row, cell in enumerate(table["fold"]):
        if not (cell.isascii() and cell.isdigit() and len(cell) < 6):
            raise InputError(f"{csv_path}: the fold of {table['id'][row]!r} is {cell!r}, not a whole number")
    table["fold"] = table["fold"].astype(int)
    assert_sound(table, index, record.folds)
    if index.sha256() != record.index_sha256:
        raise InputError(f"{csv_path}: labels or patients of {data} changed since it was made; make a new one")
    return Folds(name, table, record, task_of(index))


def check(name: str, index: Index) -> LeakReport:
    """Read folds/NAME.csv, prove it again, search for duplicates again, and return the leak report."""
    folds = load(name, index)
    order = index.train["id"].tolist()
    table = folds.table.set_index("id").loc[order].reset_index()
    return leak_report(table, *linked_duplicates(index))


def same_images(first: str, second: str) -> bool:
    """Whether two fold files split the same images, labels and patients: then predictions of both can be averaged.

    They are repeats of one family, or were made with other seeds or numbers of folds, or imported.

    Raises:
        InputError: folds/NAME.json of one is missing or damaged.
    """
    records = [FoldsRecord.from_json(_paths(name)[1]) for name in (first, second)]
    return len({(record.data, record.index_sha256) for record in records}) == 1
