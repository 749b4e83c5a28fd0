"""Published results: the small files of a finished run under exps/results/, and RESULTS.md made from them."""

import shutil
from pathlib import Path

from chestfold.core.errors import InputError
from chestfold.core.files import atomic_path, project_dir, published_dir, runs_dir, sha256_file, write_text
from chestfold.evaluate.attention import ATTENTION
from chestfold.evaluate.paired import keep_comparison
from chestfold.evaluate.results import FILES, NOT_RUN, Result, find_result, not_run, published_results
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
    if not overwrite and _holds_another(target, result):
        raise InputError(f"{target} holds another result of this name; add --overwrite to replace it")
    for file in (*FILES, ATTENTION):
        if (result.folder / file).exists():
            _copy(result.folder / file, target / file)
    (target / NOT_RUN).unlink(missing_ok=True)
    write_results_page()
    return target


def _publish_not_run(name: str) -> Path:
    """Publish that an experiment could not be run, and why."""
    target = published_dir() / name
    if (target / "scores.json").exists():
        raise InputError(f"{target} holds a result of {name}; it is not replaced by a run that was not possible here")
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
