"""Two results on the images that both have, and whether to believe that one is better."""

import math

import numpy as np
import pytest
from conftest import tiny_experiment
from scipy.stats import t
from tasks import auc, drawn, drawn_probs, exclusive, graded, labelled

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.core.rng import generator
from chestfold.core.task import Task
from chestfold.evaluate import bootstrap, claims, comparisons, leaderboard, paired
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.intervals import Estimate, of_difference
from chestfold.evaluate.metrics import METRICS, find_metric
from chestfold.evaluate.paired import Paired, gain_of, gains_of
from chestfold.evaluate.predictions import predictions
from chestfold.evaluate.results import all_results, find_result

ROWS = 200


def two(task: Task, ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, groups=None) -> Paired:
    """Predictions of the same rows, of two folds."""
    import pandas as pd

    texts = [task.classes[label] for label in labels] if task.sums_to_one else labels_texts(task, labels)
    groups = np.arange(len(labels)) if groups is None else groups
    rows = pd.DataFrame({"id": np.arange(len(labels)).astype(str), "group": groups, "label": texts})
    table = predictions(rows, 0, task.classes, ours).assign(fold=np.arange(len(labels)) % 2)
    return Paired(task, METRICS["auc"], (0, 1), table, ours, theirs)


def labels_texts(task: Task, labels: np.ndarray) -> list[str]:
    from chestfold.core.task.multilabel import label_text

    return [label_text(task.classes, row) for row in labels.tolist()]


def drawn_pair(task: Task, skills: tuple[float, float] = (1.0, 1.0), rows: int = ROWS) -> Paired:
    labels, ours = drawn(task, rows, seed=3, skill=skills[0])
    return two(task, ours, drawn_probs(task, labels, skills[1], "other"), labels)


# Gains


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    labels, probs = drawn(exclusive(), ROWS, 7)
    same = gain_of(
        two(exclusive(), probs, probs, labels), METRICS["auc"], two(exclusive(), probs, probs, labels).at_half
    )
    assert (same.score.value, same.score.low, same.score.high, same.p_false) == (0, 0, 0, 0.5)
    better = np.where(generator("repair").random(ROWS)[:, None] < 0.5, np.eye(2)[labels], probs)
    pair = two(exclusive(), better, probs, labels)
    gain = gain_of(pair, METRICS["auc"], pair.at_half)
    assert gain.score.low > 0 and gain.p_false < 0.05
    assert gain.score.value == pytest.approx(auc(labels, better) - auc(labels, probs))


def test_a_paired_interval_is_narrower_than_two_separate_ones():
    labels, probs = drawn(exclusive(), ROWS, 8)
    near = probs + generator("near").normal(0, 0.01, probs.shape)
    pair = two(exclusive(), near, probs, labels)
    gap = gain_of(pair, METRICS["auc"], pair.at_half).score
    single = comparisons.mean_score(exclusive(), labels, [probs], np.arange(ROWS))
    assert gap.high - gap.low < 0.5 * (single.high - single.low)


@pytest.mark.parametrize("task", [exclusive(2), exclusive(2, 0), exclusive(3), graded(4), labelled()], ids=str)
@pytest.mark.parametrize("name", ["auc", "accuracy", "recall", "specificity", "log_loss", "sensitivity@0.95"])
def test_the_better_of_two_gains_by_every_metric_of_every_task(task, name):
    pair, turned = drawn_pair(task, (3.0, 0.2)), drawn_pair(task, (0.2, 3.0))
    gain, loss = (gain_of(p, find_metric(name), p.at_half) for p in (pair, turned))
    assert gain.score.value > 0 > loss.score.value
    assert 0 < gain.p_false < 0.05 and 0 < loss.p_false < 0.05, "a claim is about the direction of the difference"


def test_several_metrics_are_drawn_together_as_each_alone():
    pair = drawn_pair(exclusive(3))
    metrics = {name: METRICS[name] for name in ("auc", "accuracy")}
    together = gains_of(pair, metrics, pair.at_half)
    assert together == {name: gain_of(pair, metric, pair.at_half) for name, metric in metrics.items()}


