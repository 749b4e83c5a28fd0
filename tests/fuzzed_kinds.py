"""The kinds of file that are read, how each is made wrong, and what reads it: of a project with two trained runs."""

import io
import json
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import mutators
import numpy as np
from conftest import Project, read_grey
from mutators import Mutator

from chestfold.cli.main import main as main_command
from chestfold.core import checkpoint, hooks
from chestfold.core.files import cache_dir, sha256, sha256_file, sha256_json, weights_dir
from chestfold.core.run_folder import RunFolder
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, Submission
from chestfold.data.decode import decode, decode_fitted
from chestfold.evaluate.results import find_result
from chestfold.integrations.follow.sent import read_sent, write_sent
from chestfold.integrations.kaggle import archive
from chestfold.models import ood, rebuild

Read = Callable[[random.Random], object]
Sign = Callable[[], None]

DECLARATIONS = (
    b"""classes = ["healthy", "ill"]
positive = "ill"
reader = "csv"
group = "patient"
metric = "auc"
""",
    b"""task = "multilabel"
reader = "csv"
classes = ["healthy", "ill"]
label = "label"
separator = "|"
unknown = ["?"]
no_finding = ["none"]
tabular = ["patient"]
three_channels = "slices"
slice_pattern = '^(t)(\\d+)$'

[subgroups.tens]
pattern = '^t(\\d)'
""",
    b"""task = "ordinal"
reader = "csv"
classes = ["a", "b"]
labels = { healthy = "a", ill = "b" }
value_range = [0, 255]
windows = [[0, 255], [0, 100], [50, 255]]
images = "images/{id}"
test_images = "images/{id}.png"
patient_pattern = '^t\\d\\d'

[submission]
file = "sample_submission.csv"
id = "id"
columns = { ill = "b" }
answer = "class"
""",
    b"""reader = "npz"
task = "multiclass"
classes = ["healthy", "ill"]
positive = "ill"
labels = { "0" = "healthy", "1" = "ill" }
""",
    b"""reader = "folders"
classes = ["healthy", "ill"]
positive = "ill"
class_patterns = { healthy = "^images/t..[0-4]", ill = "^images/.*[5-9]" }
""",
)


NAMES = (
    "dataset.toml",
    "train.csv",
    "tiny.npz",
    "sample_submission.csv",
    "folds.csv",
    "folds.json",
    "own folds.csv",
    "own oof.csv",
    "cache",
    "hashes.json",
    "zip",
    "png",
    "jpeg",
    "tiff",
    "other image",
    "dicom",
    "config.json",
    "manifest.json",
    "metrics.jsonl",
    "scores.json",
    "scores.json of a blend",
    "oof.parquet",
    "test.parquet",
    "fold's oof.parquet",
    "submission.json",
    "tracked_wandb.json",
    "not_run.json",
    "best.ckpt",
    "ood.npz",
    "safetensors",
    "hooks.py",
)


@dataclass(frozen=True)
class Kind:
    """A kind of file. `path`: where it lies; `valid`: contents that are right; `read`: what a person does with it.

    `sign`: makes the files that hold its hash agree with it, so that what is inside is looked at.
    """

    name: str
    path: Path
    valid: tuple[bytes, ...]
    mutate: Mutator
    read: Read
    sign: Sign | None = None

    def draw(self, rng: random.Random) -> bytes:
        """Contents that are wrong, or right by chance."""
        return self.mutate(rng.choice(self.valid), rng)

    def put(self, data: bytes, rng: random.Random) -> None:
        """Write them where they are read."""
        self.path.write_bytes(data)
        if self.sign and rng.random() < 0.8:
            self.sign()


def command(*words: str) -> Read:
    """A command, as it is typed."""

    def read(_: random.Random) -> None:
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
            main_command([*words])

    return read


def one_of(*reads: Read) -> Read:
    """One of several, by chance."""
    return lambda rng: rng.choice(reads)(rng)


