"""Calibrated probabilities: fitted on other folds, better in log loss, the same in order, always finite."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import enter, make_project, record_of
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from tasks import auc, drawn_labels, exclusive, graded, labelled

from chestfold.cli.main import main
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.task import Labels, Task
from chestfold.core.task.multilabel import label_text
from chestfold.evaluate import predictions, results
from chestfold.evaluate.calibrated import calibrate, is_current
from chestfold.evaluate.calibration import SLOPES, calibrated, fit, fit_calibration
from chestfold.evaluate.ensemble import blender_of, ensemble, require_same_members
from chestfold.evaluate.metrics import METRICS, Predicted, value_of
from chestfold.evaluate.results import FoldsOfResult, find_result, folds_minus_pooled

ROWS, FOLDS = 600, 4
RANKED = [exclusive(2, 0), exclusive(2), graded(2), labelled()]
"""Tasks of which a calibrated fold ranks as before."""
EVERY = [*RANKED, exclusive(3), exclusive(4), graded(4)]


def name_of(task: Task) -> str:
    return f"{task.name}{len(task.classes)}-{task.classes.index(task.positive) if task.positive else ''}"


of_every_task = pytest.mark.parametrize("task", EVERY, ids=name_of)


def drawn(task: Task, seed: int = 0, slope: float = 3.0, shift: float = 1.0, rows: int = ROWS):
    """Labels and probabilities that are `slope` times too sure, and lean to the last class by `shift`."""
    labels = drawn_labels(task, rows, seed)
    truth = np.nan_to_num(task.truth(labels))
    odds = generator("calibration", seed).normal(0, 1, truth.shape) + 1.5 * truth
    odds[:, -1] += shift
    probs = np.exp(slope * odds) / np.exp(slope * odds).sum(axis=1, keepdims=True)
    return labels, (probs if task.sums_to_one else expit(slope * (odds - 1)))


def folds_of(rows: int = ROWS) -> np.ndarray:
    return np.arange(rows) // 2 % FOLDS


def log_loss(task: Task, labels: Labels, probs: np.ndarray) -> float:
    return value_of(METRICS["log_loss"], Predicted(task, labels, probs))


# The fit


@of_every_task
@pytest.mark.parametrize("slope", [0.2, 3.0], ids=["not sure enough", "too sure"])
def test_probabilities_of_other_images_mean_more(task, slope):
    labels, probs = drawn(task, slope=slope)
    others, of_others = drawn(task, seed=1, slope=slope)
    made = calibrated(task, of_others, fit(task, labels, probs))
    assert not task.wrong_rows(made)[0].any()
    for metric in ("log_loss", "ece", "brier"):
        before, after = (value_of(METRICS[metric], Predicted(task, others, p)) for p in (of_others, made))
        assert after < before, metric


@pytest.mark.parametrize("positive", [0, 1])
def test_two_classes_are_scaled_as_a_logistic_regression_on_their_log_odds_does(positive):
    task = exclusive(2, positive)
    labels, probs = drawn(task, rows=4000)
    odds = logit(probs[:, positive])[:, None]
    expected = LogisticRegression(C=1e9).fit(odds, labels == positive)
    (scaling,) = fit(task, labels, probs)
    assert scaling.slope == pytest.approx(expected.coef_.item(), rel=0.02)  # its targets are not smoothed
    assert scaling.shifts == (0, pytest.approx(expected.intercept_.item(), abs=0.02))


@of_every_task
def test_no_other_slope_or_shift_is_better(task):
    labels, probs = drawn(task)
    best = fit(task, labels, probs)
    least = log_loss(task, labels, calibrated(task, probs, best))
    for changed in (0.8, 1.25):  # far enough, that smoothed targets do not matter
        others = [
            tuple(s.model_copy(update={"slope": s.slope * changed}) for s in best),
            tuple(s.model_copy(update={"shifts": (*s.shifts[:-1], s.shifts[-1] + changed - 1)}) for s in best),
        ]
        for other in others:
            assert log_loss(task, labels, calibrated(task, probs, other)) > least


def test_without_shifts_it_is_a_temperature():
    labels, probs = drawn(exclusive(3))
    (scaling,) = fit(exclusive(3), labels, probs, shifted=False)
    assert scaling.shifts == (0, 0, 0) and 0.1 < scaling.slope < 0.9
    assert (calibrated(exclusive(3), probs, (scaling,)).argmax(axis=1) == probs.argmax(axis=1)).all()


@pytest.mark.parametrize("task", RANKED, ids=name_of)
@pytest.mark.parametrize("skill", [1, -1], ids=["able", "worse than guessing"])
def test_the_order_of_the_images_stays(task, skill):
    labels, probs = drawn(task)
    probs = probs if skill > 0 else 1 - probs
    made = calibrated(task, probs, fit(task, labels, probs))
    for number in task.scored_classes:
        order = np.argsort(probs[:, number], kind="stable")
        assert (np.diff(made[order, number]) >= 0).all()
    assert auc(labels, made, task) == auc(labels, probs, task)


@of_every_task
@pytest.mark.parametrize("sure", [0.9, 1 - 1e-9, 1.0], ids=str)
def test_what_is_told_apart_without_an_error_becomes_as_sure_as_the_images_are_many(task, sure):
    labels = drawn_labels(task, 60)
    truth = np.nan_to_num(task.truth(labels))
    rest = (1 - sure) / (len(task.classes) - 1) if task.sums_to_one else 1 - sure
    probs = np.where(truth == 1, sure, rest)
    scalings = fit(task, labels, probs)
    made = calibrated(task, probs, scalings)
    assert all(SLOPES[0] <= scaling.slope <= SLOPES[1] for scaling in scalings)
    assert np.isfinite(made).all() and not task.wrong_rows(made)[0].any()
    for number in range(len(task.classes)):
        has_it = truth[:, number] == 1
        expected = (has_it.sum() + 1) / (has_it.sum() + 2)
        assert made[has_it, number] == pytest.approx(np.full(has_it.sum(), expected), abs=1e-4)


@of_every_task
@pytest.mark.parametrize("constant", ["even", "certain"])
def test_predictions_that_are_all_the_same_become_the_shares_of_the_classes(task, constant):
    labels = drawn_labels(task, 200)
    probs = np.full((200, len(task.classes)), 1 / len(task.classes))
    if constant == "certain":
        probs[:] = np.eye(len(task.classes))[0]
    scalings = fit(task, labels, probs)
    assert [scaling.slope for scaling in scalings] == pytest.approx([1] * len(scalings))
    made = calibrated(task, probs, scalings)
    assert made == pytest.approx(np.tile(np.nanmean(task.truth(labels), axis=0), (200, 1)), abs=0.01)


@of_every_task
def test_certain_answers_that_are_wrong_do_not_stay_certain(task):
    labels, probs = drawn(task)
    probs[:40] = np.eye(len(task.classes))[0]
    made = calibrated(task, probs, fit(task, labels, probs))
    assert np.isfinite(made).all() and made[:40].min() > 0 and made[:40].max() < 1
    assert np.isfinite(log_loss(task, labels, made)) and log_loss(task, labels, made) < log_loss(task, labels, probs)


@of_every_task
def test_single_precision_is_enough(task):
    labels, probs = drawn(task)
    made = [calibrated(task, p.astype(float), fit(task, labels, p.astype(float))) for p in (probs, np.float32(probs))]
    assert made[0] == pytest.approx(made[1], abs=0.002)  # it has no number between 1 - 6e-8 and 1
    assert not task.wrong_rows(made[1])[0].any()


def test_one_of_a_hundred_has_its_share():
    labels = (np.arange(4000) % 100 == 0).astype(np.int64)
    odds = generator("rare").normal(0, 1, 4000) + 2 * labels  # of a network that was shown as many of both
    probs = np.stack([1 - expit(2 * odds - 2), expit(2 * odds - 2)], axis=1)
    made = calibrated(exclusive(2), probs, fit(exclusive(2), labels, probs))
    assert probs[:, 1].mean() > 0.2 and made[:, 1].mean() == pytest.approx(0.01, abs=0.001)


# Fitted on the other folds


@of_every_task
def test_a_fold_is_calibrated_without_its_labels_and_the_same_every_time(task):
    labels, probs = drawn(task)
    folds = folds_of()
    turned = labels.copy()
    turned[folds == 2] = labels[folds == 2][::-1]
    made = [fit_calibration(task, truth, probs, folds, "a" * 64) for truth in (labels, labels, turned)]
    assert made[0] == made[1] and made[0].on_others[2] == made[2].on_others[2] != made[2].on_others[1]
    a, b = (m.of_fold(task, probs, folds) for m in (made[0], made[2]))
    assert (a[folds == 2] == b[folds == 2]).all() and (a[folds == 1] != b[folds == 1]).any()


@pytest.mark.parametrize("task", RANKED, ids=name_of)
def test_the_auc_of_each_fold_is_unchanged(task):
    labels, probs = drawn(task)
    folds = folds_of()
    made = fit_calibration(task, labels, probs, folds, "a" * 64).of_fold(task, probs, folds)
    for fold in range(FOLDS):
        rows = folds == fold
        assert auc(labels[rows], made[rows], task) == auc(labels[rows], probs[rows], task)


def without(task: Task, labels: Labels, folds: np.ndarray, present: int) -> Labels:
    """Labels in which the last class is there (1), or missing (0), in the first fold alone."""
    changed, others = labels.copy(), folds != 0
    if not task.sums_to_one:
        changed[others, -1] = 1 - present
    elif present:
        changed[others & (labels == len(task.classes) - 1)] = 0
    else:
        changed[others] = len(task.classes) - 1
    return changed


@of_every_task
@pytest.mark.parametrize(("present", "lacks"), [(1, "no image of"), (0, "no image")], ids=["nobody", "everybody"])
def test_a_class_that_the_other_folds_lack_is_named(task, present, lacks):
    labels, probs = drawn(task)
    folds = folds_of()
    with pytest.raises(InputError, match=f"the folds other than 0 hold {lacks}"):
        fit_calibration(task, without(task, labels, folds, present), probs, folds, "a" * 64)


def test_one_fold_cannot_be_calibrated():
    labels, probs = drawn(exclusive(2))
    with pytest.raises(InputError, match="it holds fold 3 only"):
        fit_calibration(exclusive(2), labels, probs, np.full(ROWS, 3), "a" * 64)


def test_two_folds_are_enough():
    labels, probs = drawn(exclusive(2))
    folds = np.arange(ROWS) % 2
    made = fit_calibration(exclusive(2), labels, probs, folds, "a" * 64)
    assert made.on_others[0] == fit(exclusive(2), labels[folds == 1], probs[folds == 1])
    assert made.on_all == fit(exclusive(2), labels, probs)


@pytest.mark.parametrize(
    ("sure", "skill", "slope"), [(1e-4, 1, 100.0), (0.4, -1, 0.01)], ids=["hardly told apart", "always wrong"]
)
def test_a_slope_is_from_a_hundredth_to_a_hundred(sure, skill, slope):
    labels = np.arange(60) % 2
    ill = 0.5 + sure * skill * (2 * labels - 1)
    (scaling,) = fit(exclusive(2), labels, np.stack([1 - ill, ill], axis=1))
    assert scaling.slope == pytest.approx(slope)


# Folds on different scales


def as_table(task: Task, labels: Labels, probs: np.ndarray) -> pd.DataFrame:
    """Predictions of `ROWS` images, two a patient."""
    number = np.arange(len(probs))
    if task.sums_to_one:
        texts = [task.classes[n] for n in labels]
    else:
        texts = [label_text(task.classes, row) for row in labels]
    ids = [f"i{n:03d}" for n in number]
    rows = pd.DataFrame({"id": ids, "group": number // 2, "fold": folds_of(len(probs)), "label": texts})
    return pd.concat([rows, pd.DataFrame(probs, columns=list(task.classes))], axis=1)


@of_every_task
def test_the_gap_between_folds_and_pooled_is_there_where_scales_differ(task):
    labels, probs = drawn(task, slope=1.0, shift=0.0)
    table = as_table(task, labels, probs)
    gap = folds_minus_pooled(table, task)
    assert gap.low <= 0 <= gap.high
    powers = np.array([6] + [0.2] * (len(task.classes) - 1))
    of_fold = table["fold"] == 1
    table.loc[of_fold, list(task.classes)] = task.normalised(probs[of_fold] ** powers)
    assert folds_minus_pooled(table, task).low > 0


def test_one_fold_has_no_gap():
    table = as_table(exclusive(2), *drawn(exclusive(2)))
    assert folds_minus_pooled(table[table["fold"] == 1], exclusive(2)) is None


# A calibrated result


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Call it with a name and a task: a finished result of that name is in runs/."""
    project = make_project(tmp_path / "project")
    enter(monkeypatch, project)

    def write(name: str, task: Task | None = None, seed: int = 0, trained: tuple[int, ...] = (0, 1, 2, 3), **fields):
        task = task or exclusive(2)
        oof, test = as_table(task, *drawn(task, seed)), as_table(task, *drawn(task, seed + 1, rows=40))
        test = test.assign(id=[f"x{n:03d}" for n in range(40)], fold=-1, label="")
        held = FoldsOfResult(file="tiny", count=FOLDS, sha256="f" * 64, trained=trained)
        kind = dict(task=task.name, classes=task.classes, positive=task.positive)
        about = record_of(name, folds=held, **(kind | fields)).model_dump(exclude={"name", "files", "scores"})
        origin = {"folds_sha256": "f" * 64, "folds": "tiny"} | predictions.task_identity(task)
        oof = oof[oof["fold"].isin(trained)]
        corrupted = predictions.stacked({"dark": oof, "blurred": oof})
        return results.write_result(project.runs / name, oof, test, corrupted, origin, about)

    return write


