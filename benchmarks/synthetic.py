"""What synthetic nodules are good for: 10, 25 and 100 % of the real ones, with and without synthetic ones, five folds.

    python benchmarks/synthetic.py                             trains what is missing, prints the table, writes it
    python benchmarks/synthetic.py --own 0.1=luna16_synthetic10  a share's synthetic set, of a generator of that share

All trainings make the same number of optimizer steps (137 in an epoch: one pass over the smallest training set), so
that no difference is one of length. Runs: exp031-share10, exp016-share10, ... Writes runs/synth/use.json and use.md.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chestfold import metrics, oof
from chestfold.data.synthetic import open_part
from chestfold.files import project_dir, runs_dir, write_json, write_text
from chestfold.metrics import Score
from chestfold.results import find_result

SHARES = (0.1, 0.25, 1.0)
STEPS = 137
FIGURES = ("auc", "recall")
SYNTHETIC = "luna16_synthetic"
HEADER = "| real nodules | generator saw | AUC without | AUC with | difference | recall without | with | difference |"


def main() -> None:
    asked = read_arguments()
    sets = dict.fromkeys(SHARES, SYNTHETIC) | dict(asked.own)
    rows = []
    for share in SHARES:
        tag = f"share{round(100 * share)}"
        common = ["--tag", tag, "--positive-share", str(share), "--max-steps", str(STEPS)]
        train("exp031", common, asked.fold)
        train("exp016", [*common, "--synthetic", sets[share]], asked.fold)
        rows.append(compared(share, f"exp031-{tag}", f"exp016-{tag}"))
        print(spoken(rows[-1]), flush=True)
    write_json(runs_dir() / "synth" / "use.json", rows)
    table = "\n".join([HEADER, "| --- " * 8 + "|", *map(spoken, rows)])
    write_text(runs_dir() / "synth" / "use.md", table + "\n")
    print(table)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", nargs="+", default=[], help="these folds only [all]")
    parser.add_argument("--own", nargs="+", type=share_and_set, default=[], metavar="SHARE=SET")
    return parser.parse_args()


def share_and_set(text: str) -> tuple[float, str]:
    share, _, name = text.partition("=")
    if float(share) not in SHARES or not name:
        raise argparse.ArgumentTypeError(f"{text}: SHARE=SET, the share one of {SHARES}")
    return float(share), name


def train(name: str, options: list[str], folds: list[str]) -> None:
    """Train an experiment's folds; those that are finished are not run again."""
    chosen = ["--fold", *folds] if folds else []
    path = Path("exps") / f"{name}.py"
    subprocess.run([sys.executable, str(path), *options, *chosen], check=True, cwd=project_dir(), env=dict(os.environ))


def compared(share: float, without: str, with_: str) -> dict[str, Any]:
    """The two runs on the same rows, and their paired differences with intervals over patients."""
    ours, theirs = find_result(with_), find_result(without)
    mine, other = ours.oof()[0], theirs.oof()[0]
    other = oof.aligned(other, mine["id"], oof.class_columns(mine))
    labels, groups = oof.labels(mine), mine["group"].to_numpy()
    positive = oof.class_columns(mine).index(ours.about["positive"])
    a, b = oof.probabilities(mine), oof.probabilities(other)
    pair = metrics.paired_auc(labels, a, b, groups), metrics.paired_recall(labels, a, b, groups, positive)
    row: dict[str, Any] = {"share": share, "without": without, "with": with_, "folds": ours.about["folds"]["trained"]}
    row |= dict(zip(FIGURES, map(asdict, pair), strict=True))
    row["before"], row["after"] = ({k: r.about["scores"]["at_half"][k] for k in FIGURES} for r in (theirs, ours))
    return row | seen(ours)


def seen(result: Any) -> dict[str, Any]:
    """How many synthetic images each fold had, and how many real nodules their generator had seen."""
    settings = result.about["settings"]
    folds = result.about["folds"]["trained"]
    parts = [open_part(settings["synthetic"], fold, settings["image_size"]) for fold in folds]
    return {"synthetic": [len(part.ids) for part in parts], "seen": [len(part.parents()) for part in parts]}


def spoken(row: dict[str, Any]) -> str:
    """A row of the table."""
    gaps = [f"{s.value:+.4f} [{s.low:+.4f}, {s.high:+.4f}]" for s in (Score(**row[k]) for k in FIGURES)]
    figures = [[f"{row[when][k]['value']:.4f}" for when in ("before", "after")] for k in FIGURES]
    cells = [f"{row['share']:.0%}", f"{min(row['seen'])} to {max(row['seen'])} nodules"]
    for (before, after), gap in zip(figures, gaps, strict=True):
        cells += [before, after, gap]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
