"""The section of one result: what it is, its figures, its charts and its worst errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.run_folder import FoldFolder, History
from chestfold.evaluate import leaderboard, predictions
from chestfold.evaluate.leaderboard import Row, format_value
from chestfold.evaluate.metrics import ECE_BINS
from chestfold.evaluate.results import Result
from chestfold.report import charts, curves
from chestfold.report.attention import attention_tables
from chestfold.report.boards import figure, link
from chestfold.report.curves import Curve
from chestfold.report.markup import Html, table, tag
from chestfold.report.pictures import PIXELS, Album, Mistake, worst

_CONFUSION = {True: "Confusion at threshold 0.5", False: "Confusion"}
_RELIABILITY = (
    "Bars: how many of a bin are right; dots: at their mean probability. Below the dotted line the model is too sure."
)


def section(row: Row, linked: set[str], album: Album) -> Html:
    """A result, closed until one opens it or follows a link to #NAME; `linked`: the names that have a section."""
    name, texts = row.result.name, dict(zip(leaderboard.HEADER, leaderboard.cells(row), strict=True))
    summary = tag(
        "summary",
        tag("span", name, class_="run"),
        tag("span", row.what, class_="what"),
        tag("span", "AUC ", figure(texts["AUC"]), class_="headline"),
    )
    oof, origin = row.result.oof()
    parts = [
        _facts(row.result),
        tag("div", _figures(texts), _origin(row.result, linked), class_="pair"),
        _learning(row.result),
        _judgement(row.result, oof),
        _attention(row.result),
        _errors(row.result, oof, origin, album),
    ]
    return tag("details", summary, *parts, id=name, class_="card result")


def _facts(result: Result) -> Html:
    record = result.record
    classes = [f"{name} (positive)" if name == record.positive else name for name in record.classes]
    facts = {
        "data": record.data,
        "classes": ", ".join(classes),
        "folds": str(record.folds),
        "minutes": f"{record.minutes:.1f}",
        "best epochs": ", ".join(map(str, record.best_epochs)),
        "machine": record.machine[:60],
        "precision": record.precision,
        "date": record.date,
        "commit": record.commit[:10],
    }
    listed = [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts.items() if value]
    return tag("dl", *listed, class_="facts")


def _figures(texts: dict[str, str]) -> Html:
    names = [name for name in leaderboard.HEADER if name not in ("result", "minutes", "what") and texts[name] != "-"]
    shown = table(["figure", "out-of-fold"], [[name, figure(texts[name])] for name in names], class_="figures")
    return tag("section", tag("h4", "Figures, with 95 % intervals"), shown)


def _origin(result: Result, linked: set[str]) -> Html:
    return _members(result, linked) if result.record.kind == "ensemble" else _changes(result, linked)


def _changes(result: Result, linked: set[str]) -> Html:
    parent = result.record.parent
    if not parent:
        return tag("section", tag("h4", "What was changed"), tag("p", "Nothing: it has no parent."), _settings(result))
    rows = [[key, format_value(old), format_value(new)] for key, (old, new) in result.record.changed.items()]
    heading = tag("h4", "What was changed against ", _linked(parent, linked))
    shown = table(["setting", parent, result.name], rows, class_="settings")
    return tag("section", heading, shown, _settings(result))


def _linked(name: str, linked: set[str]) -> Any:
    return link(name) if name in linked else name


def _members(result: Result, linked: set[str]) -> Html:
    record = result.record
    weights = [f"{weight:.3f}" for weight in record.weights] if record.weights else ["-"] * len(record.members)
    rows = [[_linked(name, linked), weight] for name, weight in zip(record.members, weights, strict=True)]
    methods = []
    for name, scores in record.methods.items():
        shown = f"{name} (this one)" if name == record.method else name
        methods.append([shown, f"{scores.cross_fitted_auc:.4f}", f"{scores.in_sample_auc:.4f}"])
    parts = [tag("h4", f"Members and weights, by {record.method}"), table(["member", "weight"], rows)]
    if methods:
        parts.append(table(["method", "AUC cross-fitted", "AUC in-sample"], methods, class_="spaced"))
    return tag("section", *parts)


def _settings(result: Result) -> Html:
    rows = [[key, format_value(value)] for key, value in result.record.settings.items()]
    shown = table(["setting", "value"], rows, class_="settings")
    return tag("details", tag("summary", "All settings"), shown, class_="inner")


def _learning(result: Result) -> Html:
    heading = tag("h4", "Learning curves")
    if result.record.kind == "ensemble":
        return Html()
    histories = _histories(result)
    if not histories:
        sentence = "The learning curves of a published result are not published: they lie where it was trained."
        return tag("section", heading, tag("p", sentence))
    pairs = [("loss", "train_loss"), ("auc", None), ("accuracy", "train_accuracy")]
    shown = [_over_epochs(result, histories, key, training) for key, training in pairs]
    names = [(charts.series(f), f"fold {f}") for f in histories]
    note = "Lines: validation; dashed: training, taken during the epoch on augmented images. Dots: epochs kept."
    keys = charts.legend(names)
    return tag("section", heading, tag("div", *shown, class_="charts"), keys, tag("p", note, class_="note"))


def _histories(result: Result) -> dict[int, History]:
    """Fold -> its epochs; empty for a published result."""
    folders = [FoldFolder(result.folder / f"fold{fold}") for fold in result.record.folds.trained]
    return {folder.number: folder.history() for folder in folders if folder.history_path.exists()}


