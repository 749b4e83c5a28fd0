"""Frozen: only the new head learns; every other weight and statistic stays as it was, to the bit."""

import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core import checkpoint
from chestfold.models import create, training_mode
from chestfold.train import loop

CASES = [{}, {"head_width": 8}, {"ema_decay": 0.9}, {"head_width": 8, "ema_decay": 0.9}]


def belongs_to_head(name: str) -> bool:
    return name.startswith(("fc.", "hidden.", "classifier."))


def fresh(exp) -> dict[str, torch.Tensor]:
    """All tensors of fold 0 before its first step."""
    return loop.start(exp, 0, exclusive()).runner.module.state_dict()


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_all_but_the_head_is_bit_for_bit_as_it_was_created(project, settings):
    exp = tiny_experiment(freeze=True, drop_rate=0.3, **settings)
    project.run(exp, "--fold", "0")
    before = fresh(exp)
    assert any("num_batches_tracked" in name for name in before)
    folder = project.runs / "exp100" / "fold0"
    last, best = (checkpoint.load(folder / f"{name}.ckpt") for name in ("last", "best"))
    for after in (last["module"], best["module"], *filter(None, [last["ema"]])):
        assert moved(before, after) == set(filter(belongs_to_head, before))


def test_without_freezing_all_but_nothing_stays(_trained_once):
    after = checkpoint.load(_trained_once.runs / "exp100" / "fold0" / "last.ckpt")["module"]
    assert moved(fresh(tiny_experiment()), after) == set(after)


@pytest.mark.parametrize(("head_width", "head"), [(0, {"fc"}), (8, {"hidden", "drop", "classifier"})])
def test_in_training_the_trunk_is_in_eval_mode_and_the_head_is_not(head_width, head):
    module = create(tiny_experiment(freeze=True, head_width=head_width, drop_rate=0.5), 2).module
    training_mode(module, frozen=True)
    assert {name for name, part in module.named_modules() if part.training} == head
    training_mode(module, frozen=False)
    assert all(part.training for part in module.modules())


def test_every_step_is_taken_in_that_mode(project, monkeypatch):
    honest, seen = loop.train_logits, []

    def watched(exp, runner, images):
        seen.append(frozenset(name for name, part in runner.module.named_modules() if part.training))
        return honest(exp, runner, images)

    monkeypatch.setattr(loop, "train_logits", watched)
    project.run(tiny_experiment(freeze=True, head_width=8, drop_rate=0.5, max_steps=2), "--fold", "0")
    assert seen == [{"hidden", "drop", "classifier"}] * 4


def test_features_of_a_frozen_network_do_not_flicker_in_training_and_its_outputs_do():
    torch.manual_seed(0)
    module = create(tiny_experiment(freeze=True, head_width=64, drop_rate=0.5), 2).module
    torch.nn.init.normal_(module.classifier.weight)
    training_mode(module, frozen=True)
    images = torch.randn(4, 1, 32, 32)
    assert torch.equal(module.trunk(images), module.trunk(images))
    assert not torch.equal(module(images), module(images))
