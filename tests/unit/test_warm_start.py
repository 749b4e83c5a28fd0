"""start_from: a fold begins with the weights of the same fold of an earlier run, and of no other."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from signed_config import sign_config

from chestfold.core import checkpoint
from chestfold.core.config import Experiment, Request, debug_settings
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import create_task
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions
from chestfold.evaluate.ensemble import ensemble
from chestfold.models import create, rebuild
from chestfold.models.warm_start import Start, create_from
from chestfold.report.publish import publish
from chestfold.train import loop
from chestfold.train.prepare import prepare

TASK = create_task("multiclass", ("healthy", "ill"), "ill")
CLASSIFIER = ("fc.weight", "fc.bias")


def warm(**changes) -> Experiment:
    return tiny_experiment(epochs=1, max_steps=1, start_from="exp100", **changes)


def ready(exp: Experiment, name: str = "exp200"):
    return prepare(Request(name, exp))


def best(fold: int, run: str = "exp100") -> dict[str, torch.Tensor]:
    return checkpoint.load(RunFolder(run).fold(fold).best_checkpoint)["module"]


def begun(exp: Experiment, fold: int) -> dict[str, torch.Tensor]:
    """The weights before the first step."""
    goal = ready(exp).goal(fold)
    return loop.start(exp, fold, goal.task, earlier=goal.start).runner.module.state_dict()


@pytest.mark.parametrize("fold", [0, 2])
@pytest.mark.parametrize("changes", [{}, {"image_size": 48}, {"pretrained": True}], ids=str)
def test_a_fold_begins_with_the_weights_of_the_same_fold(trained, fold, changes):
    weights = begun(warm(**changes), fold)
    assert weights.keys() == best(fold).keys()
    for name, weight in best(fold).items():
        assert torch.equal(weights[name], weight), name


def test_the_hash_of_the_checkpoint_is_in_the_fold_s_fingerprint(trained):
    trained.run(warm(), "--fold", "1", name="exp200")
    fingerprint = RunFolder("exp200").fold(1).config().fingerprint
    assert fingerprint["start_sha256"] == sha256_file(RunFolder("exp100").fold(1).best_checkpoint)
    assert fingerprint["weights"] == "start_from"
    assert "start_sha256" not in RunFolder("exp100").fold(1).config().fingerprint


def test_a_source_that_was_trained_again_is_noticed(trained):
    trained.run(warm(), "--fold", "0", name="exp200")
    shutil.rmtree(trained.runs / "exp100")
    trained.run(tiny_experiment(seed=5, epochs=1, max_steps=1), "--fold", "0", name="exp100")
    with pytest.raises(InputError, match="begun with other settings .start_sha256"):
        trained.run(warm(), "--fold", "0", name="exp200")


def test_input_statistics_are_those_of_the_source(trained):
    folder = RunFolder("exp100").fold(0)
    saved = checkpoint.load(folder.best_checkpoint)
    saved["network"] |= {"mean": 0.25, "std": 0.125}
    checkpoint.save(folder.best_checkpoint, saved)
    network = create_from(Start(folder.best_checkpoint, True), warm(), 2)
    assert (network.blueprint.mean, network.blueprint.std) == (0.25, 0.125)


@pytest.mark.parametrize(("same", "outputs"), [(False, 2), (False, 5)])
def test_of_other_classes_all_but_the_classifier_is_taken_over(trained, same, outputs):
    start = Start(RunFolder("exp100").fold(0).best_checkpoint, same)
    weights = create_from(start, warm(), outputs).module.state_dict()
    for name, weight in best(0).items():
        if name in CLASSIFIER:
            assert weights[name].shape[0] == outputs and not weights[name].any()
        else:
            assert torch.equal(weights[name], weight), name


def test_the_order_of_classes_decides_whether_the_classifier_is_kept(trained):
    assert ready(warm()).sources.start(0).same_classes
    declaration = trained.input / "tiny" / "dataset.toml"
    declaration.write_text(declaration.read_text().replace('["healthy", "ill"]', '["ill", "healthy"]'))
    assert not ready(warm()).sources.start(0).same_classes


@pytest.mark.parametrize("width", [0, 4])
def test_a_head_of_the_same_width_is_taken_over(trained, width):
    exp = tiny_experiment(epochs=1, max_steps=1, head_width=4)
    trained.run(exp, "--fold", "0", name="exp150")
    start = Start(RunFolder("exp150").fold(0).best_checkpoint, True)
    if width:
        weights = create_from(start, replace(exp, drop_rate=0.5), 2).module.state_dict()
        assert torch.equal(weights["hidden.weight"], best(0, "exp150")["hidden.weight"])
    else:
        with pytest.raises(InputError, match="has head_width = 4, not 0"):
            create_from(start, replace(exp, head_width=0), 2)


def test_a_transformer_s_positions_are_fitted_to_another_size(tmp_path):
    small = tiny_experiment(backbone="test_vit", image_size=64)
    network = create(small, 2)
    saved = {"module": network.module.state_dict(), "network": network.blueprint.__dict__}
    checkpoint.save(tmp_path / "best.ckpt", saved)
    larger = create_from(Start(tmp_path / "best.ckpt", True), replace(small, image_size=96), 2)
    assert larger.module.pos_embed.shape[1] > network.module.pos_embed.shape[1]
    assert torch.equal(larger.module.patch_embed.proj.weight, network.module.patch_embed.proj.weight)
    assert rebuild({"module": larger.module.state_dict(), "network": larger.blueprint.__dict__})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"backbone": "resnet10t"}, "holds the weights of test_resnet, not of resnet10t; keep the backbone"),
        ({"lung_mask": "channel"}, r"conv1\S* is \d+ x 1 x .* there and \d+ x 2 x .* here; keep the settings"),
        ({"head_width": 3}, "has head_width = 0, not 3"),
    ],
    ids=["backbone", "channels", "head"],
)
def test_a_network_of_another_shape_is_refused(trained, changes, complaint):
    start = Start(RunFolder("exp100").fold(0).best_checkpoint, True)
    with pytest.raises(InputError, match=complaint):
        create_from(start, warm(**changes), 2)


# Proof


def copy_of_another_fold(project):
    shutil.rmtree(project.runs / "exp100" / "fold0")
    shutil.copytree(project.runs / "exp100" / "fold1", project.runs / "exp100" / "fold0")


def copy_that_says_it_is_this_fold(project):
    copy_of_another_fold(project)
    path = project.runs / "exp100" / "fold0" / "config.json"
    write_json(path, read_json(path) | {"fold": 0})


def changed_weights(project):
    shutil.copy(project.runs / "exp100" / "fold1" / "best.ckpt", project.runs / "exp100" / "fold0" / "best.ckpt")


def not_finished(project):
    (project.runs / "exp100" / "fold0" / "manifest.json").unlink()


def other_folds(project):
    """exp100 as if it had been trained on another split of the same images."""
    folds.make(open_index("tiny"), "other", 3, seed=1)
    shutil.rmtree(project.runs / "exp100")
    project.run(tiny_experiment(folds="other", epochs=1, max_steps=1), "--fold", "0", name="exp100")


def other_labels(project):
    """The same fold file by its hash, of other images."""
    folder = RunFolder("exp100").fold(0)
    config = read_json(folder.config_path)
    config["fingerprint"]["index_sha256"] = "0" * 64
    sign_config(folder.path, config)


def published_only(project):
    publish("exp100")
    shutil.rmtree(project.runs / "exp100")


def a_blend(project):
    ensemble(["exp100", "exp101"], "both", "mean")
    shutil.rmtree(project.runs / "exp100")
    (project.runs / "both").rename(project.runs / "exp100")


def gone(project):
    shutil.rmtree(project.runs / "exp100")


DAMAGES = {
    copy_of_another_fold: "fold0 holds fold 1, whose model has seen images that fold 0 is validated on",
    copy_that_says_it_is_this_fold: r"config\.json is not the one that the training was begun with",
    changed_weights: r"best\.ckpt is not the file that the training finished with",
    not_finished: "start_from = 'exp100': fold 0 of it is not finished",
    other_folds: "was trained with a different fold file, and may have seen images that fold 0 is validated on",
    other_labels: "was trained with different images, labels or patients",
    published_only: "start_from = 'exp100': it is published, without its folds; train it here first",
    a_blend: r"it is not a run but made of others; take one of these \(exp100, exp101\)",
    gone: "no finished result called 'exp100'",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_not_the_same_fold_is_refused_before_anything_is_trained(trained, damage):
    damage(trained)
    with pytest.raises(InputError, match=DAMAGES[damage]):
        trained.run(warm(), "--fold", "0", name="exp200")
    assert not (trained.runs / "exp200" / "fold0" / "last.ckpt").exists()


def test_every_wanted_fold_is_proven_before_the_first_is_trained(trained):
    (trained.runs / "exp100" / "fold2" / "manifest.json").unlink()
    with pytest.raises(InputError, match="fold 2 of it is not finished"):
        trained.run(warm(), name="exp200")
    assert not (trained.runs / "exp200" / "fold0").exists()


def test_a_run_cannot_start_from_itself(trained):
    with pytest.raises(InputError, match="start_from = 'exp100': a run cannot take over anything from itself"):
        trained.run(warm(), "--fold", "0", name="exp100")


def test_a_debug_run_begins_from_scratch(project):
    assert debug_settings(warm()).start_from == ""


def test_a_warm_start_predicts_better_than_one_step_from_scratch(trained):
    """What is loaded is used: after one step at no rate the predictions are those of the source."""
    trained.run(warm(lr=1e-12, precision="fp32"), "--fold", "0", name="exp200")
    there = predictions.read(RunFolder("exp100").fold(0).table_path("test"))[0]
    here = predictions.read(RunFolder("exp200").fold(0).table_path("test"))[0]
    assert np.abs(predictions.probabilities(there) - predictions.probabilities(here)).max() < 0.2


def test_other_columns_beside_the_image_are_refused(trained):
    start = Start(RunFolder("exp100").fold(0).best_checkpoint, True)
    with pytest.raises(InputError, match=r"sees the columns \(none\) beside the image, not age; keep tabular"):
        create_from(start, warm(tabular=("age",)), 2)
