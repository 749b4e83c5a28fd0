"""Every figure that the board prints is that of the data, at any width: none is cut, broken or lost."""

import re
import shutil
from collections import Counter

import numpy as np
import pytest
from conftest import record_of
from rich.cells import cell_len

from chestfold.cli.main import main
from chestfold.core.files import read_json, write_json
from chestfold.core.fitted_table import Cell, FittedTable, Note
from chestfold.core.rng import generator
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.claims import Comparison, in_words
from chestfold.evaluate.marks import marks_of
from chestfold.evaluate.metrics import BOARD
from chestfold.evaluate.results import FoldsOfResult, Scores, all_results, find_result

NUMBER = r"[-+]?\d+\.\d+"
WIDTHS = [60, 80, 120, 200]
WARNING = "Its classes come from different hospitals, and what tells those apart tells the classes apart."
KINDS = {
    "multiclass": ("healthy", "ill"),
    "three": ("healthy", "viral", "bacterial"),
    "ordinal": ("none", "mild", "severe"),
    "multilabel": ("mass", "nodule", "effusion"),
    "健康": ("健康", "結節"),
}
NAMES = [
    "exp021",
    "exp021-with-a-tag-that-is-long",
    "exp034@phantom",
    "a-blend-of-many-experiments_with.a.name",
    "胸部X線",
]


def invented(rng: np.random.Generator) -> Score:
    low, value, high = sorted(rng.uniform(0, 1, 3))
    return Score(value, low, high)


@pytest.fixture
def published(trained):
    """Results of several kinds and tasks with invented figures, and two real ones of which one is the other's child."""
    rng = generator("board widths")
    for kind, classes in KINDS.items():
        for name in NAMES:
            scores = Scores(
                at_half={metric: invented(rng) for metric in BOARD},
                cross_fitted={"f1": invented(rng)} if name != NAMES[0] else None,
                confusion=np.full((len(classes), len(classes) if kind != "multilabel" else 4), 7).tolist(),
                per_fold_auc=rng.uniform(0, 1, 3).tolist() if name != NAMES[2] else None,
            )
            record = record_of(
                f"{kind}-{name}",
                data=kind,
                classes=classes,
                positive=classes[-1],
                task=kind if kind in ("ordinal", "multilabel") else "multiclass",
                metric="log_loss" if kind == "three" else "auc",
                warning=WARNING if kind == "multilabel" else "",
                folds=FoldsOfResult(file=kind, count=3, sha256=kind * 10, trained=(0, 1, 2)),
                kind="imported",
                source="theirs [old].csv",
                minutes=float(rng.uniform(0, 1000)),
                scores=scores,
                images=60,
                patients=20,
            )
            record.write(trained.root / "exps" / "results" / record.name / "scores.json")
    path = trained.runs / "exp101" / "scores.json"
    write_json(path, read_json(path) | {"parent": "exp100", "changed": {"seed": [0, 1]}})
    return trained


def printed(capsys, *options: str) -> str:
    capsys.readouterr()
    main(["board", *options])
    return capsys.readouterr().out


def figures_of(name: str) -> Counter[str]:
    """Every number that may be printed of a result, as it must be printed."""
    record = find_result(name).record
    scores = [*record.scores.at_half.values(), *(record.scores.cross_fitted or {}).values()]
    if record.metric == "log_loss":  # it has its column, and that of the competition
        scores.append(record.scores.at_half["log_loss"])
    if record.scores.corrupted:
        scores.append(record.scores.corrupted.auc)
    texts = [f"{n:.4f}" for score in scores for n in (score.value, score.low, score.high) if not np.isnan(n)]
    if record.scores.per_fold_auc:
        folds = record.scores.per_fold_auc
        texts += [f"{np.mean(folds):.4f}", f"{np.std(folds, ddof=1):.4f}"]
    if record.parent:
        texts += re.findall(NUMBER, in_words(compared(name).p_false))
    return Counter([*texts, f"{record.minutes:.1f}"])


def compared(name: str) -> Comparison:
    """A result with its parent."""
    (row,) = leaderboard.rows_by_folds(all_results(), lambda result: result.name == name).popitem()[1]
    assert row.comparison
    return row.comparison


def numbers_by_name(text: str, names: list[str]) -> dict[str, list[str]]:
    """The numbers between the first words of a row and the next row, with their signs."""
    starts = [
        (m.start(), m.end(), name) for name in names if (m := re.search(rf"(?m)^[* ]*{re.escape(name)}(?!\S)", text))
    ]
    starts.sort()
    marks = {mark.text for result in all_results() for mark in marks_of(result.record)}
    found = {}
    for (_, end, name), (until, _, _) in zip(starts, [*starts[1:], (len(text), 0, "")], strict=True):
        part = re.split(r"\n\n", text[end:until])[0].replace("\n", " ")
        for mark in marks:
            part = part.replace(mark, "")
        found[name] = re.findall(NUMBER, part)
    return found


