"""What synthetic nodules are good for, from the generators to the table: 10, 25 and 100 % of the real ones, five folds.

    python benchmarks/synthetic.py             what is missing is made; about six hours of one CPU core in all
    python benchmarks/synthetic.py --fold 0    one fold of everything
    python benchmarks/synthetic.py --quick     one share and fold of drawn patches: does it run at all

A share's generators have seen that share alone (runs/synth/sagan10, sagan25, sagan), and fill the sets
luna16_synthetic10_fold0, ... Four runs for each share, all with the same number of optimizer steps (137 an epoch: one
pass over the smallest training set): exp031-share10 without and exp016-share10 with synthetic nodules, exp031-over10
and exp016-over10 the same with nodules over-sampled to the number of the others. The table is that of
`chestfold board --table synthetic`; the JSON line at the end holds the gains in AUC and recall, with minus without.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from chestfold.cli import main as cli
from chestfold.cli.experiment import read_command, run_command
from chestfold.core.console import say, show_lines, terminal_width
from chestfold.core.files import input_dir, runs_dir
from chestfold.core.rng import generator
from chestfold.evaluate import synthetic_gain
from chestfold.evaluate.results import all_results
from chestfold.report import terminal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exps"))
REAL = "luna16_patches"


@dataclass(frozen=True)
class Share:
    """A share of the real nodules, and what is made of it."""

    share: float
    generator: str
    synthetic: str

    @property
    def tag(self) -> str:
        return f"{round(100 * self.share)}"


@dataclass(frozen=True)
class Plan:
    """`count`: blended images a fold, about as many as it has real nodules; `nodules`: "" for the generator's."""

    shares: tuple[Share, ...]
    folds: list[str]
    count: int = 800
    nodules: str = ""
    generator_options: tuple[str, ...] = ("--steps", "4000")
    run_options: tuple[str, ...] = ("--max-steps", "137")


SHARES = (
    Share(0.1, "sagan10", "luna16_synthetic10"),
    Share(0.25, "sagan25", "luna16_synthetic25"),
    Share(1.0, "sagan", "luna16_synthetic"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", nargs="+", default=["0", "1", "2", "3", "4"], help="these folds only [all five]")
    parser.add_argument("--quick", action="store_true", help="one share and fold of drawn patches: does it run at all")
    arguments = parser.parse_args()
    if arguments.quick:
        with tempfile.TemporaryDirectory() as folder:
            carry_out(quick_plan(Path(folder)))
    else:
        carry_out(Plan(SHARES, arguments.fold))


def carry_out(plan: Plan) -> None:
    for part in plan.shares:
        train_generators(plan, part)
        for fold in plan.folds:
            blend(plan, part, fold)
        run_experiments(plan, part)
        for table in terminal.synthetic_tables():
            show_lines(table.lines(terminal_width()))
    gains = []
    for pair in synthetic_gain.pairs(all_results()):
        names = {"share": pair.share, "with": pair.with_.name, "without": pair.without.name}
        gains.append(names | {"auc_gained": pair.auc.value, "recall_gained_at_specificity_95": pair.recall.value})
    say(json.dumps({"gains": gains}))


def train_generators(plan: Plan, part: Share) -> None:
    """One for each fold; those that are finished are not trained again."""
    words = ["synth", "train", part.generator, "--data", REAL, "--share", str(part.share)]
    chestfold(*words, "--fold", *plan.folds, *plan.generator_options)


def blend(plan: Plan, part: Share, fold: str) -> None:
    """A generator's nodules in healthy patches of its fold's training part."""
    name = f"{part.synthetic}_fold{fold}"
    if (input_dir() / name / "dataset.toml").exists():
        return
    nodules = plan.nodules or str(runs_dir() / "synth" / part.generator / f"fold{fold}")
    words = ["synth", "blend", name, "--nodules", nodules, "--hosts", REAL]
    chestfold(*words, "--fold", fold, "--count", str(plan.count))


def run_experiments(plan: Plan, part: Share) -> None:
    """The four runs of a share; folds that are finished are not run again."""
    common = ["--positive-share", str(part.share), "--fold", *plan.folds, *plan.run_options]
    for tag, more in ((f"share{part.tag}", []), (f"over{part.tag}", ["--sampling", "over"])):
        experiment("exp031", "--tag", tag, *more, *common)
        experiment("exp016", "--tag", tag, "--synthetic", part.synthetic, *more, *common)


def chestfold(*words: str) -> None:
    cli.main(list(words))


def experiment(name: str, *options: str) -> None:
    exp = importlib.import_module(name).EXP
    run_command(read_command(exp, list(options), Path(f"{name}.py")))


def quick_plan(folder: Path) -> Plan:
    """The smallest plan, in a project of its own; no generator learns in two steps, so real nodules are blended."""
    os.environ["CHESTFOLD_PROJECT"] = str(folder)
    for name in ("input", "runs", "cache"):
        os.environ[f"CHESTFOLD_{name.upper()}"] = str(folder / name)
    draw_patches(folder / "input" / REAL)
    chestfold("folds", "make", REAL, "--folds", "2")
    tiny = ("--backbone", "test_resnet", "--image-size", "32", "--epochs", "1", "--max-steps", "2")
    generator_options = ("--steps", "2", "--batch", "2", "--width", "8")
    return Plan(SHARES[:1], ["0"], 4, REAL, generator_options, tiny)


def draw_patches(folder: Path) -> None:
    """Noisy lung in twelve scans, a disc in half of the patches."""
    (folder / "images").mkdir(parents=True)
    rng = generator("benchmark", "patches")
    distance = np.hypot(*(np.indices((50, 50)) - 25))
    lines = ["id,label,scan_block"]
    for n in range(96):
        patch = rng.normal(27, 5, (50, 50))
        if n % 2:
            patch += 160 * (distance < rng.uniform(4, 7))
        cv2.imwrite(str(folder / "images" / f"i{n}.png"), np.clip(patch, 0, 255).astype(np.uint8))
        lines.append(f"i{n},{n % 2},{n // 8}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
