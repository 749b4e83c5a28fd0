"""What a fold leaves to its validation images: its precision, and which images have further views."""

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
