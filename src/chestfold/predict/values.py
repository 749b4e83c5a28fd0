"""What is known of an image beside its pixels, such as age and sex: a row of a table for each file."""

from pathlib import Path

import pandas as pd

from chestfold.core.errors import InputError

KEYS = ("file", "id")
"""Columns that say which image a row is of: its name or path as typed, or its name without suffix."""


class ValueTable:
    """A CSV with a column `file` or `id`, and the columns `names`.

    Raises:
        InputError: it is no CSV, lacks a column, or has two rows of one image.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        table = _read(path)
        self._path, self._names = path, names
        self._key = next((key for key in KEYS if key in table), "")
        if not self._key:
            raise InputError(f"{path} has no column 'file' or 'id' (it has {', '.join(table.columns)}); add one")
        for name in names:
            if name not in table:
                raise InputError(f"{path} has no column {name!r} (it has {', '.join(table.columns)}); add it")
        doubled = table[self._key][table[self._key].duplicated()]
        if len(doubled):
            raise InputError(f"{path}: two rows are of {self._key} {doubled.iloc[0]!r}; leave one")
        self._rows = table.set_index(self._key)[list(names)].to_dict("index")

    def of(self, image: Path) -> dict[str, str]:
        """Column -> text of an image; `InputError` where the table has no row of it."""
        wanted = [str(image), image.name] if self._key == "file" else [image.stem, image.name]
        for text in wanted:
            if text in self._rows:
                return {str(name): str(cell) for name, cell in self._rows[text].items()}
        raise InputError(f"{image}: {self._path} has no row of it (column {self._key!r})")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"--table {path} does not exist") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable CSV in UTF-8 ({' '.join(str(error).split())})") from error
