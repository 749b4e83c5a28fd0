"""Kill commands with SIGKILL at random moments, a thousand times; the files must be those that nobody disturbed.

    python benchmarks/kill_resume.py [--kills 1000] [--seed 0] [--only train collect] [--quick]

Each command is started, killed, and started again until it ends by itself. That is a round; the next one begins with
what was there before. Processes are forked from this one, which has imported everything, so that a kill takes a second.
Prints one JSON line: for each command its kills and how often it was begun, whether all bytes are equal, and what was
left (temporary files, locks that are held). Exit code 1 when something is wrong. The whole takes an hour, and `.[test]`
is needed. `sweep_kills.py` kills the processes of a Ray cluster.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import power_loss_scenarios as scenarios
from conftest import Project
from power_loss_scenarios import Scenario, contents, project_in
from sweep_here import connected

import chestfold.integrations.kaggle.submission
import chestfold.train.preload  # noqa: F401  what a command imports
from chestfold.core.console import say
from chestfold.core.errors import ChestfoldError
from chestfold.synth.gan import train as gan
from chestfold.train import loop, sweep

KILLS_OF_A_ROUND = 10
"""Then the command may end: one that begins anew each time never would."""
GENERATORS = "runs/synth/"
EXPERIMENT = """
from chestfold import Experiment, run

EXP = Experiment(
    data="tiny", backbone="test_resnet", image_size=32, epochs=2, batch_size=8, lr=3e-3, max_steps=2
)

if __name__ == "__main__":
    run(EXP)
"""


def write_experiment(project: Project) -> None:
    scenarios.tiny_folds(project)
    (project.root / "exps" / "exp100.py").write_text(EXPERIMENT)


def sweep_all(project: Project) -> None:
    setattr(sweep, "connected", connected)  # noqa: B010
    scenarios.main(["sweep", "exp100", "--threads", "1"])


def train_all(project: Project) -> None:
    """Fold after fold, and collect; saved after each batch."""
    scenarios.collect()(project)


call = scenarios.call
SYNTH = "synth train one --data tiny --fold 0 1 --steps 4 --batch 4 --width 8"
COMMANDS = (
    Scenario("folds", scenarios.nothing, call("folds", "make", "tiny", "--folds", "3", "--name", "other")),
    Scenario("train", scenarios.tiny_folds, train_all),
    Scenario("collect", scenarios.one_fold_is_collected, scenarios.collect("--fold", "0", "1")),
    Scenario("ensemble", scenarios.two_runs, call("ensemble", "exp100", "exp101", "--name", "blend")),
    Scenario("explain", scenarios.one_run, call("explain", "exp100", "--count", "2"), refusals=("is there already",)),
    Scenario(
        "synth",
        scenarios.tiny_folds,
        call(*SYNTH.split()),
    ),
    Scenario("publish", scenarios.two_runs, call("publish", "exp100")),
    Scenario("submit", scenarios.two_runs, call("submit", "exp100", "--dry-run")),
    Scenario("sweep", write_experiment, sweep_all),
)


@dataclass
class Found:
    """What came of a command. `wrong`: files with other bytes; `failed`: what it said instead of ending well."""

    kills: int = 0
    starts: int = 0
    rounds: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return not (self.wrong or self.failed or self.leftovers)


class Killer:
    """Runs a command in forked processes, in a project of its own in `work`."""

    def __init__(self, command: Scenario, work: Path, project: Project, rng: random.Random) -> None:
        self.command, self.project, self.rng = command, project, rng
        self.said, self.before = work / "said.txt", work / "before"
        self.found = Found()

    def prepare(self) -> None:
        """Make what the command begins with, and let it run once undisturbed."""
        self.finish(lambda: self.command.prepare(self.project))
        shutil.copytree(self.project.root, self.before)
        began = time.monotonic()
        self.finish(lambda: self.command.command(self.project))
        self.seconds = time.monotonic() - began
        self.expected = files(self.project)

    def finish(self, work: Callable[[], None]) -> None:
        """Do something in a process; ends this one where it fails."""
        if os.waitstatus_to_exitcode(os.waitpid(self.start(work), 0)[1]) != 0:
            raise SystemExit(f"{self.command.name}: {self.said.read_text()}")

    def start(self, work: Callable[[], None]) -> int:
        """A process that does it; what it says is written to a file."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            output = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except ChestfoldError as error:
            print(error)
            code = 2
        except BaseException:  # noqa: BLE001  it must not go on as this script
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def play(self, kills: int) -> None:
        """A round with at most so many kills."""
        shutil.rmtree(self.project.root)
        shutil.copytree(self.before, self.project.root)
        self.found.rounds += 1
        left = kills
        while True:
            pid = self.start(lambda: self.command.command(self.project))
            self.found.starts += 1
            status = None if left else os.waitpid(pid, 0)[1]
            if status is None:
                status = wait(pid, self.rng.uniform(0, self.seconds))
            if status is not None:
                break
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            left -= 1
            self.found.kills += 1
        self.judge(os.waitstatus_to_exitcode(status))

    def judge(self, code: int) -> None:
        """Compare what is there with what should be."""
        where = f"round {self.found.rounds}"
        said = self.said.read_text()
        if code and not any(words in said for words in self.command.refusals):
            self.found.failed.append(f"{where}: {said.strip()[-1000:]}")
        now = files(self.project)
        names = sorted(now.keys() | self.expected.keys())
        different = [name for name in names if now.get(name) != self.expected.get(name)]
        self.found.wrong += [f"{where}: {name}" for name in different]
        self.found.leftovers += [f"{where}: {name}" for name in leftovers(self.project.root)]


