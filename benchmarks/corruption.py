"""Damaged files: flip a bit or cut the end of each kind of file that is read back, and read it.

    python benchmarks/corruption.py [--trials 2000] [--seed 0] [--only scores.json] [--quick]

Each damage must be refused in one sentence (exit code 2), or change nothing that is printed. Prints one JSON line:
`refused`, `harmless`, and what must not be: `silent` (another output) and `tracebacks`, by kind of file; exit code 1
where there is a traceback. `.[test]` is needed.
"""

import argparse
import io
import json
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from conftest import Project, tiny_experiment
from power_loss_scenarios import explained, project_in, submit, two_runs

from chestfold.cli.main import main as main_command
from chestfold.core.checkpoint import load_newest
from chestfold.core.config import Request
from chestfold.core.console import console, say
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import cache_dir, input_dir, sha256
from chestfold.core.run_folder import RunFolder
from chestfold.data import cache
from chestfold.data.catalogue import open_index
from chestfold.data.folds.checks import THUMBNAIL
from chestfold.evaluate import paired
from chestfold.evaluate.attention import ATTENTION, IMAGES, read_images
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.remembered import remembered
from chestfold.evaluate.results import all_results, find_result, not_run, write_not_run
from chestfold.integrations.follow.sent import Sent, read_sent, write_sent
from chestfold.integrations.kaggle.submission import all_submissions, write_submission
from chestfold.report.attention import read_maps, read_outlines

TIMES = re.compile(r"\d+(\.\d+)? (s|ms|minutes)\b")
Reader = Callable[[], str]


def command(*words: str) -> Reader:
    """What a command prints."""

    def read() -> str:
        output = io.StringIO()
        with redirect_stdout(output):
            main_command([*words])
        return TIMES.sub("", output.getvalue())

    return read


def read_fold() -> str:
    """All that is read of a finished fold by what comes after it."""
    folder = RunFolder("exp100").fold(0)
    return repr((folder.config(), folder.is_finished(), folder.history(), folder.manifest().best_epoch))


def read_results() -> str:
    """The tables of all results."""
    tables = []
    for result in all_results():
        tables += [result.oof()[0], result.test()[0], *(result.corrupted() or {}).values()]
    return repr([table.to_csv() for table in tables])


def read_submission() -> str:
    """What would be sent: the file that is there, or a new one beside it where that is damaged."""
    path, is_new = write_submission("exp100")
    data = path.read_bytes()
    if is_new:
        path.unlink()
        path.with_suffix(".json").unlink()
    return sha256(data)


def read_cache() -> str:
    """The decoded images of each size that is kept."""
    index = open_index("tiny")
    opened = [cache.open_cache(index, size) for size in (32, THUMBNAIL)]
    return repr([sha256(each.images[each.rows(index.table["id"])].tobytes()) for each in opened])


def read_last_checkpoint() -> str:
    """What an interrupted training goes on from; a damaged one is said, and deleted."""
    state, complaints = load_newest(RunFolder("exp100").fold(0).last_checkpoint)
    if complaints:
        raise InputError(complaints[0])
    assert state is not None
    return repr((state["epoch"], state["history"]))


def read_comparison() -> str:
    """The comparison that is kept in the cache."""
    ours, theirs = find_result("exp100"), find_result("exp101")
    return repr(remembered(Comparison, ours, theirs, lambda: paired.compare(ours, theirs)))


def read_explanation() -> str:
    """The tables and the maps of an explanation."""
    folder = find_result("exp100").folder / Path(ATTENTION).parent
    table = read_images(folder)
    assert table is not None
    maps = {name: found.tolist() for name, found in read_maps(folder).items()}
    return repr((table.to_csv(), maps, read_outlines(folder, "lungs")))


def leave_notes(project: Project) -> None:
    """What a tracker was sent, what could not be run, and a comparison that took long."""
    write_sent(project.runs / "exp100" / "fold0", "wandb", Sent(run="a1b2", rows=2, target="t", content="c"))
    write_not_run(Request("exp109", tiny_experiment()), "weights", "2026-01-01")
    read_comparison()


