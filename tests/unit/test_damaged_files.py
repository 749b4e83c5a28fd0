"""A flipped bit or a cut end is one sentence, in each kind of file (by chance, and many: benchmarks/corruption.py)."""

import io
import json
import zipfile
from hashlib import sha256

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import record_of
from PIL import Image, TiffImagePlugin

from chestfold.core import checkpoint, hooks
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json, write_plain_json
from chestfold.core.records import Record
from chestfold.core.run_folder import FoldFolder
from chestfold.data import cache, folds
from chestfold.data.catalogue import open_index
from chestfold.data.declaration import read_declaration
from chestfold.data.decode import decode
from chestfold.data.readers import npz
from chestfold.evaluate import attention, leaderboard, predictions
from chestfold.integrations.kaggle import archive
from chestfold.models import ood, rebuild


@pytest.fixture
def table(tmp_path):
    rows = pd.DataFrame({"id": ["a", "b"], "group": ["a", "b"], "label": ["ill", "healthy"]})
    made = predictions.predictions(rows, 0, ["healthy", "ill"], np.array([[0.25, 0.75], [0.5, 0.5]]))
    predictions.write(tmp_path / "oof.parquet", made, {"experiment": "exp100"})
    return tmp_path / "oof.parquet"


@pytest.mark.parametrize("meta", [b'{"a": ', b"\xb8", b"", b"[]", b"7", b"[" * 100_000])
def test_damaged_provenance_is_one_sentence(table, meta):
    stored = pq.read_table(table).replace_schema_metadata({b"chestfold": meta})
    pq.write_table(stored, table)
    with pytest.raises(InputError, match=r"oof\.parquet"):
        predictions.read(table)


@pytest.mark.parametrize("keep", [0, 5, 100, 2000])
def test_a_cut_cache_is_one_sentence(project, keep):
    index = open_index("tiny")
    cache.open_cache(index, 8)
    (path,) = (project.input / ".cache" / "tiny").glob("8px*.npy")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"8px-.*\.npy is damaged; delete it"):
        cache.open_cache(index, 8)


def test_a_cache_of_fewer_images_is_one_sentence(project):
    index = open_index("tiny")
    cache.open_cache(index, 8)
    (path,) = (project.input / ".cache" / "tiny").glob("8px*.npy")
    np.save(path, np.load(path)[:-1])
    with pytest.raises(InputError, match="does not hold the images of tiny"):
        cache.open_cache(index, 8)


def of_cache(project, damage) -> None:
    """Open a damaged cache and ask for all its images; `damage`: of an array of the file's bytes."""
    index = open_index("tiny")
    cache.open_cache(index, 8)
    (path,) = (project.input / ".cache" / "tiny").glob("8px*.npy")
    path.write_bytes(damage(path.read_bytes()))
    opened = cache.open_cache(index, 8)
    opened.rows(index.table["id"])
    opened.prove()


def flipped(place: int):
    """Bytes with one bit changed."""
    return lambda data: data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


CACHE_DAMAGES = {
    "the first pixel": (flipped(128), "image 0"),
    "a pixel": (flipped(128 + 64 * 7 + 3), "image 7"),
    "a checksum": (flipped(-2), "image 71"),
    "a part of the checksums": (lambda data: data[:-9], "is damaged"),
    "signed numbers": (lambda data: data.replace(b"|u1", b"|i1"), "does not hold"),
    "columns first": (lambda data: data.replace(b"False", b"True "), "does not hold"),
}


@pytest.mark.parametrize("which", CACHE_DAMAGES)
def test_a_cache_of_other_pixels_is_one_sentence(project, which):
    damage, expected = CACHE_DAMAGES[which]
    with pytest.raises(InputError, match=rf"8px-.*{expected}.*; delete it, and it is made again"):
        of_cache(project, damage)


def test_an_older_cache_without_checksums_is_read(project):
    of_cache(project, lambda data: data[: 128 + 72 * 64])


def test_only_images_that_are_asked_for_are_compared_and_each_once(project, monkeypatch):
    index = open_index("tiny")
    opened, compared, crc32 = cache.open_cache(index, 8), [], cache.zlib.crc32
    monkeypatch.setattr(cache.zlib, "crc32", lambda pixels: compared.append(pixels) or crc32(pixels))
    for ids in (["t000", "t001", "t000"], ["t001", "t002"], ["t002"]):
        opened.rows(ids)
    assert len(compared) == 3


