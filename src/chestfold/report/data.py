"""From results to the records of the page: what is in scores.json, the predictions, and the images behind them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, runs_dir, sha256_json
from chestfold.core.run_folder import FoldFolder
from chestfold.core.task import Labels, Task
from chestfold.data.dataset import MOST_SUBGROUPS, Index
from chestfold.data.transforms.preprocess import seen_part
from chestfold.evaluate import leaderboard, predictions, published_baselines, subgroups, synthetic_gain
from chestfold.evaluate.attention import ATTENTION, Attention, read_images
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.marks import base_rate, marks_of, never_called, warning_of
from chestfold.evaluate.metrics import metric_name
from chestfold.evaluate.paired import against_parent
from chestfold.evaluate.results import Result, ResultRecord, not_run
from chestfold.integrations.kaggle.submission import Standing, standings
from chestfold.report.attention import grids, read_maps, read_outlines, small_maps
from chestfold.report.commands import command
from chestfold.report.images import Errors, Pictures, Wanted, in_turn, matching_index
from chestfold.report.records import (
    PERCENT,
    Cases,
    Curves,
    Grid,
    Interval,
    Maps,
    Page,
    Run,
    Shown,
    Subgroup,
    Table,
    Unfinished,
    array,
    parts,
)

ROOM, LEAST = 610_000, 160_000
"""Bytes of predictions and pictures together, so that the page of fifty results is smaller than 1.8 MB; and the room
that pictures have however many results there are."""
UNUSED = ("lr", "grad_norm", "seconds", "images_per_second")
"""Figures of an epoch that the page does not draw."""


@dataclass(frozen=True)
class Beside:
    """What is known of results but not in their own files. `everything`: name -> result; `explained`: see `build`."""

    everything: Mapping[str, Result]
    standings: Mapping[str, Standing]
    explained: Mapping[str, Path]

    def maps_of(self, result: Result) -> Path:
        """The folder of its heat maps; it need not exist."""
        return self.explained.get(result.name, result.folder / Path(ATTENTION).parent)


@dataclass
class CaseTable:
    """The images of a fold file, as results have them: `id, group, fold, label`, sorted by id.

    `index`: where input/ holds the images. `runs`: trained folds -> results; `explained`: result -> row -> maps;
    `pictured`: rows that `explain` drew; `outlines`: "lungs" or "lesion" -> row -> bits of the mask.
    """

    rows: pd.DataFrame
    task: Task
    data: str
    index: Index | None
    errors: Errors
    runs: dict[tuple[int, ...], list[tuple[ResultRecord, Run]]] = field(default_factory=dict)
    explained: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    pictured: list[int] = field(default_factory=list)
    outlines: dict[str, dict[int, bytes]] = field(default_factory=lambda: {"lungs": {}, "lesion": {}})

    @cached_property
    def labels(self) -> Labels:
        """The truth, as the task has it."""
        return self.task.labels(self.rows["label"].tolist())

    @property
    def listed(self) -> list[int]:
        """The rows whose images are listed."""
        return in_turn([self.errors.hardest(), self.pictured])


def build(
    results: Sequence[Result],
    everything: Sequence[Result],
    now: datetime,
    refresh: float = 0,
    explained: Mapping[str, Path] | None = None,
) -> Page:
    """The records of the page.

    Args:
        results: those that are shown.
        everything: parents of these among them.
        now: when it is made.
        refresh: seconds after which an open page looks for a newer one; 0: never.
        explained: result -> its folder of heat maps, where that is not the one of the default method.
    """
    beside = Beside({result.name: result for result in everything}, standings(results), explained or {})
    of_files: dict[str, list[Result]] = {}
    for result in results:
        folds = result.record.folds
        of_files.setdefault(f"{result.record.data}-{folds.file}-{folds.sha256[:8]}", []).append(result)
    read = {key: _read(some, beside) for key, some in sorted(of_files.items())}
    pictures = _pictures(read.values())
    tables = [table for key, cases in read.items() for table in _tables(key, cases, pictures)]
    return Page(
        version=version("chestfold"),
        made=now.isoformat(timespec="seconds"),
        refresh=refresh,
        defaults=_defaults(results),
        tables=tables,
        cases={key: _cases(cases, pictures) for key, cases in read.items()},
        thumbs=pictures.jpegs,
    )


# Images and predictions


def _read(results: list[Result], beside: Beside) -> CaseTable:
    """The results of one fold file, which is put together from theirs."""
    tables = {result.name: result.oof() for result in results}
    largest = {result.images_scored: tables[result.name][0] for result in results}
    rows = pd.concat([table[predictions.KEYS] for table in largest.values()])
    rows = rows.drop_duplicates("id").sort_values("id").reset_index(drop=True)
    first = results[0].record
    index = matching_index(first.data, tables[results[0].name][1].get("index_sha256", ""))
    cases = CaseTable(rows, first.create_task(), first.data, index, Errors(len(rows)))
    for result in results:
        probs = _add_predictions(cases, result, tables[result.name][0])
        cases.explained[result.name] = _maps(cases, beside.maps_of(result))
        run = _run(result, probs, beside)
        cases.runs.setdefault(result.record.folds.trained, []).append((result.record, run))
    return cases


def _of_folds(cases: CaseTable, trained: Sequence[int]) -> np.ndarray:
    """Rows of the images in the folds, int64 (n,)."""
    return np.flatnonzero(cases.rows["fold"].isin(list(trained)))


def _add_predictions(cases: CaseTable, result: Result, table: pd.DataFrame) -> bytes:
    """The predictions of a result as the page has them; its errors are counted."""
    rows = _of_folds(cases, result.record.folds.trained)
    ids = cases.rows["id"].iloc[rows]
    if not np.array_equal(table["id"], ids):
        try:
            table = predictions.aligned(table, ids, cases.task.classes)
        except InputError as error:
            raise InputError(f"{result.folder} does not hold the images of its folds: {error}") from error
    probs = table[list(cases.task.classes)].to_numpy(np.float64)
    cases.errors.add(cases.task, cases.labels[rows], probs, rows)
    return array(quantised(cases.task, probs), "uint16")


def quantised(task: Task, probs: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) in whole parts, int64: of two exclusive classes that of the positive one (N,), else (N, K).

    What is decided of them is what is decided of the probabilities: of several classes the largest is the only one;
    grades are differences of the parts of their sums, because a grade is decided by sums.
    """
    if task.sums_to_one and len(task.classes) == 2:
        return parts(probs[:, task.positive_number])
    if task.name == "ordinal":
        at_least = parts(probs[:, ::-1].cumsum(axis=1).clip(0, 1))
        return np.diff(at_least, axis=1, prepend=0)[:, ::-1]
    found = parts(probs)
    if task.sums_to_one:
        _untie(found, probs.argmax(axis=1))
    return found


