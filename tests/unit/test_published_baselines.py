"""The sources' tables: theirs beside ours, variants on the line of their experiment, nothing by hand."""

import re
from pathlib import Path

import pytest
from conftest import record_of, tiny_experiment

from chestfold.cli import main
from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.files import project_dir
from chestfold.evaluate.published_baselines import Line, SourceTable, filled_tables, lines_of, results_of, source_tables
from chestfold.evaluate.results import NOT_RUN, NotRun, Result, all_results, find_result, write_not_run
from chestfold.report.publish import publish

FIGURE = r"\d\.\d{4} \[\d\.\d{4}, \d\.\d{4}\]"


def table(experiment: str, **theirs: float) -> SourceTable:
    line = Line(what="tiny", experiment=experiment, theirs=theirs)
    return SourceTable(title="title", note="note", lines=(line,))


def renamed(name: str, **changes) -> dict[str, Result]:
    """The result exp100 under another name, some fields changed."""
    original = find_result("exp100")
    return {name: Result(original.folder.with_name(name), original.record.model_copy(update={"name": name} | changes))}


def test_our_figures_are_listed_under_theirs_with_intervals(trained):
    theirs, ours = lines_of(table("exp100", auc=0.889, accuracy=0.8226), renamed("exp100"), {})
    assert theirs == ["tiny", "source", "-", "0.889", "-", "-", "-", "0.8226"]
    assert ours[:3] == ["tiny", "exp100", "32 px, 2 epochs, 3 folds, as written"]
    auc, precision, *others = ours[3:]
    assert all(re.fullmatch(FIGURE, text) for text in (auc, *others))
    assert precision == "-", "it calls nobody ill"


def test_a_variant_says_at_which_size_and_how_it_differs(trained):
    changed = {"image_size": (224, 32), "epochs": (20, 2), "backbone": ("vgg16", "test_resnet"), "lr": (0.1, 0.003)}
    found = renamed("exp100-small", parent="exp100", changed=changed)
    (line,) = lines_of(table("exp100"), found, {})
    assert line[:3] == ["tiny", "exp100-small", "32 px, 2 epochs, test_resnet, lr 0.003, 3 folds"]


def test_a_variant_from_scratch_is_called_so_and_what_it_watches_is_left_out(trained):
    changed = {"pretrained": (True, False), "monitor": ("f1", "auc"), "lr": (0.1, 0.003)}
    found = renamed("exp100-scratch", parent="exp100", changed=changed)
    (line,) = lines_of(table("exp100"), found, {})
    assert line[2] == "32 px, 2 epochs, from scratch, lr 0.003, 3 folds"


def test_one_fold_of_three_is_said(trained):
    folds = find_result("exp100").record.folds.model_copy(update={"trained": (0,)})
    (line,) = lines_of(table("exp100"), renamed("exp100", folds=folds), {})
    assert "fold 0 of 3" in line[2]


def test_results_of_other_experiments_and_debug_runs_are_not_on_the_line(trained):
    found = renamed("exp1000") | renamed("exp100-debug") | renamed("exp101")
    assert lines_of(table("exp100"), found, {}) == [["tiny", "exp100", "not run", "-", "-", "-", "-", "-"]]


def test_missing_weights_are_the_reason_of_an_empty_line(trained):
    stopped = {"exp100": NotRun(name="exp100", why="weights", data="tiny", settings={}, date="2026-01-01")}
    lines = lines_of(table("exp100"), renamed("exp100-scratch"), stopped)
    assert [line[1] for line in lines] == ["exp100", "exp100-scratch"]
    assert lines[0][2] == "not run: weights"


def test_every_line_names_an_experiment_that_exists():
    folder = Path(__file__).resolve().parents[2] / "exps"
    for source in source_tables():
        for line in source.lines:
            assert (folder / f"{line.experiment}.py").exists(), line


def test_the_sources_figures_are_those_of_the_texts():
    theirs = {}
    for source in source_tables():
        theirs |= {line.experiment: line.theirs for line in source.lines if line.theirs}
    assert {e: theirs[e]["auc"] for e in ("exp009", "exp010", "exp011", "exp013", "exp012")} == {
        "exp009": 0.889,
        "exp010": 0.883,
        "exp011": 0.912,
        "exp013": 0.888,
        "exp012": 0.971,
    }
    assert theirs["exp003"] == {"accuracy": 0.8226}
    assert theirs["exp002"]["accuracy"] == 0.9103


