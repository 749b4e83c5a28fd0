"""pseudo: test images join the training part of fold K, with what fold K of an earlier run predicted for them."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from conftest import read_grey, tiny_experiment

from chestfold.core.config import Request, debug_settings
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, sha256_json, write_json
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import Task, create_task
from chestfold.data import folds
from chestfold.data.additions import Addition, join
from chestfold.data.catalogue import open_index
from chestfold.data.loader import Images
from chestfold.data.sampling import balanced_weights
from chestfold.evaluate import predictions
from chestfold.evaluate.ensemble import ensemble
from chestfold.models import ood
from chestfold.train.losses import LOSSES, create_loss, target_weights
from chestfold.train.prepare import prepare

TESTS = 12


def exp(**changes):
    return tiny_experiment(epochs=1, max_steps=1, pseudo="exp100", **changes)


def ready(**changes):
    return prepare(Request("exp200", exp(**changes)))


def predicted(fold: int, run: str = "exp100"):
    """id -> probabilities that a fold predicted for the test images."""
    table = predictions.read(RunFolder(run).fold(fold).table_path("test"))[0]
    return dict(zip(table["id"], predictions.probabilities(table), strict=True))


@pytest.mark.parametrize("fold", range(3))
def test_the_test_images_join_with_the_predictions_of_the_same_fold(trained, fold):
    images = ready().fold_images(fold)
    own = folds.load("tiny", open_index("tiny"))
    joined = [i for i in images.train.ids if i.startswith("test/")]
    assert images.train.ids == own.other_ids(fold) + joined and len(joined) == TESTS
    assert images.val.ids == own.ids(fold) and images.val.labels.ndim == 1
    for n, name in enumerate(images.train.ids):
        if name in joined:
            image_id = name.removeprefix("test/")
            np.testing.assert_allclose(images.train.labels[n], predicted(fold)[image_id], atol=1e-6)
            shown = images.train.pixels[images.train.rows[n]]
            assert (shown == read_grey(trained.input / "tiny" / "images" / f"{image_id}.png")).all()
        else:
            assert sorted(images.train.labels[n]) == [0, 1]


def test_predictions_are_matched_by_id_and_by_class(trained, monkeypatch):
    """A table in another order, of rows and of columns."""
    expected = ready().fold_images(0).train.labels
    read = predictions.read

    def shuffled(path):
        table, origin = read(path)
        columns = [*table.columns[:4], *reversed(table.columns[4:])]
        return table.iloc[::-1].reset_index(drop=True)[columns], origin

    monkeypatch.setattr(predictions, "read", shuffled)
    np.testing.assert_array_equal(ready().fold_images(0).train.labels, expected)


def test_a_fold_is_trained_with_them(trained):
    trained.run(exp(), "--fold", "1", name="exp200")
    folder = RunFolder("exp200").fold(1)
    assert folder.manifest().joined == {"pseudo": TESTS}
    assert (
        f"{TESTS} of the training images are test images, with what fold 1 of exp100 predicted for them"
        in (folder.path / "log.txt").read_text()
    )
    source = RunFolder("exp100").fold(1).table_path("test")
    assert folder.config().fingerprint["pseudo_sha256"] == sha256_file(source)
    assert set(predictions.read(folder.table_path("oof"))[0]["id"]).isdisjoint(predicted(1))


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": "over"},
        {"sampling": "under"},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"mixup_alpha": 0.5},
        {"loss": "focal", "class_weights": "balanced"},
        {"train_per_class": 5, "positive_share": 0.7},
    ],
    ids=str,
)
def test_they_go_with_every_other_setting(trained, monkeypatch, settings):
    monkeypatch.setattr(ood, "fit", lambda *_: (_ for _ in ()).throw(ood.NoFeatureLayer("not wanted")))
    trained.run(exp(**settings), "--fold", "0", name="exp200")
    assert RunFolder("exp200").fold(0).history()[0]["train_loss"] > 0


def test_they_join_beside_extra_images(trained):
    from test_extra import COUNT, write_more

    write_more(trained)
    images = ready(extra="more").fold_images(0)
    assert images.joined == {"extra": COUNT, "pseudo": TESTS}
    hard = images.train.labels[[i.startswith("more/") for i in images.train.ids]]
    assert sorted(hard.sum(axis=0)) == [COUNT / 2, COUNT / 2] and set(hard.ravel()) == {0, 1}


def test_without_them_labels_stay_numbers(trained):
    images = prepare(Request("exp200", tiny_experiment())).fold_images(0)
    assert images.train.labels.dtype == np.int64 and images.joined is None


def test_a_debug_run_does_without(project):
    assert debug_settings(exp()).pseudo == ""


# Proof


def copy_of_another_fold(project):
    shutil.rmtree(project.runs / "exp100" / "fold0")
    shutil.copytree(project.runs / "exp100" / "fold1", project.runs / "exp100" / "fold0")


def predictions_of_another_fold(project):
    shutil.copy(project.runs / "exp100" / "fold1" / "test.parquet", project.runs / "exp100" / "fold0" / "test.parquet")


def predictions_of_another_fold_with_their_hash(project):
    predictions_of_another_fold(project)
    folder = RunFolder("exp100").fold(0)
    manifest = read_json(folder.manifest_path)
    manifest["files"]["test.parquet"] = sha256_file(folder.table_path("test"))
    write_json(folder.manifest_path, manifest)


def mean_of_all_folds(project):
    shutil.copy(project.runs / "exp100" / "test.parquet", project.runs / "exp100" / "fold0" / "test.parquet")


def other_folds(project):
    folds.make(open_index("tiny"), "other", 3, seed=1)
    shutil.rmtree(project.runs / "exp100")
    project.run(tiny_experiment(folds="other", epochs=1, max_steps=1), "--fold", "0", name="exp100")


def a_blend(project):
    ensemble(["exp100", "exp101"], "both", "mean")
    shutil.rmtree(project.runs / "exp100")
    (project.runs / "both").rename(project.runs / "exp100")


def other_test_images(project):
    (project.input / "tiny" / "images" / "x001.png").write_bytes(
        (project.input / "tiny" / "images" / "x000.png").read_bytes()
    )


def one_test_image_more(project):
    image = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    cv2.imwrite(str(project.input / "tiny" / "images" / "x099.png"), image)
    with (project.input / "tiny" / "sample_submission.csv").open("a") as file:
        file.write("x099,0.5\n")


def no_predictions(project):
    folder = RunFolder("exp100").fold(0)
    manifest = read_json(folder.manifest_path)
    del manifest["files"]["test.parquet"]
    write_json(folder.manifest_path, manifest)
    folder.table_path("test").unlink()


def one_test_image_is_a_validation_image(project):
    """Nearly: other bytes."""
    held_out = folds.load("tiny", open_index("tiny")).ids(0)[0]
    image = read_grey(project.input / "tiny" / "images" / f"{held_out}.png")
    cv2.imwrite(str(project.input / "tiny" / "images" / "x005.png"), np.clip(image.astype(int) + 3, 0, 255))
    shutil.rmtree(project.runs / "exp100")
    project.run(tiny_experiment(epochs=1, max_steps=1), "--fold", "0", name="exp100")


DAMAGES = {
    copy_of_another_fold: "fold0 holds fold 1, whose model has seen images that fold 0 is validated on",
    predictions_of_another_fold: r"test\.parquet is not the file that the training finished with",
    predictions_of_another_fold_with_their_hash: r"test\.parquet was made by fold 1 of another run",
    mean_of_all_folds: r"test\.parquet is not the file that the training finished with",
    other_folds: "was trained with a different fold file",
    a_blend: r"pseudo = 'exp100': it is not a run but made of others; take one of these \(exp100, exp101\)",
    other_test_images: "is not about the 12 test images that are here now",
    one_test_image_more: "is not about the 13 test images that are here now, but about 12",
    no_predictions: "has no test predictions",
    one_test_image_is_a_validation_image: r"x005 is nearly the same image as t\d+, which is validated on in fold 0",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_may_know_validation_images_is_refused_before_anything_is_trained(trained, damage):
    damage(trained)
    with pytest.raises(InputError, match=DAMAGES[damage]):
        trained.run(exp(), "--fold", "0", name="exp200")
    assert not (trained.runs / "exp200" / "fold0" / "last.ckpt").exists()


def test_a_run_is_not_trained_on_its_own_predictions(trained):
    with pytest.raises(InputError, match="pseudo = 'exp100': a run cannot take over anything from itself"):
        trained.run(exp(), "--fold", "0", name="exp100")


def test_a_data_set_without_test_images_is_refused(trained):
    (trained.input / "tiny" / "sample_submission.csv").unlink()
    with pytest.raises(InputError, match="the data set tiny has no test images; leave it empty"):
        trained.run(exp(), "--fold", "0", name="exp200")


def test_a_lineage_of_runs_is_of_one_fold(trained):
    """exp200 learns from exp100, exp300 from exp200: fold 0 of each never saw fold 0's validation images."""
    trained.run(exp(), "--fold", "0", name="exp200")
    third = tiny_experiment(epochs=1, max_steps=1, pseudo="exp200", start_from="exp100")
    trained.run(third, "--fold", "0", name="exp300")
    fingerprint = RunFolder("exp300").fold(0).config().fingerprint
    assert fingerprint["pseudo_sha256"] == sha256_file(RunFolder("exp200").fold(0).table_path("test"))
    assert sha256_json(read_json(RunFolder("exp300").fold(0).config_path)) == (
        RunFolder("exp300").fold(0).manifest().config_sha256
    )
    with pytest.raises(InputError, match="fold 1 of it is not finished"):
        trained.run(third, "--fold", "1", name="exp300")


