"""Hooks: losses, metrics, augmentations, networks, normalisations and readers of your own, in one file of Python.

The file has tables of the same names as those here: `LOSSES = {"mine": my_loss}`. An experiment names the file, its
settings name what is in it. The file's bytes are kept with every fold and bound to it by their hash, so that a run can
be copied to another machine and used there. There it runs only where one says that it may: it is code.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb, format_exception_only
from types import ModuleType
from typing import Any, TypeVar

from chestfold.core.errors import InputError
from chestfold.core.files import (
    input_dir,
    project_dir,
    published_dir,
    require_size,
    runs_dir,
    sha256,
    submissions_dir,
)

FILE = "hooks.py"
"""Its name beside a fold and a result."""
FINGERPRINT = "hooks_sha256"
"""What a run's fingerprint calls their hash."""
TABLES = ("LOSSES", "METRICS", "AUGMENTATIONS", "MODELS", "NORMALISATIONS", "READERS")
T = TypeVar("T")


@dataclass(frozen=True)
class Hooks:
    """A file of hooks that was run. `tables`: name of a table -> its entries."""

    path: Path
    data: bytes
    tables: dict[str, dict[str, Any]]

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        return sha256(self.data)


_loaded: dict[str, Hooks] = {}
"""Hash -> the hooks that this process has run."""
_registries: dict[str, dict[str, Any]] = {}
"""Name of a table -> the table of this program that the entries are added to."""
_trusted = False


def registry(name: str, own: dict[str, T]) -> dict[str, T]:
    """A table of this program that hooks may add to; `own`: what it holds without them."""
    _registries[name] = own
    for hooks in _loaded.values():
        own.update(hooks.tables.get(name, {}))
    return own


def names(table: str) -> list[str]:
    """What the hooks that were run have added to a table."""
    return [name for hooks in _loaded.values() for name in hooks.tables.get(table, {})]


def trust() -> None:
    """Let hooks run that came with a run from elsewhere: `--trust-hooks`."""
    global _trusted
    _trusted = True


def load_own(name: str) -> Hooks:
    """Run the hooks that an experiment names: a file of this project, code of its owner.

    Args:
        name: path of the file in the project, as `exps/my_hooks.py`.

    Raises:
        InputError: it does not exist, is outside of the project, or cannot be used.
    """
    path = (project_dir() / name).resolve()
    if not _is_own(path):
        raise InputError(
            f"hooks = {name!r}: a file .py inside the project is needed, outside of runs and data, as exps/my_hooks.py"
        )
    if not path.is_file():
        raise InputError(f"hooks = {name!r}: {path} does not exist; write it, or leave hooks empty")
    return _run(path, path.read_bytes())


def load_stored(path: Path, name: str, expected: str) -> Hooks:
    """Run the hooks that are kept with a run: those that the project has too, others where they are trusted.

    Args:
        path: of the kept file.
        name: by which the experiment knows it.
        expected: SHA-256 that it must have.

    Raises:
        InputError: it is missing or changed, or not to be trusted.
    """
    if expected in _loaded:
        return _loaded[expected]
    if not path.is_file():
        raise InputError(f"{path} does not exist; the run was trained with hooks ({name}): copy it with the run")
    require_size(path)
    data = path.read_bytes()
    if sha256(data) != expected:
        raise InputError(f"{path} is not the file that the run was trained with (hash differs); restore it")
    own = (project_dir() / name).resolve()
    if not _trusted and not (_is_own(own) and own.is_file() and own.read_bytes() == data):
        raise InputError(
            f"{path} is code that came with the run, and this project has no such file; read it, then add --trust-hooks"
        )
    return _run(path, data)


def _is_own(path: Path) -> bool:
    """Whether a resolved path may be code of this project's owner: not a file that came with a run or with data."""
    brought = [folder().resolve() for folder in (runs_dir, published_dir, submissions_dir, input_dir)]
    if path.suffix != ".py" or any(path.is_relative_to(folder) for folder in brought):
        return False
    return path.is_relative_to(project_dir().resolve())


def identity(loaded: Hooks | None) -> dict[str, str]:
    """What is bound into a run that uses hooks; nothing where there are none."""
    return {FINGERPRINT: loaded.sha256} if loaded else {}


def _run(path: Path, data: bytes) -> Hooks:
    """Run a file once and add what it defines to the tables of this program."""
    digest = sha256(data)
    if digest in _loaded:
        return _loaded[digest]
    hooks = Hooks(path, data, _tables_of(path, data, f"chestfold_hooks_{digest[:8]}"))
    for table, entries in hooks.tables.items():
        _require_new(hooks, table, entries)
    for table, entries in hooks.tables.items():
        _registries.get(table, {}).update(entries)
    _loaded[digest] = hooks
    return hooks


def _tables_of(path: Path, data: bytes, name: str) -> dict[str, dict[str, Any]]:
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look a module up by its name
    try:
        exec(compile(data, str(path), "exec"), module.__dict__)
        tables = {table: _plain(getattr(module, table)) for table in TABLES if hasattr(module, table)}
    except SyntaxError as error:
        raise InputError(f"{path}, line {error.lineno or 1}: {error.msg}; mend it") from error
    except ImportError as error:
        raise InputError(f"{path}: {error}; hooks are one file, and import installed packages only") from error
    except (Exception, SystemExit) as error:  # code of others may raise anything
        said = "".join(format_exception_only(error)).strip().splitlines()[-1]
        raise InputError(f"{path}, line {_line_of(error, path)}: {said}; mend it") from error
    if not tables:
        raise InputError(f"{path} defines none of {', '.join(TABLES)}; write for instance LOSSES = {{'mine': my_loss}}")
    for table, entries in tables.items():
        if not isinstance(entries, dict):
            raise InputError(f"{path}: {table} is a dict from names to functions, not {type(entries).__name__}")
    return tables


def _plain(table: Any) -> Any:
    """A dict of a class of its own, whose methods may do anything, as one that does what a dict does."""
    return dict(table) if isinstance(table, dict) else table


def _line_of(error: BaseException, path: Path) -> int:
    """The last line of a file that was running when an error was raised; 0 where it was none of them."""
    lines = [frame.lineno or 0 for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else 0


def _require_new(hooks: Hooks, table: str, entries: dict[str, Any]) -> None:
    """Raise `InputError` where a name is taken: by this program, or by hooks of another run."""
    for name in entries:
        for other in _loaded.values():
            if name in other.tables.get(table, {}):
                raise InputError(f"{hooks.path} and {other.path} both define {name!r} in {table}; rename one of them")
        if name in _registries.get(table, {}):
            raise InputError(f"{hooks.path}: {table} has {name!r} already; choose another name")
