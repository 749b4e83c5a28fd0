"""What a Kaggle kernel runs: find the weights among its inputs, and predict the images of its competition.

`chestfold kernel` copies this file as infer.py and fills in two names, so it imports nothing but Python's own until the
package is found beside the weights.
"""

import runpy
import sys
from pathlib import Path

INPUT = Path("/kaggle/input")
CONTENTS = ""
"""The file that describes the weights: no other weights have this name."""
COMPETITION = ""


def main() -> None:
    """Write submission.csv into the current folder; a folder on the command line replaces Kaggle's."""
    print(f"{CONTENTS} for {COMPETITION}", flush=True)  # by this line of its log a run is known
    given = [Path(word) for word in sys.argv[1:] if Path(word).is_dir()]
    root = given[0] if given else INPUT
    found = list(root.rglob(CONTENTS))
    if len(found) != 1:
        sys.exit(
            f"error: {root} holds {CONTENTS} {len(found)} times; add the data set with these weights to this kernel"
        )
    folder = found[0].parent
    unpacked = [path.parents[1] for path in folder.rglob("chestfold/__init__.py")]
    packages = [*folder.glob("chestfold.pyz"), *unpacked]
    if not packages:
        sys.exit(f"error: {folder} holds no chestfold.pyz; add the data set with these weights to this kernel")
    sys.path.insert(0, str(packages[0]))
    sys.argv = [sys.argv[0], str(root), str(found[0]), COMPETITION]
    runpy.run_module("chestfold.predict.competition", run_name="__main__")


if __name__ == "__main__":
    main()
