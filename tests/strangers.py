"""Run folders as a stranger might send them: what each of them tries, and the command that would fall for it.

Each changes the finished runs exp100 and exp101 of a project; `chestfold WORDS` must then refuse in one sentence.
"""

import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from conftest import Project
from signed_config import sign_config

from chestfold.core import checkpoint
from chestfold.core.files import read_json, sha256, sha256_file, write_json

IMAGE = "{image}"
"""In the words of a command: an image of the project."""
PREDICT = ("predict", "exp100", IMAGE, "--no-overlay", "--device", "cpu")
EXPLAIN = ("explain", "exp100", "--count", "1", "--overwrite")
BLEND = ("ensemble", "exp100", "exp101", "--name", "blend")
SECRET = "nobody's business"


@dataclass(frozen=True)
class Case:
    """`plant` changes a project; `words` are the command; `complaint` is a part of its one sentence."""

    plant: Callable[[Project], None]
    words: tuple[str, ...]
    complaint: str


def run(project: Project) -> Path:
    return project.runs / "exp100"


def fold(project: Project) -> Path:
    return run(project) / "fold0"


def outside(project: Project) -> Path:
    """A folder that is none of the run's."""
    folder = project.root.parent / "outside"
    folder.mkdir(exist_ok=True)
    return folder


# Links, pipes and names


def linked(place: str) -> Callable[[Project], None]:
    """A file or folder of the run is outside of it, and a link to that is in its place."""

    def plant(project: Project) -> None:
        path = run(project) / place
        target = outside(project) / path.name
        if path.exists():
            path.rename(target)
        else:
            target.mkdir()
        path.symlink_to(target)

    return plant


def pipe(place: str) -> Callable[[Project], None]:
    def plant(project: Project) -> None:
        (run(project) / place).unlink(missing_ok=True)
        os.mkfifo(run(project) / place)

    return plant


def device(project: Project) -> None:
    (run(project) / "scores.json").unlink()
    (run(project) / "scores.json").symlink_to("/dev/zero")


def setting(**settings: Any) -> Callable[[Project], None]:
    """Settings of all folds, with a manifest that says they were trained with them."""

    def plant(project: Project) -> None:
        for folder in run(project).glob("fold*"):
            config = read_json(folder / "config.json")
            sign_config(folder, config | {"settings": config["settings"] | settings})

    return plant


def record(**fields: Any) -> Callable[[Project], None]:
    """Fields of scores.json; those that are records themselves are added to."""

    def plant(project: Project) -> None:
        about = read_json(run(project) / "scores.json")
        for name, value in fields.items():
            about[name] = about[name] | value if isinstance(value, dict) else value
        write_json(run(project) / "scores.json", about)

    return plant


def manifest_file(name: str) -> Callable[[Project], None]:
    """The manifest names a file that is none of the fold's."""

    def plant(project: Project) -> None:
        (outside(project) / "secret").write_text(SECRET)
        about = read_json(fold(project) / "manifest.json")
        write_json(fold(project) / "manifest.json", about | {"files": about["files"] | {name: sha256(SECRET.encode())}})

    return plant


def code(project: Project) -> None:
    """hooks.py of the run, which says that it is the project's own."""
    text = b"LOSSES = {'theirs': print}\nopen('ran', 'w')\n"
    for folder in run(project).glob("fold*"):
        (folder / "hooks.py").write_bytes(text)
        config = read_json(folder / "config.json")
        config["settings"]["hooks"] = f"runs/exp100/{folder.name}/hooks.py"
        config["fingerprint"]["hooks_sha256"] = sha256(text)
        sign_config(folder, config)


# Sizes


def sparse(place: str, size: int, end: bytes = b"") -> Callable[[Project], None]:
    """A file that is as large as it says, and takes no room on the disk."""

    def plant(project: Project) -> None:
        with (run(project) / place).open("wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(end)

    return plant


def table(make: Callable[[pd.DataFrame], pa.Table], said: bool = True) -> Callable[[Project], None]:
    """The out-of-fold predictions, made anew, as scores.json says they are; `said`: with Arrow's own types."""

    def plant(project: Project) -> None:
        path = run(project) / "oof.parquet"
        meta = pq.read_schema(path).metadata
        pq.write_table(make(pq.read_table(path).to_pandas()).replace_schema_metadata(meta), path, store_schema=said)
        record(files={"oof.parquet": sha256_file(path)})(project)

    return plant


def many_rows(project: Project) -> None:
    """A hundred thousand rows, announced ten thousand times."""
    table(lambda frame: rows(frame, 100_000), said=False)(project)
    path = run(project) / "oof.parquet"
    announced = pq.read_metadata(path)
    while announced.num_rows < 10**9 and announced.num_row_groups < 10_000:
        announced.append_row_groups(announced)
    announced.write_metadata_file(path)
    record(files={"oof.parquet": sha256_file(path)})(project)


def rows(frame: pd.DataFrame, count: int) -> pa.Table:
    """`count` rows that are all the same, of which the file holds one."""
    numbers = pa.array(np.zeros(count, np.int8))
    return pa.table({name: pa.DictionaryArray.from_arrays(numbers, pa.array(frame[name][:1])) for name in frame})


def with_column(frame: pd.DataFrame, name: str, values: pa.Array) -> pa.Table:
    made = pa.Table.from_pandas(frame, preserve_index=False)
    return made.set_column(made.column_names.index(name), name, values)


def long_texts(frame: pd.DataFrame) -> pa.Table:
    """A megabyte that is the group of each of a hundred thousand rows."""
    made = rows(frame, 100_000)
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int8)), pa.array(["x" * (1 << 20)]))
    return made.set_column(made.column_names.index("group"), "group", texts)