def test_a_tuned_threshold_comes_from_the_other_folds():
    pair = drawn_pair(exclusive())
    timid = two(exclusive(), np.stack([1 - pair.ours[:, 1] * 0.3, pair.ours[:, 1] * 0.3], 1), pair.ours, pair.labels)
    assert gain_of(timid, METRICS["recall"], timid.at_half).score.value < 0
    assert gain_of(timid, METRICS["recall"], timid.tuned).score.value == 0


def test_two_perfect_runs_are_not_proven_to_be_equal():
    labels = np.arange(40) % 2
    sure, surer = (np.eye(2)[labels] * (1 - 2 * e) + e for e in (0.1, 0.01))
    pair = two(exclusive(), sure, surer, labels)
    gain = gain_of(pair, METRICS["auc"], pair.at_half)
    width = t.ppf(0.975, 19) / 20
    assert (gain.score.low, gain.score.high) == pytest.approx((-width, width)) and gain.p_false == 0.5


def test_two_runs_that_decide_alike_are_not_proven_to_be_equal():
    """Of 40 patients none is on the other side; nothing is known of the next ones."""
    labels, probs = drawn(exclusive(), 40, 3)
    pair = two(exclusive(), probs, 0.5 + (probs - 0.5) * 0.9, labels)
    for name in ("accuracy", "f1", "precision"):
        gain = gain_of(pair, METRICS[name], pair.at_half)
        assert gain.score.low == -gain.score.high < 0 and gain.p_false == 0.5


# The probability that a claim is false


def test_a_claim_by_its_error_is_false_with_a_tail_of_students_distribution():
    for gain in (0.05, -0.05):
        expected = t.sf(0.05 / 0.02, 11)
        assert claims.false_by_error(Estimate(gain, 0.02, 12)) == pytest.approx(expected)
    assert claims.false_by_error(Estimate(0.0, 0.0, 12)) == 0.5
    assert math.isnan(claims.false_by_error(Estimate(math.nan, 0.02, 12)))


@pytest.mark.parametrize("ratio", [1.5, 2.0, 2.1, 2.2, 2.5, 4.0])
def test_a_claim_is_false_with_less_than_a_fortieth_where_the_interval_excludes_0(ratio):
    found = Estimate(0.02 * ratio, 0.02, 12)
    assert (claims.false_by_error(found) < 0.025) == (of_difference(found).low > 0)


