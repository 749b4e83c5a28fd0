"""The section of one result: what it is, its figures, its charts and its worst errors."""

from dataclasses import dataclass

from chestfold.core.run_folder import FoldFolder
from chestfold.evaluate import leaderboard, predictions
from chestfold.evaluate.leaderboard import Row
from chestfold.evaluate.metrics import confusion_columns, find_metric
from chestfold.evaluate.results import Result, ResultRecord
from chestfold.evaluate.thresholds import have_thresholds
from chestfold.report import curves
from chestfold.report.attention import AttentionView, attention_view
from chestfold.report.charts import Curve
from chestfold.report.curves import Bin, OverEpochs
from chestfold.report.worst_errors import Mistake, Thumbnails, worst_errors

LABEL_METRICS = ("auc", "precision", "recall", "specificity", "f1")
"""Columns of the table of several labels."""


@dataclass(frozen=True)
class Section:
    """What result.html shows of a row of the board.

    `texts`: of the board's columns. `learning`: empty for a published result, whose folds are not published. `roc`,
    `precision_recall`, `bins`: of the out-of-fold predictions. `errors`: each with the key of its thumbnail, None where
    its image cannot be read. `has_images`: whether input/ has them.
    """

    row: Row
    texts: dict[str, str]
    learning: list[OverEpochs]
    roc: list[Curve]
    precision_recall: list[Curve]
    bins: list[Bin]
    attention: AttentionView | None
    errors: list[tuple[Mistake, str | None]]
    has_images: bool

    @property
    def record(self) -> ResultRecord:
        """scores.json."""
        return self.row.result.record

    @property
    def has_thresholds(self) -> bool:
        """Whether what is predicted depends on a threshold."""
        return have_thresholds(self.record.create_task())

    @property
    def confusion_columns(self) -> tuple[str, ...]:
        """Titles of the columns of the confusion matrix."""
        return confusion_columns(self.record.create_task())

    @property
    def label_metrics(self) -> dict[str, str]:
        """Metric -> title, of those that each of several labels is scored by."""
        return {name: find_metric(name, self.record.metric_weights).title for name in LABEL_METRICS}

    @property
    def auc_of_folds(self) -> dict[str, float]:
        """Fold, in words, -> its AUC."""
        values = self.record.scores.per_fold_auc or []
        return {f"fold {fold}": value for fold, value in zip(self.record.folds.trained, values, strict=True)}


def section(row: Row, thumbnails: Thumbnails) -> Section:
    """The section of a row; the images of its errors are added to `thumbnails`."""
    result = row.result
    data = result.record.data
    oof, origin = result.oof()
    task = result.record.create_task()
    has_images = thumbnails.has(data, origin["index_sha256"])
    errors = []
    for mistake in worst_errors(oof, task):
        errors.append((mistake, thumbnails.key(data, mistake.id) if has_images else None))
    attention = result.attention()
    labels = task.labels(oof["label"].tolist())
    probs = predictions.probabilities(oof)
    drawn = curves.columns(task, labels, probs)
    return Section(
        row=row,
        texts=leaderboard.texts_of(row),
        learning=_learning_curves(result),
        roc=curves.roc(drawn),
        precision_recall=curves.precision_recall(drawn),
        bins=curves.reliability(task, labels, probs),
        attention=attention_view(attention) if attention else None,
        errors=errors,
        has_images=has_images,
    )


def _learning_curves(result: Result) -> list[OverEpochs]:
    trained = result.record.folds.trained
    folders = [FoldFolder(result.folder / f"fold{fold}") for fold in trained]
    histories = {folder.number: folder.history() for folder in folders if folder.history_path.exists()}
    if not histories:
        return []
    best = dict(zip(trained, result.record.best_epochs, strict=True))
    return [curves.over_epochs(key, histories, best) for key in ("loss", "auc", "accuracy")]
