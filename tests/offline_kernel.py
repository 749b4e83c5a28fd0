"""Runs a kernel's script as Kaggle does: without a network, without this checkout, without what Kaggle's image lacks.

`python offline_kernel.py SCRIPT INPUT`
"""

import runpy
import socket
import sys
from pathlib import Path

MISSING = ("albumentations", "kaggle", "kagglesdk", "matplotlib", "pytorch_grad_cam", "ray", "wandb")
CHECKOUT = Path(__file__).resolve().parents[1] / "src"


def no_network(*words: object, **options: object) -> None:
    raise AssertionError("the kernel asked the network")


def main() -> None:
    script, root = sys.argv[1:]
    for name in MISSING:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
    for name in [name for name in sys.modules if name.partition(".")[0] == "chestfold"]:
        del sys.modules[name]  # of the tests' server
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != CHECKOUT]
    setattr(socket.socket, "connect", no_network)  # noqa: B010
    sys.argv = [script, root]
    runpy.run_path(script, run_name="__main__")
    used = Path(str(sys.modules["chestfold"].__file__))
    assert used.is_relative_to(Path(root)), f"the kernel used {used}"


if __name__ == "__main__":
    main()