def files(project: Project) -> dict[str, str]:
    """Path -> hash of what must be the same; of a finished generator nobody reads the last checkpoint."""
    found = contents(project.root)
    return {name: digest for name, digest in found.items() if not (name.startswith(GENERATORS) and "last.ckpt" in name)}


def wait(pid: int, seconds: float) -> int | None:
    """The status of a process that ends within so many seconds; None where it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    return None


def leftovers(root: Path) -> list[str]:
    """Temporary files, older checkpoints, and folders that somebody holds."""
    found = [path for pattern in (".*.tmp", ".*.old", "*.previous") for path in root.rglob(pattern)]
    found += [path for path in root.rglob(".writer-*") if path.stat().st_size]
    return [str(path.relative_to(root)) for path in sorted(found)]


def kill_again_and_again(command: Scenario, kills: int, rng: random.Random) -> Found:
    """So many kills of a command, in rounds."""
    with tempfile.TemporaryDirectory() as folder, project_in(Path(folder)) as project:
        killer = Killer(command, Path(folder), project, rng)
        killer.prepare()
        while killer.found.kills < kills:
            killer.play(min(KILLS_OF_A_ROUND, kills - killer.found.kills))
        return killer.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="of all commands together [1000]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    names = [command.name for command in COMMANDS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="COMMAND", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="two kills of one command: does it run at all")
    given = parser.parse_args()
    wanted = ["folds"] if given.quick else given.only or names
    kills = 2 if given.quick else -(-given.kills // len(wanted))
    loop.CHECKPOINT_SECONDS = gan.CHECKPOINT_SECONDS = -1.0  # after each step, so that there is much to go on from
    began = time.perf_counter()
    found: dict[str, Found] = {}
    for command in COMMANDS:
        if command.name in wanted:
            found[command.name] = kill_again_and_again(command, kills, random.Random(f"{given.seed} {command.name}"))
            tell(command.name, found[command.name], time.perf_counter() - began)
    say(json.dumps(summary(found) | {"seconds": round(time.perf_counter() - began)}))
    raise SystemExit(not all(each.is_sound for each in found.values()))


def tell(name: str, found: Found, seconds: float) -> None:
    """A line for a command, and one for each thing that is wrong."""
    say(f"{seconds:5.0f} s  {name}: {found.kills} kills, {found.starts} starts, {found.rounds} rounds")
    for kind in ("wrong", "failed", "leftovers"):
        for line in getattr(found, kind):
            say(f"  {kind}: {line}")


def summary(found: dict[str, Found]) -> dict[str, Any]:
    """The figures of all commands."""
    return {
        "kills": {name: each.kills for name, each in found.items()},
        "kills_in_all": sum(each.kills for each in found.values()),
        "starts": {name: each.starts for name, each in found.items()},
        "rounds": {name: each.rounds for name, each in found.items()},
        "bytes_equal": not any(each.wrong for each in found.values()),
        "failed": sum(len(each.failed) for each in found.values()),
        "leftovers": sum(len(each.leftovers) for each in found.values()),
    }


if __name__ == "__main__":
    main()
