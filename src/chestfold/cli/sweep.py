"""`chestfold sweep`: the grid of (experiment, fold) on a cluster, or on this machine."""

import argparse
import sys
from importlib import import_module
from typing import Any

from chestfold.cli.experiment import add_tracker, at_least_one, read_command
from chestfold.cli.parser import add_verb
from chestfold.core.config import Experiment, Request, did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.files import project_dir, require_plain_name
from chestfold.integrations import tracker

ABOUT = "train the folds of several experiments on a Ray cluster, or with --local on this machine"
EPILOG = (
    "Needs the extra chestfold[cluster]. Finished folds are not trained again; a fold that another process trains is "
    "waited for; what was lost with a machine goes on elsewhere. Ctrl-C ends it; the same command goes on."
)


def add_verbs(verbs: Any) -> None:
    """Add `sweep`."""
    parser = add_verb(verbs, "sweep", sweep, ABOUT)
    parser.epilog = f"{EPILOG} {parser.epilog}"
    parser.add_argument("names", nargs="+", metavar="EXPERIMENT", help="exp003: the file exps/exp003.py")
    parser.add_argument("--fold", nargs="+", default=["all"], metavar="K", help="these folds of each only [all]")
    where = parser.add_mutually_exclusive_group()
    about = "a Ray cluster that runs: HOST:PORT, or auto, the one that this machine belongs to [auto]"
    where.add_argument("--address", default="auto", metavar="HOST:PORT", help=about)
    where.add_argument("--local", action="store_true", help="start Ray on this machine, for this command")
    about = "with --local: folds at once [one for each core or GPU, if memory allows]"
    parser.add_argument("--jobs", type=at_least_one, metavar="N", help=about)
    about = "CPU threads of each fold, and CPUs that it takes from Ray; they decide the last bits of the weights [1]"
    parser.add_argument("--threads", type=at_least_one, default=1, metavar="N", help=about)
    about = "GPUs that each fold takes from Ray; 0.5: two share one [1 where there are some, else 0]"
    parser.add_argument("--gpus-per-fold", type=_share, metavar="X", help=about)
    about = "a pass through everything in two minutes: does the cluster work?"
    parser.add_argument("--debug", action="store_true", help=about)
    add_tracker(parser)


def sweep(arguments: argparse.Namespace) -> None:
    """Read the experiments, then train them."""
    from chestfold.train.sweep import Shares, jobs_here, run_sweep

    requests = [request_of(name, arguments.fold, arguments.debug) for name in dict.fromkeys(arguments.names)]
    if arguments.jobs and not arguments.local:
        raise InputError("--jobs: the cluster says how many folds run at once; it belongs to --local")
    shown = (arguments.tracker, arguments.wandb)
    tracker.open_tracker(*shown)  # a wrong mode is refused before anything begins
    address = None if arguments.local else arguments.address
    jobs = arguments.jobs or jobs_here(requests, arguments.threads)
    run_sweep(requests, Shares(address, jobs, arguments.threads, arguments.gpus_per_fold), shown)


def request_of(name: str, folds: list[str], is_debug: bool) -> Request:
    """What `python exps/NAME.py --fold ...` would train.

    Raises:
        InputError: there is no such file, or no experiment in it; `--fold` is neither all nor numbers.
    """
    words = ["--debug"] if is_debug else []
    if folds != ["all"]:
        wrong = [fold for fold in folds if not fold.isdecimal()]
        if wrong:
            raise InputError(f"--fold {wrong[0]}: all, or numbers of folds")
        words += ["--fold", *folds]
    return read_command(load(name), words, project_dir() / "exps" / f"{name}.py").request


def load(name: str) -> Experiment:
    """The EXP of exps/NAME.py; raises as `request_of`."""
    require_plain_name(name, "experiment")
    folder = project_dir() / "exps"
    if not (folder / f"{name}.py").is_file():
        known = [path.stem for path in folder.glob("*.py")]
        raise InputError(f"{folder / name}.py does not exist{did_you_mean(name, known)}")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))  # experiments import each other
    exp = getattr(import_module(name), "EXP", None)
    if not isinstance(exp, Experiment):
        raise InputError(f"{folder / name}.py has no EXP = Experiment(...)")
    return exp


def _share(text: str) -> float:
    share = float(text)
    if share < 0 or (share > 1 and share != int(share)):
        raise ValueError(text)
    return share


_share.__name__ = "number: 0 to 1, or a whole one"
