"""What a training leaves on disk: its folder, claimed by one configuration, and finished when the manifest is there.

`runs/NAME/foldK` for a fold of an experiment; the synthetic nodules' generators have folders of the same kind.
"""

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from chestfold.core import hooks
from chestfold.core.config import Experiment, difference
from chestfold.core.errors import InputError
from chestfold.core.fence import LOG, PREFIX, Held, Writer, hold, writer_of
from chestfold.core.files import (
    read_json,
    remove,
    remove_temporary,
    require_own_files,
    require_plain_name,
    require_size,
    runs_dir,
    sha256_file,
    sha256_json,
    sync_folder,
    write_text,
)
from chestfold.core.provenance import Provenance
from chestfold.core.records import PlainName, Record

if TYPE_CHECKING:
    from chestfold.core.task import Task

History = list[dict[str, Any]]
"""The rows of a metrics.jsonl, one for each epoch or interval of steps."""


FULL = -1
"""Number of the training on all training images, which stands beside the folds."""
FULL_FOLDER = "full"
TRACKED = "tracked_"
"""How the files begin in which trackers note what they were sent of a folder."""


def fold_title(number: int) -> str:
    """What a fold is called in a sentence: `fold 3`, or `full`."""
    return FULL_FOLDER if number == FULL else f"fold {number}"


class Config(Record):
    """config.json: what a training was begun with. `fingerprint`: the hashes of its data and weights."""

    settings: dict[str, Any]
    fingerprint: dict[str, str]

    def deciding(self) -> dict[str, Any]:
        """Everything that decides the bytes of the outcome; it never changes in a folder."""
        return self.settings | self.fingerprint

    def changes(self, new: Self) -> dict[str, tuple[Any, Any]]:
        """What decides the outcome and is another in `new`: name -> (here, in `new`)."""
        return difference(self.deciding(), new.deciding())


class Manifest(Provenance):
    """manifest.json: written last, it declares a training finished. `files`: name -> SHA-256."""

    config_sha256: str
    files: dict[PlainName, str]


ROW_NUMBERS = {"epoch", "step"}
"""What the rows of a metrics.jsonl are numbered by, one of them."""


def _is_history_row(row: Any) -> bool:
    """Whether a value of a JSON file is a table of numbers, NaN among them, that says which row it is."""
    if not isinstance(row, dict) or not ROW_NUMBERS & row.keys():
        return False
    return all(_is_number(value) for value in row.values())


def _is_number(value: Any) -> bool:
    """Whether it is a float, or an int that fits into 64 bits."""
    if isinstance(value, int):
        return abs(value) < 2**63
    return isinstance(value, float)


C = TypeVar("C", bound=Config)
M = TypeVar("M", bound=Manifest)