def prepare_runs(project: Project) -> None:
    """What the kinds need besides two trained runs: a blend and a submission, and what all kinds need."""
    with redirect_stdout(io.StringIO()):
        main_command(["ensemble", "exp100", "exp101", "--name", "blend", "--method", "rank"])
        main_command(["submit", "exp100", "--dry-run"])
    prepare(project)


def prepare(project: Project) -> None:
    """What the kinds need that are of no run: arrays and hooks."""
    tiny = project.input / "tiny"
    images = np.stack([read_grey(path) for path in sorted((tiny / "images").glob("t*"))])
    labels = np.arange(len(images)) % 2
    np.savez(tiny / "tiny.npz", train_images=images, train_labels=labels)
    (project.root / "exps").mkdir(exist_ok=True)
    (project.root / "exps" / "my_hooks.py").write_text(HOOKS)
    (project.root / "own").mkdir()


HOOKS = """import torch.nn.functional as F

def mine(context):
    return F.binary_cross_entropy_with_logits

LOSSES = {"mine": mine}
METRICS = {"mine": lambda evaluation: 1.0}
"""


def kinds(project: Project) -> dict[str, Kind]:
    """Name -> kind, in a project with two runs and what `prepare_runs` makes."""
    found = [*kinds_of_no_run(project).values(), *_of_folds(project), *_of_runs(project), *_of_weights(project)]
    return {kind.name: kind for kind in found}


def kinds_of_no_run(project: Project) -> dict[str, Kind]:
    """Name -> kind, of those that need a prepared data set only."""
    return {kind.name: kind for kind in [*_of_data(project), *_of_images(project)]}


def _kind(name: str, path: Path, mutate: Mutator, read: Read, sign: Sign | None = None) -> Kind:
    """A kind whose valid content is that of a file."""
    return Kind(name, path, (path.read_bytes(),), mutate, read, sign)


# Data sets, folds, tables


def _of_data(project: Project) -> list[Kind]:
    tiny = project.input / "tiny"
    fields = [*Dataset.model_fields, *(f"submission.{name}" for name in Submission.model_fields)]
    fields += ["group_column", "subgroups.a.pattern", "subgroups.a.column", "labels.ill", "metric_weights.ill"]
    look = one_of(command("data", "check", "tiny"), command("folds", "make", "tiny", "--name", "new", "--folds", "2"))
    zipped = io.BytesIO()
    with mutators.zipfile.ZipFile(zipped, "w") as made:
        made.writestr("tiny/a.png", mutators.zlib.compress(b"a" * 999))
    return [
        Kind("dataset.toml", tiny / "dataset.toml", DECLARATIONS, mutators.toml_mutator(fields), look),
        _kind("train.csv", tiny / "train.csv", mutators.mutate_csv, look),
        _kind("tiny.npz", tiny / "tiny.npz", mutators.mutate_archive, read_arrays),
        Kind("zip", project.root / "own" / "d.zip", (zipped.getvalue(),), mutators.mutate_zip, unpack),
        _kind("hooks.py", project.root / "exps" / "my_hooks.py", mutators.mutate_python, read_hooks),
    ]


def _of_folds(project: Project) -> list[Kind]:
    """Fold files, tables that people bring, decoded images."""
    folds, own, csv = project.root / "folds", project.root / "own", mutators.mutate_csv
    check, decoded = command("folds", "check", "tiny"), partial(open_cache, 8)
    rows = [line.split(",") for line in (folds / "tiny.csv").read_text().splitlines()]
    given = "\n".join(f"{row[0]},{row[3]}" for row in rows) + "\n"
    predicted = find_result("exp100").oof()[0].drop(columns=["group"]).to_csv(index=False)
    with redirect_stdout(io.StringIO()):
        decoded(random.Random(0))
    cached = next(iter((cache_dir() / "tiny").glob("8px-*.npy")))
    return [
        _kind("sample_submission.csv", project.input / "tiny" / "sample_submission.csv", csv, submit),
        _kind("folds.csv", folds / "tiny.csv", csv, check, partial(sign_folds, folds)),
        _kind("folds.json", folds / "tiny.json", mutators.mutate_json, one_of(check, command("report"))),
        Kind("own folds.csv", own / "f.csv", (given.encode(),), csv, import_folds),
        Kind("own oof.csv", own / "o.csv", (predicted.encode(),), csv, import_oof),
        _kind("cache", cached, mutators.mutate_array, decoded),
        _kind("hashes.json", cached.with_name("hashes.json"), mutators.mutate_json, decoded),
    ]


