"""The learning rate is a pure function of the step; the optimizer is one of timm's, by name."""

from copy import deepcopy
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from torch import nn

from chestfold import Experiment
from chestfold.core.config import field_types
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder
from chestfold.models import create
from chestfold.models.timm_import import create_scheduler_v2
from chestfold.train import optim
from chestfold.train.optim import create_optimizer, lr_at, require_optimizer, set_lr

PER_EPOCH, EPOCHS, PEAK = 50, 10, 0.1


SCHEDULES = get_args(field_types()["schedule"])


def rates(schedule: str, warmup: float = 0.0, **settings) -> np.ndarray:
    exp = tiny_experiment(schedule=schedule, warmup_epochs=warmup, lr=PEAK, epochs=EPOCHS, **settings)
    return np.array([lr_at(exp, step, PER_EPOCH) for step in range(PER_EPOCH * EPOCHS)])


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "onecycle"])
def test_the_warm_up_is_linear_and_ends_at_the_peak(schedule):
    warm = rates(schedule, warmup=2)[: 2 * PER_EPOCH + 1]
    assert 0 < warm[0] < PEAK / PER_EPOCH
    np.testing.assert_allclose(np.diff(warm), warm[0], rtol=1e-4)
    assert warm[-1] == pytest.approx(PEAK, rel=1e-5)


