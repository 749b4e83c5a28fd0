"""The real `kaggle` program against a stand-in for Kaggle: downloads go on where they stopped, and are proven.

Each start of the program takes about a second, so there are few.
"""

import io
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kaggle_server import Competition

from chestfold.core.files import read_json, sha256
from chestfold.integrations.kaggle import archive

CONTEST = "chest-contest"


def one_sentence(code: int, shown: str) -> str:
    """The refusal in what was shown; it is the last line."""
    assert code == 2 and "Traceback" not in shown
    last = shown.splitlines()[-1]
    assert last.startswith("error: "), shown
    return last


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return buffer.getvalue()


def xrays() -> bytes:
    """As Kaggle's: a second copy inside, and what macOS leaves."""
    noise = {f"train/NORMAL/IM-{n:04d}-0001.jpeg": bytes([n]) * 100_000 for n in range(30)}
    files = {f"chest_xray/{name}": data for name, data in noise.items()}
    files |= {f"chest_xray/chest_xray/{name}": data for name, data in noise.items()}
    return zipped({**files, "chest_xray/__MACOSX/._train": b"x", "chest_xray/.DS_Store": b"x"})


def stop_when_some_is_there(folder: Path) -> None:
    """Ctrl-C, as soon as the program has written a part of the download."""
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.glob("*.zip")) and time.monotonic() < deadline:
        time.sleep(0.02)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C works in this process, as it does not where a shell has started the tests in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_download_goes_on_and_its_files_are_proven(kaggle, chestfold, project):
    data = kaggle.files["paultimothymooney/chest-xray-pneumonia"] = xrays()
    work = project.input / ".fetch" / "chest_xray"
    kaggle.stops_after, kaggle.when_stopped = 3_500_000, lambda: stop_when_some_is_there(work)
    code, shown = chestfold("data", "fetch", "chest_xray")
    assert code == 130 and "run the same command to resume" in shown
    assert not (project.input / "chest_xray").exists()
    kaggle.stops_after = None
    code, shown = chestfold("data", "fetch", "chest_xray")
    assert code == 0 and "resuming the download" in shown and "30 files" in shown
    assert "30 file(s) of a second copy" in shown and "2 file(s) hidden or of macOS" in shown
    begin = int(kaggle.ranges[-1][len("bytes=") : -1])
    assert 0 < begin < len(data)
    folder = project.input / "chest_xray"
    assert (folder / "train/NORMAL/IM-0007-0001.jpeg").read_bytes() == bytes([7]) * 100_000
    assert read_json(folder / archive.MANIFEST)["zip_sha256"] == sha256(data)
    assert not list(project.input.rglob("*.zip"))
    requests = len(kaggle.asked)
    shown = chestfold("data", "fetch", "chest_xray_3class")[1]
    assert "is there already: 30 files, their checksums hold" in shown
    assert f"for a newer version at Kaggle delete {folder} and fetch it again" in " ".join(shown.split())
    (folder / "train/NORMAL/IM-0007-0001.jpeg").write_bytes(b"other")
    assert "IM-0007-0001.jpeg has changed" in one_sentence(*chestfold("data", "fetch", "chest_xray"))
    assert len(kaggle.asked) == requests


def test_a_competition_whose_zip_leads_outside_is_refused(kaggle, chestfold, project):
    kaggle.competitions[CONTEST] = Competition()
    kaggle.files[CONTEST] = zipped({"train.csv": b"id\n", "../../escaped.txt": b"x"})
    refusal = one_sentence(*chestfold("data", "fetch", "--competition", CONTEST))
    assert "'../../escaped.txt' leads outside its folder" in refusal
    assert not list(project.root.rglob("escaped.txt")) and not (project.input / CONTEST).exists()


def test_a_single_file_in_the_place_of_a_zip_is_said_and_kept(kaggle, chestfold, project):
    """A competition of one file: the program saves it under the name of the competition."""
    kaggle.competitions[CONTEST], kaggle.suffix = Competition(), "csv"
    kaggle.files[CONTEST] = b"id,label\n1,ill\n"
    refusal = one_sentence(*chestfold("data", "fetch", "--competition", CONTEST))
    kept = project.input / ".fetch" / CONTEST / f"{CONTEST}.csv"
    assert f"no zip but a single file, {kept}; move it into {project.input / CONTEST}" in refusal
    assert kept.read_bytes() == kaggle.files[CONTEST]
