"""The leaderboard: one row per result, from files alone."""

from dataclasses import dataclass
from typing import Any

from chestfold.core.files import read_json, runs_dir
from chestfold.evaluate import metrics, predictions
from chestfold.evaluate.metrics import Score
from chestfold.evaluate.results import Result, format_folds, trained_folds

COLUMNS = ("auc", "precision", "recall", "specificity", "f1", "accuracy", "ece")
HEADER = (
    "result",
    "AUC",
    "AUC, shifted",
    "precision",
    "recall",
    "specificity",
    "F1",
    "accuracy",
    "ECE",
    "F1 tuned",
    "AUC against parent",
    "test AUC",
    "in lungs",
    "minutes",
    "what",
)
MAIN = ("result", "AUC", "AUC, shifted", "F1", "accuracy", "AUC against parent")
WIDE = 230
"""Characters that all columns need."""


@dataclass(frozen=True)
class Row:
    """A line of the board. `gain`: paired difference in AUC to the parent, where both were trained on one fold file.

    `in_lungs`: share of the heat maps inside the lungs, where `chestfold explain` was run and lungs are known.
    """

    result: Result
    what: str
    scores: dict[str, Score]
    corrupted: Score | None
    tuned_f1: Score | None
    gain: Score | None
    test_auc: Score | None
    in_lungs: Score | None


def rows_by_folds(results: list[Result]) -> dict[str, list[Row]]:
    """Title -> rows, best AUC first; only results on the same images and folds stand in one table. No debug runs."""
    by_name = {r.name: r for r in results}
    tables: dict[str, list[Row]] = {}
    for result in results:
        if not result.name.endswith("-debug"):
            folds, text = result.about["folds"], format_folds(result.about)
            title = f"{result.about['data']} (folds/{folds['file']}.csv {folds['sha256'][:8]}, {text})"
            tables.setdefault(title, []).append(_row(result, by_name))
    return {title: sorted(rows, key=lambda r: -r.scores["auc"].value) for title, rows in sorted(tables.items())}


def _row(result: Result, by_name: dict[str, Result]) -> Row:
    scores = {name: result.score("at_half", name) for name in COLUMNS}
    test = result.about["scores"].get("test")
    return Row(
        result=result,
        what=describe(result.about),
        scores={name: score for name, score in scores.items() if score},
        corrupted=result.score("corrupted", "auc"),
        tuned_f1=result.score("cross_fitted", "f1"),
        gain=_gain(result, by_name.get(result.about.get("parent", ""))),
        test_auc=Score(**test["at_half"]["auc"]) if test else None,
        in_lungs=_in_lungs(result),
    )


def _in_lungs(result: Result) -> Score | None:
    about = result.attention()
    found = about["measures"]["predicted"].get("in_lungs") if about else None
    return Score(**found["all"]) if found else None


def _gain(result: Result, parent: Result | None) -> Score | None:
    if parent is None or _images_scored(parent.about) != _images_scored(result.about):
        return None
    ours, _ = result.oof()
    theirs = predictions.aligned(parent.oof()[0], ours["id"], predictions.class_columns(ours))
    return metrics.paired_auc(
        predictions.labels(ours),
        predictions.probabilities(ours),
        predictions.probabilities(theirs),
        ours["group"].to_numpy(),
    )


def _images_scored(about: dict[str, Any]) -> tuple[str, list[int]]:
    return about["folds"]["sha256"], trained_folds(about)


def describe(about: dict[str, Any]) -> str:
    """What a result is: its members, or its parent and what was changed."""
    if about["kind"] == "ensemble":
        return f"{about['method']} of {' + '.join(about['members'])}"
    if not about["parent"]:
        return f"{about['settings']['backbone']} {about['settings']['image_size']} px"
    changes = ", ".join(f"{k} {short(v[1])}" for k, v in about["changed"].items())
    return f"{about['parent']} but {changes}"


def short(value: Any) -> str:
    """A setting's value in a table."""
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def cells(row: Row) -> list[str]:
    """The texts of a row, in the order of `HEADER`: of the board and of RESULTS.md."""
    figures = [row.scores["auc"], row.corrupted, *(row.scores[name] for name in COLUMNS[1:]), row.tuned_f1]
    gain = f"{row.gain.value:+.4f} [{row.gain.low:+.4f}, {row.gain.high:+.4f}]" if row.gain else "-"
    minutes = f"{row.result.about['minutes']:.1f}"
    return [row.result.name, *map(_text, figures), gain, _text(row.test_auc), _text(row.in_lungs), minutes, row.what]


def _text(score: Score | None) -> str:
    """Value and interval; four decimals, because good AUCs differ in the third."""
    return str(score) if score else "-"


def unfinished() -> list[str]:
    """A line for each run with folds that are begun and not collected: how far each of its folds is."""
    lines = []
    for folder in sorted(p for p in runs_dir().glob("*") if p.is_dir()):
        begun = sorted(p for p in folder.glob("fold*") if (p / "config.json").exists())
        collected = (folder / "scores.json").exists() and all((p / "manifest.json").exists() for p in begun)
        states = [f"{fold.name} {_state(fold)}" for fold in begun]
        lines += [f"{folder.name}: {', '.join(states)}"] if states and not collected else []
    return lines


def _state(fold: Any) -> str:
    if (fold / "manifest.json").exists():
        return f"finished (best epoch {read_json(fold / 'manifest.json')['best_epoch']})"
    metrics_path = fold / "metrics.jsonl"
    done = len(metrics_path.read_text().splitlines()) if metrics_path.exists() else 0
    return f"{done} epochs"
