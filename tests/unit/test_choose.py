"""What a fold leaves to its validation images: its precision, and which images have further views."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import tiny_experiment
from sklearn.metrics import roc_auc_score
from tasks import exclusive

from chestfold.core.rng import generator
from chestfold.core.run_folder import Chosen, FoldFolder
from chestfold.evaluate import predictions
from chestfold.models import create, runner
from chestfold.models.load import as_chosen, load_networks
from chestfold.models.runner import in_bf16, make_runner
from chestfold.predict.trained_run import load_run
from chestfold.train import choose
from chestfold.train.choose import compared_figure

TASK = exclusive()


def probabilities(more_noise: float = 0) -> np.ndarray:
    """Of one network for 400 images, of which every second is positive: (1, 400, 2)."""
    noise = generator("choose").normal(0, 1, 400) + generator("more").normal(0, more_noise, 400)
    positive = 1 / (1 + np.exp(-(4 * (np.arange(400) % 2) - 2 + noise)))
    return np.stack([1 - positive, positive], axis=1)[None]


def auc(probs: np.ndarray) -> float:
    return roc_auc_score(np.arange(len(probs)) % 2, probs[:, 1])


def test_the_confidence_is_the_lowest_that_keeps_the_figure():
    first, every = probabilities(0.7), probabilities()
    confidence, share = choose._choose_confidence(TASK, first, every, auc)
    assert 0 < share < 1
    made = choose._by_confidence(TASK, first, every, confidence)
    assert abs(auc(made) - auc(every[0])) <= choose.TOLERANCE
    lower = float(np.quantile(TASK.confidence(first[0]), max(0, share - 0.05)))
    assert abs(auc(choose._by_confidence(TASK, first, every, lower)) - auc(every[0])) > choose.TOLERANCE


def test_a_better_figure_of_fewer_views_does_not_end_the_search():
    """From .95 down to .5 the figure is better by more than the tolerance, then the same: that is what is chosen."""
    every = probabilities()
    first = np.concatenate([every[:, :, :1] * 0.999, every[:, :, 1:]], axis=2)
    below = {round(share, 2): 0.9 if share < 0.25 else 0.95 if share < 0.5 else 0.952 for share in choose.SHARES}
    sure = TASK.confidence(first[0])
    by_share = {float(np.quantile(sure, share)): below[round(share, 2)] for share in choose.SHARES}

    def worth(probs: np.ndarray) -> float:
        changed = probs[:, 0] != every[0, :, 0]
        if not changed.any():
            return 0.95
        return by_share[max(limit for limit in by_share if (sure[changed] >= limit).all())]

    confidence, share = choose._choose_confidence(TASK, first, every, worth)
    assert confidence == float(np.quantile(sure, 0.25)) and share == pytest.approx(0.25, abs=0.01)


def test_views_that_say_the_same_are_left_out():
    every = probabilities()
    confidence, share = choose._choose_confidence(TASK, every, every, auc)
    assert share == 0 and confidence is not None


def test_a_figure_that_is_not_defined_leaves_all_views():
    every = probabilities()
    assert choose._choose_confidence(TASK, every, every, lambda probs: float("nan")) == (None, 1.0)


@pytest.mark.parametrize(
    ("has", "trained", "wanted"), [(True, "fp32", "bf16"), (False, "fp32", None), (True, "bf16", None)]
)
def test_bf16_is_a_gain_on_a_cpu_that_has_it(monkeypatch, has, trained, wanted):
    monkeypatch.setattr(runner, "cpu_has_bf16", lambda: has)
    exp = tiny_experiment(precision=trained)
    fast = in_bf16(make_runner(create(exp, 2), exp, TASK))
    assert (fast.precision if fast else None) == wanted
    chosen = Chosen(precision="bf16", confidence=0.9, views=0.5, figures={})
    made = as_chosen(make_runner(create(exp, 2), exp, TASK), chosen)
    assert made.precision == (wanted or trained) and made.confidence == 0.9


SETTINGS = {"precision": "fp32", "tta": "d4", "tta_selective": True, "predict_precision": "fastest", "epochs": 1}


@pytest.mark.parametrize("tolerance", [1.0, -1.0], ids=["always within", "never within"])
def test_a_fold_predicts_as_was_chosen_and_so_does_who_loads_it(project, monkeypatch, tolerance):
    monkeypatch.setattr(runner, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(choose, "TOLERANCE", tolerance)
    project.run(tiny_experiment(**SETTINGS), "--fold", "0")
    folder = FoldFolder(project.runs / "exp100" / "fold0")
    manifest, log = folder.manifest(), (folder.path / "log.txt").read_text()
    chosen = manifest.chosen
    assert chosen is not None and manifest.precision == chosen.precision
    name = compared_figure(folder.config().exp())
    if tolerance > 0:
        assert (chosen.precision, chosen.views) == ("bf16", 1 / 8)
        assert "predicting: bf16, 12% of the views of d4" in log
    else:
        assert (chosen.precision, chosen.views, chosen.confidence) == ("fp32", 1.0, None)
    assert {f"{name} in fp32", f"{name} in bf16"} < set(chosen.figures)
    network = load_networks(folder, folder.config().exp())[0]
    assert (network.precision, network.confidence) == (chosen.precision, chosen.confidence)
    test, _ = predictions.read(folder.table_path("test"))
    assert len(test) and np.isfinite(test.select_dtypes("float")).all().all()
    assert load_run("exp100").folds[0].networks[0].confidence == chosen.confidence


def test_without_these_settings_nothing_is_chosen(project):
    project.run(tiny_experiment(epochs=1, max_steps=1), "--fold", "0")
    folder = FoldFolder(project.runs / "exp100" / "fold0")
    assert folder.manifest().chosen is None
    assert "predicting:" not in (folder.path / "log.txt").read_text()


# By hand, with stand-ins for networks: an image's confidence is its first probability


class Sure:
    """Stands in for a task."""

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        return probs[:, 0]


HAND: Any = Sure()


def test_an_image_has_one_view_of_each_network_that_is_sure_of_it():
    """Of two networks and three images: the first is sure of the last two (at the confidence is sure), the second of
    the last."""
    first = np.array([[[0.25], [0.5], [0.75]], [[0.25], [0.25], [1.0]]])
    every = np.array([[[0.0], [8.0], [8.0]], [[2.0], [4.0], [8.0]]])
    assert choose._by_confidence(HAND, first, every, 0.5).tolist() == [[1.0], [2.25], [0.875]]
    assert choose._by_confidence(HAND, first, every, None).tolist() == [[1.0], [6.0], [8.0]]


@pytest.mark.parametrize(
    ("figure", "confidence", "share"),
    [(0.5, 0.0, 0.0), (0.375, 0.0, 0.0), (0.625, 0.0, 0.0), (0.37, None, 1.0), (0.63, None, 1.0)],
)
def test_a_figure_may_differ_by_the_tolerance_itself(monkeypatch, figure, confidence, share):
    """All views have 0.5, fewer ones have `figure`; the tolerance is 1/8."""
    monkeypatch.setattr(choose, "TOLERANCE", 0.125)
    first = np.linspace(0, 1, 21).reshape(1, 21, 1)
    every = np.full((1, 21, 1), 7.0)
    found = choose._choose_confidence(HAND, first, every, lambda probs: 0.5 if (probs == 7).all() else figure)
    assert found == (confidence, share)


def test_shares_are_tried_from_nearly_all_down_until_the_figure_is_worse():
    """Of 21 images 0, 0.05, ..., 1: one view is enough for those from 0.5 on."""
    first = np.linspace(0, 1, 21).reshape(1, 21, 1)
    every = np.full((1, 21, 1), 7.0)
    found = choose._choose_confidence(HAND, first, every, lambda probs: float((probs == 7).sum() >= 10))
    assert found == (pytest.approx(0.5), pytest.approx(10 / 21))
    few = choose._choose_confidence(HAND, first, every, lambda probs: float((probs == 7).sum() >= 20))
    assert few == (None, 1.0), "the highest share that is tried is 0.95: of 21 images 19 are below"
    assert choose._choose_confidence(HAND, first, every, lambda probs: float((probs == 7).sum() >= 19))[0] is not None


def network(name: str, precision: str = "fp32") -> Any:
    return SimpleNamespace(name=name, precision=precision, task=HAND)


class Choosing:
    """A fold whose networks are stand-ins; `found`: the figure of each in bf16, None: it cannot have that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **found: float | None) -> None:
        self.networks = [network(name) for name in found]
        epochs = {name: {"epoch": 3 + number} for number, name in enumerate(found)}
        self.folder: Any = SimpleNamespace(
            history=lambda: [{"epoch": epoch, "auc": 0.5 + epoch, "loss": 99} for epoch in range(6)],
            predicting_checkpoints=lambda exp: list(found),
        )

        def fast(slow: Any) -> Any:
            return None if found[slow.name] is None else network(slow.name, "bf16")

        monkeypatch.setattr(choose, "TOLERANCE", 0.125)
        monkeypatch.setattr(choose.checkpoint, "load_weights", epochs.__getitem__)
        monkeypatch.setattr(choose, "in_bf16", fast)
        monkeypatch.setattr(choose, "predict", lambda given, *_, **__: found[given.name])
        monkeypatch.setattr(choose, "as_chosen", lambda given, chosen: (given.name, given.precision))


