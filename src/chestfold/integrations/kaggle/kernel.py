"""A folder for `kaggle kernels push`: a short script, and chestfold itself with the weights of a run as a data set.

The kernel predicts a competition's test images as the training predicted its own, with the same code: lungs, frames,
test-time augmentation, columns beside the image, DICOM files and ensembles come with the package. Single precision, so
that the submission is the same on every accelerator.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from chestfold.core import hooks
from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import (
    explained_disk_errors,
    input_dir,
    put_folder,
    read_json,
    sha256_file,
    sha256_json,
    submissions_dir,
    write_plain_json,
)
from chestfold.core.records import Record
from chestfold.core.run_folder import FULL, FoldFolder, RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.evaluate.ensemble import require_same_members
from chestfold.evaluate.results import Result, find_result
from chestfold.integrations.kaggle.client import Source
from chestfold.integrations.kaggle.credentials import username
from chestfold.models.load import load_networks

SCRIPT = "infer.py"
PACKAGE = "chestfold.pyz"
"""Kaggle unpacks archives by their suffix; this one, which Python imports from, is left alone."""
DATASET_FILE, KERNEL_FILE = "dataset-metadata.json", "kernel-metadata.json"
STACKED = ("oof.parquet", "corrupted.parquet", hooks.FILE)
"""What a stack is fitted to again: files of its members."""
SHARED = 12
"""Characters of a hash that tell contents apart."""


class Contents(Record):
    """The file that describes the weights: the result that predicts, and the path in a project of each file beside it.

    A data set at Kaggle has no folders, so the files are side by side under other names. `rates`: class -> its share of
    the training images, which is the answer for an image that cannot be read. `full`: whether the training on all
    images predicts.
    """

    name: str
    full: bool
    rates: dict[str, float]
    paths: dict[str, str]


@dataclass(frozen=True)
class Kernel:
    """A folder that is ready to be sent.

    `weights_hash`: of the data set's files; `sha256`: of all that decides what the kernel does.
    """

    name: str
    competition: Source
    full: bool
    folder: Path
    identity: str
    weights_hash: str

    @property
    def weights(self) -> Path:
        """The folder of the data set."""
        return self.folder / "weights"

    @property
    def dataset(self) -> str:
        """The data set at Kaggle, owner/name."""
        return f"{self.identity}-weights"

    @property
    def contents(self) -> str:
        """The name of the file that describes the weights, which no other contents have."""
        return contents_name(self.weights_hash)

    @property
    def script(self) -> str:
        """The text of the script."""
        return (self.folder / SCRIPT).read_text()

    @property
    def sha256(self) -> str:
        """Of the weights, the script and what the kernel is told."""
        return sha256_json([self.weights_hash, self.script, read_json(self.folder / KERNEL_FILE)])


def contents_name(weights_hash: str) -> str:
    """`chestfold-0123456789ab.json`."""
    return f"chestfold-{weights_hash[:SHARED]}.json"


def write_kernel(name: str, competition: str, owner: str = "", full: bool = False) -> Kernel:
    """Write submissions/kernel_NAME/ for the finished folds of a run, or of an ensemble's members.

    A folder of the same content stays as it is, so that an upload of it can be resumed.

    Args:
        name: a run that was trained on this machine, or copied to it with its checkpoints, or an ensemble of such runs.
        competition: the slug of the code competition.
        owner: name at Kaggle; empty: the one that is configured.
        full: the training on all images instead of the folds.

    Raises:
        InputError: no checkpoints, images that a kernel cannot find, no owner.
    """
    source = Source("competition", competition)
    identity = f"{_owner(owner)}/{_slug(name)}"
    members = _members(name, full)
    folder = submissions_dir() / f"kernel_{name}"
    work = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    with explained_disk_errors(folder):
        weights = _FlatFolder(work / "weights")
        _add_members(weights, members, full)
        _write_package(weights.folder / PACKAGE)
        rates = _rates(find_result(name))
        contents = Contents(name=name, full=full, rates=rates, paths=weights.paths)
        digest = _hash_of(weights.folder, contents)
        contents.write(weights.folder / contents_name(digest))
        write_plain_json(weights.folder / DATASET_FILE, _dataset(f"{identity}-weights"))
        (work / SCRIPT).write_text(_script(contents_name(digest), source.slug))
        write_plain_json(work / KERNEL_FILE, _kernel(identity, source))
        made = Kernel(name, source, full, work, identity, digest)
        _keep_or_replace(folder, made)
    return Kernel(name, source, full, folder, identity, digest)


def _keep_or_replace(folder: Path, made: Kernel) -> None:
    """Rename a new folder to `folder`, unless that holds the same already."""
    kept = Kernel(made.name, made.competition, made.full, folder, made.identity, made.weights_hash)
    same = (kept.weights / kept.contents).exists() and (kept.folder / KERNEL_FILE).exists()
    if same and (kept.sha256, _names(kept.weights)) == (made.sha256, _names(made.weights)):
        shutil.rmtree(made.folder)
        return
    shutil.rmtree(folder, ignore_errors=True)
    put_folder(made.folder, folder)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _hash_of(folder: Path, contents: Contents) -> str:
    """Of the files that make up the data set and of what is said about them."""
    hashes = {path.name: sha256_file(path) for path in folder.iterdir()}
    return sha256_json([hashes, contents.to_dict()])


def _owner(given: str) -> str:
    owner = given or username()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", owner):
        raise InputError("--owner is required: your user name at Kaggle, as in the address of your profile")
    return owner


class _FlatFolder:
    """The files of a project side by side. `paths`: name in the folder -> path in the project."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.paths: dict[str, str] = {}

    def place(self, path: str) -> Path:
        """Where the file of a path in the project is to be written."""
        name = path.replace("/", "__")
        self.paths[name] = path
        return self.folder / name

    def copy(self, source: Path, path: str) -> None:
        """Add a file; others may read it, whatever the mode of the original is."""
        shutil.copyfile(source, self.place(path))