def _untie(found: np.ndarray, chosen: np.ndarray) -> None:
    """Make what is `chosen` (N,) the only largest part of each row (N, K), without a step over a cut-off."""
    largest = found[np.arange(len(found)), chosen][:, None]
    others = (found == largest) & (np.arange(found.shape[1]) != chosen[:, None])
    below_cut = largest[:, 0] % PERCENT == PERCENT - 1
    found[np.arange(len(found)), chosen] += others.any(axis=1) & ~below_cut
    found -= others & below_cut[:, None]


def _maps(cases: CaseTable, folder: Path) -> dict[int, np.ndarray]:
    """Row -> heat maps (2, rows, columns) of a result; the images that were drawn are noted, and their outlines."""
    table = read_images(folder)
    if table is None:
        return {}
    row_of = dict(zip(cases.rows["id"], range(len(cases.rows)), strict=True))
    drawn = table[table["picture"].notna()].sort_values(["p_true", "id"], kind="stable")
    cases.pictured += [row_of[image] for image in drawn["id"] if image in row_of]
    for kind, outlines in cases.outlines.items():
        outlines |= {row_of[image]: bits for image, bits in read_outlines(folder, kind).items() if image in row_of}
    return {row_of[image]: maps for image, maps in read_maps(folder).items() if image in row_of}


def _pictures(read: Iterable[CaseTable]) -> Pictures:
    """The pictures of what is listed, as many as there is room for."""
    wanted, taken = [], 0
    for cases in read:
        ids = cases.rows["id"].iloc[cases.listed].tolist()
        wanted.append(Wanted(cases.index, ids))
        taken += sum(len(run.probs) for runs in cases.runs.values() for _, run in runs)
    pictures = Pictures()
    pictures.read(wanted, max(ROOM - taken, LEAST))
    return pictures


def _cases(cases: CaseTable, pictures: Pictures) -> Cases:
    return Cases(
        n=len(cases.rows),
        labels=array(cases.labels, "uint8"),
        groups=array(np.unique(cases.rows["group"], return_inverse=True)[1], "uint32"),
        folds=array(cases.rows["fold"].to_numpy(), "uint8"),
        subgroups=_subgroups(cases),
        shown=[_shown(cases, row, pictures) for row in cases.listed],
    )


def _shown(cases: CaseTable, row: int, pictures: Pictures) -> Shown:
    image = cases.rows["id"][row]
    thumb = pictures.key(cases.data, image)
    known = {kind: outlines[row] for kind, outlines in cases.outlines.items() if row in outlines}
    return Shown(row, image, thumb, known if thumb else {})