def read_arrays(rng: random.Random) -> None:
    """The index, and a picture."""
    dataset = Dataset(
        name="tiny", classes=("healthy", "ill"), positive="ill", reader="npz", labels={"0": "healthy", "1": "ill"}
    )
    from chestfold.data.readers import npz, read_index

    npz.load_arrays.cache_clear()
    folder = project_of() / "input" / "tiny"
    index = read_index(dataset, folder)
    for place in index.table["path"][:3]:
        decode(folder, place, 8)


def open_cache(size: int, _: random.Random) -> None:
    """The decoded images, as a training opens them."""
    from chestfold.data import cache

    cache.open_cache(open_index("tiny"), size).images.sum()


def project_of() -> Path:
    """The folder of the project that is read."""
    from chestfold.core.files import project_dir

    return project_dir()


submit = command("submit", "exp100", "--dry-run")


def import_folds(_: random.Random) -> None:
    """As `chestfold folds import`."""
    path = str(project_of() / "own" / "f.csv")
    command("folds", "import", "tiny", path, "--name", "taken")(_)


def import_oof(_: random.Random) -> None:
    """As `chestfold import`."""
    path = str(project_of() / "own" / "o.csv")
    command("import", "taken", "--data", "tiny", "--oof", path)(_)


def unpack(_: random.Random) -> None:
    """As `chestfold data fetch` does with what it has downloaded."""
    own = project_of() / "own"
    with redirect_stdout(io.StringIO()):
        archive.unpack(own / "d.zip", own / "tiny", {"source": "a page"})
        archive.verify(own / "tiny")


def sign_folds(folds: Path) -> None:
    """folds/tiny.json says the hash that the CSV has."""
    about = json.loads((folds / "tiny.json").read_text())
    (folds / "tiny.json").write_text(json.dumps(about | {"sha256": sha256_file(folds / "tiny.csv")}))


# Images


def _of_images(project: Project) -> list[Kind]:
    shade = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8)
    deep, colour = shade.astype(np.uint16) * 200, np.dstack([shade, shade[::-1], shade])
    folder = project.root / "own"
    png = tuple(_encoded(".png", image) for image in (shade, deep, colour, colour.astype(np.uint16) * 200))
    jpeg = tuple(_encoded(".jpg", image) for image in (shade, colour))
    tiff = (
        *(_encoded(".tif", image) for image in (shade, deep, colour)),
        _by_pillow(shade, "TIFF"),
        _by_pillow(shade, "TIFF", "YCbCr"),
    )
    others = [_by_pillow(shade, form) for form in ("BMP", "WEBP", "JPEG2000", "PPM", "GIF")]
    return [
        Kind("png", folder / "a.png", png, mutators.mutate_png, partial(look_at, "a.png")),
        Kind("jpeg", folder / "a.jpg", jpeg, mutators.mutate_jpeg, partial(look_at, "a.jpg")),
        Kind("tiff", folder / "a.tif", tiff, mutators.mutate_tiff, partial(look_at, "a.tif")),
        Kind("other image", folder / "a.bmp", tuple(others), mutators.flip, partial(look_at, "a.bmp")),
        Kind("dicom", folder / "a.dcm", _dicoms(), mutators.mutate_dicom, partial(look_at, "a.dcm")),
    ]


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def _by_pillow(image: np.ndarray, form: str, mode: str = "L") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, form)
    return buffer.getvalue()


