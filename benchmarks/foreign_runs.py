"""Runs from elsewhere that try something: CPU seconds and memory until each is refused.

    python benchmarks/foreign_runs.py [--only "size: 10^9 rows"] [--quick]

Links, pipes, paths, code and announced sizes in every file of a run (tests/strangers.py), each read by a command in a
process of its own. Prints one JSON line: `refused` in one sentence with exit code 2, and what must not be: `others`;
the most CPU seconds and the most memory that one took. Exit code 1 where there are others. `.[test]` is needed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import copytree, rmtree

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from conftest import Project, write_tiny
from power_loss_scenarios import project_in, two_runs
from strangers import CASES, IMAGE, TRACKED, Case, image

QUICK = ("link: scores", "size: scores of 1 GB")
LIMIT = 300
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: whether as it should, CPU seconds, and the peak of its memory in MB."""

    refused: bool
    cpu_seconds: float
    megabytes: float


def outcome(case: Case, project: Project, work: Path) -> Outcome:
    """What becomes of a command in a process of its own."""
    words = [str(image(project)) if word == IMAGE else word for word in case.words]
    environment = os.environ | {"CHESTFOLD_PROJECT": str(project.root), "CHESTFOLD_RUNS": str(project.runs)}
    command = [sys.executable, "-m", "chestfold.cli.main", *words]
    paths = [work / name for name in ("stdout", "stderr")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with paths[0].open("w") as stdout, paths[1].open("w") as stderr:
        process = subprocess.Popen(command, env=environment, cwd=project.root, stdout=stdout, stderr=stderr)
        megabytes = watched(process)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    said = [path.read_text() for path in paths]
    is_one_sentence = len(said[1].strip().splitlines()) == 1 and case.complaint in " ".join("".join(said).split())
    refused = process.returncode == 2 and is_one_sentence
    if not refused:
        print(f"exit code {process.returncode}: {said[1][-2000:]}", file=sys.stderr)
    return Outcome(refused, round(seconds, 1), megabytes)


def watched(process: subprocess.Popen[bytes]) -> float:
    """The peak of a process's memory in MB, once it has ended; it is killed where it does not."""
    megabytes, began = 0.0, time.monotonic()
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                megabytes = round(int(line.split()[1]) / 1000)
        if time.monotonic() - began > LIMIT:
            process.kill()
        time.sleep(0.02)
    return megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases only")
    parser.add_argument("--quick", action="store_true", help="two cases: does it run at all")
    arguments = parser.parse_args()
    cases = CASES | TRACKED
    wanted = QUICK if arguments.quick else arguments.only or tuple(cases)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder, project_in(Path(folder), inside=("input",)) as project:
        write_tiny(project.input / "tiny", patients=8, tests=4)
        with redirect_stdout(StringIO()):
            two_runs(project)
        copytree(project.root, Path(folder) / "clean")
        for name in wanted:
            rmtree(project.root)
            rmtree(Path(folder) / "outside", ignore_errors=True)
            copytree(Path(folder) / "clean", project.root)
            cases[name].plant(project)
            outcomes[name] = outcome(cases[name], project, Path(folder))
            print(f"{name}: {outcomes[name]}", file=sys.stderr)
    others = [name for name, each in outcomes.items() if not each.refused]
    slowest, largest = (
        max(each.cpu_seconds for each in outcomes.values()),
        max(each.megabytes for each in outcomes.values()),
    )
    figures = {"refused": len(outcomes) - len(others), "others": others, "cpu_seconds": slowest, "megabytes": largest}
    print(json.dumps(figures))
    raise SystemExit(1 if others else 0)


if __name__ == "__main__":
    main()
