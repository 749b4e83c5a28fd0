"""Two results against each other, drawn instead of trained: sides, settings, parts and what must be known."""

from pathlib import Path

import numpy as np
import pytest
from conftest import enter, make_project, record_of
from drawn_results import rows_of, store
from tasks import drawn_labels, exclusive, graded, labelled

from chestfold.evaluate import versus
from chestfold.evaluate.results import Result


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A project without runs."""
    made = make_project(tmp_path / "project")
    enter(monkeypatch, made)
    return made


@pytest.fixture
def two(empty):
    """Two results on the same drawn labels: `ours`, `theirs`."""
    task = exclusive()
    rows = rows_of(task, drawn_labels(task, 240))
    return store(empty, "ours", task, rows), store(empty, "theirs", task, rows, data="another")


def test_images_of_two_data_sets_are_noted(two):
    ours, theirs = two
    assert versus._notes(ours, ours) == []
    found = versus.versus(ours, theirs)
    note = "the images have the same ids and folds, but are of two data sets: tiny and another"
    assert found.notes == [note]
    assert (found.ours, found.theirs) == ("ours", "theirs")
    assert (found.images, found.patients, found.folds) == (240, 120, (0, 1, 2))
    assert found.scope == "240 images of 3 folds" and found.probability == "P(ill)"


def test_sides_are_counted_and_the_ten_most_changed_shown(two):
    ours, theirs = two
    found = versus.versus(ours, theirs).sides
    table, other = (made.oof()[0].set_index("id") for made in two)
    other = other.loc[table.index]
    ill = table["label"] == "ill"
    says = table["ill"] >= 0.5
    they_say = other["ill"] >= 0.5
    assert found.only_ours == ((says == ill) & (they_say != ill)).sum() > 0
    assert found.only_theirs == ((says != ill) & (they_say == ill)).sum() > 0 and found.neither == 0
    assert len(found.most_changed) == 10 < found.only_ours + found.only_theirs
    changes = [abs(change.ours - change.theirs) for change in found.most_changed]
    differing = (table["ill"] - other["ill"]).abs()[says != they_say]
    assert changes == sorted(changes, reverse=True) and changes == pytest.approx(sorted(differing, reverse=True)[:10])
    for change in found.most_changed:
        name = change.image_id
        assert change.ours == table["ill"][name] and change.theirs == other["ill"][name]
        assert change.ours_says == ("ill" if says[name] else "healthy") != change.theirs_says
        assert (
            change.right == ("ours" if says[name] == ill[name] else "theirs") and change.truth == table["label"][name]
        )


@pytest.mark.parametrize("task", [exclusive(3), graded(4), labelled()], ids=lambda task: task.name)
def test_of_other_tasks_the_probability_of_the_truth_is_shown(empty, task):
    rows = rows_of(task, drawn_labels(task, 60))
    ours, theirs = store(empty, "ours", task, rows), store(empty, "theirs", task, rows)
    found = versus.versus(ours, theirs)
    assert found.probability == "P(truth)" and (found.sides.neither > 0) is (task.name != "multiclass")
    table = ours.oof()[0].set_index("id")
    change = found.sides.most_changed[0]
    if task.sums_to_one:
        assert change.ours == pytest.approx(table[change.truth][change.image_id])
    titles = [figure.title for figure in found.figures if not figure.name.endswith(", tuned")]
    assert titles == ["AUC", "sensitivity", "specificity", "accuracy", "Brier", "log loss"]
    assert np.isfinite([figure.p_false for figure in found.figures if figure.name == "auc"]).all()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"kind": "ensemble", "method": "rank", "members": ("a", "b")},
            {"kind": "ensemble", "method": "rank", "members": ["a", "b"]},
        ),
        ({"kind": "imported", "source": "x.csv"}, {"kind": "imported", "source": "x.csv"}),
        ({"kind": "calibrated", "members": ("gone",)}, {"members": ["gone"], "calibrated": True}),
    ],
)
def test_what_is_no_experiment_says_what_it_is_made_of(empty, fields, expected):
    assert versus._settings(Result(Path("net"), record_of("net", **fields))) == expected
    assert versus._settings(Result(Path("net"), record_of("net")))["epochs"] > 0


def test_a_division_that_only_a_column_tells_is_not_compared_on_a_part_of_the_folds(empty):
    task = exclusive()
    rows = rows_of(task, drawn_labels(task, 60))
    ours, theirs = store(empty, "ours", task, rows), store(empty, "theirs", task, rows, trained=(0, 1))
    part = versus.SubgroupScores(images=3, patients=2, positives=1)
    scores = ours.record.scores.model_copy(update={"by_subgroup": {"ward": {"a": part}}})
    found = versus.versus(ours.rewritten(scores=scores), theirs)
    assert found.notes == ["not compared on a part of the folds, because a column divides the images: ward"]
    assert found.parts == [] and found.images == 40 and found.folds == (0, 1)


def test_parts_that_both_have_stand_side_by_side(empty):
    task = exclusive()
    rows = rows_of(task, drawn_labels(task, 60))
    parts = [versus.SubgroupScores(images=n, patients=2, positives=1) for n in (3, 4, 5)]
    ours, theirs = store(empty, "ours", task, rows), store(empty, "theirs", task, rows)
    mine = ours.record.scores.model_copy(
        update={"by_subgroup": {"ward": {"a": parts[0], "b": parts[1]}, "x": {"y": parts[0]}}}
    )
    other = theirs.record.scores.model_copy(update={"by_subgroup": {"ward": {"a": parts[2]}}})
    found = versus.versus(ours.rewritten(scores=mine), theirs.rewritten(scores=other))
    assert found.parts == [versus.Part("ward", "a", parts[0], parts[2])] and found.notes == []
