"""Processes forked from a server that has imported torch, timm and more once: to start one takes no seconds."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "pytest",
        "chestfold.train.preload",
        "chestfold.integrations.kaggle.submission",
        "chestfold.data.transforms.augment",
    ]
)


class Script:
    """`python WORDS` in the folder `cwd`, as the leader of a session; its output is written to files in `outputs`."""

    def __init__(self, words: list[str], cwd: Path, environment: dict[str, str], outputs: Path) -> None:
        self.words = words
        self._outputs = [outputs / f"{name}.txt" for name in ("stdout", "stderr")]
        self._process = SERVER.Process(target=_run, args=(words, cwd, environment, self._outputs))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal that killed it."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Its exit code; it is killed where it takes longer."""
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.words, timeout)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it has printed and complained of when it has ended."""
        self.wait(timeout)
        stdout, stderr = [path.read_text() for path in self._outputs]
        return stdout, stderr


def run_script(
    words: list[str], cwd: Path, environment: dict[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """What `python WORDS` does in the folder `cwd`, when it has ended."""
    with TemporaryDirectory() as outputs:
        script = Script(words, cwd, environment, Path(outputs))
        stdout, stderr = script.communicate(timeout)
    return subprocess.CompletedProcess(words, script.returncode or 0, stdout, stderr)


def _run(words: list[str], cwd: Path, environment: dict[str, str], outputs: list[Path]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores Ctrl-C if these tests do
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