@pytest.mark.parametrize("warmup", [0, 0.5, 3])
def test_cosine_falls_from_the_peak_to_nearly_0(warmup):
    fall = rates("cosine", warmup)[round(warmup * PER_EPOCH) :]
    assert fall[0] == pytest.approx(PEAK)
    assert (np.diff(fall) < 0).all() and 0 < fall[-1] < PEAK * 1e-3
    assert fall[len(fall) // 2] == pytest.approx(PEAK / 2, rel=0.01)


def test_onecycle_rises_for_a_third_and_falls_far_below_its_start():
    line = rates("onecycle", warmup=5)  # it has a warm-up of its own
    top = int(line.argmax())
    assert line[0] == pytest.approx(PEAK / 25) and line.max() == pytest.approx(PEAK, rel=1e-3)
    assert 0.29 < top / len(line) < 0.31
    assert (np.diff(line[: top + 1]) > 0).all() and (np.diff(line[top:]) < 0).all()
    assert line[-1] == pytest.approx(PEAK / 1e4)


def test_step_falls_to_a_tenth_twice():
    line = rates("step")
    assert line[[0, 299, 300, 424, 425, 499]] == pytest.approx([PEAK, PEAK, 0.01, 0.01, 0.001, 0.001])


def test_constant_stays():
    assert (rates("constant") == PEAK).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_a_run_of_a_single_step_has_a_rate(schedule, warmup):
    exp = tiny_experiment(schedule=schedule, warmup_epochs=warmup, epochs=1, lr=PEAK)
    assert 0 < lr_at(exp, 0, 1) <= PEAK


def timm_rates(schedule: str, length: int, **settings) -> np.ndarray:
    """What timm's own scheduler gives, stepped once after each step as its trainer does."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], PEAK)
    arguments = dict(num_epochs=length, step_on_epochs=False, updates_per_epoch=1, cycle_decay=1.0) | settings
    scheduler, _ = create_scheduler_v2(optimizer, schedule, **arguments)
    line = []
    for step in range(PER_EPOCH * EPOCHS):
        line.append(optimizer.param_groups[0]["lr"])
        scheduler.step_update(step + 1)
    return np.array(line)


@pytest.mark.parametrize(
    ("schedule", "settings", "of_timm"),
    [
        ("poly", {}, {"decay_rate": 0.9}),
        ("poly", {"lr_power": 2.0}, {"decay_rate": 2.0}),
        ("tanh", {}, {}),
        ("tanh", {"lr_cycles": 5}, {"num_epochs": 100, "cycle_limit": 5}),
        ("cosine", {"lr_cycles": 2}, {"num_epochs": 250, "cycle_limit": 2}),
        ("wsd", {}, {"decay_epochs": 100}),
        ("rsqrt", {}, {"decay_epochs": 100, "stable_timescale": 1}),
    ],
)
def test_a_schedule_of_timm_gives_the_rates_of_timm(schedule, settings, of_timm):
    ours, theirs = rates(schedule, **settings), timm_rates(schedule, PER_EPOCH * EPOCHS, **of_timm)
    np.testing.assert_array_equal(ours[1:], theirs[1:])
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6), "theirs is not computed"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rate_does_not_depend_on_which_rates_were_asked_for_before(schedule):
    exp = tiny_experiment(schedule=schedule, warmup_epochs=1, epochs=EPOCHS, lr_cycles=3)
    forwards = [lr_at(exp, step, PER_EPOCH) for step in range(0, 500, 7)]
    optim._timm_schedule.cache_clear()
    backwards = [lr_at(exp, step, PER_EPOCH) for step in reversed(range(0, 500, 7))]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("schedule", ["cosine", "poly", "tanh"])
@pytest.mark.parametrize(("cycles", "warmup"), [(2, 0), (3, 1), (15, 0)])
def test_each_cycle_begins_at_the_peak_and_ends_far_below(schedule, cycles, warmup):
    line = rates(schedule, warmup, lr_cycles=cycles)[warmup * PER_EPOCH :]
    starts = np.flatnonzero(np.diff(line) > 0) + 1
    assert len(starts) == cycles - 1
    assert line[[0, *starts]] == pytest.approx(PEAK, rel=1e-5)
    assert (line[starts - 1] < 0.1 * PEAK).all()


@pytest.mark.parametrize("schedule", ["poly", "wsd", "rsqrt"])
def test_a_fall_ends_near_0(schedule):
    line = rates(schedule)
    assert (np.diff(line) <= 0).all() and 0 < line[-1] < 0.03 * PEAK


def test_multistep_falls_to_a_tenth_at_each_milestone():
    line = rates("multistep", lr_milestones=(0.2, 0.5, 0.9))
    for step, rate in [(99, 0.1), (100, 0.01), (249, 0.01), (250, 0.001), (450, 0.0001), (499, 0.0001)]:
        assert line[step] == pytest.approx(rate)
    assert (rates("multistep") == rates("step")).all(), "its default milestones"


@pytest.mark.parametrize("wrong", [(0.5, 0.5), (0.8, 0.2), (0.0, 0.5), (0.5, 1.0), (30.0, 60.0), (float("nan"),)])
def test_milestones_are_rising_shares(wrong):
    with pytest.raises(InputError, match=r"lr_milestones = .*: rising shares of the run between 0 and 1"):
        Experiment(lr_milestones=wrong)


@pytest.mark.parametrize("missing", [lambda *_, **__: (None, 0), lambda *_, **__: exec("raise ValueError")])
def test_a_schedule_that_the_installed_timm_lacks_is_one_sentence(monkeypatch, missing):
    monkeypatch.setattr(optim, "create_scheduler_v2", missing)
    optim._timm_schedule.cache_clear()
    with pytest.raises(InputError, match="schedule = wsd: the installed timm does not have it; update timm"):
        rates("wsd")


# The optimizer


def groups(**settings) -> tuple[dict[str, dict], torch.optim.Optimizer]:
    """Name of a parameter -> its group, and the optimizer."""
    exp = tiny_experiment(**settings)
    module = create(exp, 2).module
    optimizer = create_optimizer(exp, module)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[names[id(parameter)]] = group
    assert set(found) == {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return found, optimizer


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_the_usual_optimizers_are_those_of_torch(name, kind):
    _, optimizer = groups(optimizer=name)
    assert isinstance(optimizer, kind) and optimizer.defaults["fused"]
    if name == "sgd":
        assert optimizer.defaults["momentum"] == 0.9 and optimizer.defaults["nesterov"]


def test_any_optimizer_of_timm_can_be_named():
    _, optimizer = groups(optimizer="lamb")
    assert type(optimizer).__name__ == "Lamb"


@pytest.mark.parametrize(("name", "near"), [("adamww", "adamw"), ("SGD", "")])
def test_an_unknown_optimizer_is_refused_with_the_nearest_name(name, near):
    with pytest.raises(InputError, match=f"unknown optimizer '{name}'") as refusal:
        require_optimizer(name)
    assert (f"did you mean {near}?" in str(refusal.value)) == bool(near)


def test_a_run_with_an_unknown_optimizer_can_be_repeated_with_a_known_one(project):
    with pytest.raises(InputError, match="unknown optimizer"):
        project.run(tiny_experiment(optimizer="adamv", epochs=1, max_steps=1), "--fold", "0")
    assert not (project.runs / "exp100").exists(), "refused before anything is begun"
    project.run(tiny_experiment(optimizer="adamw", epochs=1, max_steps=1), "--fold", "0")
    assert (project.runs / "exp100" / "fold0" / "manifest.json").exists()


def test_biases_and_norms_are_not_decayed():
    found, _ = groups(weight_decay=0.05)
    sizes = {name: parameter.ndim for name, parameter in create(tiny_experiment(), 2).module.named_parameters()}
    decayed = {name for name, group in found.items() if group["weight_decay"] == 0.05}
    assert decayed == {name for name, size in sizes.items() if size > 1}
    assert {group["weight_decay"] for group in found.values()} == {0.0, 0.05}


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_layer_decay_slows_a_layer_by_its_distance_from_the_classifier(backbone):
    found, optimizer = groups(backbone=backbone, layer_decay=0.5, lr=0.1)
    head = next(name for name in reversed(found) if name.endswith("bias"))
    first = next(iter(found))
    scales = {name: group["lr_scale"] for name, group in found.items()}
    assert scales[head] == 1 == max(scales.values())
    assert scales[first] == min(scales.values()) < 0.5
    assert {np.log2(scale) for scale in scales.values()} <= set(range(-20, 1)), "powers of the decay"
    set_lr(optimizer, 0.02)
    for name, group in found.items():
        assert group["lr"] == pytest.approx(0.02 * scales[name])


def test_without_layer_decay_all_layers_have_one_rate():
    found, optimizer = groups(layer_decay=1.0)
    assert not any("lr_scale" in group for group in found.values())
    set_lr(optimizer, 0.02)
    assert {group["lr"] for group in optimizer.param_groups} == {0.02}


def test_layer_decay_of_a_network_that_does_not_name_its_layers_is_refused():
    with pytest.raises(InputError, match=r"layer_decay = 0\.5: five_block_cnn does not name its layers; leave it at 1"):
        groups(layer_decay=0.5, backbone="five_block_cnn")


def test_layer_decay_under_a_new_head_is_refused():
    with pytest.raises(InputError, match=r"head_width = 8 and layer_decay = 0\.5 .*: choose one of the two"):
        tiny_experiment(layer_decay=0.5, head_width=8)


def test_the_rate_of_an_epoch_is_that_of_the_fastest_layer(project):
    settings = dict(schedule="constant", warmup_epochs=0.0, lr=0.01, epochs=1, max_steps=2)
    project.run(tiny_experiment(layer_decay=0.5, **settings), "--fold", "0")
    (row,) = FoldFolder(project.runs / "exp100" / "fold0").history()
    assert row["lr"] == 0.01


def layers_in_channels_last(seed: int) -> nn.Module:
    """Kernels of 3 and of 1, a grey and a wide input, a norm and a classifier."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 4, 1), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(4, 2))
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def trained_steps(optimizer: torch.optim.Optimizer, module: nn.Module, steps: range) -> None:
    for step in steps:
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            if parameter.dim() == 4:
                parameter.grad = parameter.grad.to(memory_format=torch.channels_last)
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_in_the_stored_order_gives_the_weights_and_the_state_of_torchs(name):
    expected, found = layers_in_channels_last(0), layers_in_channels_last(0)
    exp = tiny_experiment(optimizer=name, lr=0.01, weight_decay=0.05)
    torchs, ours = create_optimizer(exp, expected), create_optimizer(exp, found)
    torchs.__class__ = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    assert type(ours) is optim.IN_STORED_ORDER[type(torchs)]
    trained_steps(torchs, expected, range(2))
    trained_steps(ours, found, range(2))
    torchs.load_state_dict(deepcopy(ours.state_dict()))  # each goes on where the other was
    found.load_state_dict(expected.state_dict())
    trained_steps(torchs, expected, range(2, 4))
    trained_steps(ours, found, range(2, 4))
    for weights, others in zip(expected.parameters(), found.parameters(), strict=True):
        assert torch.equal(weights, others)
        for key, number in ours.state[others].items():
            assert torch.equal(number, torchs.state[weights][key]), key
            assert key == "step" or number.shape == others.shape


def test_adam_in_the_stored_order_copies_no_kernel(monkeypatch):
    given = []
    monkeypatch.setattr(torch, "_fused_adamw_", lambda weights, *_, **__: given.extend(weights))
    module = layers_in_channels_last(0)
    trained_steps(create_optimizer(tiny_experiment(optimizer="adamw"), module), module, range(1))
    assert len(given) == len(list(module.parameters()))
    assert all(weights.is_contiguous() for weights in given)