@pytest.mark.parametrize(
    "change", [("0.75", "0.25"), ('"ill"', '"all"'), ('"a": 1', '"a": 0'), ('"checksum"', '"chocksum"')]
)
def test_a_changed_record_is_one_sentence(tmp_path, change):
    path = tmp_path / "example.json"
    write_json(path, {"score": 0.75, "name": "ill", "counts": {"a": 1}})
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=r"example\.json"):
        Small.from_json(path)


class Small(Record):
    score: float
    name: str = ""
    counts: dict[str, int]


def test_a_record_of_before_checksums_is_read_and_gets_one_when_it_is_written(tmp_path):
    path = tmp_path / "example.json"
    write_plain_json(path, {"score": 0.5, "counts": {"a": 1}})
    Small.from_json(path).write(path)
    assert '"checksum": "' in path.read_text() and read_json(path)["score"] == 0.5


def test_keys_that_are_numbers_have_one_order(tmp_path):
    write_json(tmp_path / "a.json", {"epochs": {10: 1.0, 9: 2.0}})
    assert read_json(tmp_path / "a.json") == {"epochs": {"10": 1.0, "9": 2.0}}


def test_json_that_is_nested_without_end_is_one_sentence(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", [r'"\ud83d"', r'{"a": ["\uDE00\ud83d"]}', r'{"\udc80": 1}'])
def test_half_a_character_is_no_valid_json(tmp_path, text):
    (tmp_path / "example.json").write_text(text)
    with pytest.raises(InputError, match=r"example\.json is not valid JSON"):
        read_json(tmp_path / "example.json")


def test_a_character_in_two_halves_is_whole(tmp_path):
    (tmp_path / "example.json").write_text(r'["\ud83e\udec1", "\\ud83d"]')
    assert read_json(tmp_path / "example.json") == ["\N{LUNGS}", r"\ud83d"]


def test_a_setting_whose_name_was_damaged_is_one_sentence():
    with pytest.raises(InputError, match="scores.json of exp100: settings.backbone: field required"):
        leaderboard.describe(record_of("exp100", settings={"backcone": "test_resnet", "image_size": 32}))


def in_directory(data: bytes, offset: int, value: int) -> bytes:
    """A zip in whose directory a byte of each entry is another."""
    entries = data.split(b"PK\x01\x02")
    return b"PK\x01\x02".join([entries[0], *(e[: offset - 4] + bytes([value]) + e[offset - 3 :] for e in entries[1:])])


def with_header(data: bytes, old: bytes, new: bytes) -> bytes:
    """Arrays with another header, and the CRC that belongs to it."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name).replace(old, new))
    return target.getvalue()


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no archive": lambda data: b"\x93NUMPY" + data[6:],
    "an unknown compression": lambda data: in_directory(data, 10, 99),
    "encrypted": lambda data: in_directory(data, 8, 1),
    "an open bracket": lambda data: with_header(data, b"(3,)", b"((3 "),
    "a wild shape": lambda data: data.replace(b"(3,)", b"(9" + b"9" * 15 + b",)"),
    "another byte": lambda data: data.replace(b"(3,)", b"(2,)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [ood.read, npz.load_arrays])
def test_a_damaged_npz_is_one_sentence(tmp_path, damage, read):
    path, three = tmp_path / "some.npz", np.ones(3, np.float32)
    ood.write(path, ood.OodDetector("layer", three, three, np.eye(3, dtype=np.float32), 1.0, "f" * 64))
    read(path)
    npz.load_arrays.cache_clear()
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    assert path.read_bytes() != whole
    with pytest.raises(InputError, match=r"some\.npz"):
        read(path)


COLUMNS = {
    "texts for numbers": ("ill", ["a", "b"]),
    "lists for numbers": ("ill", [[0.5], [0.5]]),
    "truth values for numbers": ("ill", [True, False]),
    "numbers for ids": ("id", [1, 2]),
    "a missing id": ("id", ["a", None]),
    "a label of no class": ("label", ["ill", "Ill"]),
    "no labels": ("label", [None, None]),
    "half a fold": ("fold", [0.0, 0.5]),
    "a missing fold": ("fold", [0, None]),
    "a corruption that is a number": ("corruption", [1, 2]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_another_type_is_one_sentence(table, name):
    column, values = COLUMNS[name]
    stored = pq.read_table(table)
    if column in stored.column_names:
        stored = stored.set_column(stored.column_names.index(column), column, pa.array(values))
    else:
        stored = stored.append_column(column, pa.array(values))
    pq.write_table(stored, table)
    with pytest.raises(InputError, match=r"oof\.parquet"):
        predictions.read(table)


def test_two_columns_of_one_name_are_one_sentence(table):
    stored = pq.read_table(table)
    pq.write_table(stored.append_column("ill", stored.column("ill")), table)
    with pytest.raises(InputError, match=r"oof\.parquet is not a readable parquet file"):
        predictions.read(table)


HEADERS = {
    "open bracket": b"{'descr': ('<f4', 'fortran_order': False, 'shape': (3,), }",
    "no Python": b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)) }",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "a wild shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }",
    "no shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': 3, }",
}


def array_of(header: bytes) -> bytes:
    """A .npy with another header."""
    header += b" " * (118 - len(header) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(12)


@pytest.mark.parametrize("header", HEADERS)
def test_a_damaged_header_of_an_array_is_one_sentence(project, tmp_path, header):
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as made:
        made.writestr("mean.npy", array_of(HEADERS[header]))
    index = open_index("tiny")
    cache.open_cache(index, 8)
    (path,) = (project.input / ".cache" / "tiny").glob("8px*.npy")
    path.write_bytes(array_of(HEADERS[header]))
    for read in (ood.read, npz.load_arrays):
        with pytest.raises(InputError, match=r"some\.npz"):
            read(tmp_path / "some.npz")
    with pytest.raises(InputError, match=r"8px-.*\.npy"):
        cache.open_cache(index, 8)


def test_a_member_that_is_no_array_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as made:
        made.writestr("train_labels.npy", b"0101")
    with pytest.raises(InputError, match="'train_labels' in it is no array"):
        npz.load_arrays(tmp_path / "some.npz")


def test_arrays_of_other_shapes_are_one_sentence(tmp_path):
    three = np.ones(3, np.float32)
    ood.write(tmp_path / "some.npz", ood.OodDetector("layer", three, three[:2], np.eye(3), 1.0, "f" * 64))
    with pytest.raises(InputError, match=r"some\.npz holds no out-of-distribution detector"):
        ood.read(tmp_path / "some.npz")


@pytest.mark.parametrize(
    "other", [np.zeros((72, 8, 9), np.uint8), np.zeros((72, 8, 8), np.uint16), np.zeros(72, np.uint8)]
)
def test_a_cache_of_another_form_is_one_sentence(project, other):
    cache.open_cache(open_index("tiny"), 8)
    (path,) = (project.input / ".cache" / "tiny").glob("8px*.npy")
    np.save(path, other)
    with pytest.raises(InputError, match="does not hold the images of tiny"):
        cache.open_cache(open_index("tiny"), 8)


@pytest.mark.parametrize("memo", ["[]", "7", '{"a": 1}', "[" * 100_000, "null"])
def test_damaged_hashes_are_made_again(project, memo):
    expected = cache.content_hashes(open_index("tiny"))
    (project.input / ".cache" / "tiny" / "hashes.json").write_text(memo)
    assert cache.content_hashes(open_index("tiny")) == expected


def sealed(folder, state) -> None:
    """A checkpoint whose hash is right."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    (folder / "best.ckpt").write_bytes(buffer.getvalue() + sha256(buffer.getvalue()).digest())


STATES = {
    "a list": [1],
    "nothing": {},
    "no weights": {"network": {"backbone": "test_resnet", "arguments": {"num_classes": 2}, "mean": 0.5, "std": 0.5}},
    "no network": {"network": None, "module": {}},
    "other fields": {"network": {"backbone": "test_resnet", "width": 3}, "module": {}},
    "other weights": {
        "network": {"backbone": "test_resnet", "arguments": {"num_classes": 2}, "mean": 0.5, "std": 0.5},
        "module": {"a": torch.zeros(1)},
    },
}


@pytest.mark.parametrize("state", STATES)
def test_a_checkpoint_of_something_else_is_one_sentence(tmp_path, state):
    sealed(tmp_path, STATES[state])
    with pytest.raises(InputError, match="restore"):
        rebuild(checkpoint.load_weights(tmp_path / "best.ckpt"))


def test_a_checkpoint_whose_pickle_is_cut_anywhere_is_one_sentence(tmp_path):
    """Its hash is right: it is a stranger's."""
    sealed(tmp_path, {"module": {f"layer{n}": torch.zeros(1) for n in range(70)}})  # so many need numbers of four bytes
    with zipfile.ZipFile(io.BytesIO((tmp_path / "best.ckpt").read_bytes()[:-32])) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    size = len(members[pickled])
    for end in [*range(0, size, size // 20), *range(size - 60, size - 1)]:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as made:
            for name, data in members.items():
                made.writestr(name, data[:end] if name == pickled else data)
        (tmp_path / "best.ckpt").write_bytes(buffer.getvalue() + sha256(buffer.getvalue()).digest())
        with pytest.raises(InputError, match=r"best\.ckpt cannot be read without running code"):
            checkpoint.load_weights(tmp_path / "best.ckpt")


def test_a_checkpoint_that_cannot_be_read_here_is_not_deleted(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("archive/data.pkl", b"of another version")
    data = archive.getvalue()
    (tmp_path / "last.ckpt").write_bytes(data + sha256(data).digest())
    with pytest.raises(InputError, match="cannot be read without running code"):
        checkpoint.load_newest(tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize(
    "row",
    ["true", "[]", "{}", '{"auc": 0.5}', '{"epoch": 1, "auc": "0.5"}', '{"epoch": 1' + "0" * 400 + "}", "[" * 100_000],
)
def test_a_line_of_metrics_that_is_no_table_of_numbers_is_one_sentence(tmp_path, row):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1, "auc": NaN}\n' + row + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        FoldFolder(tmp_path).history()


@pytest.mark.parametrize("cell", ["", "a", "1.0", "-1", "²", "9" * 400, " 1"])
def test_a_fold_that_is_no_number_is_one_sentence(project, cell):
    path = project.root / "folds" / "tiny.csv"
    lines = path.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + "," + cell
    sign_folds(path, lines)
    with pytest.raises(InputError, match=r"tiny\.csv: the fold of 't\d+' is "):
        folds.load("tiny", open_index("tiny"))


@pytest.mark.parametrize("column", ["group", "label", "fold"])
def test_a_fold_file_without_a_column_is_one_sentence(project, column):
    path = project.root / "folds" / "tiny.csv"
    sign_folds(path, pd.read_csv(path, dtype=str).drop(columns=column).to_csv(index=False).splitlines())
    with pytest.raises(InputError, match=f"has no column '{column}'"):
        folds.load("tiny", open_index("tiny"))


def sign_folds(path, lines) -> None:
    """Write the lines of a fold file, and its hash beside it."""
    path.write_text("\n".join(lines) + "\n")
    about = read_json(path.with_suffix(".json"))
    path.with_suffix(".json").write_text(json.dumps(about | {"sha256": sha256(path.read_bytes()).hexdigest()}))


CODE = [
    "1/0",
    "undefined",
    "raise SystemExit(0)",
    "def f(): f()\nf()",
    "open('nowhere')",
    "assert False",
    "x = " + "(" * 300,
    "\0",
]
CODE += ["raise ValueError('\\ud800')", "LOSSES = type('D', (dict,), {})\nraise KeyError"]


@pytest.mark.parametrize("code", CODE)
def test_hooks_that_raise_are_one_sentence_with_their_line(project, code):
    (project.root / "exps" / "mine.py").write_text("LOSSES = {}\n" + code + "\n")
    with pytest.raises(InputError, match=r"mine\.py, line \d"):
        hooks.load_own("exps/mine.py")


def test_the_line_is_that_of_the_hooks(project):
    (project.root / "exps" / "mine.py").write_text("import json\nLOSSES = {}\njson.loads('{')\n")
    with pytest.raises(InputError, match=r"mine\.py, line 3: json\.decoder\.JSONDecodeError: .*; mend it"):
        hooks.load_own("exps/mine.py")


@pytest.mark.parametrize(
    "text",
    [
        "LOSSES = type('D', (dict,), {'keys': lambda self: 1 / 0, '__iter__': lambda self: 1 / 0})(a=1)\n",
        "def __getattr__(name):\n    return 1 / 0\n",
    ],
)
def test_tables_of_hooks_that_raise_when_they_are_read_are_one_sentence(project, text):
    path = project.root / "exps" / "mine.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.py, line \d+: ZeroDivisionError: division by zero; mend it"):
        hooks.load_own("exps/mine.py")


def test_a_tiff_with_a_tag_of_another_type_is_one_sentence(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[700] = 3
    tags[700] = 7  # XMP, a text
    Image.new("L", (8, 8)).save(tmp_path / "a.tif", tiffinfo=tags)
    with pytest.raises(InputError, match=r"a\.tif is damaged"):
        decode(tmp_path, "a.tif", 8)


def test_a_member_without_a_name_is_one_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as made:
        made.writestr(zipfile.ZipInfo(""), b"a")
    with pytest.raises(InputError, match=r"d\.zip"):
        archive.unpack(tmp_path / "d.zip", tmp_path / "d", {})


NESTED = "[" * 3000 + "]" * 3000
WRONG_TOML = {
    f"a = {NESTED}": "is not valid TOML",
    f"a = {'{a = ' * 3000}1{'}' * 3000}": "is not valid TOML",
    f"a = {'9' * 5000}": "is not valid TOML",
    'reader = "npz"\nlabels = ["a", "a"]': "line 2: labels is a list of different texts, not ",
    'reader = "csv"\ntask = "ordinal"\nclasses = {a = 1}': "line 3: classes is a list of different texts, not ",
    'reader = "csv"\ntask = "ordinal"\nclasses = [1, 2]': "line 3: classes is a list of different texts, not ",
    f'reader = "csv"\nclasses = "{"a" * 9000}"': "line 2: classes is a list of different texts, not 'a{199}$",
}


@pytest.mark.parametrize("text", WRONG_TOML, ids=range(len(WRONG_TOML)))
def test_a_declaration_that_is_wrong_in_an_odd_way_is_one_sentence(tmp_path, text):
    (tmp_path / "dataset.toml").write_text(text + "\n")
    with pytest.raises(InputError, match=WRONG_TOML[text]):
        read_declaration("mine", tmp_path / "dataset.toml")


def test_the_line_of_a_field_behind_a_long_list_is_found_soon(tmp_path):
    cells = ",\n".join(f'"class {n}"' for n in range(4000))
    (tmp_path / "dataset.toml").write_text(f'reader = "csv"\nclasses = [\n{cells}\n]\npositive = 1\n')
    with pytest.raises(InputError, match="line 4004: positive is a text, not 1"):
        read_declaration("mine", tmp_path / "dataset.toml")


def test_a_changed_table_of_an_explanation_is_refused(tmp_path):
    record = record_of("net")
    about = dict(method="gradcam", layer="layer4", grid=(4, 4), image_size=32, view="", folds={}, checked=0)
    about |= dict(images={"ill": 1}, empty_maps={}, lungs={}, lungs_do_not_apply="", measures={}, checks={})
    about |= dict(name="net", data="tiny", classes=record.classes, positive="ill", fingerprint={}, commit="", date="")
    path = tmp_path / "images.csv"
    path.write_text("id,predicted border\na,0.25\n")
    about["files"] = {"images.csv": sha256(path.read_bytes()).hexdigest()}
    attention.Attention.model_validate(about).write(tmp_path / "attention.json")
    assert attention.read_images(tmp_path)["predicted border"].tolist() == [0.25]
    path.write_text("id,predicted border\na,0.75\n")
    with pytest.raises(InputError, match="is damaged .its hash differs.; explain the run again with --overwrite"):
        attention.read_images(tmp_path)


def test_a_table_of_heat_maps_that_is_much_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "images.csv").open("wb") as file:
        file.truncate(40_000_000)
    with pytest.raises(InputError, match="images.csv has 40 MB, and a file of its kind has at most 34"):
        attention.read_images(tmp_path)