@dataclass(frozen=True)
class _Member:
    """A run or an ensemble behind a result. `folders`: of a run, the trainings that predict."""

    name: str
    folders: tuple[FoldFolder, ...] = ()
    result: Result | None = None


def _members(name: str, full: bool) -> list[_Member]:
    """The result and all that it is made of, each once.

    Raises:
        InputError: there are no networks, or other ones than an ensemble was made from.
    """
    found: dict[str, _Member] = {}
    for member in _walk(name, full):
        found.setdefault(member.name, member)
    return list(found.values())


def _walk(name: str, full: bool) -> Iterator[_Member]:
    result = None if RunFolder(name).begun_folds() else find_result(name)
    if result is None or result.record.kind == "experiment":
        yield _Member(name, tuple(_trainings(name, full)), result)
        return
    if result.record.kind == "imported":
        raise InputError(f"{name} was imported: it has predictions and no networks; a kernel needs a run of your own")
    if full:
        kind = "calibrated" if result.record.calibration else "an ensemble"
        raise InputError(f"--full: {name} is {kind}, and a training on all images is of one run; name that run")
    require_same_members(result)
    yield _Member(name, result=result)
    for member in result.record.members:
        yield from _walk(member, full)


def _trainings(name: str, full: bool) -> list[FoldFolder]:
    """The finished folds of a run, or its training on all images."""
    if not full:
        return RunFolder(name).require_finished_folds()
    folder = RunFolder(name).fold(FULL)
    if not folder.manifest_path.exists():
        raise InputError(f"{folder.path} is not finished; train it: python exps/..., with --fold full")
    return [folder]


def _add_members(weights: "_FlatFolder", members: list[_Member], full: bool) -> None:
    """The scores of each, the networks of runs, and what stacks are fitted to."""
    for member in members:
        weights.copy(find_result(member.name).folder / "scores.json", f"runs/{member.name}/scores.json")
        if member.folders:
            _add_run(weights, member)
    for member in members:
        if member.result and member.result.record.method == "stack":
            _add_tables(weights, member.result.record.members)


def _add_run(weights: "_FlatFolder", run: _Member) -> None:
    """The networks of a run, and the declaration of its data set."""
    exp = run.folders[0].config().exp()
    if find_dataset(exp.data).reader == "npz":
        raise InputError(f"{exp.data} is an .npz file; a kernel predicts image files only")
    declaration = Path(exp.data, "dataset.toml")
    if (input_dir() / declaration).exists():
        weights.copy(input_dir() / declaration, f"input/{declaration}")
    for folder in run.folders:
        load_networks(folder, exp)  # what cannot be loaded here cannot be there
        path = f"runs/{run.name}/{folder.path.name}"
        config = folder.config()
        single = config.model_copy(update={"settings": config.settings | {"precision": "fp32"}})
        single.write(weights.place(f"{path}/config.json"))
        manifest = folder.manifest().model_copy(update={"config_sha256": sha256_json(single.to_dict())})
        manifest.write(weights.place(f"{path}/manifest.json"))
        kept = [folder.hooks_path] if folder.hooks_path.exists() else []
        for source in (*kept, *folder.predicting_checkpoints(exp)):
            weights.copy(source, f"{path}/{source.name}")