@pytest.mark.parametrize("task", [exclusive(2, 0), labelled(), exclusive(3), graded(4)], ids=name_of)
def test_it_is_a_result_like_any_other_that_says_what_it_is(store, task):
    source = store("exp1", task)
    made = calibrate("exp1")
    record = find_result("exp1-calibrated").record
    assert (record.kind, record.members, record.calibration.oof_sha256) == (
        "calibrated",
        ("exp1",),
        source.record.files["oof.parquet"],
    )
    oof, origin = made.oof()
    labels, probs = drawn(task)
    calibration = fit_calibration(task, labels, probs, folds_of(), record.calibration.oof_sha256)
    assert record.calibration == calibration and origin["calibration"] == calibration.to_dict()
    assert predictions.probabilities(oof) == pytest.approx(calibration.of_fold(task, probs, folds_of()))
    of_test = predictions.probabilities(made.test()[0])
    assert of_test == pytest.approx(calibrated(task, drawn(task, 1, rows=40)[1], calibration.on_all))
    assert made.score("at_half", "log_loss").value < source.score("at_half", "log_loss").value
    if task in RANKED:
        assert record.scores.per_fold_auc == source.record.scores.per_fold_auc
        assert made.corrupted()["dark"][task.classes[0]].to_numpy() == pytest.approx(oof[task.classes[0]], abs=2e-3)


