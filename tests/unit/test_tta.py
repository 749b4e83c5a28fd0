"""Test-time augmentation averages probabilities over views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import draw_image, tiny_experiment
from tasks import exclusive

from chestfold.core.rng import generator
from chestfold.data.loader import Images
from chestfold.models import create, ood
from chestfold.models import runner as runner_module
from chestfold.models.runner import TTA, first_and_all_views, make_runner, predict

VIEWS = {"none": 1, "flip": 2, "d4": 8, "crops": 10}
BATCH = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def runner():
    """A network whose head is not at zero."""
    torch.manual_seed(4)
    network = create(tiny_experiment(), 2)
    torch.nn.init.normal_(network.module.get_classifier().weight)
    return make_runner(network, tiny_experiment(precision="fp32"), exclusive())


def images(pixels: np.ndarray) -> Images:
    return Images(
        pixels, np.arange(len(pixels)), [f"i{n}" for n in range(len(pixels))], np.zeros(len(pixels), np.int64)
    )


PIXELS = np.stack([draw_image(generator("tta", n), n % 2 == 1) for n in range(5)])


@pytest.mark.parametrize(("tta", "count"), VIEWS.items())
def test_views_have_the_size_of_the_image_and_differ(tta, count):
    views = list(TTA[tta](BATCH))
    assert [view.shape for view in views] == [BATCH.shape] * count
    assert len({view.contiguous().numpy().tobytes() for view in views}) == count
    assert all(torch.isfinite(view).all() for view in views)


def test_the_first_view_of_flip_is_the_image_and_the_second_its_mirror():
    plain, mirrored = TTA["flip"](BATCH)
    assert torch.equal(plain, BATCH) and torch.equal(mirrored, BATCH.flip(-1))


@pytest.mark.parametrize("size", [32, 33, 96])
def test_crops_show_seven_eighths_of_each_corner_and_of_the_centre(size):
    """A ramp from 0 to 1: the mean of a crop says where it was cut."""
    ramp = torch.linspace(0, 1, size).expand(1, 1, size, size)
    means = sorted(float(view.mean()) for view in TTA["crops"](ramp))
    assert means[:4] == pytest.approx([7 / 16] * 4, abs=0.07)
    assert means[4:6] == pytest.approx([0.5] * 2, abs=0.07)
    assert means[6:] == pytest.approx([9 / 16] * 4, abs=0.07)
    assert means[0] < means[-1]


@pytest.mark.parametrize("tta", ["flip", "crops"])
def test_a_prediction_over_flips_does_not_depend_on_left_and_right(runner, tta):
    mirrored = PIXELS[:, :, ::-1].copy()
    np.testing.assert_allclose(predict(runner, images(PIXELS), tta), predict(runner, images(mirrored), tta), atol=1e-4)
    plain = predict(runner, images(PIXELS)), predict(runner, images(mirrored))
    assert np.abs(plain[0] - plain[1]).max() > 1e-3, "the network itself does"


def test_probabilities_are_averaged_not_logits(runner):
    batch = runner.images(torch.from_numpy(PIXELS).unsqueeze(1))
    with torch.inference_mode():
        views = [runner.module.eval()(view).softmax(dim=1) for view in TTA["crops"](batch)]
    expected = torch.stack(views).mean(dim=0).numpy()
    np.testing.assert_allclose(predict(runner, images(PIXELS), "crops"), expected, atol=1e-5)


def test_a_prediction_does_not_depend_on_its_neighbours(runner):
    alone = np.concatenate([predict(runner, images(PIXELS[n : n + 1]), "flip") for n in range(5)])
    np.testing.assert_allclose(predict(runner, images(PIXELS), "flip"), alone, atol=1e-5)


def test_d4_are_the_eight_symmetries_of_the_image():
    sides = (BATCH, BATCH.flip(-1))
    wanted = {side.rot90(quarter, (-2, -1)).numpy().tobytes() for side in sides for quarter in range(4)}
    views = list(TTA["d4"](BATCH))
    assert {view.numpy().tobytes() for view in views} == wanted and len(wanted) == 8
    assert torch.equal(views[0], BATCH)


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_prediction_over_d4_does_not_depend_on_which_side_is_up(runner, quarter):
    rotated = np.rot90(PIXELS, quarter, (1, 2)).copy()
    upright, aside = predict(runner, images(PIXELS), "d4"), predict(runner, images(rotated), "d4")
    np.testing.assert_allclose(upright, aside, atol=1e-5)
    assert np.abs(predict(runner, images(PIXELS)) - predict(runner, images(rotated))).max() > 1e-3


@pytest.mark.parametrize("tta", ["flip", "d4", "crops"])
def test_only_unsure_images_have_further_views(runner, tta, monkeypatch):
    first, every = first_and_all_views(runner, images(PIXELS), tta, "both")
    np.testing.assert_array_equal(every, predict(runner, images(PIXELS), tta))
    sure = runner.task.confidence(first)
    confidence = float(np.median(sure))
    passed: list[int] = []
    counted = replace(runner, confidence=confidence, call=lambda x: passed.append(len(x)) or runner.call(x))
    made = predict(counted, images(PIXELS), tta)
    np.testing.assert_allclose(made, np.where((sure < confidence)[:, None], every, first), atol=1e-5)
    unsure = int((sure < confidence).sum())
    assert unsure == 2 and sum(passed) == len(PIXELS) + unsure * (VIEWS[tta] - 1)


@pytest.mark.parametrize("tta", ["none", "flip", "d4", "crops"])
@pytest.mark.parametrize("confidence", [None, 0.0, 2.0])
def test_features_of_the_images_as_they_are_come_with_their_prediction(runner, tta, confidence, monkeypatch):
    for module in (ood, runner_module):
        monkeypatch.setattr(module, "PREDICT_BATCH", 2)
    chosen = replace(runner, confidence=confidence)
    probs, features = ood.predicted_with_features([chosen], images(PIXELS), tta)
    np.testing.assert_array_equal(features, ood.features(runner, images(PIXELS))[1])
    np.testing.assert_array_equal(probs, predict(chosen, images(PIXELS), tta))
