"""A flipped bit or a cut end is one sentence, in each kind of file (by chance, and many: benchmarks/corruption.py)."""

import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import record_of

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json, write_plain_json
from chestfold.core.records import Record
from chestfold.data import cache
from chestfold.data.catalogue import open_index
from chestfold.data.readers import npz
from chestfold.evaluate import leaderboard, predictions
from chestfold.models import ood


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
