"""`chestfold explain`: where a trained run looks."""

import argparse
import shlex
from typing import Any

from chestfold.cli.parser import add_device, add_trust, add_verb
from chestfold.core.console import say, waiting
from chestfold.core.device import choose_device


def add_verbs(verbs: Any) -> None:
    """Add `explain`."""
    parser = add_verb(
        verbs, "explain", explain, "heat maps of a run's validation images, and how their attention is spread"
    )
    parser.add_argument("name", help="a run in runs/, with its checkpoints")
    parser.add_argument("--fold", nargs="+", type=int, default=[], metavar="K", help="these folds only [all finished]")
    parser.add_argument(
        "--ids", nargs="+", default=[], metavar="ID", help="these images, each by the model of its fold"
    )
    parser.add_argument("--method", default="gradcam", help="gradcam, gradcam++, layercam or eigencam [gradcam]")
    parser.add_argument("--layer", default="", metavar="NAME", help="take the maps from this layer [the family's last]")
    parser.add_argument("--count", type=int, default=40, metavar="N", help="random images of each fold; 0: all [40]")
    parser.add_argument("--overwrite", action="store_true", help="replace the maps that are there")
    add_trust(parser)
    add_device(parser)


def explain(arguments: argparse.Namespace) -> None:
    """Write the heat maps of a run and its page, and print their figures."""
    with waiting("loading PyTorch"):
        from chestfold.evaluate.results import all_results
        from chestfold.explain.run import explain as write_maps
        from chestfold.explain.select import ExplainConfig
        from chestfold.report.attention import format_lines
        from chestfold.report.page import write_report

    a = arguments
    choose_device(a.device)
    config = ExplainConfig(a.name, a.method, a.layer, tuple(a.fold), tuple(a.ids), a.count)
    folder = write_maps(config, a.overwrite)
    for line in format_lines(folder):
        say(line)
    say(f"wrote the maps in {folder}. Not for clinical use.")
    if a.name not in [result.name for result in all_results()]:
        shown_by = f"chestfold report {shlex.quote(a.name)}"
        say(f"{a.name} is not collected yet; when it is, its pictures are shown by: {shown_by}")
        return
    with waiting("making the page"):
        write_report(folder / "report.html", [a.name], {a.name: folder})
    say(f"wrote {folder / 'report.html'}: its pictures and figures; open it in a browser")
