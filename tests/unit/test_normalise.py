"""What becomes of values between 0 and 1 before a network sees them."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.errors import InputError
from chestfold.data.transforms.normalise import NORMALISATIONS, require_normalisation, standardised
from chestfold.models import create, rebuild
from chestfold.models.create import Blueprint, Network
from chestfold.models.runner import make_runner


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_has_its_own_mean_and_deviation(channels):
    images = torch.rand(4, channels, 16, 16) * torch.tensor([0.1, 0.4, 0.7, 1.0]).view(4, 1, 1, 1)
    made = standardised(images)
    torch.testing.assert_close(made.flatten(1).mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.flatten(1).std(1, correction=0), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised(images[:1]), made[:1])  # whatever else is in the batch


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_an_image_of_one_value_is_0(value):
    assert standardised(torch.full((1, 1, 16, 16), value)).abs().max() < 1e-3


def test_the_deviation_is_taken_for_a_255th_over_the_root_of_the_number_at_least():
    """Of 256 values one is a millionth: its deviation is far below 1 / 255 / 16."""
    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 3, 4] = 1e-6
    made = standardised(image)
    assert made[0, 0, 3, 4].item() == pytest.approx(1e-6 * 255 / 256 * 255 * 16, rel=1e-3)
    assert made[0, 0, 0, 0].item() == pytest.approx(-1e-6 / 256 * 255 * 16, rel=1e-3)


def test_a_dark_image_and_a_bright_one_are_the_same_to_the_network():
    runner = make_runner(create(tiny_experiment(), 2), tiny_experiment(normalise="image"), exclusive())
    dark = torch.randint(20, 80, (1, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(runner.images(dark), runner.images(dark * 2 + 40), atol=1e-5, rtol=0)
    assert runner.images(dark).is_contiguous(memory_format=torch.channels_last)


def test_one_that_was_added_by_name(monkeypatch):
    monkeypatch.setitem(NORMALISATIONS, "negative", lambda images: 1 - images)
    exp = tiny_experiment(normalise="negative")
    require_normalisation(exp)
    runner = make_runner(create(exp, 2), exp, exclusive())
    assert runner.images(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)).max() == 0


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match=r"normalise = 'images' is not one of weights, image; did you mean image\?"):
        require_normalisation(tiny_experiment(normalise="images"))


def test_the_statistics_of_three_colours(tmp_path, monkeypatch):
    from test_models import store

    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(tmp_path))
    name = "mobilenetv3_small_050"
    state = store(tmp_path, name)
    exp = tiny_experiment(backbone=name, pretrained=True, channels=3)
    made = create(exp, 2)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    assert made.blueprint.mean == pytest.approx(mean) and made.blueprint.std == pytest.approx(std)
    torch.testing.assert_close(made.module.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    again = rebuild({"module": made.module.state_dict(), "network": asdict(made.blueprint)})
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    expected = (pixels.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    for network in (made, again):
        np.testing.assert_allclose(make_runner(network, exp, exclusive()).images(pixels).numpy(), expected, atol=1e-5)


def test_16_bits_are_0_to_1_too():
    network = Network(create(tiny_experiment(), 2).module, Blueprint("test_resnet", {}, 0.0, 1.0))
    runner = make_runner(network, tiny_experiment(), exclusive())
    pixels = np.array([0, 1, 257, 40000, 65535], np.uint16).reshape(1, 1, 1, 5)
    torch.testing.assert_close(
        runner.images(torch.from_numpy(pixels)).flatten(), torch.tensor(pixels.flatten() / 65535).float()
    )
    assert torch.equal(runner.images(torch.from_numpy(pixels)).flatten()[-1:], torch.ones(1))
