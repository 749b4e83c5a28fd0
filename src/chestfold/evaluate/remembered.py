"""Figures that take long to draw and depend on files alone, kept in the cache folder for the next time."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from chestfold.core.errors import ServiceError
from chestfold.core.files import cache_dir, sha256_json
from chestfold.core.records import Record
from chestfold.evaluate import bootstrap
from chestfold.evaluate.results import Result

RULES = 2
"""Raised whenever the figures of the same predictions would be others."""

R = TypeVar("R", bound=Record)


def remembered(kind: type[R], ours: Result, theirs: Result, draw: Callable[[], R]) -> R:
    """A record about two results' predictions: the one that is kept, or what `draw` returns."""
    sides = []
    for result in (ours, theirs):
        record = result.record
        sides.append([record.name, record.files["oof.parquet"], record.folds.trained, record.positive, record.metric])
    key = sha256_json([kind.__name__, RULES, bootstrap.REPLICATES, sides])
    path = cache_dir() / "comparisons" / f"{key}.json"
    if path.exists():
        return kind.from_json(path)
    found = draw()
    with suppress(ServiceError):  # where nothing can be kept, it takes as long the next time
        found.write(path)
    return found
