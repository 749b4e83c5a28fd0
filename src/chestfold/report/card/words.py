"""The texts of a model card, in English and Japanese."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from chestfold.evaluate.metrics import METRICS
from chestfold.evaluate.results import ResultRecord
from chestfold.report.card.image_flow import Part


def asset(name: str) -> str:
    """A file of this package."""
    return files("chestfold.report.card").joinpath(name).read_text(encoding="utf-8")


@cache
def texts() -> dict[str, Any]:
    """card.toml."""
    return tomllib.loads(asset("card.toml"))


@dataclass(frozen=True)
class Words:
    """The texts of a card in a language: called with a key of card.toml and what fills its holes."""

    language: str

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key`."""
        return texts()[self.language][key].format(**values)

    def known(self, value: Any) -> str:
        """A value, or that it is not known."""
        return self("not_known") if value in (None, "", "unknown") else str(value)

    def folds(self, record: ResultRecord) -> str:
        """Which folds were trained."""
        if self.language == "en":
            return str(record.folds)
        some = "、".join(map(str, record.folds.trained))
        return f"{record.folds.count} 個の fold" + (f"のうち {some}" if record.folds.missing else "")

    def metric(self, name: str) -> str:
        """What a metric is called."""
        own = texts()[self.language]["metrics"].get(name)
        return own or (METRICS[name].title if name in METRICS else name)

    def labels(self, part: Part) -> str:
        """How many images have which label."""
        if part.labels.get("") == part.images:
            return self("withheld")
        return ", ".join(f"{name or self('withheld')} {count}" for name, count in part.labels.items())
