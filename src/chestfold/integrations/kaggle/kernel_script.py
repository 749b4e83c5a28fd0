"""What a Kaggle kernel runs: find the chestfold package among its inputs, and predict the images of its competition.

`chestfold kernel` copies this file as infer.py, so it imports nothing but Python's own until the package is found.
"""

import runpy
import sys
from pathlib import Path

INPUT = Path("/kaggle/input")


def main() -> None:
    """Write submission.csv into the current folder; a folder on the command line replaces Kaggle's."""
    given = [Path(word) for word in sys.argv[1:] if Path(word).is_dir()]
    root = given[0] if given else INPUT
    packages = [*root.rglob("chestfold.pyz"), *(path.parents[1] for path in root.rglob("chestfold/__init__.py"))]
    if not packages:
        sys.exit(f"error: {root} holds no chestfold.pyz; add the data set with the weights to this kernel")
    sys.path.insert(0, str(packages[0]))
    sys.argv = [sys.argv[0], str(root)]
    runpy.run_module("chestfold.predict.competition", run_name="__main__")


if __name__ == "__main__":
    main()
