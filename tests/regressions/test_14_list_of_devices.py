"""Bug: a list of GPUs was counted by its letters, so that "10", the eleventh, meant two GPUs, 1 and 0.

Here a device is one name, and is taken only where one of exactly that name is there.
"""

import pytest

from chestfold.core import device
from chestfold.core.errors import InputError


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    monkeypatch.setenv("CHESTFOLD_DEVICE", "cpu")
    monkeypatch.setattr(device, "_devices", lambda: ["cpu", "cuda:0", "cuda:1"])


@pytest.mark.parametrize("name", ["10", "0,1", "cuda:10", "cuda:01", "cuda:0,1", "cuda:", "cuda:-1", "1"])
def test_what_is_no_device_that_is_there_is_refused(name):
    with pytest.raises(InputError, match=rf"--device {name}: it is not there; there are auto, cpu, cuda:0, cuda:1"):
        device.choose_device(name)
    assert device.chosen_device() == "cpu"


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_what_is_there_is_taken_by_its_name(name):
    device.choose_device(name)
    assert device.chosen_device() == name
