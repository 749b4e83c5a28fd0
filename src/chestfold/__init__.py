"""chestfold: from a folder of chest images to a checked submission."""

from typing import TYPE_CHECKING, Any

from chestfold.core.config import Experiment

if TYPE_CHECKING:
    from chestfold.models.timm_import import register_model
    from chestfold.predict.predictor import Predictor

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


def run(exp: Experiment) -> None:
    """The last line of an experiment file: read the command line, train what is asked for, collect.

    Exits with code 2 and one sentence when something is wrong. Heavy imports wait until the options are known.
    """
    from chestfold.cli.experiment import main

    main(exp)
