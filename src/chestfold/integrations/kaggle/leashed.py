"""The `kaggle` program, which ends when the process that started it does, however that ended.

Left alone it would go on with what its starter, run again, has no way to see, and begins a second time.
Run as `python -m chestfold.integrations.kaggle.leashed ARGUMENTS`; the starter holds the other end of stdin open.
"""

import os
import runpy
import threading


def main() -> None:
    """Run `kaggle` with the arguments of the command line, and without an input."""
    leash = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    runpy.run_module("kaggle", run_name="__main__", alter_sys=True)


def _end_with(leash: int) -> None:
    """Wait until nobody holds the other end, and end at once."""
    os.read(leash, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
