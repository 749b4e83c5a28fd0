"""Fold files: made once, proven, hashed, committed, never edited.

`splitting` deals the images out, `assign` is the arithmetic of it, `checks` proves a table, `file` keeps it, `imported`
takes over the folds of others, `leaky` makes a split that measures what leaks add.
"""

from chestfold.data.folds.checks import (
    DEFAULT_COUNT,
    assert_sound,
    label_rates,
    large_groups,
    leak_report,
    linked_duplicates,
)
from chestfold.data.folds.file import Folds, FoldsRecord, check, load, make, make_repeats, same_images
from chestfold.data.folds.imported import import_folds
from chestfold.data.folds.leaky import make_leaky
from chestfold.data.folds.splitting import split

__all__ = [
    "DEFAULT_COUNT",
    "Folds",
    "FoldsRecord",
    "assert_sound",
    "check",
    "import_folds",
    "label_rates",
    "large_groups",
    "leak_report",
    "linked_duplicates",
    "load",
    "make",
    "make_leaky",
    "make_repeats",
    "same_images",
    "split",
]