def announcing(data: bytes, size: int) -> bytes:
    """A zip with one more entry, packed, that is said to have `size` bytes."""
    target = io.BytesIO(data)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("archive/more", bytes(1000), zipfile.ZIP_DEFLATED)
        archive.filelist[-1].file_size = size
    return target.getvalue()


def packed_detector(project: Project) -> None:
    path = fold(project) / "ood.npz"
    path.write_bytes(announcing(path.read_bytes(), 1 << 30))


def detector(arrays: dict[str, Any]) -> Callable[[Project], None]:
    def plant(project: Project) -> None:
        with np.load(fold(project) / "ood.npz") as stored:
            known = {name: stored[name] for name in stored.files}
        np.savez_compressed(fold(project) / "ood.npz", allow_pickle=True, **(known | arrays))

    return plant


class Code:
    """An object whose pickle leaves a file."""

    def __reduce__(self) -> Any:
        return os.mknod, ("ran",)


# Checkpoints


def signed(path: Path, data: bytes) -> None:
    path.write_bytes(data + hashlib.sha256(data).digest())


def state(change: Callable[[dict[str, Any]], Any]) -> Callable[[Project], None]:
    """Another content of the checkpoint, with the hash that belongs to it."""

    def plant(project: Project) -> None:
        path = fold(project) / "best.ckpt"
        buffer = io.BytesIO()
        torch.save(change(checkpoint.load(path)), buffer)
        signed(path, buffer.getvalue())

    return plant


def argument(**arguments: Any) -> Callable[[Project], None]:
    def change(saved: dict[str, Any]) -> dict[str, Any]:
        network = saved["network"]
        return saved | {"network": network | {"arguments": network["arguments"] | arguments}}

    return state(change)


def head(**plan: Any) -> Callable[[Project], None]:
    full = {"features": 512, "width": 0, "classes": 2, "drop_rate": 0.0} | plan
    return state(lambda saved: saved | {"network": saved["network"] | {"head": full}})


def packed_weights(project: Project) -> None:
    path = fold(project) / "best.ckpt"
    signed(path, announcing(path.read_bytes()[:-32], 1 << 30))


def announced_weights(project: Project) -> None:
    """A tensor whose storage is said to have a terabyte."""
    path = fold(project) / "best.ckpt"
    data = path.read_bytes()[:-32]
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                before, cpu, after = content.partition(b"X\x03\x00\x00\x00cpu")
                put, number = after[:2], after[2:]
                length = {b"K": 2, b"M": 3, b"J": 5}[number[:1]]
                content = before + cpu + put + b"\x8a\x05" + (1 << 38).to_bytes(5, "little") + number[length:]
            archive.writestr(entry.filename, content)
    signed(path, target.getvalue())


# Images


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def image(project: Project) -> Path:
    return project.input / "tiny" / "images" / "x000.png"


def image_bytes(data: bytes) -> Callable[[Project], None]:
    def write(project: Project) -> None:
        image(project).write_bytes(data)

    return write


def image_pipe(project: Project) -> None:
    image(project).unlink()
    os.mkfifo(image(project))


def image_device(project: Project) -> None:
    image(project).unlink()
    image(project).symlink_to("/dev/zero")


def image_sparse(project: Project) -> None:
    with image(project).open("wb") as file:
        file.truncate(1 << 40)


COMPARE, PUBLISH, REPORT = ("compare", "exp100", "exp101"), ("publish", "exp100"), ("report", "exp100")
TRACK = ("track", "exp100", "--wandb", "offline")
LINK, NO_FILE, NOT_PLAIN = "is a link that leads out of", "is neither a file nor a folder", "plain name"
GB, TB = 1 << 30, 1 << 40

