"""Bug: an option for test-time augmentation was documented and accepted, and crashed after hours of training.

Here the choices of an option are listed in its type, and each of them trains and predicts in this test.
"""

from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.config import field_types
from chestfold.core.rng import generator
from chestfold.data.loader import Images
from chestfold.evaluate import predictions
from chestfold.models import create
from chestfold.models.runner import TTA, make_runner, predict
from chestfold.train.losses import LOSSES

ELSEWHERE = {"lung_mask"}
"""Needs slices with lungs: each of its choices trains and predicts in tests/e2e/test_masked_runs.py."""
CHOICES = {
    name: get_args(kind)
    for name, kind in field_types().items()
    if get_origin(kind) is Literal and name not in ELSEWHERE
}
CHOICES |= {"loss": tuple(LOSSES), "monitor": ("auto", "loss", "accuracy", "macro_f1")}  # texts, and checked later
MOST = max(map(len, CHOICES.values()))
VIEWS = {"none": 1, "flip": 2, "d4": 8, "crops": 10}


def choices_of(number: int) -> dict[str, Any]:
    chosen = {name: values[number % len(values)] for name, values in CHOICES.items()}
    if chosen["sampling"] != "natural":  # not together with class weights
        chosen["class_weights"] = "none"
    return chosen


def test_every_choice_is_in_one_of_the_runs():
    runs = [choices_of(number) for number in range(MOST)]
    for name, choices in CHOICES.items():
        assert {chosen[name] for chosen in runs} == set(choices)


@pytest.mark.parametrize("number", range(MOST))
def test_every_choice_of_every_option_trains_and_predicts(project, number):
    chosen = choices_of(number)
    with (project.input / "tiny" / "dataset.toml").open("a") as file:
        file.write('three_channels = "grey"\n')
    project.run(tiny_experiment(epochs=1, max_steps=1, **chosen), "--fold", "2")
    for name in ("oof", "test"):
        assert len(predictions.read(project.runs / "exp100" / "fold2" / f"{name}.parquet")[0]) > 0


@pytest.mark.parametrize("size", [32, 33])
@pytest.mark.parametrize(("tta", "count"), VIEWS.items())
def test_views_have_the_promised_number_and_the_size_of_the_image(tta, count, size):
    views = list(TTA[tta](torch.rand(2, 1, size, size)))
    assert [v.shape for v in views] == [(2, 1, size, size)] * count
    assert len({v.numpy().tobytes() for v in views}) == count
    assert set(CHOICES["tta"]) == set(VIEWS) == set(TTA), "a new choice needs its number"


def test_a_prediction_is_the_mean_over_the_views():
    exp = tiny_experiment(precision="fp32")
    torch.manual_seed(0)
    runner = make_runner(create(exp, 2), exp, exclusive())
    torch.nn.init.normal_(runner.module.get_classifier().weight)
    pixels = generator("views").integers(0, 256, (4, 32, 32)).astype(np.uint8)

    def predicted(values: np.ndarray, tta: str) -> np.ndarray:
        images = Images(values, np.arange(4), list("abcd"), np.zeros(4, np.int64))
        return predict(runner, images, tta)

    mirrored = np.ascontiguousarray(pixels[..., ::-1])
    both = (predicted(pixels, "none") + predicted(mirrored, "none")) / 2
    assert np.abs(predicted(pixels, "none") - predicted(mirrored, "none")).max() > 1e-3
    np.testing.assert_allclose(predicted(pixels, "flip"), both, atol=1e-5)
    np.testing.assert_allclose(predicted(pixels, "crops"), predicted(mirrored, "crops"), atol=1e-5)
