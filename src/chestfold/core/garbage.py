"""Fewer passes of Python's garbage collector over what the heavy imports make."""

import gc


def collect_rarely() -> None:
    """Look for garbage after 100,000 new objects, not after 700.

    The imports of torch and timm make a million objects, none of them garbage; looking through them again and again is
    a seventh of the time from a command to its first batch.
    """
    gc.set_threshold(100_000, 20, 20)