def test_again_it_is_the_same_file_and_of_other_predictions_another(store):
    store("exp1")
    made = calibrate("exp1")
    kept = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    shutil.rmtree(made.folder)
    again = calibrate("exp1")
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == kept
    times = (again.folder / "oof.parquet").stat().st_mtime_ns
    calibrate("exp1")
    assert (again.folder / "oof.parquet").stat().st_mtime_ns == times
    source = store("exp1", seed=5)
    assert calibrate("exp1").record.calibration.oof_sha256 == source.record.files["oof.parquet"]


def test_results_that_cannot_be_calibrated_are_refused_in_a_sentence(store):
    store("exp1")
    calibrate("exp1")
    store("one", trained=(2,))
    store("exp1-debug")
    store("ranks", kind="ensemble", method="rank", members=("exp1", "exp2"))
    store("other")
    shutil.copytree(find_result("other").folder, find_result("other").folder.with_name("other-calibrated"))
    refused = {
        "nowhere": "no finished result",
        "exp1-calibrated": "exp1-calibrated is calibrated already",
        "one": "one: it holds fold 2 only",
        "exp1-debug": "exp1-debug is a debug run",
        "ranks": "ranks averages ranks",
        "other": "other-calibrated holds another result",
    }
    for name, sentence in refused.items():
        with pytest.raises(InputError, match=sentence):
            calibrate(name)
    with pytest.raises(InputError, match="exp1-calibrated is calibrated, and a mean of calibrated predictions is not"):
        ensemble(["exp1-calibrated", "other"], "both", "mean")


