"""A zip becomes a folder wholly or not at all, and nothing outside it."""

import errno
import posixpath
import stat
import zipfile
from types import SimpleNamespace

import pytest

from chestfold.core.errors import InputError, ServiceError
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


@pytest.mark.parametrize("name", ["scan 12:30.png", "a/../scan.png", "./a//b.png", "x ", "肺炎/画像.png"])
def test_a_name_that_stays_inside_is_taken(made, tmp_path, name):
    archive.unpack(made({"good.png": b"g", name: b"x"}), tmp_path / "set", {})
    assert (tmp_path / "set" / posixpath.normpath(name)).read_bytes() == b"x"


def test_a_backslash_divides_folders_and_that_is_said(made, tmp_path):
    plan = archive.unpack(made({"a\\b\\1.png": b"1", "a/2.png": b"2"}), tmp_path / "set", {})
    assert names(tmp_path / "set") == [".sha256.json", "a/2.png", "a/b/1.png"]
    assert "backslash was read as a folder in 1 name(s)" in plan.notes[0]


UNFIT = {
    "long": ("x" * 252 + ".png", "names of more than 255 bytes"),
    "kanji": ("胸" * 100 + ".png", "names of more than 255 bytes"),
    "deep": ("/".join(["d" * 200] * 25), "paths of more than 4096 bytes"),
    "newline": ("a\nb.png", "control characters"),
    "escape": ("a\x1b[31mb.png", "control characters"),
    "C1": ("a\x9b31mb.png", "control characters"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_name_that_no_file_can_have_is_left_out_and_counted(made, tmp_path, kind):
    name, reason = UNFIT[kind]
    plan = archive.unpack(made({"good.png": b"g", name: b"x"}), tmp_path / "set", {})
    assert names(tmp_path / "set") == [".sha256.json", "good.png"] and archive.verify(tmp_path / "set") == 1
    (line,) = plan.left_out
    assert line.startswith(f"left out: 1 file(s) with {reason}") and line.isprintable()


def unmarked(path, files):
    """A zip as Windows writes it: names in its own encoding, without the mark of UTF-8."""
    with zipfile.ZipFile(path, "w") as target:
        for n, data in enumerate(files.values()):
            target.writestr(f"{n:04d}" + "~" * (len(list(files)[n]) - 4), data)
    content = path.read_bytes()
    for n, name in enumerate(files):
        content = content.replace(f"{n:04d}".encode() + b"~" * (len(name) - 4), name)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("cp932", ["肺炎画像/画像壱号.jpeg", "表/ソート表.csv"]),
        ("cp932", ["テスト.png", "ノート一.png"]),
        ("cp932", ["患者①/ｱｲｳｴ.png", "正常.png"]),
        ("utf-8", ["肺炎/一枚目.png", "plain.png"]),
        ("cp437", ["Größe/Männer.png", "forêt.png"]),
        ("cp437", ["naïve-élève.png"]),
        ("cp437", ["Übergröße.png", "hôpital.png"]),
    ],
)
def test_names_are_read_in_the_encoding_that_they_were_written_in(made, tmp_path, encoding, written):
    path = unmarked(made({}), {name.encode(encoding): b"x" for name in written})
    plan = archive.unpack(path, tmp_path / "set", {})
    assert names(tmp_path / "set") == sorted([".sha256.json", *written])
    assert bool(plan.notes) == (encoding == "cp932")


def test_zips_inside_stay_packed_and_are_named(made, tmp_path):
    plan = archive.unpack(made({"train.ZIP": b"PK", "a.csv": b"a"}), tmp_path / "set", {})
    assert "1 zip(s) inside stay packed, the first is train.ZIP; unzip them in" in plan.notes[0]


@pytest.mark.parametrize("files", [{}, {"folder/": b""}, {".hidden": b"x", "__MACOSX/a": b""}], ids=str)
def test_a_zip_without_files_is_deleted_and_not_a_loop(made, tmp_path, files):
    path = made(files)
    with pytest.raises(InputError, match=r"holds no files.*deleted, look at https://kaggle\.com/x"):
        archive.unpack(path, tmp_path / "set", {"source": "https://kaggle.com/x"})
    assert names(tmp_path) == []


def test_the_same_file_twice_is_one(made, tmp_path):
    plan = archive.unpack(made({"a.png": b"a", "./a.png": b"a"}), tmp_path / "set", {})
    assert plan.copies == 1 and names(tmp_path / "set") == [".sha256.json", "a.png"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("./a.png", "two different files called 'a.png'"),
        ("a.png/b", "a file and a folder of one name, above 'a.png/b'"),
    ],
)
def test_names_that_exclude_each_other_are_said_with_a_way_on(made, tmp_path, other, reason):
    with pytest.raises(InputError, match=f"{reason}; nothing was unpacked: unpack it yourself into {tmp_path / 'set'}"):
        archive.unpack(made({"a.png": b"a", other: b"other"}), tmp_path / "set", {})
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("error", [RuntimeError("password required"), NotImplementedError("that method")], ids=str)
def test_what_cannot_be_unpacked_here_is_said_with_a_way_on(made, tmp_path, monkeypatch, error):
    def refuse(*words):
        raise error

    monkeypatch.setattr(archive, "_extract", refuse)
    path = made({"a": b"a"})
    with pytest.raises(
        InputError, match=f"cannot be unpacked here .{error}.; nothing was unpacked: unpack it yourself"
    ):
        archive.unpack(path, tmp_path / "set", {})
    assert path.exists()


@pytest.mark.parametrize("number", [errno.EFBIG, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_what_the_disk_refuses_is_said(made, tmp_path, monkeypatch, number):
    def refuse(*words):
        raise OSError(number, "x")

    monkeypatch.setattr(archive, "_extract", refuse)
    with pytest.raises(ServiceError, match="ulimit -f" if number == errno.EFBIG else "no space, no quota or no more"):
        archive.unpack(made({"a": b"a"}), tmp_path / "set", {})


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
    with pytest.raises(InputError, match="is damaged .*and was deleted; run the same command again"):
        archive.unpack(path, tmp_path / "set", {})
    assert not (tmp_path / "set").exists() and not path.exists()
    path.write_bytes(data[:-30])
    assert not zipfile.is_zipfile(path)


def test_a_file_that_is_gone_is_named(made, tmp_path):
    archive.unpack(made({"a.png": b"a", "b.png": b"b"}), tmp_path / "set", {})
    (tmp_path / "set" / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png is missing"):
        archive.verify(tmp_path / "set")


def test_a_member_before_the_start_of_the_file_is_damage(made, tmp_path):
    path = made({"a.png": b"a"})
    data = path.read_bytes()
    directory = int.from_bytes(data[-6:-2], "little") + 1000
    path.write_bytes(data[:-6] + directory.to_bytes(4, "little") + data[-2:])
    with pytest.raises(InputError, match=r"set\.zip is damaged"):
        archive.unpack(path, tmp_path / "set", {})