def drawn(name: str, **fields) -> dict[str, Result]:
    """A result that is of no files."""
    settings = {"image_size": 32, "epochs": 1} | fields.pop("settings", {})
    return {name: Result(Path(name), record_of(name, settings=settings, **fields))}


def described(name: str, **fields) -> list[str]:
    """What stands in the third column of the line of exp100, where a result of this name is there."""
    return [line[2] for line in lines_of(table("exp100"), drawn(name, **fields), {})]


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("exp100", {}, "32 px, 1 epoch, 3 folds, as written"),
        ("exp100", {"parent": "exp099", "changed": {"lr": (1, 2)}}, "32 px, 1 epoch, 3 folds, as written"),
        (
            "exp100-b",
            {"parent": "exp100", "changed": {"pretrained": (False, True)}},
            "32 px, 1 epoch, pretrained True, 3 folds",
        ),
        (
            "exp100-b",
            {"parent": "exp100", "changed": {"randaugment": ([], [2, 9])}},
            "32 px, 1 epoch, randaugment 2x9, 3 folds",
        ),
        ("exp100-b", {"parent": "exp100", "changed": {"epochs": (3, 1)}}, "32 px, 1 epoch, 3 folds"),
        ("exp100@wards", {"data": "wards"}, "32 px, 1 epoch, data wards, 3 folds, as written"),
        ("exp100", {"settings": {"epochs": 2}}, "32 px, 2 epochs, 3 folds, as written"),
        ("exp100-debug", {}, "not run"),
        ("exp1001", {}, "not run"),
        ("exp100-black", {"settings": {"frame": "lungs_black"}}, "not run"),
    ],
)
def test_a_run_in_few_words(name, fields, text):
    assert described(name, **fields) == [text]


def test_results_of_a_line_are_in_the_order_of_their_names():
    found = drawn("exp100-b") | drawn("exp100@c") | drawn("exp100") | drawn("exp100-a")
    assert [made.name for made in results_of(Line(what="", experiment="exp100"), found)] == sorted(found)


def test_what_could_not_be_run_is_said_until_it_was():
    stopped = {"exp100": NotRun(name="exp100", why="weights", data="tiny", settings={}, date="2026-01-01")}
    assert lines_of(table("exp100"), {}, stopped) == [["tiny", "exp100", "not run: weights", *"-----"]]
    (line,) = lines_of(table("exp100"), drawn("exp100"), stopped)
    assert line[2:] == ["32 px, 1 epoch, 3 folds, as written", *"-----"]


def test_a_source_s_figures_have_four_digits():
    theirs, _ = lines_of(table("exp100", auc=0.98765, f1=1.0), {}, {})
    assert theirs == ["tiny", "source", "-", "0.9877", "-", "-", "1", "-"]


def stop_for_weights(name: str) -> None:
    write_not_run(Request(name, tiny_experiment()), "weights", "2026-01-01")


def test_the_board_prints_the_sources_tables(trained, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    stop_for_weights("exp004")
    main.main(["board", "--table", "sources"])
    printed = capsys.readouterr().out
    assert "not run: weights" in printed
    for source in source_tables():
        assert source.title in printed


def test_what_could_not_be_run_is_published_and_given_up_for_a_result(trained):
    stop_for_weights("exp004")
    publish("exp004")
    page = (project_dir() / "RESULTS.md").read_text()
    assert "Not run here: VGG16 (exp004: weights)" in page
    (trained.runs / "exp004" / NOT_RUN).unlink()
    (trained.runs / "exp100").rename(trained.runs / "exp004")
    publish("exp004")
    page = (project_dir() / "RESULTS.md").read_text()
    assert "not run: weights" not in page
    assert re.search(rf"\| VGG16 \| exp004: 32 px, 2 epochs \| {FIGURE} \|", page)
    assert not (project_dir() / "exps" / "results" / "exp004" / NOT_RUN).exists()


def test_that_it_could_not_be_run_does_not_replace_a_published_result(trained):
    publish("exp100")
    stop_for_weights("exp100")
    with pytest.raises(InputError, match="holds a result of exp100"):
        publish("exp100")


def test_every_cell_is_a_source_figure_a_score_with_its_interval_or_a_dash(trained):
    found = {r.name: r for r in all_results()}
    shown = filled_tables(found, {})
    texts = [text for _, lines in shown for line in lines for text in line[3:]]
    assert all(text == "-" or re.fullmatch(r"0\.\d+", text) or re.fullmatch(FIGURE, text) for text in texts)
