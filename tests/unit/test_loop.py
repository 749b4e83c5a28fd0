"""Every option of the training loop trains a fold, and does what it says."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import enter, make_project, make_tiny_folds, tiny_experiment
from tasks import exclusive

from chestfold.core import checkpoint
from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder
from chestfold.data.loader import Images, TrainBatches
from chestfold.data.transforms.mixup import create_mix
from chestfold.evaluate import predictions
from chestfold.evaluate.metrics import Predicted, validation_figures
from chestfold.models import rebuild
from chestfold.models.runner import make_runner, predict
from chestfold.train import loop
from chestfold.train.losses import create_loss
from chestfold.train.prepare import limit_per_class, prepare

NUMBERS = itertools.count(100)
ONE_EPOCH = {"epochs": 1, "max_steps": 3}
OPTIONS = [
    *[{"optimizer": o} for o in ("adam", "sgd", "lamb")],
    {"layer_decay": 0.7},
    *[{"schedule": s} for s in ("onecycle", "step", "constant")],
    *[{"sampling": s} for s in ("over", "under")],
    *[{"precision": p} for p in ("fp32", "bf16", "fp16")],
    *[{"monitor": m, "epochs": 2} for m in ("loss", "accuracy", "macro_f1")],
    *[{"tta": t} for t in ("flip", "d4", "crops")],
    *[{"backbone": b} for b in ("five_block_cnn", "test_efficientnet", "test_vit")],
    {"drop_rate": 0.5},
    {"label_smoothing": 0.1},
    {"weight_decay": 0.0, "warmup_epochs": 0.0},
    {"mixup_alpha": 0.4, "cutmix_alpha": 1.0},
    {"head_width": 8, "drop_rate": 0.5},
    {"freeze": True, "head_width": 8, "precision": "fp16"},
    {"train_per_class": 6, "class_weights": "balanced"},
    {"augment": "d4"},
    {"grad_accum_steps": 3, "max_grad_norm": 1.0, "ema_decay": 0.9, "precision": "fp16"},
]  # fmt: skip


@pytest.fixture(scope="module")
def _shared(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("options") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
    return made


@pytest.fixture
def shared(_shared, monkeypatch):
    """One project for all tests here; each run has a name of its own."""
    enter(monkeypatch, _shared)
    return _shared


@pytest.fixture
def fold(shared):
    """Call it with settings: trains fold 0 in a run of its own and gives its folder."""

    def train(**settings):
        name = f"exp{next(NUMBERS)}"
        shared.run(tiny_experiment(**(ONE_EPOCH | settings)), "--fold", "0", name=name)
        return shared.runs / name / "fold0"

    return train


def weights(folder) -> torch.Tensor:
    """All weights of the last step, in one row."""
    module = checkpoint.load(folder / "last.ckpt")["module"]
    return torch.cat([v.flatten() for n, v in module.items() if v.is_floating_point() and "running" not in n])


def untrained() -> torch.Tensor:
    return torch.cat(
        [p.detach().flatten() for p in loop.start(tiny_experiment(), 0, exclusive()).runner.module.parameters()]
    )


@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: " ".join(f"{k}={v}" for k, v in s.items()))
def test_every_option_trains_a_fold(fold, settings):
    folder = fold(**settings)
    table, _ = predictions.read(folder / "oof.parquet")
    assert 18 <= len(table) <= 24 and torch.isfinite(weights(folder)).all()
    precision = settings.get("precision", "auto")
    assert precision in ("auto", read_json(folder / "manifest.json")["precision"])
    assert read_json(folder / "config.json")["settings"].items() >= settings.items()


def test_accumulated_batches_are_one_large_batch(fold):
    """Without batch normalisation, whose statistics are those of the small batches."""
    plain = {"backbone": "test_vit", "precision": "fp32", "max_steps": 2}
    large, small = fold(**plain, batch_size=16), fold(**plain, batch_size=4, grad_accum_steps=4)
    torch.testing.assert_close(weights(large), weights(small), rtol=1e-4, atol=1e-5)


def test_the_last_batches_of_an_epoch_are_a_step_too(fold, monkeypatch):
    """39 images in batches of 4 are 9, in threes 3 steps, in fours 2 and a rest."""
    steps = []
    honest = loop.optimizer_step

    def counted(recipe, state):
        steps.append(state.batch)
        honest(recipe, state)

    monkeypatch.setattr(loop, "optimizer_step", counted)
    fold(batch_size=4, grad_accum_steps=4, max_steps=0)
    assert steps == [4, 8, 9]


def test_clipping_holds_the_step_down(fold):
    plain = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "precision": "fp32", "warmup_epochs": 0.0}
    far = (weights(fold(**plain)) - untrained()).norm()
    near = (weights(fold(**plain, max_grad_norm=1e-3)) - untrained()).norm()
    assert 0 < near <= 1e-3 * 0.1 * 3 * (1 + 0.9 + 0.81) * 2 < far


def test_weight_decay_pulls_the_weights_but_not_biases_and_norms(fold):
    settings = {"lr": 1e-2, "precision": "fp32", "warmup_epochs": 0.0}
    pair = [fold(**settings, weight_decay=w) for w in (0.0, 5.0)]
    free, pulled = (checkpoint.load(folder / "last.ckpt")["module"] for folder in pair)
    name = "layer4.0.conv1.weight"
    assert pulled[name].norm() < 0.97 * free[name].norm()
    torch.testing.assert_close(pulled["layer4.0.bn1.weight"], free["layer4.0.bn1.weight"], rtol=0.05, atol=0)


def figures(**rows: list[float]):
    """A stand-in for `validation_figures` that gives these figures, epoch after epoch."""
    epochs = iter(zip(*rows.values(), strict=True))

    def give(*_: object) -> dict[str, float]:
        return {"loss": 1.0, "auc": 0.5, "macro_f1": 0.5, "accuracy": 0.5} | dict(zip(rows, next(epochs), strict=True))

    return give


def epochs_of(folder) -> tuple[int, int]:
    """Trained epochs and the best of them."""
    epochs = len((folder / "metrics.jsonl").read_text().splitlines())
    return epochs, read_json(folder / "manifest.json")["best_epoch"]


def test_training_stops_when_patience_ends(fold, monkeypatch):
    monkeypatch.setattr(loop, "validation_figures", figures(auc=[0.6, 0.8, 0.7, 0.75, 0.9, 0.95]))
    assert epochs_of(fold(epochs=6, patience=2)) == (4, 2)


def test_without_patience_all_epochs_are_trained(fold, monkeypatch):
    monkeypatch.setattr(loop, "validation_figures", figures(auc=[0.6, 0.8, 0.7, 0.75, 0.9, 0.85]))
    assert epochs_of(fold(epochs=6)) == (6, 5)


@pytest.mark.parametrize(("monitor", "best"), [("auc", 2), ("loss", 3), ("macro_f1", 1), ("accuracy", 4)])
def test_the_monitored_figure_picks_the_epoch(fold, monkeypatch, monitor, best):
    rows = {
        "auc": [0.5, 0.9, 0.5, 0.5],
        "loss": [0.9, 0.8, 0.1, 0.7],
        "macro_f1": [0.9, 0.1, 0.1, 0.1],
        "accuracy": [0.1, 0.1, 0.1, 0.9],
    }
    monkeypatch.setattr(loop, "validation_figures", figures(**rows))
    folder = fold(epochs=4, monitor=monitor)
    assert epochs_of(folder) == (4, best)
    assert checkpoint.load(folder / "best.ckpt")["epoch"] == best


def test_of_equal_epochs_the_one_with_the_lower_loss_is_kept(fold, monkeypatch):
    monkeypatch.setattr(loop, "validation_figures", figures(auc=[1.0, 1.0, 1.0], loss=[0.5, 0.2, 0.3]))
    assert epochs_of(fold(epochs=3)) == (3, 2)


def test_validation_figures_are_those_of_the_definition():
    probs = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]).double().numpy()
    labels = torch.tensor([0, 1, 1, 0]).numpy()
    row = validation_figures(Predicted(exclusive(), labels, probs), {})
    assert row["loss"] == pytest.approx(-sum(map(math.log, (0.9, 0.8, 0.4, 0.3))) / 4)
    assert (row["accuracy"], row["auc"], row["macro_f1"]) == pytest.approx((0.5, 0.75, 0.5))


def test_the_line_of_an_epoch_shows_the_auc_and_no_f1(fold):
    """That of a result is the positive class's, and that of an epoch the mean over both."""
    log = (fold() / "log.txt").read_text()
    assert "  auc 0." in log and "f1" not in log


