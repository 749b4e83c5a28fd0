"""Blends are scored on folds that they were not fitted on, and matched by id."""

import numpy as np
import pandas as pd
import pytest
from conftest import enter, make_project

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.evaluate import ensemble as blending
from chestfold.evaluate import metrics, predictions, results
from chestfold.evaluate.ensemble import METHODS, Members, cross_fit, ensemble, gather

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


def predicted(rows: pd.DataFrame, classes: int, skill: float, *draw: object) -> pd.DataFrame:
    """A member's table: it knows `skill` deviations of the label."""
    truth = np.array([NAMES[classes].index(name) if name else 0 for name in rows["label"]])
    logits = generator("member", *draw).normal(0, 1, (len(rows), classes)) + skill * np.eye(classes)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return pd.concat([rows, pd.DataFrame(probs, columns=list(NAMES[classes]))], axis=1)


def members(skills: list[float], classes: int = 2) -> Members:
    rows = table(classes)
    tables = [predicted(rows, classes, skill, n) for n, skill in enumerate(skills)]
    about = {"classes": list(NAMES[classes]), "positive": "ill"}
    probs = np.stack([predictions.probabilities(t) for t in tables])
    return Members([f"m{n}" for n in range(len(skills))], tables[0], probs, about, {})


def auc(given: Members, probs: np.ndarray) -> float:
    return metrics.macro_auc(given.labels, probs)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Call it with a name and a skill: a finished result of that name is in runs/."""
    project = make_project(tmp_path / "project")
    enter(monkeypatch, project)
    monkeypatch.setattr(metrics.patient_weights, "__defaults__", (50,))  # intervals are tested elsewhere

    def write(name: str, skill: float, classes: int = 2, shuffled: bool = False, folds: str = "f" * 64):
        rows = table(classes)
        test = rows.head(30).assign(id=[f"x{n:03d}" for n in range(30)], fold=-1, label="")
        pair = [predicted(part, classes, skill, name, kind) for kind, part in (("oof", rows), ("test", test))]
        if shuffled:
            pair = [part.sample(frac=1, random_state=0).reset_index(drop=True) for part in pair]
        origin = {"folds_sha256": folds, "folds": "tiny"}
        about = dict(data="tiny", classes=list(NAMES[classes]), positive="ill", kind="experiment", minutes=1.0)
        about |= {"folds": {"count": FOLDS, "sha256": folds}, "date": "2026-01-01", "machine": "here"}
        return results.write_result(project.runs / name, *pair, origin, about)

    return write


# Honest scores


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_a_fold_do_not_know_its_labels(method, classes):
    given = members([0.5, 1.0, 0.2], classes)
    inside = given.table["fold"].to_numpy() == 1
    other = given.table.copy()
    other.loc[inside, "label"] = np.roll(other.loc[inside, "label"].to_numpy(), 1)
    changed = Members(given.names, other, given.probs, given.about, given.origin)
    before, after = cross_fit(method, given, given.probs), cross_fit(method, changed, given.probs)
    np.testing.assert_array_equal(before[inside], after[inside])
    assert (before[~inside] != after[~inside]).any() == (method in FITTED), "those of the other folds do know them"


@pytest.mark.parametrize("method", FITTED)
def test_noise_looks_good_in_sample_and_like_noise_cross_fitted(method):
    given = members([0.0] * 20)
    fitted = METHODS[method](given.probs, given.labels, given.groups)
    in_sample, honest = auc(given, fitted.apply(given.probs)), auc(given, cross_fit(method, given, given.probs))
    assert in_sample > honest + 0.05 and honest < 0.55


@pytest.mark.parametrize("method", FITTED)
def test_shifted_predictions_are_blended_with_the_weights_of_the_unshifted(method):
    given = members([0.5, 1.0, 0.2])
    moved = members([0.2, 0.2, 1.5]).probs
    inside = given.table["fold"].to_numpy() == 1
    fitted = METHODS[method](given.probs[:, ~inside], given.labels[~inside], given.groups[~inside])
    np.testing.assert_allclose(cross_fit(method, given, moved)[inside], fitted.apply(moved[:, inside]))


def test_the_table_holds_every_method_with_its_gain_over_the_best_member():
    given = members([0.5, 1.2, 0.8])
    rows = blending.compare(given)
    assert list(rows) == list(METHODS)
    for method, row in rows.items():
        assert row["over"] == "m1"
        honest = auc(given, cross_fit(method, given, given.probs))
        assert row["cross_fitted"]["auc"].value == pytest.approx(honest)
        assert row["gain"].value == pytest.approx(honest - auc(given, given.probs[1]))
        assert row["gain"].low <= row["gain"].value <= row["gain"].high


# The methods


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_blending_helps_members_that_err_differently(method, classes):
    given = members([0.8, 0.8, 0.8, 0.8], classes)
    blended = cross_fit(method, given, given.probs)
    assert auc(given, blended) > max(auc(given, p) for p in given.probs) + 0.03
    assert (blended > 0).all() and np.isfinite(blended).all()


def test_the_mean_is_the_mean():
    given = members([0.5, 1.0])
    np.testing.assert_allclose(cross_fit("mean", given, given.probs), given.probs.mean(axis=0))


def test_ranks_forget_how_sure_a_member_is():
    given = members([1.0, 1.0])
    shy = given.probs.copy()
    shy[1] = 0.5 + (shy[1] - 0.5) / 1000
    apply = METHODS["rank"](given.probs, given.labels, given.groups).apply
    np.testing.assert_allclose(apply(shy), apply(given.probs))
    assert abs(auc(given, shy.mean(axis=0)) - auc(given, given.probs.mean(axis=0))) > 0.01, "the plain mean does not"


@pytest.mark.parametrize("classes", [2, 3])
def test_mean_ranks_are_distributions(classes):
    given = members([1.0, 0.5], classes)
    np.testing.assert_allclose(cross_fit("rank", given, given.probs).sum(axis=1), 1)


def test_greedy_weights_sum_to_1_and_prefer_the_able():
    given = members([0.0, 1.5, 0.0])
    weights = METHODS["greedy"](given.probs, given.labels, given.groups).weights
    assert sum(weights) == pytest.approx(1) and weights[1] > 0.6


def test_greedy_does_not_prefer_the_first_of_equals():
    given = members([1.0])
    baselines = np.repeat(given.probs, 3, axis=0)
    weights = METHODS["greedy"](baselines, given.labels, given.groups).weights
    assert max(weights) < 0.7


def test_the_order_of_the_members_changes_no_fit():
    given = members([0.4, 1.0, 0.7])
    order = [2, 0, 1]
    for method in ("mean", "rank", "stack"):
        one = METHODS[method](given.probs, given.labels, given.groups).apply(given.probs)
        other = METHODS[method](given.probs[order], given.labels, given.groups).apply(given.probs[order])
        np.testing.assert_allclose(one, other, atol=1e-4)


# Files


def test_rows_are_matched_by_id(store):
    plain, shuffled = store("exp1", 1.0), store("exp2", 1.0, shuffled=True)
    given = gather([plain, shuffled])
    wanted = predictions.aligned(predicted(table(), 2, 1.0, "exp2", "oof"), given.table["id"], NAMES[2])
    np.testing.assert_array_equal(given.probs[1], predictions.probabilities(wanted))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_an_ensemble_is_a_result_like_any_other(store, method, classes):
    for name in ("exp1", "exp2"):
        store(name, 1.0, classes)
    result, rows = ensemble(["exp1", "exp2"], "blend", method)
    found = results.find_result("blend")
    assert found.about == result.about and found.about["method"] == method
    whole, origin = found.oof()
    assert found.score("at_half", "auc").value == pytest.approx(
        metrics.macro_auc(predictions.labels(whole), predictions.probabilities(whole))
    )
    assert set(origin["members"]) == {"exp1", "exp2"} and origin["folds_sha256"] == "f" * 64
    np.testing.assert_allclose(predictions.probabilities(found.test()[0]).sum(axis=1), 1)
    assert list(rows) == list(METHODS)


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
    assert result.about["members"] == ["pair", "exp3"]


def test_the_same_ensemble_again_is_the_same_and_another_of_its_name_is_refused(store):
    for name in ("exp1", "exp2", "exp3"):
        store(name, 1.0)
    first, _ = ensemble(["exp1", "exp2"], "blend", "greedy")
    again, _ = ensemble(["exp1", "exp2"], "blend", "greedy")
    assert again.about == first.about
    for names, method in ((["exp1", "exp3"], "greedy"), (["exp1", "exp2"], "mean")):
        with pytest.raises(InputError, match="holds another result; choose another --name or add --overwrite"):
            ensemble(names, "blend", method)
    assert ensemble(["exp1", "exp3"], "blend", "mean", overwrite=True)[0].about["members"] == ["exp1", "exp3"]


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