# Soft labels

SOFT = np.array([[0.7, 0.2, 0.1], [0.0, 0.25, 0.75], [1, 0, 0]], np.float32)
TARGETS = {
    "multiclass": SOFT,
    "multilabel": SOFT,
    "ordinal": np.array([[0.3, 0.1], [1.0, 0.75], [0, 0]], np.float32),
}


def task_of(name: str) -> Task:
    return create_task(name, ("A", "B", "C"), "" if name == "multilabel" else "C")


@pytest.mark.parametrize("name", TARGETS)
def test_soft_labels_are_targets(name):
    np.testing.assert_allclose(task_of(name).targets(torch.from_numpy(SOFT)), TARGETS[name], atol=1e-6)


@pytest.mark.parametrize("name", ["multiclass", "ordinal"])
def test_certain_soft_labels_are_the_targets_of_hard_ones(name):
    task, hard = task_of(name), np.array([0, 2, 1, 2])
    soft = task.soft_labels(hard)
    assert soft.dtype == np.float32
    np.testing.assert_array_equal(task.targets(torch.from_numpy(soft)), task.targets(torch.from_numpy(hard)))
    np.testing.assert_array_equal(task.strata(soft), task.strata(hard))
    np.testing.assert_array_equal(task.soft_labels(soft), soft)
    for weights in ("none", "balanced"):
        chosen = tiny_experiment(class_weights=weights)
        np.testing.assert_allclose(target_weights(chosen, task, soft), target_weights(chosen, task, hard), rtol=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_the_stratum_of_soft_labels_is_the_likeliest(name):
    assert task_of(name).strata(SOFT).tolist() == [0, 2, 0]


def test_an_image_that_likely_has_no_label_is_a_stratum_of_its_own():
    assert task_of("multilabel").strata(np.array([[0.4, np.nan, 0.1], [1, 0.2, 0]], np.float32)).tolist() == [3, 0]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_every_loss_takes_soft_labels_and_is_lowest_where_they_are_predicted(name, loss, weights):
    """Of focal and asymmetric, which are no proper scores, that it is a number is all that can be said."""
    task = task_of(name)
    function = create_loss(tiny_experiment(loss=loss, class_weights=weights), task, SOFT, torch.device("cpu"))
    targets = task.targets(torch.from_numpy(SOFT))
    certain = targets.clamp(1e-4, 1 - 1e-4)
    exact = certain.log() if name == "multiclass" and loss == "ce" else certain.logit()
    assert torch.isfinite(function(exact, targets))
    if loss == "ce":
        assert function(exact, targets) < function(exact + torch.tensor([1.0, -1, 0])[: exact.shape[1]], targets)


def test_balanced_weights_of_soft_labels_are_inverse_to_their_sums():
    weights = balanced_weights(SOFT, 3)
    np.testing.assert_allclose(weights * np.maximum(SOFT.sum(axis=0), 1), np.ones(3), rtol=1e-6)


@pytest.mark.parametrize("soft", [True, False])
def test_joined_labels_are_soft_where_one_part_is(soft):
    task = task_of("multiclass")
    train = Images(np.zeros((2, 4, 4), np.uint8), np.array([1, 0]), ["a", "b"], np.array([2, 0]))
    labels = SOFT[:1] if soft else np.array([1])
    joined = join(train, [Addition("x", np.ones((1, 4, 4), np.uint8), ["c"], labels, "new")], task)
    assert joined.ids == ["a", "b", "c"] and joined.pixels[joined.rows].max(axis=(1, 2)).tolist() == [0, 0, 1]
    expected = [[0, 0, 1], [1, 0, 0], SOFT[0]] if soft else [2, 0, 1]
    np.testing.assert_array_equal(joined.labels, np.array(expected))
