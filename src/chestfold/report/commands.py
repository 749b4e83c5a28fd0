"""The command that makes a result again."""

from typing import Any

from chestfold.evaluate.results import ResultRecord


def command(record: ResultRecord) -> str:
    """The command that makes a result again."""
    if record.kind == "imported":
        return f"chestfold import {record.name} --data {record.data} --oof {record.source}"
    if record.kind == "ensemble":
        members = " ".join(record.members)
        return f"chestfold ensemble {members} --name {record.name} --method {record.method}"
    if record.kind == "calibrated":
        return f"chestfold calibrate {record.members[0]}"
    return training_command(record)


def training_command(record: ResultRecord) -> str:
    """The command that trained a run: its file, and the options that its name and its changes tell."""
    name, _, data = record.name.partition("@")
    stem, _, tag = name.partition("-")
    words = [f"python exps/{stem}.py"]
    if data:
        words.append(f"--data {data}")
    if tag:
        words.append(f"--tag {tag}")
        for setting, (_, new) in record.changed.items():
            if setting != "data":
                words.append(f"--{setting.replace('_', '-')} {_argument(new)}")
    if record.folds.missing:
        words.append(f"--fold {_argument(record.folds.trained)}")
    return " ".join(words)


def _argument(value: Any) -> str:
    """A setting as it is typed."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