def settings(**changed: Any) -> Any:
    usual = {"monitor": "loss", "tta": "none", "tta_selective": False, "predict_precision": "fastest"}
    return SimpleNamespace(**usual | changed)


@pytest.mark.parametrize(
    ("found", "precision", "figures"),
    [
        ({"a": 3.5, "b": 4.625}, "bf16", (4.5, 4.625)),
        ({"a": 3.375, "b": 4.375}, "bf16", (4.5, 4.375)),
        ({"a": 3.5, "b": 4.63}, "fp32", (4.5, 4.63)),
        ({"a": 3.37, "b": 4.5}, "fp32", (3.5, 3.37)),
        ({"a": 3.5, "b": None}, "fp32", None),
    ],
)
def test_all_networks_predict_in_bf16_or_none(monkeypatch, found, precision, figures):
    """They are of the epochs 3 and 4, whose figures were 3.5 and 4.5; the tolerance is 1/8."""
    fold = Choosing(monkeypatch, **found)
    images: Any = [1]
    choice = choose.choose(settings(), fold.folder, fold.networks, images, lambda value: value)
    assert choice.networks == [("a", precision), ("b", precision)] and choice.oof is None
    expected = dict(zip(("auc in fp32", "auc in bf16"), figures, strict=True)) if figures else {}
    assert choice.chosen == Chosen(precision=precision, views=1.0, figures=expected)


