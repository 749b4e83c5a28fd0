"""The folder of one fold: what it is bound to, and whether it is finished."""

import json
from pathlib import Path
from typing import Any

from chestfold.core.config import Experiment, difference
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, remove_temporary, runs_dir, sha256_file, write_json
from chestfold.train.prepare import Prepared, synthetic_fingerprint


def fold_dir(name: str, fold: int) -> Path:
    """Where a fold of a run lies."""
    return runs_dir() / name / f"fold{fold}"


def begin(folder: Path, config: dict[str, Any], overwrite: bool) -> bool:
    """Tidy and claim a fold's folder; returns whether it is finished already."""
    remove_temporary(folder)
    claim(folder, config, overwrite)
    return is_finished(folder, config)


def fold_config(ready: Prepared, fold: int) -> dict[str, Any]:
    """The content of config.json: all that decides the bytes of a fold's predictions."""
    request = ready.request
    return {
        "experiment": request.name,
        "fold": fold,
        "settings": request.exp.to_dict(),
        "parent": request.parent,
        "changed": {k: list(v) for k, v in request.changed.items()},
        "classes": list(ready.classes),
        "positive": ready.index.dataset.positive,
        "fingerprint": ready.fingerprint() | synthetic_fingerprint(ready, fold),
    }


def claim(folder: Path, config: dict[str, Any], overwrite: bool) -> None:
    """Bind `folder` to `config`, once.

    Raises:
        InputError: it is bound to another one; names the differences and the ways on.
    """
    path = folder / "config.json"
    if overwrite:
        _empty(folder)
    if not path.exists():
        write_json(path, config)
        return
    old = read_json(path)
    changed = difference(_deciding(old), _deciding(json.loads(json.dumps(config))))
    if changed:
        text = ", ".join(f"{k}: {a} -> {b}" for k, (a, b) in changed.items())
        raise InputError(
            f"{folder} was begun with other settings ({text}); copy the experiment to a new number to keep "
            "both, or add --overwrite to throw the old one away"
        )


def _empty(folder: Path) -> None:
    """Delete what a fold holds: what vouches for files before them, and last the config that they are bound to."""
    for vouching in (folder.parent / "scores.json", folder / "manifest.json"):
        vouching.unlink(missing_ok=True)
    for file in folder.iterdir():
        if file.name not in (".lock", "config.json"):
            file.unlink()
    (folder / "config.json").unlink(missing_ok=True)


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    """A setting that an older version did not know had its default."""
    return (
        Experiment().to_dict()
        | config["settings"]
        | config["fingerprint"]
        | {k: config[k] for k in ("fold", "classes", "positive")}
    )


def is_finished(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the manifest is there and every file that it names has its hash.

    Raises:
        InputError: a file was changed or lost after the fold was finished.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return False
    for name, digest in read_json(path)["files"].items():
        if not (folder / name).exists() or sha256_file(folder / name) != digest:
            raise InputError(
                f"{folder / name} is not the file that the fold finished with; restore it, or train fold "
                f"{config['fold']} again with --overwrite"
            )
    return True