def _add_tables(weights: "_FlatFolder", names: tuple[str, ...]) -> None:
    """What a stack is fitted to again: the out-of-fold predictions of its members."""
    for name in names:
        folder = find_result(name).folder
        for table in STACKED:
            if (folder / table).exists() and f"runs/{name}/{table}" not in weights.paths.values():
                weights.copy(folder / table, f"runs/{name}/{table}")


def _rates(result: Result) -> dict[str, float]:
    """Class -> its share of the training images, 0.5 where nothing is known of a label."""
    task = result.record.create_task()
    truth = task.truth(task.labels(result.oof()[0]["label"].tolist()))
    known = ~np.isnan(truth)
    shares = np.nansum(truth, axis=0) / np.maximum(known.sum(axis=0), 1)
    return dict(zip(task.classes, np.where(known.any(axis=0), shares, 0.5).tolist(), strict=True))


def _script(contents: str, competition: str) -> str:
    """kernel_script.py for these weights and this competition."""
    text = files("chestfold.integrations.kaggle").joinpath("kernel_script.py").read_text()
    return text.replace('CONTENTS = ""', f'CONTENTS = "{contents}"').replace(
        'COMPETITION = ""', f'COMPETITION = "{competition}"'
    )


def _write_package(target: Path) -> None:
    """chestfold's own code and data as an importable zip: same files, same bytes."""
    package = Path(str(files("chestfold")))
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                entry = ZipInfo(path.relative_to(package.parent).as_posix())
                archive.writestr(entry, path.read_bytes(), ZIP_DEFLATED)


def describe(kernel: Kernel) -> list[str]:
    """What would leave this machine, in lines."""
    contents = Contents.from_json(kernel.weights / kernel.contents)
    sizes = [path.stat().st_size for path in kernel.weights.iterdir()]
    networks = sum(path.endswith(".ckpt") for path in contents.paths.values())
    lines = [
        f"to the private data set {kernel.dataset}: {plural(len(sizes) - 1, 'file')}, {sum(sizes) / 1e6:.1f} MB: "
        f"{plural(networks, 'network')} with settings and scores, and chestfold itself",
        f"to the private kernel {kernel.identity}: {SCRIPT}; with a GPU, without internet, with the files of "
        f"{kernel.competition.slug}",
    ]
    if any(path.endswith("oof.parquet") for path in contents.paths.values()):
        lines.append("the data set holds ids, patients and labels of the training images: a stack is fitted to them")
    if any(path.endswith(hooks.FILE) for path in contents.paths.values()):
        lines.append("the data set holds hooks.py, your own code")
    precisions = sorted(_precisions(kernel.name, kernel.full) - {"fp32"})
    if precisions:
        lines.append(
            f"{kernel.name} was trained in {' and '.join(precisions)}, and a kernel predicts in fp32, on every "
            "accelerator: its numbers differ a little from those of chestfold submit (up to 0.015 were seen)"
        )
    return lines


def _precisions(name: str, full: bool) -> set[str]:
    """Of the trainings behind a result."""
    folders = [folder for member in _members(name, full) for folder in member.folders]
    return {folder.manifest().precision for folder in folders}


def _slug(name: str) -> str:
    """Kaggle allows 6 to 50 characters, those of `-weights` among them, and wants the slug of the title."""
    return "chestfold-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-")


def _title(identity: str) -> str:
    return identity.partition("/")[2].replace("-", " ")


def _dataset(identity: str) -> dict[str, Any]:
    """dataset-metadata.json."""
    return {"id": identity, "title": _title(identity), "licenses": [{"name": "other"}]}


def _kernel(identity: str, source: Source) -> dict[str, Any]:
    """kernel-metadata.json."""
    return {
        "id": identity,
        "title": _title(identity),
        "code_file": SCRIPT,
        "language": "python",
        "kernel_type": "script",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [f"{identity}-weights"],
        "competition_sources": [source.slug],
    }