@pytest.mark.parametrize(
    ("changed", "images"),
    [
        ({}, 0),
        ({"predict_precision": "trained"}, 1),
        ({"predict_precision": "trained", "tta": "d4"}, 1),
        ({"predict_precision": "trained", "tta_selective": True}, 1),
        ({"predict_precision": "trained", "tta_selective": True, "tta": "d4"}, 0),
    ],
)
def test_all_stays_as_trained_where_nothing_is_left_to_the_images_or_there_are_none(monkeypatch, changed, images):
    fold = Choosing(monkeypatch, a=3.5)
    val: Any = [1] * images
    choice = choose.choose(settings(**changed), fold.folder, fold.networks, val, lambda value: 1.0)
    assert choice.networks is fold.networks and choice.chosen is None and choice.oof is None
    assert choice.describe(settings(**changed)) == "predicting: as trained, all views"


@pytest.mark.parametrize(("monitor", "sign"), [("auc", 1), ("brier", -1)])
def test_views_are_counted_from_the_share_that_has_all_of_them(monkeypatch, monitor, sign):
    """A quarter of the images has all 8 views, the rest one: (8 + 3) / 32."""
    fold = Choosing(monkeypatch, a=None, b=None)
    passes = {"a": (np.array([[0.25], [1.0]]), np.array([[3.0], [5.0]]))}
    passes["b"] = (np.array([[0.75], [0.25]]), np.array([[5.0], [7.0]]))
    given: list[Any] = []

    def confidence(task: Any, firsts: np.ndarray, every: np.ndarray, worth: Any) -> tuple[float, float]:
        given.append((task, firsts.shape, worth(np.full((2, 1), 6.0))))
        return 0.5, 0.25

    monkeypatch.setattr(choose, "first_and_all_views", lambda each, *_: passes[each.name])
    monkeypatch.setattr(choose, "_choose_confidence", confidence)
    exp = settings(monitor=monitor, tta="d4", tta_selective=True, predict_precision="trained")
    images: Any = [1, 2]
    choice = choose.choose(exp, fold.folder, fold.networks, images, lambda probs: float(probs.sum()))
    assert given == [(HAND, (2, 2, 1), sign * 12.0)], "higher is better"
    assert choice.oof is not None and choice.oof.tolist() == [[1.875], [4.0]]
    figures = {f"{monitor} of all views": 10.0, f"{monitor} of these": 5.875}
    assert choice.chosen == Chosen(precision="fp32", confidence=0.5, views=0.3438, figures=figures)
    shown = f"predicting: fp32, 34% of the views of d4 ({monitor} of all views 10.0000, {monitor} of these 5.8750)"
    assert choice.describe(exp) == shown


def test_a_single_network_chooses_its_views_too(monkeypatch):
    fold = Choosing(monkeypatch, a=None)
    passes = np.array([[0.25], [0.75]]), np.array([[0.5], [0.5]])
    monkeypatch.setattr(choose, "first_and_all_views", lambda *_: passes)
    exp = settings(tta="d4", tta_selective=True)
    images: Any = [1, 2]
    choice = choose.choose(exp, fold.folder, fold.networks, images, lambda probs: 1.0)
    assert choice.networks == [("a", "fp32")] and choice.chosen is not None
    assert (choice.chosen.confidence, choice.chosen.views) == (0.25, 0.125), "one view of eight is enough"
