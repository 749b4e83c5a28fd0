"""A config.json of a finished fold as another version, or another name, would have left it, with its manifest."""

from pathlib import Path
from typing import Any

from chestfold.core.files import read_json, sha256_json, write_json


def sign_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json of a fold's folder, and its hash into the manifest."""
    write_json(folder / "config.json", config)
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"config_sha256": sha256_json(config)})