def _subgroups(cases: CaseTable) -> list[Subgroup]:
    """What divides the images: by their ids, and where the images are here by columns of their table too."""
    ids = cases.rows["id"]
    divisions = subgroups.values_in(cases.index, ids) if cases.index else subgroups.values_of(cases.data, ids)
    found = []
    for name, values in divisions.items():
        known = sorted(set(values.tolist()) - {""})
        numbers = {value: number for number, value in enumerate(known)}
        codes = np.array([numbers.get(value, -1) for value in values.tolist()])
        if 0 < len(known) <= MOST_SUBGROUPS:  # an index refuses more, with a sentence
            found.append(Subgroup(name, known, array(codes, "uint8")))
    return found


# Tables and results


def _tables(key: str, cases: CaseTable, pictures: Pictures) -> list[Table]:
    """The tables of a fold file: of all folds first."""
    wholes = sorted(cases.runs, key=lambda trained: (-len(trained), trained))
    return [_table(key, cases, trained, pictures) for trained in wholes]


def _table(key: str, cases: CaseTable, trained: tuple[int, ...], pictures: Pictures) -> Table:
    results = sorted(cases.runs[trained], key=_order)
    record = results[0][0]
    numbers = _of_folds(cases, trained)
    present = np.nansum(cases.task.truth(cases.labels[numbers]), axis=0).astype(int).tolist()
    counts = dict(zip(cases.task.classes, present, strict=True))
    runs = [replace(run, maps=_shown_maps(cases, run, pictures)) for _, run in results]
    folds = record.folds
    other = f", folds/{folds.file}" if folds.file != record.data else ""
    return Table(
        id=re.sub(r"[^A-Za-z0-9_.]", "_", record.data) + f"-{sha256_json([key, trained])[:6]}",
        title=f"{record.data}, {folds}{other}",
        data=record.data,
        warning=warning_of(record),
        task=record.task,
        classes=list(cases.task.classes),
        positive=cases.task.positive_number if record.positive else -1,
        metric=_metric(record),
        images=len(numbers),
        patients=cases.rows["group"].iloc[numbers].nunique(),
        counts=counts,
        base=_base(record),
        black=_black(cases),
        cases=key,
        folds=list(trained),
        fold_count=folds.count,
        fold_file=folds.file,
        fold_hash=folds.sha256,
        own=sum(run.own for run in runs),
        runs=runs,
    )


def _order(result: tuple[ResultRecord, Run]) -> tuple[bool, float, str]:
    """The best first, then those without a figure."""
    record, run = result
    score = run.scores["competition"]
    value = score[0] if score else float("nan")
    return isnan(value), -record.competition_metric.worth(value), record.name


def _metric(record: ResultRecord) -> dict[str, Any]:
    title = record.competition_metric.title
    return {"key": metric_name(record.metric), "title": title, "higher_is_better": record.higher_is_better}


def _base(record: ResultRecord) -> dict[str, Any] | None:
    """The most frequent of exclusive classes: what always saying it would be right in."""
    rate = base_rate(record)
    return {"class": rate.answer, "share": rate.share} if rate else None


def _black(cases: CaseTable) -> dict[str, Any] | None:
    """The best run that saw no lungs: what can be told without them."""
    found = [shown for runs in cases.runs.values() for shown in runs if shown[1].settings.get("frame") == "lungs_black"]
    if not found:
        return None
    best = min(found, key=_order)[1]
    return {"name": best.name, "score": best.scores["competition"]}


def _shown_maps(cases: CaseTable, run: Run, pictures: Pictures) -> Maps | None:
    """Those of the images that have a picture."""
    ids, found = cases.rows["id"], {}
    for row, maps in cases.explained[run.name].items():
        if pictures.key(cases.data, ids[row]):
            found[row] = maps
    part = seen_part(run.settings.get("frame", "none"))
    return small_maps(found, part, cases.task.classes[cases.task.positive_number])


def _run(result: Result, probs: bytes, beside: Beside) -> Run:
    record, scores = result.record, result.record.scores
    compared = against_parent(result, beside.everything.get(record.parent))
    about = beside.maps_of(result) / Path(ATTENTION).name
    attention = Attention.from_json(about) if about.exists() else None
    return Run(
        name=result.name,
        own=not result.is_published,
        kind=record.kind,
        what=leaderboard.describe(record),
        date=record.date,
        minutes=record.minutes,
        machine=record.machine,
        command=command(record),
        commit=record.commit,
        parent=record.parent,
        members=list(record.members),
        settings=_settings(record),
        scores=_scores(result, attention),
        gain=_interval(compared.gain) if compared else None,
        p_false=compared.p_false if compared else None,
        gain_images=compared.images if compared else 0,
        marks=_marks(result),
        fold_scores=scores.per_fold or scores.per_fold_auc or [],
        confusion=scores.confusion,
        thresholds={"tuned": scores.threshold if scores.thresholds is None else scores.thresholds},
        probs=probs,
        history=_history(result) or None,
        best_epochs=list(record.best_epochs),
        leaderboard=_standing(beside.standings.get(result.name)),
        attention=grids(attention) if attention else None,
        maps=None,
    )