def gains(numbers: list[str]) -> tuple[list[str], list[str]]:
    """Those with a sign, and the others."""
    return [n for n in numbers if n[0] in "+-"], [n for n in numbers if n[0] not in "+-"]


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_every_printed_figure_is_that_of_the_data(published, capsys, monkeypatch, width):
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, "--all")
    names = [result.name for result in all_results()]
    shown = numbers_by_name(text, names)
    assert set(shown) == set(names)  # none is cut
    for name, numbers in shown.items():
        gained, others = gains(numbers)
        known, main_figures = figures_of(name), {"auc", "recall", "specificity"}
        assert not Counter(others) - known, (name, Counter(others) - known)
        scores = find_result(name).record.scores.at_half
        main_figures = {"log_loss", "recall", "specificity"} if name.startswith("three") else main_figures
        assert {f"{scores[metric].value:.4f}" for metric in main_figures} <= set(others)
        assert len(gained) == (3 if name == "exp101" else 0)
        if width is None:
            assert sorted(others) == sorted((known - Counter(unshown(name))).elements())
    widest = max(map(cell_len, text.splitlines()))
    assert width is None or widest <= width
    assert not re.search(r"[ \t]$|…|\.\.\.", text, re.MULTILINE) and "\x1b" not in text


def unshown(name: str) -> list[str]:
    """Numbers of a record that are no column of the board: of the cross-fitted, F1 alone is one."""
    cross_fitted = find_result(name).record.scores.cross_fitted or {}
    others = [score for metric, score in cross_fitted.items() if metric != "f1"]
    return [f"{number:.4f}" for score in others for number in (score.value, score.low, score.high)]


def test_the_gain_is_that_of_the_paired_comparison(published, capsys, monkeypatch):
    expected = figures_gain()
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        numbers = numbers_by_name(printed(capsys, "exp101"), ["exp101"])["exp101"]
        assert gains(numbers)[0] == expected


def figures_gain() -> list[str]:
    values = {name: find_result(name).record.scores.at_half["auc"].value for name in ("exp100", "exp101")}
    gain = compared("exp101").gain
    assert gain.value == pytest.approx(values["exp101"] - values["exp100"])
    return [f"{number:+.4f}" for number in (gain.value, gain.low, gain.high)]


def test_a_wider_board_has_more_figures(published, capsys, monkeypatch):
    counts = []
    for width in WIDTHS[1:]:
        monkeypatch.setenv("COLUMNS", str(width))
        counts.append(len(numbers_by_name(printed(capsys, "exp100"), ["exp100"])["exp100"]))
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_the_sources_tables_lose_no_column_and_no_name(published, capsys, monkeypatch, width):
    shutil.copytree(published.runs / "exp100", published.runs / "exp004-a-name-that-is-long")
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, "--table", "sources")
    results = {result.name: result for result in all_results()}
    rows = [row for _, rows in published_baselines.filled_tables(results, {}) for row in rows]
    assert Counter(re.findall(NUMBER, text)) >= Counter(
        re.findall(NUMBER, " ".join(sum((row[3:] for row in rows), [])))
    )
    assert all(title in text for title in published_baselines.HEADER[1:]) and "exp004-a-name-that-is-long" in text
    assert width is None or max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_synthetic_images_loses_no_name(published, capsys, monkeypatch, width):
    row = ["10%", "exp016-share10", "exp031-over10", "natural / over", *["+0.0462 [+0.0349, +0.0574]"] * 3]
    row += ["0.9221 [0.9119, 0.9320]"] * 4 + ["800 from 862 to 874"]
    monkeypatch.setattr(synthetic_gain, "pairs", lambda results: [row])
    monkeypatch.setattr(synthetic_gain, "cells", lambda pair: pair)
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, "--table", "synthetic")
    assert "exp016-share10" in text and "exp031-over10" in text and "+0.0574]" in text
    assert max(map(cell_len, text.splitlines())) <= width


# The layout itself


def table(name: str = "exp001") -> FittedTable:
    row = {"result": Cell(name), "AUC": Cell("0.9", "[0.8, 1.0]", "green"), "sens": Cell("0.7", "[0.6, 0.8]")}
    columns = ["result", "AUC", "sens"]
    return FittedTable(columns, [row], columns, bare={"sens": "s"}, words=["result"], above=[Note("of this and that")])


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["of this and that", "result             AUC            sens", "exp001  0.9 [0.8, 1.0]  0.7 [0.6, 0.8]"]),
        (30, ["of this and that", "result             AUC    s", "exp001  0.9 [0.8, 1.0]  0.7"]),
        (25, ["of this and that", "result         AUC    s", "exp001         0.9  0.7", "        [0.8, 1.0]"]),
        (22, ["of this and that", "exp001", "  AUC   0.9 [0.8, 1.0]", "  sens  0.7 [0.6, 0.8]"]),
        (18, ["of this and that", "exp001", "  AUC   0.9", "        [0.8, 1.0]", "  sens  0.7", "        [0.6, 0.8]"]),
    ],
)
def test_a_table_becomes_narrower_step_by_step(width, lines):
    assert [line.plain for line in table().lines(width)] == lines


def test_figures_keep_their_colour(monkeypatch):
    for width in (40, 30, 25, 22):
        styles = [str(span.style) for line in table().lines(width) for span in line.spans]
        assert "green" in styles