def _dicoms() -> tuple[bytes, ...]:
    """pydicom's own examples in explicit little endian: 16 bits signed, RGB, a palette, and compressed ones."""
    from pydicom.data import get_testdata_file

    names = [
        "CT_small.dcm",
        "MR_small.dcm",
        "SC_rgb_small_odd.dcm",
        "examples_palette.dcm",
        "JPEG2000.dcm",
        "MR_small_RLE.dcm",
    ]
    found = []
    for name in names:
        path = get_testdata_file(name, download=False)
        if path and Path(str(path)).stat().st_size < 400_000:
            found.append(Path(str(path)).read_bytes())
    return tuple(found)


def look_at(name: str, rng: random.Random) -> None:
    """Decode an image as a training, a prediction or the page does."""
    declared = rng.choice([(None, ""), ((0, 255), ""), ((-1000, 400), ""), (None, "lung")])
    folder = project_of() / "own"
    if rng.random() < 0.3:
        decode_fitted(folder, name, 64, *declared)
    else:
        decode(folder, name, 16, *declared, colour=rng.random() < 0.5, depth=rng.choice([8, 16]))


# Runs


def _of_runs(project: Project) -> list[Kind]:
    run = project.runs / "exp100"
    fold, image = run / "fold0", str(project.input / "tiny" / "images" / "x000.png")
    board = one_of(command("board"), command("board", "--json"))
    show = one_of(board, command("compare", "exp100", "exp101"), command("report"), submit)
    predict = command("predict", "exp100", image, "--no-overlay", "--json", "--device", "cpu")
    of_fold = one_of(read_fold, board, predict, command("report"))
    blend = command("ensemble", "exp100", "exp101", "--name", "blend", "--method", "rank", "--overwrite")
    json_of, parquet = mutators.mutate_json, mutators.mutate_parquet
    submissions = project.root / "submissions"
    entry = next(iter(sorted(submissions.glob("001_*.json"))))
    sent = Kind("tracked_wandb.json", fold / "tracked_wandb.json", (b'{"run": "a", "rows": 2}',), json_of, read_tracked)
    about = {"name": "exp900", "why": "no weights", "data": "tiny", "settings": {"backbone": "a"}, "date": "2026-01-01"}
    missing = Kind(
        "not_run.json", project.runs / "exp900" / "not_run.json", (json.dumps(about).encode(),), json_of, board
    )
    missing.path.parent.mkdir(exist_ok=True)
    return [
        _kind("config.json", fold / "config.json", json_of, of_fold, partial(sign_config, fold)),
        _kind("manifest.json", fold / "manifest.json", json_of, of_fold),
        _kind("metrics.jsonl", fold / "metrics.jsonl", mutators.mutate_json_lines, of_fold, partial(sign_fold, fold)),
        _kind("scores.json", run / "scores.json", json_of, one_of(show, blend)),
        _kind("scores.json of a blend", project.runs / "blend" / "scores.json", json_of, show),
        _kind("oof.parquet", run / "oof.parquet", parquet, one_of(show, blend), partial(sign_scores, run)),
        _kind("test.parquet", run / "test.parquet", parquet, one_of(show, blend), partial(sign_scores, run)),
        _kind("fold's oof.parquet", fold / "oof.parquet", parquet, one_of(of_fold, show), partial(sign_fold, fold)),
        _kind("submission.json", entry, json_of, one_of(board, submit)),
        sent,
        missing,
    ]


def read_fold(_: random.Random) -> None:
    """All that is read of a finished fold by what comes after it."""
    folder = RunFolder("exp100").fold(0)
    config = folder.config()
    config.deciding()
    config.create_task()
    config.exp()
    folder.is_finished()
    folder.history()
    folder.require_same(config)