def test_the_folder_of_a_run_that_has_begun_is_not_taken(store):
    source = store("exp1")
    begun = source.folder.with_name("exp1-calibrated") / "fold0"
    begun.mkdir(parents=True)
    (begun / "config.json").write_text("{}")
    with pytest.raises(InputError, match="exp1-calibrated holds another result"):
        calibrate("exp1")


def test_a_result_without_test_images_is_calibrated_without_them(store):
    source = store("exp1")
    oof, origin = source.oof()
    about = source.record.model_dump(exclude={"name", "files", "scores", "images", "patients"})
    bare = results.write_result(source.folder.with_name("bare"), oof, None, None, origin, about)
    made = calibrate("bare")
    assert (made.record.files.get("test.parquet"), made.corrupted()) == (None, None)
    assert made.record.calibration == calibrate("exp1").record.calibration
    assert is_current(made, bare) and not is_current(bare, bare)
    assert calibrate("bare").record == made.record, "it is there already"


def test_a_calibrated_result_is_made_again_of_its_member_as_it_is(store):
    """As `chestfold predict` does, with what is fitted on all folds."""
    source = store("exp1")
    made = calibrate("exp1")
    probs = predictions.probabilities(source.test()[0])
    blender = blender_of(made)
    again = blender.fit(probs[None], np.zeros(40), np.arange(40)).predict(2 * probs[None])
    np.testing.assert_allclose(again, predictions.probabilities(made.test()[0]))
    require_same_members(made)
    store("exp1", seed=5)
    with pytest.raises(InputError, match="exp1 was trained again after exp1-calibrated .*; chestfold calibrate exp1$"):
        require_same_members(made)