def test_a_short_epoch_has_as_many_steps_as_it_was_allowed(fold):
    folder = fold(max_steps=2, epochs=2)
    state = checkpoint.load(folder / "last.ckpt")
    assert {int(s["step"]) for s in state["optimizer"]["state"].values()} == {4}


def test_the_same_settings_train_the_same_weights_and_another_seed_others(fold):
    assert torch.equal(weights(first := fold()), weights(fold()))
    assert not torch.equal(weights(first), weights(fold(seed=1)))


def test_dropout_is_that_of_its_step_whatever_else_draws_numbers(fold, monkeypatch):
    undisturbed = weights(fold(drop_rate=0.5))
    step = loop.optimizer_step

    def disturbed(recipe, state):
        step(recipe, state)
        torch.rand(3)

    monkeypatch.setattr(loop, "optimizer_step", disturbed)
    assert torch.equal(weights(fold(drop_rate=0.5)), undisturbed)


@pytest.mark.parametrize(
    ("backbone", "has_bf16", "precision"),
    [
        ("test_resnet", True, "bf16"),
        ("resnext26ts", True, "bf16"),
        ("test_efficientnet", True, "fp32"),
        ("test_resnet", False, "fp32"),
    ],
)
def test_a_cpu_uses_bf16_where_it_has_it_and_nothing_is_depthwise(monkeypatch, backbone, has_bf16, precision):
    monkeypatch.setattr("chestfold.models.runner.cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert loop.start(tiny_experiment(backbone=backbone), 0, exclusive()).runner.precision == precision


# A few images of each class, and class weights


def rare(pixels: int = 32) -> Images:
    """Twelve healthy and four ill."""
    noise = generator("rare").integers(0, 256, (16, pixels, pixels)).astype(np.uint8)
    return Images(noise, np.arange(16), [f"i{n:02d}" for n in range(16)], np.repeat([0, 1], [12, 4]))


def test_a_fold_is_trained_on_the_wanted_number_of_each_class(fold):
    folder = fold(train_per_class=5)
    assert "10 training, 21 validation and 12 test images" in (folder / "log.txt").read_text()


def test_what_is_drawn_depends_on_seed_and_fold_alone():
    def ids(number: int = 0, **changes) -> list[str]:
        return limit_per_class(tiny_experiment(train_per_class=3, **changes), number, rare(), exclusive()).ids

    kept = ids()
    assert kept == ids(lr=1e-4, epochs=9, backbone="test_vit", augment="plain")
    assert kept != ids(1) and kept != ids(seed=1)


def test_the_drawn_images_keep_their_pixels_and_labels():
    images = rare()
    few = limit_per_class(tiny_experiment(train_per_class=3), 0, images, exclusive())
    for row, image_id, label in zip(few.rows, few.ids, few.labels, strict=True):
        assert (images.ids[row], images.labels[row]) == (image_id, label)


def test_more_of_each_class_than_there_are_is_refused(fold):
    with pytest.raises(InputError, match=r"train_per_class = 100, but a class has \d+ training images; lower it"):
        fold(train_per_class=100)


def first_loss(tmp_path, **changes) -> tuple[float, np.ndarray]:
    """The loss of the first batch, of a classifier at zero, and the class numbers in that batch."""
    exp = tiny_experiment(max_steps=1, precision="fp32", **changes)
    task = exclusive()
    state, batches = loop.start(exp, 0, task), TrainBatches(exp, task, 0, rare(), 0)
    loss = create_loss(exp, task, rare().labels, state.runner.device)
    recipe = loop.Recipe(exp, 0, batches, loss, create_mix(0.0, 0.0), task)
    loop.train_epoch(recipe, state, FoldFolder(tmp_path))
    return state.meter.losses[0], batches[0, 0][1].numpy()


def test_balanced_weights_enter_the_loss(tmp_path):
    plain, labels = first_loss(tmp_path)
    weighed, same = first_loss(tmp_path, class_weights="balanced")
    assert labels.tolist() == same.tolist()
    assert plain == pytest.approx(math.log(2))
    expected = np.where(labels == 1, 16 / 8, 16 / 24).mean()
    assert weighed == pytest.approx(math.log(2) * expected) and abs(expected - 1) > 0.05


@pytest.mark.parametrize("sampling", ["over", "under"])
def test_class_weights_and_sampling_exclude_each_other(sampling):
    with pytest.raises(InputError, match=f"sampling = {sampling} and class_weights = balanced: choose one of the two"):
        Experiment(sampling=sampling, class_weights="balanced")


# The average over the last epochs


def test_a_resumed_fold_goes_on_with_the_scale_of_its_losses():
    """fp16 on a GPU multiplies the loss by a number that it adapts; here it is one of a CPU."""
    saved, resumed = (loop.start(tiny_experiment(), 0, exclusive(2)) for _ in range(2))
    saved.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    saved.scaler.scale(torch.ones(1))
    resumed.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    resumed.restore(saved.to_dict())
    assert resumed.scaler.get_scale() == 8.0


def test_a_batch_that_several_processes_share_counts_once():
    meter = loop.Meter()
    meter.add(torch.tensor(0.8), torch.tensor(0.5), share=0.25)
    meter.flush(0, 0)
    assert (meter.losses, meter.hits) == ([pytest.approx(0.2)], [pytest.approx(0.125)])


def epochs_kept(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("epoch*"))


def test_the_last_epochs_are_kept_and_hashed_in_the_manifest(fold):
    folder = fold(epochs=4, average_last=2)
    assert epochs_kept(folder) == ["epoch0003.ckpt", "epoch0004.ckpt"]
    assert set(epochs_kept(folder)) < set(read_json(folder / "manifest.json")["files"])


def test_without_an_average_no_epoch_is_kept(fold):
    assert epochs_kept(fold(epochs=2)) == []


def test_of_fewer_epochs_than_are_averaged_all_are_kept(fold):
    assert epochs_kept(fold(epochs=2, average_last=5)) == ["epoch0001.ckpt", "epoch0002.ckpt"]


def test_the_prediction_is_the_mean_over_the_last_epochs(shared):
    exp = tiny_experiment(**ONE_EPOCH | {"epochs": 4, "average_last": 2})
    ready = prepare(shared.run(exp, "--fold", "0", name="exp099"))
    folder = shared.runs / "exp099" / "fold0"
    table, _ = predictions.read(folder / "oof.parquet")
    images = ready.images(ready.rows(table["id"].tolist()))
    each = [predict(make_runner(rebuild(checkpoint.load(p)), exp, ready.task), images) for p in folder.glob("epoch*")]
    assert np.abs(each[0] - each[1]).max() > 1e-4
    np.testing.assert_allclose(predictions.probabilities(table), np.mean(each, axis=0), atol=1e-6)
