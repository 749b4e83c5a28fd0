"""The lines of a guessed dataset.toml: a field, its value, and why it is thought to be right."""

from dataclasses import dataclass
from typing import Any

from chestfold.data.declaration import toml_value

CONFIRM = "CONFIRM: "
"""Before the reason of a guess that nothing in the files proves."""
WIDTH = 34
"""Characters before the reason."""


@dataclass(frozen=True)
class Line:
    """`key = value  # why`; with `idea` the whole line is a comment, which a person may take up."""

    key: str
    value: Any
    why: str
    idea: bool = False

    @property
    def text(self) -> str:
        """As it is written."""
        start = f"{'# ' if self.idea else ''}{self.key} = {toml_value(self.value)}"
        return f"{start:{WIDTH}}  # {' '.join(self.why.split())}"


def with_counts(counts: dict[str, int], shown: int = 8) -> str:
    """`ill (20), healthy (12)`; of many the first, and how many more."""
    names = [f"{name!r} ({count})" for name, count in list(counts.items())[:shown]]
    more = len(counts) - shown
    return ", ".join(names) + (f", and {more} more" if more > 0 else "")
