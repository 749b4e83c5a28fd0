"""The command that makes a result again, as it is typed in a shell."""

import shlex
from typing import Any

from chestfold.evaluate.results import ResultRecord


def command(record: ResultRecord) -> str:
    """The command that makes a result again."""
    if record.kind == "imported":
        return shlex.join(["chestfold", "import", record.name, "--data", record.data, "--oof", record.source])
    if record.kind == "ensemble":
        made = ["--name", record.name, "--method", record.method]
        return shlex.join(["chestfold", "ensemble", *record.members, *made])
    if record.kind == "calibrated":
        return shlex.join(["chestfold", "calibrate", record.members[0]])
    return training_command(record)


def training_command(record: ResultRecord) -> str:
    """The command that trained a run: its file, and the options that its name and its changes tell."""
    name, _, data = record.name.partition("@")
    stem, _, tag = name.partition("-")
    words = ["python", f"exps/{stem}.py"]
    if data:
        words += ["--data", data]
    if tag:
        words += ["--tag", tag]
        for setting, (_, new) in record.changed.items():
            if setting != "data":
                words += [f"--{setting.replace('_', '-')}", *_arguments(new)]
    if record.folds.missing:
        words += ["--fold", *_arguments(record.folds.trained)]
    return shlex.join(words)


def _arguments(value: Any) -> list[str]:
    """The words by which a setting is typed."""
    match value:
        case None:
            return ["none"]
        case bool():
            return [str(value).lower()]
        case list() | tuple():
            return [str(part) for part in value]
        case _:
            return [str(value)]
