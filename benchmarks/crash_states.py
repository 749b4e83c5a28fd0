"""Power cuts: begin each saving command again in the states that a cut may leave its files in.

    python benchmarks/crash_states.py [--states 150] [--seed 0] [--only train collect] [--quick]

A recording layer notes what a command writes, syncs, renames and deletes; from that the states are built (see
tests/power_loss.py). In each one the files are read and the command is run again: what is read must be an older or the
newer state, and the files in the end those of an undisturbed run. Prints one JSON line; exit code 1 when one is not.
`--states`: at most so many of a scenario, by chance. The whole takes about half an hour, and `.[test]` is needed.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from power_loss_scenarios import SCENARIOS, Found, check

from chestfold.core.console import say

QUICK = ("folds", "weights")
KINDS = ("leftovers", "wrong", "tracebacks", "lost")
"""Of what is told; those after the first must not be."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=150, help="of a scenario, at most [150]")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of states [0]")
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", help=", ".join(each.name for each in SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="a few states of two scenarios: does it run at all")
    arguments = parser.parse_args()
    wanted = QUICK if arguments.quick else arguments.only
    began = time.perf_counter()
    found = []
    for scenario in SCENARIOS:
        if wanted and scenario.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found.append(check(scenario, Path(folder), arguments.seed, 4 if arguments.quick else arguments.states))
        tell(found[-1], time.perf_counter() - began)
    say(json.dumps(summary(found) | {"seconds": round(time.perf_counter() - began)}))
    raise SystemExit(0 if all(each.is_sound for each in found) else 1)


def tell(found: Found, seconds: float) -> None:
    """A line for a scenario, and one for each thing that is wrong or was left."""
    say(f"{seconds:5.0f} s  {found.name}: {found.states} of {found.possible} states ({found.events} events)")
    for kind in KINDS:
        for line in getattr(found, kind):
            say(f"  {kind}: {line}")


def summary(found: list[Found]) -> dict[str, Any]:
    """The figures of all scenarios."""
    counts: dict[str, Any] = {"scenarios": len(found)}
    for kind in ("events", "possible", "states"):
        counts[kind] = sum(getattr(each, kind) for each in found)
    for kind in KINDS:
        counts[kind] = sum(len(getattr(each, kind)) for each in found)
    return counts


if __name__ == "__main__":
    main()
