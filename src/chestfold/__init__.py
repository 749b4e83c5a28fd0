"""chestfold: from a folder of chest images to a checked submission."""

from typing import TYPE_CHECKING, Any

from chestfold.core.config import Experiment

if TYPE_CHECKING:
    from chestfold.predict.predictor import Predictor

__all__ = ["Experiment", "Predictor", "run"]


def __getattr__(name: str) -> Any:
    """`Predictor`, imported when it is asked for: it brings torch along."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chestfold.predict.predictor import Predictor

    return Predictor


def run(exp: Experiment) -> None:
    """The last line of an experiment file: read the command line, train what is asked for, collect.

    Exits with code 2 and one sentence when the input is bad. Heavy imports wait until the options are known.
    """
    from chestfold.cli.experiment import read_command
    from chestfold.core.console import fail
    from chestfold.core.errors import ChestfoldError
    from chestfold.integrations.tracker import open_tracker

    try:
        command = read_command(exp)
        tracker = open_tracker(command.tracker, command.wandb)
        from chestfold.train.run import run_request

        run_request(command.request, tracker)
    except ChestfoldError as error:
        fail(error)
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on from the last checkpoint") from None