def kinds(project: Project) -> dict[str, tuple[list[Path], Reader]]:
    """Kind of file -> the files of that kind, and what reads them."""
    fold, run = project.runs / "exp100" / "fold0", project.runs / "exp100"
    image = str(input_dir() / "tiny" / "images" / "x000.png")
    attention = [run / "explain" / "gradcam" / "attention.json"]
    beside = [*sorted(attention[0].parent.glob("maps-*.npz")), attention[0].parent / IMAGES]
    predict = command("predict", "exp100", image, "--no-overlay", "--json", "--device", "cpu")
    board = command("board", "--json")
    check_folds = command("folds", "check", "tiny")
    found: dict[str, tuple[list[Path], Reader]] = {
        "folds.csv": ([project.root / "folds" / "tiny.csv"], check_folds),
        "folds.json": ([project.root / "folds" / "tiny.json"], check_folds),
        "dataset.toml": ([input_dir() / "tiny" / "dataset.toml"], check_folds),
        "train.csv": ([input_dir() / "tiny" / "train.csv"], check_folds),
        "config.json": ([fold / "config.json"], predict),
        "best.ckpt": ([fold / "best.ckpt"], predict),
        "ood.npz": ([fold / "ood.npz"], predict),
        "manifest.json": ([fold / "manifest.json"], read_fold),
        "files of a fold": ([fold / n for n in ("oof.parquet", "test.parquet", "metrics.jsonl")], read_fold),
        "scores.json": ([run / "scores.json"], board),
        "parquet of a run": ([run / n for n in ("oof.parquet", "test.parquet", "corrupted.parquet")], read_results),
        "submission.csv": (sorted((project.root / "submissions").glob("001*.csv")), read_submission),
        "submission.json": (sorted((project.root / "submissions").glob("001*.json")), lambda: repr(all_submissions())),
        "attention.json": (attention, lambda: repr(find_result("exp100").attention())),
        "files of an explanation": (beside, read_explanation),
        "last.ckpt": ([fold / "last.ckpt"], read_last_checkpoint),
        "not_run.json": ([project.runs / "exp109" / "not_run.json"], lambda: repr(not_run(project.runs))),
        "tracked_wandb.json": ([fold / "tracked_wandb.json"], lambda: repr(read_sent(fold, "wandb"))),
        "comparison": (sorted((cache_dir() / "comparisons").glob("*.json")), read_comparison),
        "cache": (sorted((cache_dir() / "tiny").glob("*.npy")), read_cache),
        "hashes of the cache": ([cache_dir() / "tiny" / "hashes.json"], read_cache),
    }
    return found


def damage(data: bytes, rng: random.Random) -> bytes:
    """One bit flipped, or the end cut off."""
    if rng.random() < 0.25:
        return data[: rng.randrange(len(data))]
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def outcome(read: Reader, expected: str) -> tuple[str, str]:
    """`refused`, `harmless`, `silent` or `tracebacks`, and what was said."""
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            said = read()
    except ChestfoldError as error:
        return "refused", str(error)
    except SystemExit as end:
        return ("refused" if end.code == 2 else "tracebacks"), errors.getvalue()
    except Exception:  # noqa: BLE001  what is counted here is any error that is not one sentence
        return "tracebacks", traceback.format_exc()[-900:]
    return ("harmless" if said == expected else "silent"), ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="damages over all kinds [2000]")
    parser.add_argument("--seed", type=int, default=0, help="of the damages [0]")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="of these kinds only")
    parser.add_argument("--quick", action="store_true", help="ten damages of two kinds: does it run at all")
    arguments = parser.parse_args()
    wanted, trials = arguments.only, arguments.trials
    if arguments.quick:
        wanted, trials = ["folds.json", "cache"], 10
    began = time.perf_counter()
    console.quiet = False
    with tempfile.TemporaryDirectory() as folder, project_in(Path(folder)) as project:
        with redirect_stdout(io.StringIO()):
            two_runs(project)
            if not arguments.quick:
                explained(project)
                submit(project)
                leave_notes(project)
        counts = run_trials(project, wanted, trials, arguments.seed)
    total = Counter({name: sum(each[name] for each in counts.values()) for name in OUTCOMES})
    say(json.dumps({"trials": total.total(), **total, "kinds": counts, "seconds": round(time.perf_counter() - began)}))
    raise SystemExit(1 if total["tracebacks"] else 0)


OUTCOMES = ("refused", "harmless", "silent", "tracebacks")


def run_trials(project: Project, wanted: list[str] | None, trials: int, seed: int) -> dict[str, dict[str, int]]:
    """Kind -> outcome -> how often."""
    chosen = {kind: each for kind, each in kinds(project).items() if not wanted or kind in wanted}
    counts = {}
    for kind, (paths, read) in chosen.items():
        expected, rng, of_kind = read(), random.Random(f"{seed} {kind}"), Counter(dict.fromkeys(OUTCOMES, 0))
        for _ in range(trials // len(chosen)):
            path = rng.choice(paths)
            whole = path.read_bytes()
            path.write_bytes(damage(whole, rng))
            how, said = outcome(read, expected)
            path.write_bytes(whole)
            of_kind[how] += 1
            if how == "tracebacks" and of_kind[how] <= 3:
                print(f"{kind}: {path.name}: {said}", file=sys.stderr)
        counts[kind] = dict(of_kind)
        print(f"{kind}: {dict(of_kind)}", file=sys.stderr)
    return counts


if __name__ == "__main__":
    main()
