"""What is known of an image beside its pixels, such as age and sex: a row of a table for each file."""

from pathlib import Path

from chestfold.core.errors import InputError
from chestfold.data.dataset import tidy
from chestfold.data.readers.files import split_suffix
from chestfold.data.tables import open_table

KEYS = ("file", "id")
"""Columns that say which image a row is of: its name or path as typed, or its name without suffix."""


class ValueTable:
    """A CSV with a column `file` or `id`, and the columns `names`.

    Raises:
        InputError: it is no CSV, lacks a column, or has two rows of one image.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        table = open_table(path)
        self._path = path
        self._key = next((key for key in KEYS if key in table.columns), "")
        if not self._key:
            raise InputError(f"{path} has no column 'file' or 'id' (it has {', '.join(table.columns)}); add one")
        for name in names:
            if name not in table.columns:
                raise InputError(f"{path} has no column {name!r} (it has {', '.join(table.columns)}); add it")
        values = table.frame[list(names)].to_dict("records")
        self._rows: dict[str, dict[str, str]] = {}
        for text, row in zip(map(tidy, table.cells(self._key)), values, strict=True):
            if text in self._rows:
                raise InputError(f"{path}: two rows are of {self._key} {text!r}; leave one")
            self._rows[text] = {str(name): str(cell) for name, cell in row.items()}

    def of(self, image: Path) -> dict[str, str]:
        """Column -> text of an image; `InputError` where the table has no row of it."""
        wanted = [str(image), image.name] if self._key == "file" else [split_suffix(image.name)[0], image.name]
        for text in map(tidy, wanted):
            if text in self._rows:
                return self._rows[text]
        raise InputError(f"{image}: {self._path} has no row of it (column {self._key!r})")
