"""Decoded images: one memory map per (data set, form), made once, shared by all folds and experiments.

Behind the pixels, which are those of an .npy file, stand the CRC-32 of each image, uint32 (N,), little-endian. An image
is proven when its row is first asked for; opening a cache reads none. Caches of before have no CRCs, and are taken as
they are.
"""

import os
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock

from chestfold.core.console import progress, say
from chestfold.core.errors import InputError
from chestfold.core.files import (
    DAMAGED_ARCHIVE,
    atomic_path,
    cache_dir,
    explained_disk_errors,
    make_folder,
    read_json,
    remove_temporary,
    sha256,
    sha256_json,
    write_json,
)
from chestfold.data.channels import Form, decode_form, neighbours, places_of
from chestfold.data.dataset import Index
from chestfold.data.decode import DEEP_TRANSFORM, TRANSFORM, is_deep, read_bytes, split_place
from chestfold.data.dicom import DICOM_SUFFIXES, DICOM_TRANSFORM
from chestfold.data.readers.files import split_suffix

PROVEN_AT_ONCE = 512
"""Images that a thread compares with their checksums before it takes others."""
LARGEST_MEMO = 4 << 30
"""Bytes of hashes.json, of millions of images."""
CHECKSUM_TYPE = np.dtype("<u4")

FORM_TRANSFORM = "form-1"
"""Names how three channels and 16 bits are made; part of the key of a cache that holds them."""


@dataclass(frozen=True)
class Cache:
    """`images`: uint8 or uint16 (N, size, size) or (N, size, size, 3), in the order of the index.

    `row_of`: id -> row; `content`: the hash of ids and files. `path`: the file; `checksums`: CRC-32 of each image,
    uint32 (N,), or none where the file has none. `proven`: bool (N,), the rows that were compared with theirs.
    """

    images: np.ndarray
    row_of: dict[str, int]
    content: str
    path: Path
    checksums: np.ndarray
    proven: np.ndarray = field(repr=False)

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """Rows of `ids` in `images`, int64, in the order of `ids`; raises as `prove`."""
        rows = np.array([self.row_of[i] for i in ids], np.int64)
        self.prove(rows)
        return rows

    def prove(self, rows: np.ndarray | None = None) -> None:
        """Compare some rows, int (M,), or all, with their checksums; each once.

        Raises:
            InputError: an image is not what was written.
        """
        if not len(self.checksums):
            return
        wanted = np.arange(len(self.images)) if rows is None else np.unique(rows)
        left = wanted[~self.proven[wanted]]
        if not len(left):
            return
        blocks = [left[start : start + PROVEN_AT_ONCE] for start in range(0, len(left), PROVEN_AT_ONCE)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._prove, blocks))  # the list raises what was raised

    def _prove(self, rows: np.ndarray) -> None:
        for row in rows.tolist():
            if zlib.crc32(self.images[row]) != self.checksums[row]:
                raise InputError(f"{self.path} is damaged (image {row}); delete it, and it is made again")
        self.proven[rows] = True


def in_threads(work: Callable[[int], object], count: int, label: str) -> list:
    """`[work(0), ..., work(count - 1)]` on all cores, with a progress bar; decoders and hashes free the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(progress(pool.map(work, range(count)), label, count))


def content_hashes(index: Index) -> list[str]:
    """SHA-256 of every image's bytes, in index order; remembered by path, size and modification time."""
    memo_path = cache_dir() / index.dataset.name / "hashes.json"
    memo = _remembered_hashes(memo_path)
    keys = [_stamp(index.root, place) for place in index.table["path"]]
    missing = [i for i, key in enumerate(keys) if key not in memo]
    if missing:
        places = index.table["path"].tolist()
        found = in_threads(lambda n: sha256(read_bytes(index.root, places[missing[n]])), len(missing), "hashing images")
        memo |= {keys[i]: digest for i, digest in zip(missing, found, strict=True)}
        write_json(memo_path, memo)
    return [memo[key] for key in keys]


def _remembered_hashes(path: Path) -> dict[str, str]:
    """What is remembered of files. A memo only saves time: without it, or with a damaged one, all are hashed again."""
    try:
        memo = read_json(path, LARGEST_MEMO) if path.exists() else {}
    except InputError:
        return {}
    sound = isinstance(memo, dict) and all(isinstance(digest, str) for digest in memo.values())
    return memo if sound else {}


def _stamp(root: Path, place: str) -> str:
    path = root / split_place(place)[0]
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace or remove it") from error
    return f"{root / place}|{status.st_size}|{status.st_mtime_ns}"


