"""Optional dependencies: the extras of pyproject.toml, and one sentence where one is missing."""

from importlib.util import find_spec

from chestfold.core.errors import InputError


def require(module: str, extra: str, otherwise: str = "") -> None:
    """Check that `module` is installed, without importing it.

    Args:
        module: a top-level module.
        extra: the extra of pyproject.toml that installs it.
        otherwise: how to do without it, for the sentence.

    Raises:
        InputError: it is missing; names the command that installs it.
    """
    if find_spec(module) is None:
        instead = f", or {otherwise}" if otherwise else ""
        raise InputError(f"{module} is not installed; pip install 'chestfold[{extra}]'{instead}")