def read_tracked(_: random.Random) -> None:
    """What a tracker was sent."""
    folder = RunFolder("exp100").fold(0).path
    write_sent(folder, "wandb", read_sent(folder, "wandb"))


def sign_config(fold: Path) -> None:
    """The manifest says the hash that config.json has."""
    try:
        digest = sha256_json(json.loads((fold / "config.json").read_bytes()))
    except (ValueError, RecursionError):
        return
    about = json.loads((fold / "manifest.json").read_text())
    (fold / "manifest.json").write_text(json.dumps(about | {"config_sha256": digest}))


def sign_fold(fold: Path) -> None:
    """The manifest says the hashes that the files of a fold have."""
    about = json.loads((fold / "manifest.json").read_text())
    about["files"] = {name: sha256_file(fold / name) for name in about["files"]}
    (fold / "manifest.json").write_text(json.dumps(about))


def sign_scores(run: Path) -> None:
    """scores.json says the hashes that the tables have."""
    about = json.loads((run / "scores.json").read_text())
    about["files"] = {name: sha256_file(run / name) if digest else None for name, digest in about["files"].items()}
    (run / "scores.json").write_text(json.dumps(about))


# Weights, hooks


def _of_weights(project: Project) -> list[Kind]:
    fold, own = project.runs / "exp100" / "fold0", project.root / "own"
    state = (fold / "best.ckpt").read_bytes()[:-32]
    weights = weights_dir() / "test_resnet.safetensors"
    weights.parent.mkdir(exist_ok=True)
    return [
        Kind("best.ckpt", own / "best.ckpt", (state,), mutators.mutate_archive, read_checkpoint, partial(seal, own)),
        _kind("ood.npz", fold / "ood.npz", mutators.mutate_archive, lambda _: ood.read(fold / "ood.npz")),
        Kind("safetensors", weights, (pretrained(),), mutators.mutate_safetensors, read_weights),
    ]


def pretrained() -> bytes:
    """Weights of a small network as safetensors, with a header."""
    import timm
    from safetensors.torch import save

    header = {"source": "here", "licence": "MIT", "input": "RGB, x/127.5-1"}
    return save(timm.create_model("test_resnet").state_dict(), header)


def seal(own: Path) -> None:
    """The hash at the end of a checkpoint is that of what stands before it."""
    data = (own / "best.ckpt").read_bytes()
    (own / "best.ckpt").write_bytes(data + bytes.fromhex(sha256(data)))


def read_checkpoint(_: random.Random) -> None:
    """As a prediction does."""
    rebuild(checkpoint.load_weights(project_of() / "own" / "best.ckpt"))


def read_weights(_: random.Random) -> None:
    """List them, and begin a network with them."""
    from conftest import tiny_experiment

    from chestfold.models.create import create

    command("weights", "list")(_)
    create(tiny_experiment(pretrained=True), 2)


def read_hooks(_: random.Random) -> None:
    """As an experiment does that names them."""
    hooks.load_own("exps/my_hooks.py")


def forget_hooks() -> None:
    """As if none had been run in this process."""
    for table, entries in hooks._registries.items():
        for loaded in hooks._loaded.values():
            for name in loaded.tables.get(table, {}):
                entries.pop(name, None)
    hooks._loaded.clear()


def restore(folder: Path, kept: dict[Path, tuple[int, int]], copy: Path) -> None:
    """Make `folder` as it was: `kept`: place -> size and time of change of its files; `copy`: their contents."""
    found = {}
    for path in sorted(folder.rglob("*"), reverse=True):
        place = path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            if not (copy / place).is_dir():
                shutil.rmtree(path)
            continue
        status = path.lstat()
        found[place] = (status.st_size, status.st_mtime_ns)
        if place not in kept:
            path.unlink()
    for place, stamp in kept.items():
        if found.get(place) != stamp:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy / place, folder / place)


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """Place -> size and time of change of each file in a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            found[path.relative_to(folder)] = (status.st_size, status.st_mtime_ns)
    return found
