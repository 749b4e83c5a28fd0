"""Blends are scored on folds that they were not fitted on, and matched by id."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import enter, make_project, record_of
from tasks import auc as auc_of
from tasks import exclusive

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.task import create_task
from chestfold.evaluate import predictions, results
from chestfold.evaluate.comparisons import FoldMean
from chestfold.evaluate.ensemble import (
    BLENDERS,
    Blender,
    CrossFit,
    Members,
    RankMean,
    blend_tests,
    blender_of,
    compare,
    create_blender,
    ensemble,
    fit_methods,
    gather,
    require_same_members,
)
from chestfold.evaluate.metrics import METRICS
from chestfold.evaluate.results import FoldsOfResult

ROWS, FOLDS = 240, 4
FITTED = ("greedy", "stack")
NAMES = {2: ("healthy", "ill"), 3: ("healthy", "ill", "dying")}


def table(classes: int = 2) -> pd.DataFrame:
    """id, group, fold, label of `ROWS` images, two a patient."""
    number = np.arange(ROWS)
    return pd.DataFrame(
        {
            "id": [f"i{n:03d}" for n in number],
            "group": [f"p{n // 2:03d}" for n in number],
            "fold": number // 2 % FOLDS,
            "label": [NAMES[classes][n] for n in generator("labels").permutation(number % classes)],
        }
    )


def predicted(rows: pd.DataFrame, classes: int, skill: float, *draw: int | str) -> pd.DataFrame:
    """A member's table: it knows `skill` deviations of the label."""
    truth = np.array([NAMES[classes].index(name) if name else 0 for name in rows["label"]])
    logits = generator("member", *draw).normal(0, 1, (len(rows), classes)) + skill * np.eye(classes)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pd.concat([rows, pd.DataFrame(probs, columns=list(NAMES[classes]))], axis=1)


def members(skills: list[float], classes: int = 2) -> Members:
    rows = table(classes)
    tables = [predicted(rows, classes, skill, n) for n, skill in enumerate(skills)]
    record = record_of("m0", classes=NAMES[classes])
    probs = np.stack([predictions.probabilities(t) for t in tables])
    return Members([f"m{n}" for n in range(len(skills))], tables[0], probs, record, {})


def fitted(method: str, given: Members, rows: np.ndarray | slice = slice(None)) -> Blender:
    """A blender that has seen some rows of the members."""
    return create_blender(method, given).fit(given.probs[:, rows], given.labels[rows], given.groups[rows])


def auc(given: Members, probs: np.ndarray) -> float:
    return auc_of(given.labels, probs)


