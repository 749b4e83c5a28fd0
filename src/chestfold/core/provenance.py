"""What a run was made of: code, versions, machine."""

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from chestfold.core.console import plural
from chestfold.core.files import project_dir, sha256_file, sha256_json
from chestfold.core.records import Record

PACKAGES = ("torch", "timm", "albumentations", "numpy", "opencv-python-headless", "scikit-learn", "pandas", "pyarrow")


class Provenance(Record):
    """Commit, versions, machine and day of a training; a part of its manifest."""

    commit: str
    python: str
    versions: dict[str, str]
    machine: str
    date: str


def provenance() -> Provenance:
    """That of this process, now."""
    return Provenance(
        commit=code_commit(),
        python=platform.python_version(),
        versions=versions(),
        machine=machine(),
        date=today(),
    )


def versions() -> dict[str, str]:
    """Package -> version, of those that may decide a training's bytes."""
    return {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    """As it was when it was asked for first: what has been imported stays, whatever pip does meanwhile."""
    return metadata.version(package)


def today() -> str:
    """The day in UTC, YYYY-MM-DD."""
    return datetime.now(UTC).date().isoformat()


def code_commit() -> str:
    """The checkout's commit, with `+changes` when files differ from it; `unknown` outside a repository."""
    commit = _git("rev-parse", "HEAD")
    changed = commit != "unknown" and _git("status", "--porcelain", "-uno")
    return f"{commit}+changes" if changed else commit


def code_sha256() -> str:
    """The hash of this package's source: two machines whose hashes are the same run the same code."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(package.rglob("*.py"))
    return sha256_json([[path.relative_to(package).as_posix(), sha256_file(path)] for path in files])


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=project_dir(), capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def machine() -> str:
    """The accelerator, else the CPU and the number of threads in use."""
    import torch  # seconds of work, which a reader of manifests does not need

    from chestfold.core import distributed

    device = distributed.device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    gpu = "" if device.type == "cpu" else f"{device.type} of "
    return f"{gpu}{_cpu_name()}, {plural(torch.get_num_threads(), 'thread')}"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
