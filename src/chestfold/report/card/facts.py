"""What a model card is filled with: a result, its images, its data set."""

import math
from dataclasses import dataclass
from typing import Any

from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.data.catalogue import find_dataset
from chestfold.data.dataset import Dataset
from chestfold.evaluate.attention import Attention
from chestfold.evaluate.leaderboard import format_score, format_value
from chestfold.evaluate.metrics import OUTCOMES
from chestfold.evaluate.results import Figures, Result, ResultRecord
from chestfold.report.card.image_flow import ImageFlow, image_flow
from chestfold.report.card.words import Words, texts

Row = list[str]


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
        settings = self.record.all_settings if self.record.settings else {}
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
            "subgroups": bool(self.result.by_subgroup()),
            "looks": self.attention is not None,
        }
        return there[need]

    def claim(self, words: Words) -> list[Row]:
        """Number, title and place of each item of CLAIM 2024."""
        rows = []
        for item in texts()["claim"]:
            where = words("by_authors")
            if "section" in item and self.has(item.get("needs", "")):
                number = words(item["section"]).partition(".")[0]
                where = words("in_part" if item.get("part") else "here", section=number)
            rows.append([str(item["number"]), item[words.language], where])
        return rows

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

    def subgroups(self, words: Words) -> list[Row]:
        """A head, and a row for each part that the data set is divided into; empty where it is not."""
        names = ["recall", "specificity", "accuracy", "auc"]
        rows = []
        for title, parts in self.result.by_subgroup().items():
            for value, scores in parts.items():
                figures = [format_score(getattr(scores, name)) for name in names]
                figures[-1] += "*" if scores.auc_against_all else ""
                rows.append([f"{title}: {value}", str(scores.images), str(scores.patients), *figures])
        if not rows:
            return []
        return [[words("subgroup"), words("images"), words("patients"), *map(words.metric, names)], *rows]

    @property
    def of_folds(self) -> str:
        """AUC of each fold; empty where there is one fold."""
        values = self.record.scores.per_fold_auc or []
        return ", ".join(map(_figure, values)) if len(values) > 1 else ""

    def shifted(self, words: Words) -> list[Row]:
        """A head, the mean AUC over all corruptions, and that under each."""
        corrupted = self.record.scores.corrupted
        if corrupted is None:
            return []
        rows = [[words("shift"), "AUC"], [words("shifted_mean"), str(corrupted.auc)]]
        return rows + [[name, _figure(value)] for name, value in corrupted.per_corruption.items()]

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


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def gather(result: Result) -> Facts:
    """What is known of a result here."""
    try:
        dataset = find_dataset(result.record.data)
    except InputError:  # a card is of a result: it says that the declaration is not here
        dataset = None
    folds = [] if result.is_published else RunFolder(result.name).begun_folds()
    weights = folds[0].config().fingerprint.get("weights", "") if folds else ""
    return Facts(result, image_flow(result), dataset, result.attention(), weights)