def _marks(result: Result) -> list[dict[str, str]]:
    """What must be read beside the figures: kind, text, and what a text in another language needs of it."""
    debug = [{"kind": "debug", "text": "a debug run: its scores mean nothing", "value": ""}] if result.is_debug else []
    of_class = ", ".join(never_called(result.record))
    found = []
    for mark in marks_of(result.record):
        relation = "<" if "below" in mark.text else "="
        value = {"never": of_class, "base_rate": relation, "folds_differ": mark.text.split()[-1]}[mark.kind]
        found.append({"kind": mark.kind, "text": mark.text, "value": value})
    return debug + found


def _scores(result: Result, attention: Attention | None) -> dict[str, Interval | None]:
    """The figures of scores.json, and those that stand beside them on the board."""
    others = {
        "competition": result.competition_score,
        "corrupted": result.score("corrupted", "auc"),
        "tuned_f1": result.score("cross_fitted", "f1"),
        "test_auc": result.score("test", "auc"),
        "in_lungs": attention.figure("predicted", "in_lungs") if attention else None,
    }
    return {name: _interval(score) for name, score in (result.record.scores.at_half | others).items()}


def _interval(score: Score | None) -> Interval | None:
    return (score.value, score.low, score.high) if score and not isnan(score.value) else None


def _settings(record: ResultRecord) -> dict[str, Any]:
    """Those that are not the default."""
    usual = Experiment().to_dict()
    return {name: value for name, value in record.settings.items() if name not in usual or value != usual[name]}


def _defaults(results: Sequence[Result]) -> dict[str, Any]:
    """The defaults of the settings that some result changes."""
    usual = Experiment().to_dict()
    named = {name for result in results for name in _settings(result.record)}
    return {name: value for name, value in usual.items() if name in named}


def _standing(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    return {"competition": standing.competition, "public": standing.public, "private": standing.private}


# Training


def _history(result: Result) -> Curves:
    """That of its folds, else the one that was published with it."""
    folds = [FoldFolder(result.folder / f"fold{number}") for number in result.record.folds.trained]
    return _histories(folds) or {number: _drawn(rows) for number, rows in result.record.history.items()}


def _histories(folders: Iterable[FoldFolder]) -> Curves:
    """Of the folds that have one."""
    found = {folder.number: _drawn(folder.history()) for folder in folders}
    return {number: rows for number, rows in found.items() if rows}


def _drawn(history: Iterable[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Four digits of each figure, which is more than a curve shows."""
    rows = []
    for row in history:
        rows.append({name: float(f"{value:.4g}") for name, value in row.items() if name not in UNUSED})
    return rows


def unfinished_runs(names: Sequence[str] = ()) -> list[Unfinished]:
    """What is still training; of `names`, or all."""
    found = []
    for run in leaderboard.unfinished_runs():
        if not names or run.name in names:
            folders = run.begun_folds()
            states = [_state(folder) for folder in folders]
            data = folders[0].config().settings["data"]
            found.append(Unfinished(run.name, data, states, _histories(folders)))
    return found


def _state(folder: FoldFolder) -> dict[str, Any]:
    done, finished = len(folder.history()), folder.manifest_path.exists()
    return {"fold": folder.number, "done": done, "epochs": leaderboard.epochs_of(folder), "finished": finished}


# Other tables


def synthetic(results: Sequence[Result]) -> Grid | None:
    """What synthetic images gain; None where nothing is compared."""
    rows = [synthetic_gain.cells(pair) for pair in synthetic_gain.pairs(list(results))]
    if not rows:
        return None
    head = list(synthetic_gain.HEADER)
    return Grid(synthetic_gain.TITLE, head, rows, head.index("AUC gained"), synthetic_gain.NOTE.replace("*", ""))


def sources(results: Sequence[Result]) -> list[Grid]:
    """The sources' tables, filled with our results."""
    stopped = not_run(published_dir()) | not_run(runs_dir())
    head = list(published_baselines.HEADER)
    filled = published_baselines.filled_tables({result.name: result for result in results}, stopped)
    return [Grid(source.title, head, rows, head.index("AUC"), source.note) for source, rows in filled]
