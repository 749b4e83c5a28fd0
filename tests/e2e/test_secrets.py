"""No key, token or home folder in anything that is left behind: planted, a whole life is run, all is searched."""

import base64
import io
import re
import zipfile
import zlib

import pyarrow.parquet as pq
from planted import HOME, SECRETS

NEEDLES = [HOME.encode(), *(value.encode() for value in SECRETS.values())]


def contents(data: bytes) -> list[bytes]:
    """The bytes of a file, and what is packed in it: parquet, zip, base64 and deflate."""
    found = [data, *(base64.b64decode(text) for text in re.findall(rb"base64,([A-Za-z0-9+/]+=*)", data))]
    if data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        found += [repr(table.to_pydict()).encode(), *(table.schema.metadata or {}).values()]
    if data.startswith(b"PK"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        found += [archive.read(name) for name in archive.namelist()]
    if data.startswith(b"\x1f\x8b"):
        found.append(zlib.decompress(data, 31))
    return found


def leaks(files: dict[str, bytes]) -> list[tuple[str, bytes]]:
    return [(name, n) for name, data in files.items() for n in NEEDLES if any(n in part for part in contents(data))]


def test_the_search_finds_what_is_packed():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record", f"/{HOME}/runs")
    hidden = {"zip": packed.getvalue(), "page": b"data:x;base64," + base64.b64encode(NEEDLES[1])}
    assert [name for name, _ in leaks(hidden)] == ["zip", "page"]


def test_no_file_that_is_left_names_a_key_or_the_home_folder(lived):
    project = lived.project
    folders = ("runs", "submissions", "folds", "exps")
    files = {str(p): p.read_bytes() for f in folders for p in (project.root / f).rglob("*") if p.is_file()}
    for kind in ("report.html", "ledger.csv", "log.txt", "oof.parquet", "RESULTS.md"):
        assert any(name.endswith(kind) for name in [*files, "RESULTS.md"]), kind
    assert leaks(files) == []
    assert not list((project.runs / "wandb").rglob("debug*.log"))


def test_nothing_that_was_sent_names_a_key_or_the_home_folder(lived):
    _, wandb, kaggle, _, _ = lived
    sent = {f"W&B {n}": data for n, data in enumerate(wandb.raw)} | {f"to {k}": v for k, v in kaggle.sent.items()}
    assert leaks(sent) == [] and kaggle.sent and kaggle.competitions["contest"].entries
    assert wandb.runs


def test_what_wandb_keeps_outside_of_the_project_is_not_more(lived):
    project = lived.project
    kept = {str(p) for p in (project.root.parent / ".cache" / "wandb").rglob("*") if p.is_file()}
    assert kept == set()


def test_an_offline_run_leaves_no_key_and_no_home_folder_either(shown_offline):
    made, server = shown_offline
    files = {str(p): p.read_bytes() for p in made.runs.rglob("*") if p.is_file()}
    assert any(name.endswith(".wandb") for name in files)
    assert leaks(files) == []
    assert leaks({f"W&B {n}": data for n, data in enumerate(server.raw)}) == []
    assert not list((made.runs / "wandb").rglob("debug*.log"))
    assert not [p for p in (made.root.parent / ".cache" / "wandb").rglob("*") if p.is_file()]
