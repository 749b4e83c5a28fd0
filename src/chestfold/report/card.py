"""A model card of a result: one page to print, in English, Japanese or both. What is not known, it says is not known.

The texts are in card.toml, their order is in templates/card.html; here is what they are filled with.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from chestfold.core.config import Experiment
from chestfold.core.console import waiting
from chestfold.core.errors import InputError
from chestfold.core.files import write_text
from chestfold.core.provenance import today
from chestfold.core.run_folder import RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Dataset
from chestfold.evaluate.attention import Attention
from chestfold.evaluate.leaderboard import format_score, format_value
from chestfold.evaluate.metrics import METRICS, OUTCOMES
from chestfold.evaluate.results import Figures, Result, ResultRecord, find_result
from chestfold.report.hide import hide_secrets
from chestfold.report.image_flow import ImageFlow, Part, image_flow

LANGUAGES = {"en": ["en"], "ja": ["ja"], "both": ["en", "ja"]}
Row = list[str]


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads(files("chestfold.report").joinpath("card.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Words:
    """The texts of a card in a language: called with a key of card.toml and what fills its holes."""

    language: str

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key`."""
        return _texts()[self.language][key].format(**values)

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
        own = _texts()[self.language]["metrics"].get(name)
        return own or (METRICS[name].title if name in METRICS else name)

    def labels(self, part: Part) -> str:
        """How many images have which label."""
        if part.labels.get("") == part.images:
            return self("withheld")
        return ", ".join(f"{name or self('withheld')} {count}" for name, count in part.labels.items())

    def claim(self, facts: "Facts") -> list[Row]:
        """Number, title and place of each item of CLAIM 2024."""
        rows = []
        for item in _texts()["claim"]:
            where = self("by_authors")
            if "section" in item and facts.has(item.get("needs", "")):
                number = self(item["section"]).partition(".")[0]
                where = self("in_part" if item.get("part") else "here", section=number)
            rows.append([str(item["number"]), item[self.language], where])
        return rows


