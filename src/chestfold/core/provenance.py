"""What a run was made of: code, versions, machine."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from chestfold.core.files import project_dir

PACKAGES = ("torch", "timm", "albumentations", "numpy", "opencv-python-headless", "scikit-learn", "pandas", "pyarrow")


def code_commit() -> str:
    """The checkout's commit, with `+changes` when files differ from it; `unknown` outside a repository."""
    commit = _git("rev-parse", "HEAD")
    return commit + ("+changes" if commit != "unknown" and _git("status", "--porcelain", "-uno") else "")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=project_dir(), capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def machine() -> str:
    """The accelerator, else the CPU and the number of threads in use."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if names:
        return names[0]
    return platform.processor() or platform.machine()


def describe_code() -> dict[str, Any]:
    """Commit, versions, machine and day, for a manifest."""
    return {
        "commit": code_commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
