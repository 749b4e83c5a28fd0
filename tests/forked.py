"""Processes forked from a server that has imported torch, timm and more once: to start one takes no seconds."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "pytest",
        "chestfold.train.preload",
        "chestfold.integrations.kaggle.submission",
        "chestfold.data.transforms.augment",
    ]
)


def run_script(
    words: list[str], cwd: Path, environment: dict[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """What `python WORDS` does in the folder `cwd`; its output is written to files in it and removed."""
    outputs = [cwd / f"{name}.txt" for name in ("stdout", "stderr")]
    process = SERVER.Process(target=_run, args=(words, cwd, environment, outputs))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(words, timeout)
    stdout, stderr = [path.read_text() for path in outputs]
    for path in outputs:
        path.unlink()
    return subprocess.CompletedProcess(words, process.exitcode, stdout, stderr)


def _run(words: list[str], cwd: Path, environment: dict[str, str], outputs: list[Path]) -> None:
    for number, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