def agreement(both: int, ours: int, theirs: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which answers are right."""
    a = np.repeat([True, True, False, False], [both, ours, theirs, neither])
    b = np.repeat([True, False, True, False], [both, ours, theirs, neither])
    return a, b


@pytest.mark.parametrize("counts", [(80, 12, 4, 4), (50, 0, 0, 50), (0, 3, 9, 1), (900, 30, 20, 50)])
def test_the_agreement_of_two_gives_the_probability_of_the_dirichlet_distribution(counts):
    """Drawn from it: ours is better where only ours is right more often than only the other."""
    a, b = agreement(*counts)
    drawn_shares = generator("dirichlet").dirichlet(np.array(counts) + 1, 200_000)
    ours_is_better = (drawn_shares[:, 1] > drawn_shares[:, 2]).mean()
    expected = min(ours_is_better, 1 - ours_is_better)
    assert claims.false_by_agreement(a, b, np.arange(sum(counts))) == pytest.approx(expected, abs=0.005)
    assert claims.false_by_agreement(b, a, np.arange(sum(counts))) == pytest.approx(expected, abs=0.005)


def test_several_images_of_a_patient_make_a_claim_no_safer():
    a, b = agreement(80, 12, 4, 4)
    single = claims.false_by_agreement(a, b, np.arange(100))
    copies = np.repeat(np.arange(100), 10)
    assert claims.false_by_agreement(a[copies], b[copies], copies) == pytest.approx(single)
    assert math.isnan(claims.false_by_agreement(a[:0], b[:0], np.arange(0)))


def test_a_few_images_of_a_patient_count_by_how_alike_they_are():
    """Ten images of each of 40 patients; the two differ in the same number of them, spread out or of one patient."""
    groups = np.repeat(np.arange(40), 10)
    right, spread, together = np.ones(400, bool), np.ones(400, bool), np.ones(400, bool)
    spread[::50] = together[:8] = False
    alone = claims.false_by_agreement(right, spread, np.arange(400))
    assert claims.false_by_agreement(right, spread, groups) == pytest.approx(alone)
    assert claims.false_by_agreement(right, together, groups) > 20 * alone


def test_a_share_of_right_answers_is_judged_by_agreement_and_an_auc_by_its_error():
    pair = drawn_pair(exclusive(), (1.2, 1.0))
    right = [side.decided.argmax(1) == pair.labels for side in pair.at_half]
    ill = pair.labels == 1
    for name, rows in (("accuracy", ill | ~ill), ("recall", ill), ("specificity", ~ill)):
        expected = claims.false_by_agreement(right[0][rows], right[1][rows], np.arange(rows.sum()))
        assert gain_of(pair, METRICS[name], pair.at_half).p_false == expected
    found = gain_of(pair, METRICS["auc"], pair.at_half)
    assert (found.p_false < 0.025) == (found.score.low * found.score.high > 0)


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ((0.1, 0.01, 0.2), "better"),
        ((-0.1, -0.2, -0.01), "worse"),
        ((0.1, -0.01, 0.2), "not told apart"),
        ((0.1, 0.0, 0.2), "not told apart"),
        ((-0.1, -0.2, 0.0), "not told apart"),
    ],
)
def test_a_verdict_is_that_of_the_interval(gain, verdict):
    assert claims.verdict_of(Score(*gain)) == verdict


def test_a_small_probability_is_not_written_as_0():
    written = {0.0004: "< 0.001", 0.001: "0.001", 0.0412: "0.041", 0.5: "0.500", math.nan: "-"}
    assert [claims.in_words(p) for p in written] == list(written.values())


@pytest.mark.parametrize(("values", "effect"), [([1, 1, -1, -1], 2), ([1, -1, 1, -1], 1), ([1, 1, 1, 1], 1)])
def test_the_design_effect_of_two_images_of_each_of_two_patients(values, effect):
    assert claims.design_effect(np.array(values, np.float64), np.array([0, 0, 1, 1])) == effect


def test_a_claim_of_which_every_image_speaks_for_ours_by_hand():
    """The third power of a half: before the two images either proportion was as probable as any other."""
    right, wrong = np.ones(2, bool), np.zeros(2, bool)
    for a, b in ((right, wrong), (wrong, right)):
        assert claims.false_by_agreement(a, b, np.arange(2)) == pytest.approx(1 / 8)
    assert claims.false_by_agreement(right, right, np.arange(2)) == pytest.approx(1 / 2)


def test_two_images_of_a_patient_that_speak_alike_count_as_one():
    """Two patients speak for ours and one against: of four throws of a coin at least three are heads."""
    ours = np.array([1, 1, 1, 1, 0, 0]) == 1
    assert claims.false_by_agreement(ours, ~ours, np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(5 / 16)


@pytest.mark.parametrize("task", [exclusive(3), graded(4), labelled()], ids=str)
@pytest.mark.parametrize("name", ["recall", "specificity", "f1"])
def test_what_is_no_share_of_rows_is_judged_by_its_error(task, name):
    """The mean over several classes is not."""
    pair = drawn_pair(task, (1.2, 0.8))
    found = gain_of(pair, METRICS[name], pair.at_half)
    freedom = degrees(pair, name)
    spread = (found.score.high - found.score.value) / t.ppf(0.975, freedom)
    assert found.p_false == pytest.approx(t.sf(abs(found.score.value) / spread, freedom))


def degrees(pair: Paired, name: str) -> float:
    classes = pair.task.scored_classes
    return min(METRICS[name].patients(side, classes, pair.groups) for side in pair.at_half) - 1


def test_a_gain_that_is_not_defined_is_no_claim():
    for value, error in ((math.nan, 0.0), (math.nan, 0.1), (0.1, math.nan)):
        assert math.isnan(claims.false_by_error(Estimate(value, error, 5)))
    assert claims.false_by_error(Estimate(0.0, 0.0, 5)) == 0.5


# Results


def test_a_run_of_one_fold_is_compared_with_a_run_of_all_on_their_common_images(trained):
    trained.run(tiny_experiment(epochs=1), "--fold", "1", name="exp102")
    short, full = find_result("exp102"), find_result("exp100")
    found = paired.compare(short, full)
    table = full.oof()[0]
    fold = table[table["fold"] == 1]
    theirs = auc((fold["label"] == "ill").astype(int).to_numpy(), fold[["healthy", "ill"]].to_numpy())
    assert (found.folds, found.images, found.patients) == ((1,), len(fold), fold["group"].nunique())
    assert found.gain.value == pytest.approx(short.score("at_half", "auc").value - theirs)
    turned = paired.compare(full, short)
    assert (turned.images, turned.gain.value) == (found.images, -found.gain.value)
    assert paired.scope(found.folds, found.images, short, full) == (
        f"the {len(fold)} images of fold 1 that both have (exp102: fold 1 of 3, exp100: 3 folds)"
    )
    assert paired.scope((0, 1, 2), 60, full, find_result("exp101")) == "60 images of 3 folds"


def change(project, name: str, **changes) -> None:
    path = project.runs / name / "scores.json"
    write_json(path, read_json(path) | changes)


def test_runs_without_a_common_fold_are_refused_with_what_to_train(trained):
    trained.run(tiny_experiment(epochs=1), "--fold", "1", name="exp102")
    trained.run(tiny_experiment(epochs=1), "--fold", "2", name="exp103")
    with pytest.raises(InputError, match="exp102 holds fold 1 of 3 and exp103 fold 2 of 3.*train fold 2 of exp102"):
        paired.compare(find_result("exp102"), find_result("exp103"))
    assert paired.against_parent(find_result("exp102"), find_result("exp103")) is None


def test_runs_of_different_fold_files_are_refused(trained):
    folds = read_json(trained.runs / "exp101" / "scores.json")["folds"]
    change(trained, "exp101", folds=folds | {"sha256": "f" * 64, "file": "other"})
    with pytest.raises(InputError, match="exp100 is of folds/tiny.csv .* and exp101 of folds/other.csv"):
        paired.compare(find_result("exp100"), find_result("exp101"))


@pytest.fixture
def child(trained):
    """exp101 is a child of exp100, and is collected anew."""
    change(trained, "exp101", parent="exp100")
    return paired.keep_comparison(find_result("exp101"))


def test_the_comparison_with_the_parent_is_kept_and_not_drawn_again(child, monkeypatch):
    kept = read_json(child.folder / "scores.json")["against"]
    assert kept["other"] == "exp100" and kept["sha256"] == find_result("exp100").record.files["oof.parquet"]
    monkeypatch.setattr(bootstrap, "draw", None)
    results = {result.name: result for result in all_results()}
    (rows,) = leaderboard.rows_by_folds(results.values()).values()
    by_name = {row.result.name: row for row in rows}
    assert by_name["exp101"].comparison == child.record.against and by_name["exp100"].comparison is None


def test_a_kept_comparison_with_a_parent_that_has_changed_is_not_believed(child, trained):
    files = read_json(trained.runs / "exp100" / "scores.json")["files"]
    other = find_result("exp100").record.model_copy(update={"files": files | {"oof.parquet": "0" * 64}})
    parent = paired.Result(trained.runs / "exp100", other)
    with pytest.raises(InputError, match="hash differs"):  # it is read again
        paired.against_parent(child, parent)


def test_a_run_is_compared_with_its_parent_when_it_is_collected_and_has_its_history(trained):
    request = trained.run(tiny_experiment(epochs=2), "--fold", "0", name="exp102")
    record = find_result(request.name).record
    assert record.against is None, "it has no parent"
    tagged = trained.run(tiny_experiment(epochs=1), "--fold", "0", "--tag", "short")
    against = find_result(tagged.name).record.against
    assert against is not None and (against.other, against.folds) == ("exp100", (0,))
    assert list(record.history) == [0] and [row["epoch"] for row in record.history[0]] == [1, 2]
    (first, _) = read_history(trained.runs / "exp102" / "fold0" / "metrics.jsonl")
    assert record.history[0][0]["loss"] == pytest.approx(first["loss"], rel=1e-4)
    assert "seconds" in first and "seconds" not in record.history[0][0]


def read_history(path) -> list[dict]:
    import json

    return [json.loads(line) for line in path.read_text().splitlines()]
