"""What synthetic nodules are good for, from the generators to the table: 10, 25 and 100 % of the real ones, five folds.

    python benchmarks/synthetic.py             what is missing is made; about six hours of one CPU core in all
    python benchmarks/synthetic.py --fold 0    one fold of everything

A share's generators have seen that share alone (runs/synth/sagan10, sagan25, sagan), and fill the sets
luna16_synthetic10_fold0, ... Four runs for each share, all with the same number of optimizer steps (137 an epoch: one
pass over the smallest training set): exp031-share10 without and exp016-share10 with synthetic nodules, exp031-over10
and exp016-over10 the same with nodules over-sampled to the number of the others. The table is that of
`chestfold board --table synthetic`.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from chestfold.core.console import show
from chestfold.core.files import input_dir, project_dir, runs_dir
from chestfold.evaluate import synthetic_gain

STEPS, COUNT = 137, 800
"""Optimizer steps an epoch; blended images a fold, about as many as it has real nodules."""
GENERATOR_STEPS = 4000
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


SHARES = (
    Share(0.1, "sagan10", "luna16_synthetic10"),
    Share(0.25, "sagan25", "luna16_synthetic25"),
    Share(1.0, "sagan", "luna16_synthetic"),
)


def main() -> None:
    folds = read_arguments().fold
    for part in SHARES:
        generate(part, folds)
        for fold in folds:
            blend(part, fold)
        train(part, folds)
        for table in synthetic_gain.terminal_tables():
            show(table)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", nargs="+", default=["0", "1", "2", "3", "4"], help="these folds only [all five]")
    return parser.parse_args()


def generate(part: Share, folds: list[str]) -> None:
    """A generator for each fold; those that are finished are not trained again."""
    words = ["synth", "train", part.generator, "--data", REAL, "--steps", str(GENERATOR_STEPS)]
    chestfold(*words, "--share", str(part.share), "--fold", *folds)


def blend(part: Share, fold: str) -> None:
    """A generator's nodules in healthy patches of its fold's training part."""
    name = f"{part.synthetic}_fold{fold}"
    if (input_dir() / name / "dataset.toml").exists():
        return
    nodules = ["--nodules", str(runs_dir() / "synth" / part.generator / f"fold{fold}")]
    chestfold("synth", "blend", name, *nodules, "--hosts", REAL, "--fold", fold, "--count", str(COUNT))


def train(part: Share, folds: list[str]) -> None:
    """The four runs of a share; folds that are finished are not run again."""
    common = ["--positive-share", str(part.share), "--max-steps", str(STEPS), "--fold", *folds]
    for tag, more in ((f"share{part.tag}", []), (f"over{part.tag}", ["--sampling", "over"])):
        experiment("exp031", "--tag", tag, *more, *common)
        experiment("exp016", "--tag", tag, "--synthetic", part.synthetic, *more, *common)


def chestfold(*words: str) -> None:
    _call(str(Path(sys.executable).with_name("chestfold")), *words)


def experiment(name: str, *options: str) -> None:
    _call(sys.executable, f"exps/{name}.py", *options)


def _call(*words: str) -> None:
    subprocess.run(words, check=True, cwd=project_dir())


if __name__ == "__main__":
    main()
