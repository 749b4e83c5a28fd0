"""Runs from elsewhere that try something: seconds and memory until each is refused.

    python benchmarks/strangers.py [--only "size: 10^9 rows"] [--quick]

Links, pipes, paths, code and announced sizes in every file of a run (tests/strangers.py), each read by a command in a
process of its own. Prints one JSON line: `refused` in one sentence with exit code 2, and what must not be: `others`;
the most seconds and the most memory that one took. Exit code 1 where there are others. `.[test]` is needed.
"""

import argparse
import json
import os
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
LIMIT = 60
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: as it should, after so many seconds, with so many MB at most."""

    refused: bool
    seconds: float
    megabytes: float


def outcome(case: Case, project: Project, work: Path) -> Outcome:
    """What becomes of a command in a process of its own."""
    words = [str(image(project)) if word == IMAGE else word for word in case.words]
    variables = {"CHESTFOLD_PROJECT": str(project.root), "CHESTFOLD_RUNS": str(project.runs)}
    paths = [work / name for name in ("stdout", "stderr")]
    command = ["timeout", "-s", "KILL", str(LIMIT), sys.executable, "-m", "chestfold.cli.main", *words]
    began = time.perf_counter()
    with paths[0].open("w") as stdout, paths[1].open("w") as stderr:
        process = subprocess.Popen(
            command,
            env=os.environ | variables,
            cwd=project.root,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    said = [path.read_text() for path in paths]
    is_one_sentence = len(said[1].strip().splitlines()) == 1 and case.complaint in " ".join("".join(said).split())
    refused = process.returncode == 2 and is_one_sentence
    if not refused:
        print(f"exit code {process.returncode}: {said[1][-2000:]}", file=sys.stderr)
    return Outcome(refused, round(seconds, 1), round(usage.ru_maxrss / 1000))


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
        max(each.seconds for each in outcomes.values()),
        max(each.megabytes for each in outcomes.values()),
    )
    figures = {"refused": len(outcomes) - len(others), "others": others, "seconds": slowest, "megabytes": largest}
    print(json.dumps(figures))
    raise SystemExit(1 if others else 0)


if __name__ == "__main__":
    main()