def open_cache(index: Index, size: int, channels: int = 1, depth: int = 8) -> Cache:
    """The decoded images of `index` at `size` pixels a side; decoded now if they are not there yet.

    `channels` is 1, or 3 as the data set declares them; `depth`: bits a channel, 8 or 16.

    Safe when several processes start at once: one builds, the others wait for it.

    Raises:
        InputError: images that cannot be read, the first of them by name; the disk is full.
    """
    form = Form(size, channels, depth)
    content = _content(index)
    path = _cache_path(index, form, content)
    if not path.exists():
        with explained_disk_errors(path):
            make_folder(path.parent)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                remove_temporary(path.parent, path.name)
                _build(index, form, path)
    return _load(path, index, form, content)


def made_cache(index: Index, form: Form) -> Cache | None:
    """The decoded images where they are there already; nothing is decoded."""
    content = _content(index)
    path = _cache_path(index, form, content)
    return _load(path, index, form, content) if path.exists() else None


def _load(path: Path, index: Index, form: Form, content: str) -> Cache:
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except DAMAGED_ARCHIVE as error:
        raise InputError(f"{path} is damaged; delete it, and it is made again") from error
    expected = (len(index.table), *form.shape)
    if (images.shape, images.dtype, images.flags.c_contiguous) != (expected, form.dtype, True):
        raise InputError(f"{path} does not hold the images of {index.dataset.name}; delete it, and it is made again")
    row_of = {i: n for n, i in enumerate(index.table["id"])}
    checksums = _read_checksums(path, images.offset + images.nbytes, len(images))
    return Cache(images, row_of, content, path, checksums, np.zeros(len(images), bool))


def _read_checksums(path: Path, start: int, count: int) -> np.ndarray:
    """Those that begin at a byte of the file, uint32 (N,); none in a file of before they were written."""
    with path.open("rb") as file:
        file.seek(start)
        stored = file.read()
    if stored and len(stored) != count * CHECKSUM_TYPE.itemsize:
        raise InputError(f"{path} is damaged; delete it, and it is made again")
    return np.frombuffer(stored, CHECKSUM_TYPE)


def _content(index: Index) -> str:
    """The hash of all ids and files."""
    return sha256_json([[i, d] for i, d in zip(index.table["id"], content_hashes(index), strict=True)])


def _cache_path(index: Index, form: Form, content: str) -> Path:
    rest = [*_dicom_key(index), *_deep_key(index), *_form_key(index, form)]
    key = sha256_json([content, TRANSFORM, form.size, index.dataset.value_range, *rest])[:16]
    return cache_dir() / index.dataset.name / f"{form.size}px-{key}.npy"


def _dicom_key(index: Index) -> list[str]:
    """What else decides the pixels where a set holds DICOM files; nothing for the others, whose caches stay valid."""
    files = [name for name, member in map(split_place, index.table["path"]) if not member]
    suffixes = {split_suffix(name)[1].lower() for name in files}
    window = index.dataset.ct_window
    return [DICOM_TRANSFORM, window] if window or not suffixes.isdisjoint(("", *DICOM_SUFFIXES)) else []


def _deep_key(index: Index) -> list[str]:
    """The same for files that were once decoded with a loss."""
    suspects = (place for place in index.table["path"] if place.lower().endswith((".png", ".tif", ".tiff")))
    return [DEEP_TRANSFORM] if any(is_deep(index.root / place) for place in suspects) else []


def _form_key(index: Index, form: Form) -> list[object]:
    """What else decides the pixels of another form than 8 bits of grey, of which caches were made first."""
    dataset = index.dataset
    kind: list[object] = [FORM_TRANSFORM, form.channels, form.depth, dataset.levels]
    if form.channels == 3:
        kind += [dataset.three_channels, dataset.windows]
        return [*kind, neighbours(index).tolist()] if dataset.three_channels == "slices" else kind
    return kind if form.depth == 16 or dataset.windows else []


def _build(index: Index, form: Form, path: Path) -> None:
    places = places_of(index, form)
    shallow = [False] * len(places)
    checksums = np.zeros(len(places), CHECKSUM_TYPE)
    with atomic_path(path) as temporary:
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=form.dtype, shape=(len(places), *form.shape))
        _reserve(temporary)

        def fill(n: int) -> str | None:
            try:
                image = decode_form(index.dataset, index.root, places[n], form, index.dataset.levels)
            except InputError as error:
                return str(error)
            shallow[n] = form.depth == 16 and not (image % 257).any()
            images[n] = image
            checksums[n] = zlib.crc32(image.tobytes())
            return None

        errors = [e for e in in_threads(fill, len(places), f"decoding to {form.size} px") if e]
        images.flush()
        with temporary.open("ab") as file:
            file.write(checksums.tobytes())
        if errors:
            more = f" (and {len(errors) - 1} more: `chestfold data check {index.dataset.name}`)"
            raise InputError(errors[0] + (more if len(errors) > 1 else ""))
    if any(shallow):
        say(f"depth = 16: {sum(shallow)} of {len(shallow)} images of {index.dataset.name} hold 8 bits; they are scaled")


def _reserve(path: Path) -> None:
    """Take the blocks of a sparse file now: a disk that fills up under a memory map would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
