"""chestfold: from a folder of chest images to a checked submission."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chestfold.core.config import Experiment
from chestfold.core.errors import ChestfoldError

if TYPE_CHECKING:
    from chestfold.evaluate.results import Result
    from chestfold.models.timm_import import register_model
    from chestfold.predict.predictor import Predictor
    from chestfold.train.loop import OnEpoch

__version__ = "0.2.0"
__all__ = ["Experiment", "Predictor", "register_model", "run"]

_HEAVY = {"Predictor": "chestfold.predict.predictor", "register_model": "chestfold.models.timm_import"}
"""Name -> the module that it comes from, imported when it is asked for: both bring torch along."""


def __getattr__(name: str) -> Any:
    """`Predictor`, and timm's `register_model` for networks of your own."""
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HEAVY[name]), name)


def run(
    exp: Experiment,
    name: str = "",
    *,
    folds: Sequence[int] = (),
    overwrite: bool = False,
    tracker: str = "wandb",
    on_epoch: "OnEpoch | None" = None,
) -> "Result | None":
    """The last line of an experiment file: read the command line, train what is asked for, collect.

    Exits with code 2 and one sentence when something is wrong. Heavy imports wait until the options are known.
    With a `name` it reads no command line: `run(EXP.but(lr=0.01), name="tuned-lr")` trains here and now, one fold after
    the other, and gives the result; what is wrong is raised.

    Args:
        exp: the settings.
        name: of the folder in runs/.
        folds: these only; none: all of them. Finished ones are not trained again.
        overwrite: throw away what these folds hold.
        tracker: what shows the run elsewhere.
        on_epoch: called after each epoch with the fold, the epoch's number (from 1) and its figures, which are those of
            metrics.jsonl. What it raises ends the training and goes on to the caller; what it returns ends it where
            that is true. The fold is not finished then, and the same call resumes it.

    Returns:
        The result of the finished folds: `result.value("auc")`. None where `on_epoch` has ended it.
    """
    from chestfold.cli import experiment

    if name:
        return experiment.run_named(exp, name, tuple(folds), overwrite, tracker, on_epoch)
    experiment.main(exp)
    return None


_previous_hook = sys.excepthook


def _print_sentence(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an uncaught exception: of a `ChestfoldError` the sentence alone, and exit code 2.

    An experiment file raises one while it is imported, where nothing can catch it.
    """
    if not isinstance(error, ChestfoldError) or hasattr(sys, "ps1"):  # an interactive session goes on
        _previous_hook(kind, error, trace)
        return
    print(f"error: {_called_from(trace)}{error}", file=sys.stderr)
    raise SystemExit(2)


def _called_from(trace: TracebackType | None) -> str:
    """`exps/exp900.py, line 7: `, of the line by which this package was entered."""
    package, found = str(Path(__file__).parent), ""
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(package):
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith("<"):  # code that was made while running, as a dataclass's
            found = f"{name.removeprefix(f'{Path.cwd()}/')}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    return found


sys.excepthook = _print_sentence