class TrainingFolder(Generic[C, M]):
    """A folder that one training fills: config.json first, last.ckpt to resume from, manifest.json at the end."""

    config_type: ClassVar[type[Config]]
    manifest_type: ClassVar[type[Manifest]]
    keep_both: ClassVar[str]
    """What to do to keep the old training and the new one, in words."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.json"
        self.manifest_path = path / "manifest.json"
        self.last_checkpoint = path / "last.ckpt"
        self.history_path = path / "metrics.jsonl"

    def config(self) -> C:
        """What the training was begun with."""
        return self.config_type.from_json(self.config_path)  # type: ignore[return-value]

    def manifest(self) -> M:
        """How it was finished."""
        return self.manifest_type.from_json(self.manifest_path)  # type: ignore[return-value]

    def lock(self) -> AbstractContextManager[Held]:
        """Be its one writer; raises `Locked` where another process is."""
        return hold(self.path)

    def writer(self) -> Writer | None:
        """Who works in it now."""
        return writer_of(self.path)

    def claim(self, config: C, overwrite: bool = False) -> C:
        """Bind the folder to `config`, once; returns the one it is bound to. Only under the lock.

        A folder without a checkpoint holds nothing that is worth keeping: it is bound anew.

        Raises:
            InputError: it is bound to another one; names the differences and both ways on.
        """
        remove_temporary(self.path)
        if overwrite or not self.has_progress():
            self.clear(forget=overwrite)
        if not self.config_path.exists():
            config.write(self.config_path)
            return config
        self.require_same(config)
        return self.config()

    def has_progress(self) -> bool:
        """Whether there is anything to resume from, or it is finished."""
        return self.manifest_path.exists() or any(self.path.glob(f"{self.last_checkpoint.name}*"))

    def require_same(self, config: C) -> None:
        """Raise `InputError` where the folder is bound to another configuration than `config`."""
        changed = self.config().changes(config)
        if changed:
            listed = ", ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
            raise InputError(
                f"{self.path} was begun with other settings ({listed}); {self.keep_both} to keep both, or add "
                "--overwrite to throw the old one away"
            )

    def clear(self, forget: bool = True) -> None:
        """Delete the outcome. What declares it complete goes first: a crash leaves it unfinished, not corrupt.

        The scores of its run go only where this training is a part of them. `forget`: what trackers know of it, too.
        """
        if self.manifest_path.exists():
            self._withdraw_scores()
            remove(self.manifest_path)
        for file in self.path.iterdir():
            held = file.name.startswith((PREFIX, LOG, ".lock")) or file == self.config_path
            tracked = file.name.startswith(TRACKED) and not forget
            if not held and not tracked:
                remove(file)
        sync_folder(self.path)  # or a power cut may leave a checkpoint without the settings that it is of
        remove(self.config_path)

    def _withdraw_scores(self) -> None:
        """Delete the scores that this training is a part of."""
        (self.path.parent / "scores.json").unlink(missing_ok=True)

    def is_finished(self) -> bool:
        """Whether the manifest is there, and config.json and every file that it names have their hash.

        Raises:
            InputError: a file was changed or lost after the training was finished.
        """
        if not self.manifest_path.exists():
            return False
        self.require_own_config()
        for name, digest in self.manifest().files.items():
            path = self.path / name
            if not path.exists() or sha256_file(path) != digest:
                raise InputError(
                    f"{path} is not the file that the training finished with; restore it, or train again with "
                    "--overwrite"
                )
        return True

    def require_own_config(self) -> None:
        """Raise `InputError` where config.json was changed after the training was finished."""
        self.config()
        if self.manifest_path.exists() and sha256_json(read_json(self.config_path)) != self.manifest().config_sha256:
            raise InputError(f"{self.config_path} is not the one that the training was begun with; restore it")

    def hashes(self, names: list[str]) -> dict[str, str]:
        """Name -> SHA-256 of those of the files that exist."""
        return {name: sha256_file(self.path / name) for name in names if (self.path / name).exists()}

    def history(self) -> History:
        """The rows of metrics.jsonl; empty where there is none.

        Raises:
            InputError: the file is damaged.
        """
        if not self.history_path.exists():
            return []
        require_size(self.history_path)
        try:
            rows = [json.loads(line) for line in self.history_path.read_text().splitlines()]
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.history_path} is damaged ({error}); train again, or delete the file") from error
        for number, row in enumerate(rows, start=1):
            if not _is_history_row(row):
                raise InputError(
                    f"{self.history_path}, line {number}: a table of numbers is needed; train again, or delete the file"
                )
        return rows

    def write_history(self, history: History, key: str, timing: dict[str, float] | None = None) -> None:
        """metrics.jsonl: `history`, each row with the timing that it was first written with.

        Times are in this file only, so that checkpoints of the same training have the same bytes. `key` numbers the
        rows, and `timing` belongs to the last one; a row whose timing was lost with a killed process has none.
        """
        known = {row[key]: row for row in self.history()}
        rows = [known.get(row[key], {}) | row for row in history]
        if timing and rows:
            rows[-1] |= timing
        write_text(self.history_path, "".join(json.dumps(row) + "\n" for row in rows))


class FoldConfig(Config):
    """config.json of a fold. `threads`: of the CPU; a fold keeps the number that it began with."""

    experiment: str
    fold: int
    parent: PlainName
    changed: dict[str, tuple[Any, Any]]
    classes: tuple[str, ...]
    positive: str
    threads: int
    task: str = "multiclass"
    shown: dict[str, str] | None = None
    """What the data set declared of how files become pixels (`channels.shown_as`); None in older records."""

    def deciding(self) -> dict[str, Any]:
        """The settings, the hashes and what the predictions are of; not the threads, which `claim` keeps.

        A setting that was added to `Experiment` after the fold was begun had its default.
        """
        predicted = {"fold": self.fold, "classes": list(self.classes), "positive": self.positive, "task": self.task}
        return Experiment().to_dict() | super().deciding() | predicted | (self.shown or {})

    def changes(self, new: Self) -> dict[str, tuple[Any, Any]]:
        """As of any training; what a record does not say of the declaration is taken to be as it is now."""
        return super().changes(new if self.shown is not None else new.model_copy(update={"shown": None}))

    def create_task(self) -> "Task":
        """What its labels and probabilities mean."""
        from chestfold.core.task import create_task  # it needs numpy, which --help does without

        return create_task(self.task, self.classes, self.positive)

    def exp(self) -> Experiment:
        """The settings as an experiment."""
        return Experiment.from_dict(self.settings)


class SyntheticCount(Record):
    """How many synthetic images a fold trained on, and from how many real ones they were made."""

    images: int
    made_from: int


class Chosen(Record):
    """What the validation images of a fold chose for its predictions (`predict_precision`, `tta_selective`).

    `precision`: of all networks; `confidence`: of the first view, below which an image has all views, None: always;
    `views`: share of the views of `tta` that the validation images need; `figures`: what was compared -> its values.
    """

    precision: str
    views: float
    figures: dict[str, float]
    confidence: float | None = None


class FoldManifest(Manifest):
    """manifest.json of a fold. `lungs_not_found`: part of the fold -> images, where lungs were wanted.

    `joined`: kind -> images of elsewhere that it was trained on besides its own, where there are some.
    """

    best_epoch: int
    precision: str
    minutes: float
    lungs_not_found: dict[str, int] | None = None
    synthetic: SyntheticCount | None = None
    joined: dict[str, int] | None = None
    chosen: Chosen | None = None


class FoldFolder(TrainingFolder[FoldConfig, FoldManifest]):
    """runs/NAME/foldK, or runs/NAME/full."""

    config_type = FoldConfig
    manifest_type = FoldManifest
    keep_both = "copy the experiment to a new number, or add --tag,"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.best_checkpoint = path / "best.ckpt"
        self.hooks_path = path / hooks.FILE

    @property
    def number(self) -> int:
        """Of the fold, from 0; `FULL` of the training on all images."""
        return FULL if self.path.name == FULL_FOLDER else int(self.path.name.removeprefix("fold"))

    def _withdraw_scores(self) -> None:
        if self.number != FULL:  # which is not a part of any scores
            super()._withdraw_scores()

    def load_hooks(self) -> hooks.Hooks | None:
        """Run the hooks that the fold was trained with; None where it has none. Raises as `hooks.load_stored`."""
        config = self.config()
        digest = config.fingerprint.get(hooks.FINGERPRINT)
        return hooks.load_stored(self.hooks_path, config.settings["hooks"], digest) if digest else None

    def epoch_checkpoint(self, epoch: int) -> Path:
        """The weights of one of the last epochs, kept where their predictions are averaged."""
        return self.path / f"epoch{epoch:04d}.ckpt"

    def averaged_checkpoints(self) -> list[Path]:
        """Those epochs that are kept, oldest first."""
        return sorted(self.path.glob("epoch????.ckpt"))

    def predicting_checkpoints(self, exp: Experiment) -> list[Path]:
        """The networks whose mean is the fold's prediction: the best epoch's, or the last ones'."""
        return self.averaged_checkpoints() if exp.average_last else [self.best_checkpoint]

    def table_path(self, kind: str) -> Path:
        """The file of the predictions of `kind` "oof", "corrupted" or "test"."""
        return self.path / f"{kind}.parquet"


