"""Which images two results have in common, and comparisons that are kept for the next time."""

import pytest
from conftest import Project, enter
from drawn_results import rows_of, store
from tasks import drawn_labels, exclusive

from chestfold.core.errors import InputError, ServiceError
from chestfold.evaluate import bootstrap, paired, remembered
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.results import FoldsOfResult, Result, find_result
from chestfold.evaluate.thresholds import cross_fitted_thresholds

TASK = exclusive()
ROWS = rows_of(TASK, drawn_labels(TASK, 60))
"""Two images of each of 30 patients, in three folds."""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Call it with a name and folds: a result that was trained on them is in runs/."""
    project = Project(tmp_path)
    enter(monkeypatch, project)

    def result(name: str, trained: tuple[int, ...] = (0, 1, 2), **fields) -> Result:
        return store(project, name, TASK, ROWS, trained=trained, **fields)

    return result


def test_the_folds_in_common_are_those_that_both_hold(write):
    two, other, last = write("a", (1, 0)), write("b", (1, 2)), write("c", (2,))
    assert paired.common_folds(two, two) == (0, 1)
    assert paired.common_folds(two, other) == paired.require_common_folds(two, other) == (1,)
    assert paired.common_folds(two, last) == ()
    folds = FoldsOfResult(file="tiny", count=3, sha256="e" * 64, trained=(0, 1))
    elsewhere = Result(two.folder, two.record.model_copy(update={"folds": folds}))
    assert paired.common_folds(two, elsewhere) == (), "folds of another file, with the same numbers"


def test_results_without_a_common_fold_are_not_paired(write):
    two, last = write("a", (0, 1)), write("c", (2,))
    with pytest.raises(
        InputError, match=r"^a holds folds 0, 1 of 3 and c fold 2 of 3: .*; train fold 2 of a .--fold 2"
    ):
        paired.pair(two, last)
    folds = FoldsOfResult(file="other", count=3, sha256="e" * 64, trained=(0, 1))
    elsewhere = Result(two.folder, two.record.model_copy(update={"folds": folds}))
    with pytest.raises(InputError, match=r"^a is of folds/tiny.csv .f{8}, .* and a of folds/other.csv .e{8}, "):
        paired.pair(two, elsewhere)


def test_each_side_is_tuned_on_its_own_other_folds(write):
    a, b = write("a"), write("b")
    found = paired.pair(a, b)
    folds = found.table["fold"].to_numpy()
    for side, probs in zip(found.tuned, (found.ours, found.theirs), strict=True):
        chosen = cross_fitted_thresholds(TASK, found.labels, probs, folds)[:, 0]
        assert (side.probs == probs).all() and (side.decided[:, 1] == (probs[:, 1] >= chosen)).all()


def test_two_results_are_paired_image_by_image_in_the_folds_of_both(write):
    ours, theirs = write("a", (0, 1)), write("b", (1, 2))
    found = paired.pair(ours, theirs)
    expected = ROWS.loc[ROWS["fold"] == 1, "id"].tolist()
    assert found.table["id"].tolist() == expected and found.folds == (1,) and not found.can_be_tuned
    assert (len(expected), found.patients) == (20, 10)
    for probs, result in ((found.ours, ours), (found.theirs, theirs)):
        assert probs.tolist() == result.oof()[0].set_index("id").loc[expected, list(TASK.classes)].to_numpy().tolist()
    assert paired.pair(ours, ours).can_be_tuned


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ((0, 1, 2), (0, 1, 2), "60 images of 3 folds"),
        ((1,), (1,), "20 images of fold 1 of 3"),
        ((0, 1), (0, 1, 2), "the 40 images of folds 0, 1 that both have (a: folds 0, 1 of 3, b: 3 folds)"),
        ((1, 2), (0, 1), "the 20 images of fold 1 that both have (a: folds 1, 2 of 3, b: folds 0, 1 of 3)"),
    ],
    ids=str,
)
def test_the_scope_of_a_comparison_is_said_in_words(write, ours, theirs, text):
    a, b = write("a", ours), write("b", theirs)
    found = paired.pair(a, b)
    assert paired.scope(found.folds, len(found.table), a, b) == text


def test_a_result_is_compared_with_its_parent_where_they_share_images(write):
    parent, child = write("a", (0, 1)), write("b", (1, 2))
    against = paired.against_parent(child, parent)
    assert against is not None and (against.other, against.folds, against.images) == ("a", (1,), 20)
    assert against.sha256 == parent.record.files["oof.parquet"] and against == paired.compare(child, parent)
    assert paired.against_parent(child, None) is None
    assert paired.against_parent(child, write("c", (0,))) is None


def test_a_kept_comparison_is_believed_of_the_same_parent_alone(write):
    parent = write("a")
    kept = Comparison(
        other="a",
        sha256=parent.record.files["oof.parquet"] or "",
        folds=(0,),
        images=1,
        patients=1,
        metric="auc",
        gain=Score(9.0, 9.0, 9.0),
        p_false=0.0,
    )
    child = write("b", against=kept)
    assert paired.against_parent(child, parent) == kept
    again = paired.against_parent(child, write("c"))
    assert again is not None and again.other == "c" and again.images == 60


def test_the_comparison_with_a_parent_is_written_once(write):
    parent, child, orphan = write("a"), write("b", parent="a"), write("c")
    kept = paired.keep_comparison(child)
    assert kept.record.against == find_result("b").record.against == paired.compare(child, parent)
    assert paired.keep_comparison(kept) is kept and paired.keep_comparison(orphan) is orphan


# What is kept


KEPT = Comparison(
    other="b", sha256="", folds=(0,), images=1, patients=1, metric="auc", gain=Score(0.1, 0.0, 0.2), p_false=0.1
)


def never() -> Comparison:
    raise AssertionError("drawn again")


def test_what_was_drawn_once_is_not_drawn_again(write):
    a, b = write("a"), write("b")
    assert remembered.remembered(Comparison, a, b, lambda: KEPT) == KEPT
    assert remembered.remembered(Comparison, a, b, never) == KEPT


def test_what_depends_on_other_predictions_or_draws_is_drawn_again(write, monkeypatch):
    a, b = write("a"), write("b")
    remembered.remembered(Comparison, a, b, lambda: KEPT)
    folds = a.record.folds.model_copy(update={"trained": (0, 1)})
    others = [{"name": "c"}, {"files": {"oof.parquet": "0" * 64}}, {"folds": folds}, {"positive": "healthy"}]
    for change in [*others, {"metric": "f2"}]:
        changed = Result(a.folder, a.record.model_copy(update=change))
        for sides in ((changed, b), (b, changed)):
            with pytest.raises(AssertionError, match="drawn again"):
                remembered.remembered(Comparison, *sides, never)
    for module, name in ((bootstrap, "REPLICATES"), (remembered, "RULES")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, getattr(module, name) + 1)
            with pytest.raises(AssertionError, match="drawn again"):
                remembered.remembered(Comparison, a, b, never)


def test_what_cannot_be_kept_is_drawn_all_the_same(write, monkeypatch):
    def full(*_) -> None:
        raise ServiceError("no space left")

    monkeypatch.setattr(Comparison, "write", full)
    assert remembered.remembered(Comparison, write("a"), write("b"), lambda: KEPT) == KEPT
