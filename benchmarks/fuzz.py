"""Files made wrong: is each refused in one sentence, in time, in little memory, and is nothing written elsewhere?

    python benchmarks/fuzz.py [--seconds 3600] [--kind png zip] [--seed 0] [--quick]

Valid files of each kind that is read (declarations, tables, folds, predictions, images, weights, the files of a run)
are changed as their format has it: other fields, types, keys, encodings, lengths. Each input is read in a process of
its own, forked from this one, of 2 GB of memory above this one's, and of 10 s at most. What must not be is counted:
`tracebacks` (crashes of the process among them), `hangs`, `memory`, `outside` (a file that is written outside of the
project). Prints one JSON line; exit code 1 where one of them is not 0; `--keep FOLDER` keeps the inputs that did it.
`.[test]` is needed.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzzed_kinds import Kind, kinds, kinds_of_no_run, prepare, prepare_runs, restore, stamps
from power_loss_scenarios import project_in, two_runs

from chestfold.core.console import say
from chestfold.core.errors import ChestfoldError

MEMORY = 2 << 30
SECONDS = 10
QUICK = ("dataset.toml", "zip", "png", "hooks.py")
ENDS = {0: "read", 2: "refused", 3: "tracebacks", 4: "memory", 5: "outside"}
"""Exit code of a process -> what became of its input."""
BAD = ("tracebacks", "hangs", "memory", "outside")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="to go on for [3600]")
    parser.add_argument("--kind", nargs="+", metavar="KIND", help="of these kinds only")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs [0]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to keep inputs that are not read soundly")
    parser.add_argument("--quick", action="store_true", help="a few inputs of four kinds: does it run at all")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        project_in(Path(folder).resolve(), inside=("input", "cache", "weights")) as project,
    ):
        from conftest import write_tiny

        write_tiny(project.input / "tiny", patients=8, tests=4)
        if arguments.quick:
            prepare(project)
            every = kinds_of_no_run(project)
        else:
            with redirect_stdout(StringIO()):
                two_runs(project)
            prepare_runs(project)
            every = kinds(project)
        names = arguments.kind or (QUICK if arguments.quick else list(every))
        seconds = 0.5 if arguments.quick else arguments.seconds
        fuzz = Fuzz(Path(folder).resolve(), project.root, arguments.keep)
        fuzz.run([every[name] for name in names], seconds, arguments.seed)
    counts = {name: dict(of_kind) for name, of_kind in fuzz.counts.items()}
    total = Counter(dict.fromkeys(BAD, 0))
    for of_kind in fuzz.counts.values():
        total.update(of_kind)
    say(json.dumps({"inputs": total.total(), **total, "kinds": counts, "seconds": round(time.perf_counter() - began)}))
    raise SystemExit(1 if any(total[name] for name in BAD) else 0)


class Fuzz:
    """Reads inputs in processes of their own. `work`: all that may be written to; `root`: the project in it."""

    def __init__(self, work: Path, root: Path, keep: Path | None) -> None:
        self.work, self.root, self.keep = work, root, keep
        self.counts: dict[str, Counter[str]] = {}
        self._kept_stamps = stamps(root)
        self._copy = work / "copy"
        shutil.copytree(root, self._copy, symlinks=True)
        self._said = work / "said.txt"
        self._seen: set[tuple[str, str, str]] = set()
        self._limit = _address_space() + MEMORY

    def run(self, chosen: list[Kind], seconds: float, seed: int) -> None:
        """Kinds in turn until the time is over."""
        end, number = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            for kind in chosen:
                self.one(kind, f"{seed} {kind.name} {number}")
            number += 1

    def one(self, kind: Kind, seed: str) -> None:
        """Read one input, and count what became of it."""
        rng = random.Random(seed)
        data = kind.draw(rng)
        self._said.write_text("")
        kind.put(data, rng)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._read(kind, rng)
        status = os.waitpid(child, 0)[1]
        how = self._outcome(status)
        self.counts.setdefault(kind.name, Counter(dict.fromkeys(BAD, 0)))[how] += 1
        if how in BAD:
            self._tell(kind, seed, data, how)
        restore(self.root, self._kept_stamps, self._copy)

    def _outcome(self, status: int) -> str:
        if os.WIFSIGNALED(status):
            return "hangs" if os.WTERMSIG(status) == signal.SIGALRM else "tracebacks"
        return ENDS.get(os.WEXITSTATUS(status), "tracebacks")

    def _tell(self, kind: Kind, seed: str, data: bytes, how: str) -> None:
        """Say the first of each traceback, and keep its input."""
        said = self._said.read_text(errors="replace")
        mark = f"{kind.name} {how} {' '.join(said.splitlines()[-3:])[-150:]}"
        place = next((line for line in reversed(said.splitlines()) if "chestfold/" in line), "")
        if (kind.name, how, place) in self._seen:
            return
        self._seen.add((kind.name, how, place))
        print(f"--- {mark}\n    seed {seed!r}\n{said[-1800:]}", file=sys.stderr, flush=True)
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep / f"{seed.replace(' ', '_').replace('/', '_')}").write_bytes(data)

    def _read(self, kind: Kind, rng: random.Random) -> NoReturn:
        """In the forked process; it never returns."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        os.dup2(os.open(self._said, os.O_WRONLY | os.O_APPEND), 2)
        outside: list[str] = []
        sys.addaudithook(lambda event, words: _look(event, words, self.work, outside))
        resource.setrlimit(resource.RLIMIT_AS, (self._limit, self._limit))
        code = 3
        try:
            with redirect_stdout(StringIO()):
                kind.read(rng)
            code = 0
        except ChestfoldError:
            code = 2
        except SystemExit as end:
            code = 2 if end.code == 2 else 3
            if code == 3:
                sys.stderr.write(f"exit code {end.code}\n")
        except MemoryError:
            code = 4
            sys.stderr.write(traceback.format_exc())
        except BaseException:  # noqa: BLE001  what is counted is all that is not one sentence
            sys.stderr.write(traceback.format_exc())
        if outside:
            code = 5
            sys.stderr.write(f"written outside: {outside[:3]}\n")
        sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


PATHS = {
    "os.mkdir": slice(1),
    "os.rename": slice(2),
    "os.remove": slice(1),
    "os.rmdir": slice(1),
    "os.symlink": slice(1, 2),
    "os.link": slice(1, 2),
    "os.truncate": slice(1),
}
"""Event of the audit -> which of its words are paths that are changed."""


def _look(event: str, words: tuple[Any, ...], work: Path, outside: list[str]) -> None:
    """Note a path outside of `work` that is written, made, renamed or deleted."""
    if event == "open":
        paths = words[:1] if isinstance(words[2], int) and words[2] & WRITES else ()
    else:
        paths = words[PATHS.get(event, slice(0))]
    for path in paths:
        if isinstance(path, (str, bytes)):
            place = Path(os.fsdecode(path)).resolve()
            if not place.is_relative_to(work) and place != Path(os.devnull):
                outside.append(str(place))


if __name__ == "__main__":
    main()