MANY_PIXELS = "announces 100000 x 100000 pixels"
CASES = {
    "link: scores": Case(linked("scores.json"), ("board",), LINK),
    "link: predictions, published": Case(linked("oof.parquet"), PUBLISH, LINK),
    "link: predictions, compared": Case(linked("test.parquet"), COMPARE, LINK),
    "link: predictions, blended": Case(linked("corrupted.parquet"), BLEND, LINK),
    "link: predictions, reported": Case(linked("oof.parquet"), REPORT, LINK),
    "link: weights": Case(linked("fold0/best.ckpt"), PREDICT, LINK),
    "link: settings": Case(linked("fold0/config.json"), TRACK, LINK),
    "link: a fold": Case(linked("fold1"), PREDICT, LINK),
    "link: where maps are written": Case(linked("explain"), EXPLAIN, LINK),
    "link: where a tracker notes": Case(linked("fold0/tracked_wandb.json"), TRACK, LINK),
    "link: a device": Case(device, ("board",), LINK),
    "pipe: settings": Case(pipe("fold0/config.json"), PREDICT, NO_FILE),
    "pipe: scores": Case(pipe("scores.json"), REPORT, NO_FILE),
    "pipe: history": Case(pipe("fold0/metrics.jsonl"), TRACK, NO_FILE),
    "name: a file of the manifest above": Case(manifest_file("../../../../outside/secret"), EXPLAIN, NOT_PLAIN),
    "name: an absolute file of the manifest": Case(manifest_file("/etc/hostname"), EXPLAIN, NOT_PLAIN),
    "name: data set": Case(setting(data="../tiny"), PREDICT, NOT_PLAIN),
    "name: folds": Case(setting(folds="../../outside/x"), PREDICT, NOT_PLAIN),
    "name: a run to start from": Case(setting(start_from="/tmp"), EXPLAIN, NOT_PLAIN),
    "name: too long": Case(setting(extra="x" * 300), EXPLAIN, NOT_PLAIN),
    "name: data set of a result": Case(record(data="../tiny"), ("board",), NOT_PLAIN),
    "name: folds of a result": Case(record(folds={"file": "/etc/passwd"}), REPORT, NOT_PLAIN),
    "name: parent": Case(record(parent="../../outside"), PUBLISH, NOT_PLAIN),
    "name: members": Case(record(kind="ensemble", members=["../exp101", "\0"]), COMPARE, NOT_PLAIN),
    "code: hooks that call themselves the project's": Case(code, PREDICT, "is code that came with the run"),
    "code: in a detector": Case(detector({"layer": np.array([Code()], object)}), PREDICT, "is damaged"),
    "code: in weights": Case(state(lambda saved: saved | {"more": Code()}), PREDICT, "without running code"),
    "code: a file that timm would load": Case(argument(checkpoint_path="/etc/passwd"), PREDICT, "checkpoint_path"),
    "code: an address that timm would fetch": Case(argument(pretrained=True), PREDICT, "pretrained"),
    "size: scores of 1 GB": Case(sparse("scores.json", GB), ("board",), "has 1,074 MB"),
    "size: settings of 1 GB": Case(sparse("fold0/config.json", GB), PREDICT, "has 1,074 MB"),
    "size: 10^9 rows": Case(many_rows, COMPARE, "announces 1,"),
    "size: a text for each of many rows": Case(table(long_texts, said=False), REPORT, "holds texts of more than"),
    "size: a packed detector": Case(packed_detector, PREDICT, "announces arrays of"),
    "size: weights of 1 TB": Case(sparse("fold0/best.ckpt", TB), PREDICT, "does not end like a checkpoint"),
    "size: packed weights": Case(packed_weights, PREDICT, "announces 1,07"),
    "size: a storage of 1 TB": Case(announced_weights, PREDICT, "does not fit into memory"),
    "size: 10^9 classes": Case(argument(num_classes=10**9), PREDICT, "is announced as"),
    "size: a head of 10^12 numbers": Case(head(width=10**12), PREDICT, "its weights are not those of"),
    "size: an image of 100,000 pixels a side": Case(
        image_bytes(png_header(100_000, 100_000)), PREDICT, "announces 100000 x 100000 pixels"
    ),
    "size: an image of 1 TB": Case(image_sparse, PREDICT, "which no image here has"),
    "pipe: an image": Case(image_pipe, PREDICT, "is no file"),
    "pipe: an image that is a device": Case(image_device, PREDICT, "is no file"),
    "kind: texts for numbers": Case(
        table(lambda frame: with_column(frame, "ill", pa.array(["1"] * len(frame)))), COMPARE, "holds string"
    ),
    "kind: lists for numbers": Case(
        table(lambda frame: with_column(frame, "ill", pa.array([[1.0]] * len(frame)))), PUBLISH, "holds list"
    ),
    "kind: a detector of other shapes": Case(detector({"mean": np.zeros(3, np.float32)}), PREDICT, "holds no out-of"),
    "kind: a checkpoint without a network": Case(
        state(lambda saved: {"module": saved["module"]}), PREDICT, "which network"
    ),
    "kind: weights that are a list": Case(state(lambda saved: [1]), PREDICT, "holds no training"),
}
TRACKED = {
    "code: hooks, for a tracker": Case(code, TRACK, "is code that came with the run"),
    "size: a history of 1 GB": Case(sparse("fold0/metrics.jsonl", GB), TRACK, "has 1,074 MB"),
}
"""The same, after a tracker was started, which takes seconds."""