def test_the_commands_say_what_was_calibrated(store, capsys):
    store("exp1", kind="imported", source="theirs.csv")
    main(["calibrate", "exp1"])
    assert "log loss" in capsys.readouterr().out
    main(["board", "--columns", "brier,log-loss,what"])
    printed = capsys.readouterr().out
    assert "exp1, calibrated" in printed and "log loss" in printed
    main(["compare", "exp1-calibrated", "exp1"])
    printed = capsys.readouterr().out
    assert "calibrated" in printed and "better" in printed


def test_a_submission_of_calibrated_predictions_is_its_own(store, tmp_path, capsys):
    store("exp1")
    sample = pd.DataFrame({"id": [f"x{n:03d}" for n in range(40)], "ill": 0.5})
    sample.to_csv(tmp_path / "project" / "input" / "tiny" / "sample_submission.csv", index=False)
    main(["submit", "exp1", "--calibrate", "--dry-run"])
    written = tmp_path / "project" / "submissions" / "001_exp1-calibrated.csv"
    made = find_result("exp1-calibrated").test()[0].set_index("id")
    answers = pd.read_csv(written).set_index("id")
    assert answers["ill"].to_numpy() == pytest.approx(made.loc[answers.index, "ill"], abs=1e-6)
    about = json.loads(written.with_suffix(".json").read_text())
    assert (about["result"], about["members"]) == ("exp1-calibrated", ["exp1"])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["submit", "exp1", "--calibrate", "--full", "--dry-run"])
    assert "calibrated by out-of-fold predictions" in capsys.readouterr().err
