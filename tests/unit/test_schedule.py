"""The learning rate is a pure function of the step."""

import numpy as np
import pytest
from conftest import tiny_experiment

from chestfold.train.optim import lr_at

PER_EPOCH, EPOCHS, PEAK = 50, 10, 0.1


def rates(schedule: str, warmup: float = 0.0) -> np.ndarray:
    exp = tiny_experiment(schedule=schedule, warmup_epochs=warmup, lr=PEAK, epochs=EPOCHS)
    return np.array([lr_at(exp, step, PER_EPOCH) for step in range(PER_EPOCH * EPOCHS)])


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_warm_up_is_linear_and_ends_at_the_peak(schedule):
    warm = rates(schedule, warmup=2)[: 2 * PER_EPOCH + 1]
    assert 0 < warm[0] < PEAK / PER_EPOCH
    np.testing.assert_allclose(np.diff(warm), warm[0])
    assert warm[-1] == pytest.approx(PEAK)


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


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "step", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_a_run_of_a_single_step_has_a_rate(schedule, warmup):
    exp = tiny_experiment(schedule=schedule, warmup_epochs=warmup, epochs=1, lr=PEAK)
    assert 0 < lr_at(exp, 0, 1) <= PEAK