@dataclass(frozen=True)
class Facts:
    """What a card is made of. `dataset`: the declaration, None where there is none here; `attention`: where explained.

    `weights`: the identity of the first weights, as `models.create.weights_identity` has it; "" where not known.
    """

    result: Result
    images: ImageFlow
    dataset: Dataset | None
    attention: Attention | None
    weights: str

    @property
    def record(self) -> ResultRecord:
        """Of the result."""
        return self.result.record

    @property
    def warning(self) -> str:
        """What has to be read beside the scores; older results do not hold it."""
        return self.record.warning or (self.dataset.warning if self.dataset else "")

    @property
    def settings(self) -> dict[str, str]:
        """All settings of a training; one that there was not yet had its default."""
        settings = Experiment().to_dict() | self.record.settings if self.record.settings else {}
        return {name: format_value(value) for name, value in settings.items()}

    @property
    def changes(self) -> str:
        """What was changed against the parent."""
        changed = self.record.changed.items()
        return "; ".join(f"{name}: {format_value(old)} → {format_value(new)}" for name, (old, new) in changed)

    @property
    def versions(self) -> str:
        """Of Python and of the packages; "" where none were recorded."""
        python = {"Python": self.record.python} if self.record.python else {}
        return ", ".join(f"{name} {number}" for name, number in (python | self.record.versions).items())

    def has(self, need: str) -> bool:
        """Whether there is what an item of CLAIM needs."""
        there = {
            "": True,
            "declared": self.dataset is not None,
            "settings": bool(self.record.settings),
            "versions": bool(self.record.versions),
            "made_here": self.record.kind != "imported",
            "shifted": self.record.scores.corrupted is not None,
            "looks": self.attention is not None,
        }
        return there[need]

    def base_rates(self) -> list[dict[str, Any]]:
        """How often each scored class is in the scored images; a label, in those of which it is known."""
        task, confusion = self.record.create_task(), self.record.scores.confusion
        rates = []
        for number in task.scored_classes:
            count = sum(confusion[number]) if task.sums_to_one else sum(confusion[number][2:])
            total = sum(map(sum, confusion)) if task.sums_to_one else sum(confusion[number])
            share = count / total if total else float("nan")
            rates.append({"label": self.record.classes[number], "count": count, "total": total, "share": share})
        return rates

    def performance(self, words: Words) -> list[Row]:
        """A head, and a row for each figure: at 0.5, at cross-fitted thresholds, of the test images."""
        scores = self.record.scores
        decided = scores.cross_fitted or not self.record.create_task().sums_to_one
        columns: dict[str, Figures | None] = {"at_half" if decided else "at_half_many": scores.at_half}
        columns |= {"cross_fitted": scores.cross_fitted, "test_column": scores.test.at_half if scores.test else None}
        shown = {words(key): figures for key, figures in columns.items() if figures}
        rows = [[words("figure"), *shown]]
        for name in scores.at_half:
            rows.append([words.metric(name), *(format_score(figures.get(name)) for figures in shown.values())])
        return rows

    def by_label(self, words: Words) -> list[Row]:
        """A head, and a row for each of several labels; empty where an image has one class."""
        labels = self.record.scores.by_label
        if not labels:
            return []
        names = list(next(iter(labels.values())))
        rows = [[words("figure"), *map(words.metric, names)]]
        for label, figures in labels.items():
            rows.append([label, *(format_score(figures.get(name)) for name in names)])
        return rows

    def confusion(self, words: Words) -> list[Row]:
        """A head, and a row of counts for each true class, or for each label."""
        if self.record.create_task().sums_to_one:
            head = [words("predicted", name=name) for name in self.record.classes]
        else:
            head = [words(name.replace(" ", "_")) for name in OUTCOMES]
        rows = [[words("true_class"), *head]]
        for name, counts in zip(self.record.classes, self.record.scores.confusion, strict=True):
            rows.append([name, *map(str, counts)])
        return rows

    def shifted(self, words: Words) -> list[Row]:
        """A head, the mean AUC over all corruptions, and that under each."""
        corrupted = self.record.scores.corrupted
        if corrupted is None:
            return []
        rows = [[words("shift"), "AUC"], [words("shifted_mean"), str(corrupted.auc)]]
        return rows + [[name, f"{value:.4f}"] for name, value in corrupted.per_corruption.items()]

    def looks(self, words: Words) -> list[Row]:
        """A head, and a row for each measure of the heat maps; those of lesions are of the positive class's."""
        if self.attention is None:
            return []
        rows = [[words("measure"), words("images_all"), words("even")]]
        measures = self.attention.measures
        for name in measures["even"]:
            target = "positive" if name.startswith(("pointing", "lesion")) else "predicted"
            score, even = (self.attention.figure(each, name) for each in (target, "even"))
            rows.append([words(name), format_score(score), f"{even.value:.4f}" if even else "-"])
        return rows


def gather(result: Result) -> Facts:
    """What is known of a result here."""
    try:
        dataset = find_dataset(result.record.data)
    except InputError:  # a card is of a result: it says that the declaration is not here
        dataset = None
    folds = [] if result.is_published else RunFolder(result.name).begun_folds()
    weights = folds[0].config().fingerprint.get("weights", "") if folds else ""
    return Facts(result, image_flow(result), dataset, result.attention(), weights)


def card(facts: Facts, language: str) -> str:
    """The page as text; `language` is a key of `LANGUAGES`."""
    pages = [Words(code) for code in LANGUAGES[language]]
    about = {"name": facts.result.name, "version": version("chestfold"), "date": today()}
    style = files("chestfold.report").joinpath("card.css").read_text(encoding="utf-8")
    return _environment().get_template("card.html").render(style=style, pages=pages, facts=facts, **about)


@cache
def _environment() -> Environment:
    """Every value that the template shows is escaped, and gives away no key and no folder of this machine."""
    loader = PackageLoader("chestfold.report")
    options: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    return Environment(loader=loader, undefined=StrictUndefined, finalize=_shown, **options)


def _shown(value: Any) -> Any:
    """What is shown of a value. Markup was made of values that have been here already."""
    return value if hasattr(value, "__html__") else hide_secrets(str(value))


def write_card(name: str, language: str, path: Path) -> None:
    """Write the card of the result `name`.

    Raises:
        InputError: there is no such result, it is damaged, or `path` cannot be a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    result = find_result(name)
    with waiting("counting images"):
        facts = gather(result)
    write_text(path, card(facts, language))
