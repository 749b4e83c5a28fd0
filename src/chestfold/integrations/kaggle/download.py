"""Data sets and competitions from Kaggle into input/, each once, with checksums."""

import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from chestfold.core.console import console, say
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, input_dir, lock, sha256_file
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Dataset
from chestfold.data.phantom import write_phantom
from chestfold.integrations.kaggle import archive, client
from chestfold.integrations.kaggle.client import Source


def fetch_dataset(name: str) -> None:
    """Make or download the data set called `name`, or each of its parts, unless it is there; says what it did.

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
        say(f"to train on it, declare its classes in {folder / 'dataset.toml'} (README.md, Your own images)")


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
    """Whether a data set is in its folder; what was fetched is proven by its checksums, and said."""
    if not folder.is_dir():
        return False
    if (folder / archive.MANIFEST).exists():
        say(f"{folder} is there already: {archive.verify(folder)} files, their checksums hold")
        shutil.rmtree(_workshop(folder), ignore_errors=True)  # a kill may have come before this
    else:
        say(f"{folder} is there already, put there by hand or made here; nothing was changed")
    return True


def _workshop(folder: Path) -> Path:
    """Where the download of `folder` lies until all is done; on the same disk, so that a rename is enough."""
    return folder.parent / ".fetch" / folder.name


def _fetch(source: Source, folder: Path) -> None:
    work = _workshop(folder)
    with lock(work):
        path = work / f"{source.slug.rpartition('/')[2]}.zip"
        if not archive.is_whole(path):
            begun = any(work.glob("*.kaggle-partial"))
            say(f"{'going on with the download of' if begun else 'downloading'} {source.page}")
            with explained_disk_errors(path):
                path = client.download(source, work, _show_progress)
        if not archive.is_whole(path):
            path.unlink()
            raise InputError(f"what Kaggle sent as {path.name} is not a whole zip; run the same command again")
        about = {"source": source.page, "zip_sha256": sha256_file(path), "date": datetime.now(UTC).date().isoformat()}
        plan = archive.unpack(path, folder, about)
    shutil.rmtree(work, ignore_errors=True)
    for line in plan.left_out:
        say(line)
    say(f"wrote {folder}: {len(plan.members)} files, {archive.format_bytes(plan.bytes)}, checksums in its .sha256.json")


def _show_progress(text: str) -> None:
    """Kaggle's own progress bar, redrawn in place; nothing in a pipe."""
    if console.is_terminal:
        sys.stderr.write(re.sub(r"\n+", "\r", text))
        sys.stderr.flush()