class RunFolder:
    """runs/NAME.

    Raises:
        InputError: `name` is not a plain name.
    """

    def __init__(self, name: str) -> None:
        require_plain_name(name, "run")
        self.name = name
        self.path = runs_dir() / name

    def fold(self, number: int) -> FoldFolder:
        """The folder of one fold, or of the training on all images; it need not exist."""
        return FoldFolder(self.path / (FULL_FOLDER if number == FULL else f"fold{number}"))

    def begun_folds(self) -> list[FoldFolder]:
        """The folds that hold a config.json, by number."""
        return self._folds("config.json")

    def finished_folds(self) -> list[FoldFolder]:
        """The folds that hold a manifest, by number; their files are not proven here."""
        return self._folds("manifest.json")

    def _folds(self, holding: str) -> list[FoldFolder]:
        folders = [path.parent for path in self.path.glob(f"fold*/{holding}")]
        if folders:
            require_own_files(self.path)
        folds = [FoldFolder(path) for path in folders if re.fullmatch(r"fold\d+", path.name)]  # not `fold0 (copy)`
        return sorted(folds, key=lambda fold: fold.number)

    def require_finished_folds(self) -> list[FoldFolder]:
        """The finished folds; `InputError` where there is none."""
        found = self.finished_folds()
        if not found:
            raise InputError(f"{self.path} holds no finished fold; train it first, or copy its folder here")
        return found


def run_folders() -> Iterator[RunFolder]:
    """Every folder in runs/ that holds a fold, by name."""
    for path in sorted(runs_dir().glob("*")):
        if RunFolder(path.name).begun_folds():
            yield RunFolder(path.name)
