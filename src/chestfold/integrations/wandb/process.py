"""The process that shows a fold or a result in W&B; started by `launch`, not by people.

It waits before it loads wandb: a second of work, which is a small part of a fold that is long.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from chestfold.core.files import runs_dir
from chestfold.integrations.wandb.launch import MODES, UNREACHABLE

LATE = 40.0
"""Seconds of training before wandb is loaded."""
NICENESS = 19
"""The training has the CPU first."""
REACH = 4.0
"""Seconds that a W&B server may take for a first answer."""


def main() -> None:
    """Follow a fold until its manifest is there, or show a collected result and the leaderboard."""
    parser = argparse.ArgumentParser(prog="python -m chestfold.integrations.wandb.process")
    parser.add_argument("what", choices=["fold", "result"])
    parser.add_argument("where", help="a fold's folder, or a result's name")
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--parent", type=int, required=True, help="the process that trains")
    given = parser.parse_args()
    sys.excepthook = print_without_folders
    os.nice(NICENESS)
    if given.what == "fold":
        wait(Path(given.where) / "manifest.json", given.parent)
    os.chdir(runs_dir())
    mode = given.mode if given.mode != "online" or reachable() else "offline"
    os.environ["WANDB_MODE"] = mode  # else wandb sends its telemetry, and waits for it, where it is offline
    os.environ.setdefault("WANDB_DATA_DIR", str(runs_dir() / "wandb" / "data"))  # what `wandb sync` will send later
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        os.environ["WANDB_CACHE_DIR"] = work  # logs of its own, and copies of what was uploaded
        show(given.what, given.where, mode, given.parent)
    raise SystemExit(0 if mode == given.mode else UNREACHABLE)


def wait(until: Path, parent: int) -> None:
    """Sleep for `LATE` seconds; less where the file `until` appears or the process that trains has ended."""
    end = time.monotonic() + LATE
    while time.monotonic() < end and not until.is_file() and os.getppid() == parent:
        time.sleep(0.2)


def show(what: str, where: str, mode: str, parent: int) -> None:
    """Write the W&B runs; wandb is loaded here."""
    import wandb

    from chestfold.integrations.wandb import log

    if what == "fold":
        log.follow_fold(Path(where), mode, parent)
    else:
        log.show_result_run(where, mode)
        log.show_leaderboard(mode)
    wandb.teardown()


def reachable() -> bool:
    """Whether a W&B server answers at all; the wandb library would try for minutes to find that out."""
    address = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        with urllib.request.urlopen(address, timeout=REACH):
            return True
    except urllib.error.HTTPError:
        return True  # an error is an answer too
    except (OSError, ValueError):
        return False


def print_without_folders(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The stack trace for the log in the run's folder, which may be shared: without the names of this machine."""
    text = "".join(traceback.format_exception(kind, error, trace))
    for folder, name in ((runs_dir(), "runs"), (Path(sys.prefix), "python"), (Path.home(), "~")):
        text = text.replace(str(folder), name)
    print(text, file=sys.stderr, end="")


if __name__ == "__main__":
    main()