def auc_of_folds(given: Members, probs: np.ndarray) -> float:
    return float(FoldMean(given.task, given.labels, probs, given.folds)(np.ones(len(given.labels))))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Call it with a name and a skill: a finished result of that name is in runs/."""
    project = make_project(tmp_path / "project")
    enter(monkeypatch, project)

    def write(name: str, skill: float, classes: int = 2, shuffled: bool = False, folds: str = "f" * 64):
        rows = table(classes)
        test = rows.head(30).assign(id=[f"x{n:03d}" for n in range(30)], fold=-1, label="")
        oof = predicted(rows, classes, skill, name, "oof")
        test = predicted(test, classes, skill, name, "test")
        if shuffled:
            oof = oof.sample(frac=1, random_state=0).reset_index(drop=True)
            test = test.sample(frac=1, random_state=0).reset_index(drop=True)
        origin = {"folds_sha256": folds, "folds": "tiny"}
        held = FoldsOfResult(file="tiny", count=FOLDS, sha256=folds, trained=tuple(range(FOLDS)))
        record = record_of(name, classes=NAMES[classes], folds=held)
        about = record.model_dump(exclude={"name", "files", "scores"})
        return results.write_result(project.runs / name, oof, test, None, origin, about)

    return write


# Honest scores


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", BLENDERS)
def test_predictions_of_a_fold_do_not_know_its_labels(method, classes):
    given = members([0.5, 1.0, 0.2], classes)
    inside = given.table["fold"].to_numpy() == 1
    other = given.table.copy()
    other.loc[inside, "label"] = np.roll(other.loc[inside, "label"].to_numpy(), 1)
    changed = replace(given, table=other)
    before, after = CrossFit(method, given).blend(given.probs), CrossFit(method, changed).blend(given.probs)
    np.testing.assert_array_equal(before[inside], after[inside])
    assert (before[~inside] != after[~inside]).any() == (method in FITTED), "those of the other folds do know them"


@pytest.mark.parametrize("method", FITTED)
def test_noise_looks_good_in_sample_and_like_noise_cross_fitted(method):
    given = members([0.0] * 20)
    in_sample = auc(given, fitted(method, given).predict(given.probs))
    honest = auc(given, CrossFit(method, given).blend(given.probs))
    assert in_sample > honest + 0.05 and honest < 0.55


@pytest.mark.parametrize("method", FITTED)
def test_corrupted_predictions_are_blended_with_the_weights_of_the_uncorrupted(method):
    given = members([0.5, 1.0, 0.2])
    corrupted = members([0.2, 0.2, 1.5]).probs
    inside = given.folds == 1
    blender = fitted(method, given, ~inside)
    np.testing.assert_allclose(CrossFit(method, given).blend(corrupted)[inside], blender.predict(corrupted[:, inside]))


def test_the_table_holds_every_method_with_its_gain_over_the_best_member():
    given = members([0.5, 1.2, 0.8])
    rows = compare(given, fit_methods(given))
    assert list(rows) == list(BLENDERS)
    for method, row in rows.items():
        assert row.over == "m1"
        honest = CrossFit(method, given).blend(given.probs)
        assert row.score.value == pytest.approx(auc(given, honest))
        assert row.in_sample == pytest.approx(auc(given, fitted(method, given).predict(given.probs)))
        assert row.fold_mean == pytest.approx(auc_of_folds(given, honest))
        gained = auc_of_folds(given, honest) - auc_of_folds(given, given.probs[1])
        assert row.gain.value == pytest.approx(gained)
        assert row.gain.low <= row.gain.value <= row.gain.high


def with_offsets(given: Members) -> Members:
    """The same members with another offset in each fold, as folds that are trained separately have."""
    odds = np.log(given.probs[..., 1] / given.probs[..., 0]) + np.linspace(-3, 3, FOLDS)[given.folds]
    positive = 1 / (1 + np.exp(-odds))
    return replace(given, probs=np.stack([1 - positive, positive], axis=2))


def test_ranks_gain_nothing_from_offsets_between_the_folds_alone():
    """Ranks within the folds remove the offsets, which cost a member's pooled AUC: no gain may be read from that.

    Two members that are the same: whatever blends them, nothing is gained.
    """
    given = members([1.0])
    pair = with_offsets(replace(given, names=["m0", "m1"], probs=np.repeat(given.probs, 2, axis=0)))
    row = compare(pair, fit_methods(pair))["rank"]
    assert auc(pair, pair.probs[0]) < row.score.value - 0.05, "the pooled figures differ"
    assert row.gain.value == 0 and row.gain.low == -row.gain.high > -0.05


def test_offsets_between_the_folds_do_not_decide_which_member_is_the_best():
    able = with_offsets(members([1.2, 0.0])).probs[0]
    plain = members([0.9, 0.9])
    given = replace(plain, probs=np.stack([able, plain.probs[1]]))
    assert auc(given, able) < auc(given, plain.probs[1]), "pooled it looks worse"
    assert {row.over for row in compare(given, fit_methods(given)).values()} == {"m0"}


# The methods


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", BLENDERS)
def test_blending_helps_members_that_err_differently(method, classes):
    given = members([0.8, 0.8, 0.8, 0.8], classes)
    blended = CrossFit(method, given).blend(given.probs)
    assert auc(given, blended) > max(auc(given, p) for p in given.probs) + 0.03
    assert (blended > 0).all() and np.isfinite(blended).all()


def test_the_mean_is_the_mean():
    given = members([0.5, 1.0])
    np.testing.assert_allclose(CrossFit("mean", given).blend(given.probs), given.probs.mean(axis=0))


def test_ranks_forget_how_sure_a_member_is():
    given = members([1.0, 1.0])
    shy = given.probs.copy()
    shy[1] = 0.5 + (shy[1] - 0.5) / 1000
    blender = fitted("rank", given)
    np.testing.assert_allclose(blender.predict(shy), blender.predict(given.probs))
    assert abs(auc(given, shy.mean(axis=0)) - auc(given, given.probs.mean(axis=0))) > 0.01, "the plain mean does not"


@pytest.mark.parametrize("classes", [2, 3])
def test_mean_ranks_are_distributions(classes):
    given = members([1.0, 0.5], classes)
    np.testing.assert_allclose(CrossFit("rank", given).blend(given.probs).sum(axis=1), 1)


def test_greedy_weights_sum_to_1_and_prefer_the_able():
    given = members([0.0, 1.5, 0.0])
    weights = fitted("greedy", given).weights
    assert sum(weights) == pytest.approx(1) and weights[1] > 0.6


def test_greedy_does_not_prefer_the_first_of_equals():
    given = members([1.0])
    equals = replace(given, probs=np.repeat(given.probs, 3, axis=0))
    assert max(fitted("greedy", equals).weights) < 0.7


def test_the_order_of_the_members_changes_no_fit():
    given = members([0.4, 1.0, 0.7])
    order = [2, 0, 1]
    for method in ("mean", "rank", "stack"):
        other = replace(given, probs=given.probs[order])
        one = fitted(method, given).predict(given.probs)
        np.testing.assert_allclose(one, fitted(method, other).predict(other.probs), atol=1e-4)


def test_ranks_by_hand():
    """Of four rows each has the middle of its quarter; two that are tied share two quarters."""
    of_labels = RankMean(create_task("multilabel", ["nodule"]), METRICS["auc"])
    member = np.array([0.9, 0.1, 0.3, 0.3])[None, :, None]
    assert of_labels.predict(member)[:, 0].tolist() == [7 / 8, 1 / 8, 1 / 2, 1 / 2]


def test_greedy_picks_15_members_in_each_of_10_bags():
    given = members([0.8, 0.7, 0.9])
    picks = np.array(fitted("greedy", given).weights) * 150
    assert picks == pytest.approx(picks.round()) and (picks.round() % 10).any()


def test_a_stack_of_two_classes_has_a_weight_for_each_member():
    given = members([0.0, 1.5])
    weights = fitted("stack", given).weights
    assert len(weights) == 2 and weights[1] > abs(weights[0]) + 0.5
    assert fitted("stack", members([0.5, 1.0], classes=3)).weights is None


# Files


def test_rows_are_matched_by_id(store):
    plain, shuffled = store("exp1", 1.0), store("exp2", 1.0, shuffled=True)
    given = gather([plain, shuffled])
    wanted = predictions.aligned(predicted(table(), 2, 1.0, "exp2", "oof"), given.table["id"], NAMES[2])
    np.testing.assert_array_equal(given.probs[1], predictions.probabilities(wanted))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", BLENDERS)
def test_an_ensemble_is_a_result_like_any_other(store, method, classes):
    for name in ("exp1", "exp2"):
        store(name, 1.0, classes)
    result, rows = ensemble(["exp1", "exp2"], "blend", method)
    found = results.find_result("blend")
    assert found.record == result.record and found.record.method == method
    table, origin = found.oof()
    labels = exclusive(classes).labels(table["label"].tolist())
    assert found.score("at_half", "auc").value == pytest.approx(auc_of(labels, predictions.probabilities(table)))
    assert set(origin["members"]) == {"exp1", "exp2"} and origin["folds_sha256"] == "f" * 64
    np.testing.assert_allclose(predictions.probabilities(found.test()[0]).sum(axis=1), 1)
    assert list(rows) == list(BLENDERS)


def test_the_mean_of_the_tests_is_the_test_of_the_mean(store):
    first, second = store("exp1", 1.0), store("exp2", 0.5, shuffled=True)
    result, _ = ensemble(["exp1", "exp2"], "blend", "mean")
    one, other, blended = (r.test()[0].set_index("id")["ill"] for r in (first, second, result))
    np.testing.assert_allclose(blended.sort_index(), (one + other).sort_index() / 2)


def test_an_ensemble_can_be_a_member(store):
    for name in ("exp1", "exp2", "exp3"):
        store(name, 1.0)
    ensemble(["exp1", "exp2"], "pair", "rank")
    result, _ = ensemble(["pair", "exp3"], "all", "stack")
    assert result.record.members == ("pair", "exp3")


def test_the_same_ensemble_again_is_the_same_and_another_of_its_name_is_refused(store):
    for name in ("exp1", "exp2", "exp3"):
        store(name, 1.0)
    first, _ = ensemble(["exp1", "exp2"], "blend", "greedy")
    again, _ = ensemble(["exp1", "exp2"], "blend", "greedy")
    assert again.record == first.record
    for names, method in ((["exp1", "exp3"], "greedy"), (["exp1", "exp2"], "mean")):
        with pytest.raises(InputError, match="holds another result; choose another --name or add --overwrite"):
            ensemble(names, "blend", method)
    assert ensemble(["exp1", "exp3"], "blend", "mean", overwrite=True)[0].record.members == ("exp1", "exp3")


@pytest.mark.parametrize("other", [{"classes": 3}, {"folds": "e" * 64}])
def test_members_that_do_not_belong_together_are_refused(store, other):
    store("exp1", 1.0)
    store("exp2", 1.0, **other)
    with pytest.raises(InputError, match="classes differ|different folds"):
        ensemble(["exp1", "exp2"], "blend", "mean")


def test_one_member_twice_is_refused(store):
    store("exp1", 1.0)
    with pytest.raises(InputError, match="two or more different members, got exp1 exp1"):
        ensemble(["exp1", "exp1"], "blend", "mean")


def test_one_member_is_no_ensemble(store):
    store("exp1", 1.0)
    with pytest.raises(InputError, match="two or more different members, got exp1$"):
        ensemble(["exp1"], "blend", "mean")


def test_the_name_of_a_blend_is_no_path(store):
    with pytest.raises(InputError, match="--name"):
        ensemble(["exp1", "exp2"], "../blend", "mean")


def test_a_blend_of_debug_runs_is_called_so(store):
    for name in ("exp1-debug", "exp2"):
        store(name, 1.0)
    with pytest.raises(InputError, match="exp1-debug exp2: a blend of debug runs means nothing; name it blend-debug"):
        ensemble(["exp1-debug", "exp2"], "blend", "mean")
    assert ensemble(["exp1-debug", "exp2"], "blend-debug", "mean")[0].record.method == "mean"


def test_a_blend_does_not_take_the_folder_of_a_run(store):
    for name in ("exp1", "exp2"):
        folder = store(name, 1.0).folder
    begun = folder.with_name("exp3") / "fold0"
    begun.mkdir(parents=True)
    (begun / "config.json").write_text("{}")
    with pytest.raises(InputError, match="exp3 is the name of an experiment's run; choose another --name"):
        ensemble(["exp1", "exp2"], "exp3", "mean", overwrite=True)


@pytest.mark.parametrize("method", BLENDERS)
def test_what_made_a_blend_is_made_again_from_what_it_kept(store, method):
    for name in ("exp1", "exp2"):
        store(name, 1.0)
    result, _ = ensemble(["exp1", "exp2"], "blend", method)
    blender = blender_of(result)
    tests = [results.find_result(name).test()[0] for name in ("exp1", "exp2")]
    again = predictions.probabilities(blend_tests(tests, blender))
    np.testing.assert_allclose(again, predictions.probabilities(result.test()[0]), atol=1e-6)
    assert type(blender) is BLENDERS[method]
    if method != "stack":
        assert blender.weights == list(result.record.weights)


def test_a_blend_of_a_member_that_was_trained_again_is_not_used(store):
    for name in ("exp1", "exp2"):
        store(name, 1.0)
    result, _ = ensemble(["exp1", "exp2"], "blend", "mean")
    require_same_members(result)
    store("exp2", 0.5)
    with pytest.raises(InputError, match="exp2 was trained again after blend was made from it; blend them again"):
        require_same_members(result)


def test_members_without_predictions_of_the_tests_are_blended_without(store):
    store("exp1", 1.0)
    whole = store("exp2", 0.5)
    about = whole.record.model_dump(exclude={"name", "files", "scores", "images", "patients"})
    results.write_result(whole.folder.with_name("bare"), whole.oof()[0], None, None, whole.oof()[1], about)
    for names in (["exp1", "bare"], ["bare", "exp1"]):
        result, _ = ensemble(names, "-".join(names), "mean")
        assert result.record.files.get("test.parquet") is None
    assert results.find_result("exp1").record.files["test.parquet"]


def test_the_command_scores_members_and_blends_alike(store, capsys):
    for name in ("exp1", "exp2"):
        store(name, 1.0)
    main.main(["ensemble", "exp1", "exp2", "--name", "blend"])
    printed = capsys.readouterr().out
    methods = results.find_result("blend").record.methods
    assert "AUC of folds" in printed and "gain over exp" in printed
    for method in BLENDERS:
        (line,) = (line for line in printed.splitlines() if f" {method} " in line)
        scores = methods[method]
        assert f"{scores.fold_mean:.4f}" in line and f"{scores.cross_fitted:.4f} [" in line