def _over_epochs(result: Result, histories: dict[int, History], key: str, training: str | None) -> Html:
    best_epochs = dict(zip(result.record.folds.trained, result.record.best_epochs, strict=True))
    lines, best = [], []
    for fold, history in histories.items():
        colour = charts.series(fold)
        if training:
            lines.append((f"{colour} training", _curve(history, training)))
        lines.append((colour, _curve(history, key)))
        row = history[best_epochs[fold] - 1]
        best.append((row["epoch"], row[key], colour))
    name = {"auc": "AUC"}.get(key, key)
    return _chart(name, charts.epochs(f"{result.name}: {name} over the epochs", name, lines, best))


def _curve(history: History, key: str) -> Curve:
    rows = [row for row in history if row.get(key) is not None]
    return Curve(key, np.array([row["epoch"] for row in rows], float), np.array([row[key] for row in rows], float))


def _chart(caption: str, drawing: Html, note: str = "") -> Html:
    return tag("figure", tag("figcaption", caption), drawing, tag("p", note, class_="note") if note else Html())


def _judgement(result: Result, oof: pd.DataFrame) -> Html:
    """What the OOF predictions show."""
    labels, probs = predictions.labels(oof), predictions.probabilities(oof)
    classes, name = predictions.class_columns(oof), result.name
    drawn = curves.drawn_classes(labels, classes, result.record.positive)
    roc = curves.roc(labels, probs, classes, drawn)
    precision = curves.precision_recall(labels, probs, classes, drawn)
    bins = curves.reliability(labels, probs)
    shown = [
        _chart(_CONFUSION[len(classes) == 2], _confusion(result)),
        _per_fold(result),
        _chart("ROC", charts.rates(f"{name}: ROC", "false positive rate", "true positive rate", roc, chance=True)),
        _chart(
            "Precision and recall",
            charts.rates(f"{name}: precision over recall", "recall", "precision", precision, chance=False),
        ),
        _chart(f"Reliability, {ECE_BINS} bins", charts.reliability(f"{name}: reliability", bins), _RELIABILITY),
    ]
    shifts = _per_corruption(result)
    shown += [shifts] if shifts else []
    return tag("section", tag("h4", "Out-of-fold predictions"), tag("div", *shown, class_="columns"))


def _confusion(result: Result) -> Html:
    """Counts and each row's shares; the shade is the share."""
    counts, classes = np.array(result.record.scores.confusion), result.record.classes
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for n, name in enumerate(classes):
        cells = [_shaded(int(c), float(s)) for c, s in zip(counts[n], shares[n], strict=True)]
        rows.append([tag("th", name, scope="row"), *cells])
    return table([tag("th", "true \\ predicted", scope="col"), *classes], rows, class_="confusion")


def _shaded(count: int, share: float) -> Html:
    inside = [tag("b", count), tag("span", f" {share:.1%}", class_="interval")]
    return tag("td", *inside, style=f"--share:{share * 100:.0f}%", class_="dark" if share > 0.55 else None)


def _per_fold(result: Result) -> Html:
    scores = result.record.scores
    values = scores.per_fold_auc or []
    rows = [(f"fold {fold}", value) for fold, value in zip(result.record.folds.trained, values, strict=True)]
    pooled = ("all folds together", scores.at_half["auc"].value)
    drawn = charts.bars(f"{result.name}: AUC of each fold", rows, pooled, _base(values))
    return _chart("AUC of each fold", drawn, f"Dotted: all folds together. Mean and deviation: {scores.auc_of_folds}.")


def _per_corruption(result: Result) -> Html | None:
    corrupted = result.record.scores.corrupted
    if corrupted is None:
        return None
    rows = list(corrupted.per_corruption.items())
    mean = ("mean", corrupted.auc.value)
    drawn = charts.bars(f"{result.name}: AUC under each shift", rows, mean, _base([value for _, value in rows]))
    return _chart("AUC under each shift", drawn, "Dotted: the mean.")


def _base(values: Sequence[float]) -> float:
    """Bars of AUC begin at chance, unless one lies below."""
    return 0.0 if any(value < 0.5 for value in values) else 0.5


def _attention(result: Result) -> Html:
    """Where the model looks; nothing where `chestfold explain` was not run."""
    attention = result.attention()
    if attention is None:
        return Html()
    rows, columns = attention.grid
    heading = f"Where it looks: {attention.method} of {attention.layer}, {rows} x {columns} cells"
    return tag("section", tag("h4", heading), attention_tables(attention))


def _errors(result: Result, oof: pd.DataFrame, origin: dict[str, Any], album: Album) -> Html:
    heading, mistakes = tag("h4", "The worst validation errors"), worst(oof, result.record.positive)
    if not mistakes:
        return tag("section", heading, tag("p", "None: every image was predicted as what it is."))
    if album.has(result.record.data, origin["index_sha256"]):
        keys = [album.key(result.record.data, m.id) for m in mistakes]
        cards = [_card(m, key) for m, key in zip(mistakes, keys, strict=True)]
        note = f"Square, grey and {PIXELS} px, as decoded for a model; the least probable true class first."
        return tag("section", heading, tag("div", *cards, class_="errors"), tag("p", note, class_="note"))
    sentence = "Without pictures: the images that this was trained on are not in input/."
    rows = [[m.id, m.truth, m.predicted, f"{m.probability:.4f}", m.fold] for m in mistakes]
    shown = table(["id", "true", "predicted", "probability", "fold"], rows)
    return tag("section", heading, tag("p", sentence), shown)


def _card(mistake: Mistake, key: str | None) -> Html:
    about = f"{mistake.truth}, predicted {mistake.predicted}"
    picture = tag("img", data_picture=key, alt=about, width=PIXELS, height=PIXELS)
    words = [
        tag("b", mistake.truth),
        tag("span", "predicted ", mistake.predicted, f" {mistake.probability:.4f}"),
        tag("span", f"{mistake.id}, fold {mistake.fold}", class_="id"),
    ]
    return tag("figure", picture if key else tag("p", "unreadable", class_="missing"), tag("figcaption", *words))
