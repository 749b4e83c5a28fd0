"""Whether names begin with a patient."""

import re
from collections import Counter
from collections.abc import Sequence

BEGINNING = re.compile(r"^(.+?)[_ -]")
AN_EXAMPLE = r"^([^_]+)_"


def file_name_pattern(names: Sequence[str]) -> str:
    """A pattern for the beginnings that several names share, up to the first `_`, `-` or space; else an example."""
    beginnings = Counter(match[1] for match in map(BEGINNING.match, names) if match)
    shared = [count for count in beginnings.values() if count > 1]
    if len(beginnings) > 2 and shared and sum(beginnings.values()) == len(names):
        return BEGINNING.pattern
    return AN_EXAMPLE
