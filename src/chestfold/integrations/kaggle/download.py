"""Data sets and competitions from Kaggle into input/, each once, with checksums."""

import shutil
from pathlib import Path
from zipfile import is_zipfile

from rich.filesize import decimal

from chestfold.core.console import say, waiting
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, input_dir, lock, read_json, sha256_file
from chestfold.core.provenance import today
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Dataset
from chestfold.data.phantom import write_phantom
from chestfold.integrations.kaggle import archive, client
from chestfold.integrations.kaggle.client import Source


def fetch_dataset(name: str) -> None:
    """Make or download the data set `name`, or each of its parts, unless it is there; says what it did.

    Raises:
        InputError: unknown, not at Kaggle, the download failed, or a file that was fetched has changed since.
    """
    dataset = find_dataset(name)
    for part in dataset.parts:
        fetch_dataset(part)
    if not dataset.parts:
        _fetch_one(dataset)


def fetch_competition(slug: str) -> None:
    """Download all files of a competition into input/SLUG; `InputError` as above."""
    source, folder = Source("competition", slug), input_dir() / slug
    if not _is_there(folder):
        _fetch(source, folder)
        say(f"to train on it, declare its classes in {folder / 'dataset.toml'} (docs/how-to/own-data.md)")


def _fetch_one(dataset: Dataset) -> None:
    folder = input_dir() / dataset.input_folder
    if _is_there(folder):
        return
    if dataset.name in ("phantom", "phantom_marked"):
        write_phantom(folder, marked=dataset.name == "phantom_marked")
        say(f"wrote {folder}")
    elif dataset.kaggle:
        say(f"{dataset.name}: {dataset.about}; licence {dataset.licence}")
        _fetch(Source("data set", dataset.kaggle), folder)
    else:
        raise InputError(
            f"{dataset.name} is not at Kaggle: get it from {dataset.origin}, and put it into {folder} "
            "(input/README.md says in which form)"
        )


def _is_there(folder: Path) -> bool:
    """Whether a data set is in its folder; what was fetched is proven by its checksums. Says so."""
    if not folder.is_dir():
        return False
    if (folder / archive.MANIFEST).exists():
        fetched = read_json(folder / archive.MANIFEST, archive.LARGEST_MANIFEST).get("date", "an unknown day")
        say(f"{folder} is there already: {archive.verify(folder)} files, their checksums hold")
        say(f"it was fetched on {fetched}; for a newer version at Kaggle delete {folder} and fetch it again")
        shutil.rmtree(_work_folder(folder), ignore_errors=True)  # a kill may have come before this
    else:
        say(f"{folder} is there already, put there by hand or made here; nothing was changed")
    return True


def _work_folder(folder: Path) -> Path:
    """Where the download of `folder` is kept until it is complete; on the same disk, so that a rename is enough."""
    return folder.parent / ".fetch" / folder.name


def _fetch(source: Source, folder: Path) -> None:
    work = _work_folder(folder)
    with lock(work):
        path = work / f"{source.slug.rpartition('/')[2]}.zip"
        begun = any(work.glob("*.kaggle-partial"))
        if begun or not is_zipfile(path):
            say(f"{'resuming the download of' if begun else 'downloading'} {source.page}")
            with (
                explained_disk_errors(path, "it resumes the download"),
                waiting(f"downloading {source.slug}") as remark,
            ):
                path = client.download(source, work, remark)
        if path.suffix != ".zip":
            raise InputError(
                f"Kaggle sent no zip but a single file, {path}; move it into {folder}, under the name that it has at "
                f"{source.page}/data"
            )
        if not is_zipfile(path):
            path.unlink()
            raise InputError(f"what Kaggle sent as {path.name} is not a complete zip; run the same command again")
        about = {"source": source.page, "zip_sha256": sha256_file(path), "date": today()}
        plan = archive.unpack(path, folder, about)
    shutil.rmtree(work, ignore_errors=True)
    for line in [*plan.left_out, *plan.notes]:
        say(line)
    say(f"wrote {folder}: {len(plan.members)} files, {decimal(plan.bytes)}, checksums in its .sha256.json")
