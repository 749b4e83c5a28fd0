"""A folder for `kaggle kernels push`: a short script, and chestfold itself with the weights of a run as a data set.

The kernel predicts as `chestfold predict` does: lungs, frames, test-time augmentation, DICOM files and ensembles come
with the package. Single precision, so that the submission is the same on every accelerator.
"""

import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, input_dir, put_folder, sha256_json, submissions_dir, write_json
from chestfold.core.records import Record
from chestfold.core.run_folder import RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.evaluate.results import find_result
from chestfold.integrations.kaggle.client import Source
from chestfold.integrations.kaggle.credentials import username

SCRIPT = "infer.py"
PACKAGE = "chestfold.pyz"
"""Kaggle unpacks archives by their suffix; this one, which Python imports from, is left alone."""
CONTENTS = "chestfold.json"
TABLES = ("scores.json", "oof.parquet", "corrupted.parquet", hooks.FILE)


class Contents(Record):
    """chestfold.json: the result to predict with, and the path in a project of each file beside it.

    A data set at Kaggle has no folders, so the files are side by side under other names.
    """

    name: str
    paths: dict[str, str]


def write_kernel(name: str, competition: str, owner: str = "") -> Path:
    """Write submissions/kernel_NAME/ for the finished folds of a run, or of an ensemble's members; returns the folder.

    Args:
        name: a run that was trained on this machine, or copied to it with its checkpoints, or an ensemble of such runs.
        competition: the slug of the code competition.
        owner: name at Kaggle; empty: the one that is configured.

    Raises:
        InputError: no checkpoints, images that a kernel cannot find, no owner.
    """
    source = Source("competition", competition)
    owner = owner or username()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", owner):
        raise InputError("--owner is required: your user name at Kaggle, as in the address of your profile")
    runs = _runs_behind(name)
    slug = _slug(name)
    folder = submissions_dir() / f"kernel_{name}"
    work = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    with explained_disk_errors(folder):
        weights = _FlatFolder(work / "weights")
        for run in runs:
            _add_run(weights, run)
        weights.copy(find_result(name).folder / "scores.json", f"runs/{name}/scores.json")
        if len(runs) > 1:
            _add_tables(weights, [name, *runs])
        Contents(name=name, paths=weights.paths).write(weights.folder / CONTENTS)
        _write_package(weights.folder / PACKAGE)
        write_json(weights.folder / "dataset-metadata.json", _dataset(f"{owner}/{slug}-weights"))
        script = files("chestfold.integrations.kaggle").joinpath("kernel_script.py")
        (work / SCRIPT).write_bytes(script.read_bytes())
        write_json(work / "kernel-metadata.json", _kernel(f"{owner}/{slug}", source))
        shutil.rmtree(folder, ignore_errors=True)
        put_folder(work, folder)
    return folder


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


def _runs_behind(name: str) -> list[str]:
    """The members of an ensemble, or the run itself."""
    if not RunFolder(name).begun_folds():
        record = find_result(name).record
        if record.kind == "ensemble":
            return list(record.members)
    return [name]


def _add_run(weights: _FlatFolder, name: str) -> None:
    """The finished folds of a run, and the declaration of its data set."""
    folders = RunFolder(name).require_finished_folds()
    exp = folders[0].config().exp()
    if find_dataset(exp.data).reader == "npz":
        raise InputError(f"{exp.data} is an .npz file; a kernel predicts image files only")
    if exp.tabular:
        raise InputError(f"{name} sees {', '.join(exp.tabular)} beside the image; a kernel predicts from images only")
    declaration = Path(exp.data, "dataset.toml")
    if (input_dir() / declaration).exists():
        weights.copy(input_dir() / declaration, f"input/{declaration}")
    for folder in folders:
        path = f"runs/{name}/{folder.path.name}"
        config = folder.config()
        single = config.model_copy(update={"settings": config.settings | {"precision": "fp32"}})
        single.write(weights.place(f"{path}/config.json"))
        manifest = folder.manifest().model_copy(update={"config_sha256": sha256_json(single.to_dict())})
        manifest.write(weights.place(f"{path}/manifest.json"))
        kept = [folder.hooks_path] if folder.hooks_path.exists() else []
        for source in (*kept, *folder.predicting_checkpoints(exp)):
            weights.copy(source, f"{path}/{source.name}")


def _add_tables(weights: _FlatFolder, names: list[str]) -> None:
    """What the blend of an ensemble is fitted to again: its own tables and those of its members."""
    for name in names:
        folder = find_result(name).folder
        for table in TABLES:
            if (folder / table).exists() and f"runs/{name}/{table}" not in weights.paths.values():
                weights.copy(folder / table, f"runs/{name}/{table}")


def _write_package(target: Path) -> None:
    """chestfold's own code and data as an importable zip."""
    package = Path(str(files("chestfold")))
    with ZipFile(target, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                archive.write(path, path.relative_to(package.parent))


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
