"""A zip becomes a folder wholly or not at all, and nothing outside it."""

import stat
import zipfile
from types import SimpleNamespace

import pytest

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256
from chestfold.integrations.kaggle import archive


@pytest.fixture
def made(tmp_path):
    """Call it with name -> bytes; it gives back the zip's path."""

    def write(files: dict[str | zipfile.ZipInfo, bytes]):
        path = tmp_path / "work" / "set.zip"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as target:
            for name, data in files.items():
                target.writestr(name, data)
        return path

    return write


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_outer_folder_is_not_repeated_and_copies_and_shadows_stay_out(made, tmp_path):
    path = made(
        {"set/a.png": b"a", "set/set/a.png": b"a", "set/set/other.png": b"o", "__MACOSX/._a": b"", "set/.x": b""}
    )
    plan = archive.unpack(path, tmp_path / "set", {"source": "here"})
    assert names(tmp_path / "set") == [".sha256.json", "a.png", "set/other.png"]
    assert (plan.copies, plan.shadows) == (1, 2)
    manifest = read_json(tmp_path / "set" / archive.MANIFEST)
    assert manifest["source"] == "here" and manifest["files"]["a.png"] == {"sha256": sha256(b"a"), "bytes": 1}
    assert archive.verify(tmp_path / "set") == 2


def test_a_folder_of_another_name_is_kept(made, tmp_path):
    archive.unpack(made({"images/a.png": b"a", "images/b.png": b"b"}), tmp_path / "set", {})
    assert names(tmp_path / "set") == [".sha256.json", "images/a.png", "images/b.png"]


def linked() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize("name", ["/proc/x", "../x", "a/../../x", "..\\x", "C:x", linked()], ids=str)
def test_what_leads_outside_is_refused_and_nothing_is_unpacked(made, tmp_path, name):
    path = made({"good.png": b"g", name: b"/etc"})
    with pytest.raises(InputError, match="not to be trusted"):
        archive.unpack(path, tmp_path / "set", {})
    assert names(tmp_path) == ["work/set.zip"]


def test_a_zip_larger_than_the_disk_is_not_begun(made, tmp_path, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: SimpleNamespace(free=5000))
    with pytest.raises(InputError, match=r"takes 8\.2 kB and .* has 5\.0 kB free"):
        archive.unpack(made({"a": b"x" * 5000}), tmp_path / "set", {})
    assert not (tmp_path / "set").exists()


def test_a_killed_extraction_is_never_taken_for_a_finished_one(made, tmp_path, monkeypatch):
    path, extract, count = made({f"{n}.png": b"x" for n in range(5)}), archive._extract, []

    def killed(*words):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return extract(*words)

    monkeypatch.setattr(archive, "_extract", killed)
    with pytest.raises(KeyboardInterrupt):
        archive.unpack(path, tmp_path / "set", {})
    assert not (tmp_path / "set").exists()
    archive.unpack(path, tmp_path / "set", {})
    assert archive.verify(tmp_path / "set") == 5


def test_a_damaged_zip_is_noticed(made, tmp_path):
    path = made({"a.png": b"picture" * 100})
    assert zipfile.is_zipfile(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"picture", b"pictore", 1))
    with pytest.raises(InputError, match="damaged or encrypted"):
        archive.unpack(path, tmp_path / "set", {})
    assert not (tmp_path / "set").exists()
    path.write_bytes(data[:-30])
    assert not zipfile.is_zipfile(path)


def test_a_file_that_is_gone_is_named(made, tmp_path):
    archive.unpack(made({"a.png": b"a", "b.png": b"b"}), tmp_path / "set", {})
    (tmp_path / "set" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png is missing"):
        archive.verify(tmp_path / "set")
