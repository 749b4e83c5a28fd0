"""The page of many results: how large it is, and what it costs to make and to open; and what `--help` and `board` cost.

    python benchmarks/report.py [--results 300] [--quick]

The published results are copied under other names, each copy with a seed of its own, into a project that is deleted,
until there are so many; `chestfold report` is run on them as it is from a terminal. Pictures are of the data sets that
input/ holds. Prints one JSON line: megabytes, seconds of CPU (with the start of Python; the first time paired gains are
drawn, afterwards they are remembered) and, where there is a Chromium, the elements of the page when it was opened.
Goals: 4.5 MB and 6 s for 300 results, 1.8 MB for those published; 0.2 s for --help, 2 s for the board of 50 results.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

from chestfold.core.files import published_dir, read_json, write_json

RESULTS, QUICK = 300, 20
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Counter(HTMLParser):
    """Counts elements."""

    count = 0

    def handle_starttag(self, name: str, attributes: object) -> None:
        self.count += 1


def copy_results(target: Path, count: int) -> None:
    """Fill `target` with `count` results: the published ones, then copies of them."""
    sources = sorted(path.parent for path in published_dir().glob("*/scores.json"))
    for n in range(count):
        source, copy = sources[n % len(sources)], n // len(sources)
        folder = target / (f"{source.name}-copy{copy}" if copy else source.name)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("corrupted.parquet", "test.parquet"))
        record = read_json(folder / "scores.json") | {"name": folder.name}
        if copy and record.get("settings"):
            record["settings"] |= {"seed": 1000 + copy}
        write_json(folder / "scores.json", record)


def make_page(project: Path) -> dict[str, float]:
    """Run the command in `project`, which is to hold results only: with an empty cache, and again."""
    page = project / "report.html"
    first = cpu_seconds(project, "report", "--out", str(page))
    again = cpu_seconds(project, "report", "--out", str(page))
    megabytes = round(page.stat().st_size / 1e6, 2)
    return {"megabytes": megabytes, "cpu_seconds": again, "cpu_seconds_first": first} | count_elements(page)


def cpu_seconds(project: Path, *words: str) -> float:
    """Of the user and of the system, for `chestfold WORDS` in `project`."""
    folders = {"PROJECT": project, "RUNS": project / "runs", "CACHE": project / "cache"}
    environment = os.environ | {f"CHESTFOLD_{name}": str(path) for name, path in folders.items()}
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "chestfold.cli.main", *words]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime, 2)


def count_elements(page: Path) -> dict[str, float]:
    """Of the page after its scripts ran; nothing where there is no Chromium."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        return {}
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless", "--no-sandbox", "--virtual-time-budget=9000"]
        command += [f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    counter = Counter()
    counter.feed(done.stdout)
    return {"elements": counter.count}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} results")
    arguments = parser.parse_args()
    count = QUICK if arguments.quick else arguments.results
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copy_results(project / "exps" / "results", count)
        figures = {"results": count} | make_page(project)
        starts = {
            "help_cpu_seconds": cpu_seconds(project, "--help"),
            "board_cpu_seconds": cpu_seconds(project, "board"),
        }
        print(json.dumps(figures | starts))


if __name__ == "__main__":
    main()
