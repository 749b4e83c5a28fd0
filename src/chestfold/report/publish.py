"""Published results: the small files of a finished run under exps/results/, and RESULTS.md made from them."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chestfold.core.errors import InputError
from chestfold.core.files import (
    atomic_path,
    lock,
    project_dir,
    published_dir,
    remove_temporary,
    runs_dir,
    sha256_file,
    write_text,
)
from chestfold.evaluate.attention import ATTENTION
from chestfold.evaluate.paired import against_parent, keep_comparison
from chestfold.evaluate.results import FILES, NOT_RUN, Result, find_result, not_run, published_results, rescored
from chestfold.report.article import write_article


def publish(name: str, overwrite: bool = False) -> Path:
    """Copy a result's scores and predictions to exps/results/NAME and write RESULTS.md again.

    Raises:
        InputError: not finished, a debug run, or another result is published under this name.
    """
    if (runs_dir() / name / NOT_RUN).exists():
        return _publish_not_run(name)
    if not (runs_dir() / name / "scores.json").exists():
        raise InputError(f"{runs_dir() / name} holds no finished run; train all folds of {name} first")
    result = find_result(name)
    if result.is_debug:
        raise InputError(f"{name} is a debug run; its scores mean nothing and are not published")
    result.oof()  # proves the hash
    result = keep_comparison(result)
    target = published_dir() / name
    with _alone():
        if not overwrite and _holds_another(target, result):
            raise InputError(f"{target} holds another result of this name; add --overwrite to replace it")
        for file in (*FILES, ATTENTION):
            if (result.folder / file).exists():
                _copy(result.folder / file, target / file)
        (target / NOT_RUN).unlink(missing_ok=True)
        write_results_page()
    return target


@contextmanager
def _alone() -> Iterator[None]:
    """Be the only command that publishes; the temporary files that killed ones left are deleted.

    Raises:
        Locked: another one is at work.
    """
    with lock(published_dir()):
        remove_temporary(project_dir(), "RESULTS.md")
        for path in published_dir().rglob(".*.tmp"):
            path.unlink(missing_ok=True)
        yield


@dataclass(frozen=True)
class Rescored:
    """What `rescore` has changed, of `results`: figures themselves, and intervals."""

    results: int
    figures: int
    intervals: int


def rescore() -> Rescored:
    """Score all published predictions by today's rules, compare each with its parent, and write RESULTS.md again.

    Raises:
        InputError: a file is not the one that was scored.
    """
    figures = intervals = 0
    with _alone():
        before = published_results()
        for result in before.values():
            rescored(result)
        now = published_results()
        for name, result in now.items():
            compared = _compared(result, now.get(result.record.parent))
            for old, new in _scores_of_both(_as_written(before[name]), _as_written(compared)):
                figures += _rounded(old["value"]) != _rounded(new["value"])
                intervals += any(_rounded(old[end]) != _rounded(new[end]) for end in ("low", "high"))
        write_results_page()
    return Rescored(len(before), figures, intervals)


def _compared(result: Result, parent: Result | None) -> Result:
    """With a new comparison with its parent; as it is where that is not published."""
    alone = replace(result, record=result.record.model_copy(update={"against": None}))
    against = against_parent(alone, parent)
    return result.rewritten(against=against) if against else result


def _as_written(result: Result) -> dict[str, Any]:
    return result.record.model_dump(include={"scores", "against"})


def _scores_of_both(old: Any, new: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each figure with an interval that both hold, however deep."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    if {"value", "low", "high"} <= old.keys() & new.keys():
        yield old, new
        return
    for name in old.keys() & new.keys():
        yield from _scores_of_both(old[name], new[name])


def _rounded(number: float) -> float | None:
    """To more digits than are ever shown, and fewer than depend on the machine; None where it is not defined."""
    return None if math.isnan(number) else round(number, 6)


def _publish_not_run(name: str) -> Path:
    """Publish that an experiment could not be run, and why."""
    target = published_dir() / name
    with _alone():
        if (target / "scores.json").exists():
            raise InputError(
                f"{target} holds a result of {name}; it is not replaced by a run that was not possible here"
            )
        _copy(runs_dir() / name / NOT_RUN, target / NOT_RUN)
        write_results_page()
    return target


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _holds_another(target: Path, result: Result) -> bool:
    """False where a publication was interrupted before its first file."""
    path = target / "oof.parquet"
    return path.exists() and sha256_file(path) != result.record.files["oof.parquet"]


def write_results_page() -> Path:
    """RESULTS.md from exps/results/ alone."""
    path = project_dir() / "RESULTS.md"
    write_text(path, write_article(path, published_results(), not_run(published_dir())))
    return path
