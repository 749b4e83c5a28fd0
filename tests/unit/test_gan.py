"""The networks of the GAN, their losses, and a training of seconds: gate, normalisation, resume, collapse."""

import json
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized

from chestfold.cli import main
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.files import read_json
from chestfold.data.sampling import random_share
from chestfold.synth.gan import networks, train
from chestfold.synth.gan.diffaug import TRANSLATION, diff_augment, random_d4
from chestfold.synth.gan.generator import load_generator
from chestfold.synth.gan.images import write_grid

BOTH = list(networks.EMA_DECAY)


@pytest.fixture(autouse=True)
def _few_statistics(monkeypatch):
    monkeypatch.setattr(train, "BN_BATCHES", 1)


def recipe(**changes) -> train.Recipe:
    return replace(train.Recipe("tiny", 0, steps=4, batch=4, width=8), **changes)


@pytest.mark.parametrize("architecture", BOTH)
def test_shapes_and_range(architecture):
    made = networks.Generator(architecture, 8)(torch.randn(3, networks.LATENT))
    assert made.shape == (3, 1, 64, 64) and made.abs().max() <= 1
    assert networks.Discriminator(8)(made).shape == (3,)


@pytest.mark.parametrize(
    "network", [networks.Generator("sagan", 8), networks.Generator("transposed", 8), networks.Discriminator(8)]
)
def test_every_weight_is_spectrally_normalised_and_the_gate_starts_at_zero(network):
    kinds = torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d
    layers = [m for m in network.modules() if isinstance(m, kinds)]
    assert layers and all(is_parametrized(m, "weight") for m in layers)
    assert network.attention.gate.item() == 0
    network.eval()
    for layer in layers:
        dim = 1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0
        matrix = layer.weight.movedim(dim, 0).flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1, abs=0.35)


def test_attention_is_the_identity_until_its_gate_opens():
    layer, x = networks.Attention(16, networks.plain), torch.randn(2, 16, 8, 8)
    assert torch.equal(layer(x), x)
    layer.gate.data.fill_(1)
    assert not torch.allclose(layer(x), x)


def test_hinge_losses():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert networks.discriminator_loss(real, fake).item() == pytest.approx(0.25 + 1.0)
    assert networks.discriminator_loss(torch.ones(3), -torch.ones(3)).item() == 0
    assert networks.generator_loss(fake).item() == pytest.approx(1.0)


def test_the_average_computes_with_the_normalised_weights():
    live, average = networks.Generator("transposed", 8), networks.Generator("transposed", 8, networks.plain)
    networks.update_average(average, live, 0.0)
    z = torch.randn(4, networks.LATENT)
    assert torch.allclose(average.eval()(z), live.eval()(z), atol=1e-5)


def test_augmentation_moves_the_patch_and_lets_gradients_through():
    patches = torch.zeros(2, 1, 64, 64, requires_grad=True)
    moved = diff_augment(patches, np.random.default_rng(0))
    moved.sum().backward()
    assert moved.shape == patches.shape and patches.grad.abs().sum() > 0
    spot = torch.full((8, 1, 64, 64), -1.0)
    spot[:, :, 32, 32] = 1
    places = diff_augment(spot, np.random.default_rng(0)).flatten(1).argmax(dim=1)
    away = torch.stack([places // 64, places % 64]) - 32
    assert away.abs().max() <= TRANSLATION and len(set(places.tolist())) > 4


def test_the_rotations_are_the_eight_of_a_square():
    patch = np.arange(16, dtype=np.uint8).reshape(4, 4)
    made = random_d4(np.repeat(patch[None], 200, axis=0), np.random.default_rng(0))
    assert len({m.tobytes() for m in made}) == 8
    assert all(sorted(m.ravel()) == sorted(patch.ravel()) for m in made)


def test_a_grid_has_a_line_around_every_patch(tmp_path):
    patches = np.stack([np.full((3, 3), value, np.uint8) for value in (10, 20, 30, 40)])
    write_grid(tmp_path / "grid.png", patches, columns=2)
    grid = cv2.imread(str(tmp_path / "grid.png"), cv2.IMREAD_GRAYSCALE)
    assert grid.shape == (9, 9) and (grid[::4] == 255).all() and (grid[:, ::4] == 255).all()
    assert grid[2, 2] == 10 and grid[2, 6] == 20 and grid[6, 2] == 30 and grid[6, 6] == 40


def test_a_share_is_a_pure_function_and_a_smaller_one_lies_in_a_larger():
    ids = [f"n{n}" for n in range(40)]
    few, more = (random_share(ids, share, 0, 1) for share in (0.1, 0.25))
    assert len(few) == 4 and set(few) < set(more) and random_share(ids, 1.0, 0, 1) == ids
    assert set(random_share(ids[::-1], 0.1, 0, 1)) == set(few) != set(random_share(ids, 0.1, 0, 2))


def test_a_killed_training_ends_with_the_same_bytes(project, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    undisturbed = train.train("undisturbed", recipe())
    calls, real_step = [], train.train_step

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real_step(*arguments)

    monkeypatch.setattr(train, "train_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train.train("killed", recipe())
    again = train.train("killed", recipe())
    assert len(calls) == 3 + 2  # steps 1 and 2, the one that died, steps 3 and 4
    for name in ("generator.safetensors", "samples_000004.png"):
        assert (undisturbed / name).read_bytes() == (again / name).read_bytes()


def test_a_finished_generator_draws_and_knows_its_parents(project, capsys):
    words = "synth train one --data tiny --fold 1 --steps 2 --batch 4 --width 8 --share 0.5".split()  # noqa: SIM905
    main.main(words)
    folder = project.runs / "synth" / "one" / "fold1"
    made = load_generator(folder)
    drawn = made.draw(5, seed=3)
    assert drawn.shape == (5, 64, 64) and drawn.dtype == np.uint8
    assert np.array_equal(drawn, made.draw(5, seed=3)) and not np.array_equal(drawn, made.draw(5, seed=4))
    ids = train.read_nodules(recipe(fold=1)).ids
    assert set(made.parents) < set(ids) and len(made.parents) == round(len(ids) / 2) and made.fold == 1
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2 and {"discriminator_loss", "real_score", "seconds", "cpu_seconds", "spread"} <= set(
        rows[-1]
    )
    main.main(words)
    assert "is finished" in capsys.readouterr().out
    modes = {(folder / name).stat().st_mode for name in ("generator.safetensors", "manifest.json")}
    assert len(modes) == 1
    with pytest.raises(InputError, match="begun with other settings.*share: 0.5 -> 1.0"):
        train.train("one", recipe(fold=1, steps=2))


def test_no_nodule_of_the_held_out_fold_is_seen(project):
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    table = folds.load("tiny", open_index("tiny")).table.set_index("id")
    seen = table.loc[train.read_nodules(recipe(fold=2)).ids]
    assert set(seen["label"]) == {"ill"} and 2 not in set(seen["fold"])


@pytest.mark.parametrize(
    ("made", "real", "loss", "reason"),
    [(10, 100, 1.0, "differ by 10 grey levels"), (90, 100, 0.001, "learns nothing more"), (90, 100, 1.0, "^$")],
)
def test_collapse_has_a_reason(made, real, loss, reason):
    import re

    assert re.search(reason, train.collapse(made, real, loss))


def test_a_collapsed_training_stops_with_one_sentence(project, monkeypatch):
    for name, value in (("SAMPLE_EVERY", 2), ("RECORD_EVERY", 1), ("GRACE_STEPS", 2)):
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(train, "draw_samples", lambda *_: np.zeros((8, 64, 64), np.uint8))
    with pytest.raises(TrainingError, match="has collapsed at step 2: its patches differ by 0 grey levels") as stop:
        train.train("flat", recipe())
    assert len(str(stop.value).splitlines()) == 1


def test_a_loss_that_is_no_number_stops_the_training(project, monkeypatch):
    monkeypatch.setattr(train, "train_step", lambda r, s, *_: setattr(s, "step", s.step + 1) or [float("nan")] * 4)
    with pytest.raises(TrainingError, match="a loss is no number at step 4"):
        train.train("nan", recipe())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--architecture dcgan", "'dcgan' is not one of sagan, transposed"),
        ("--share 0", "share = 0.0: above 0"),
        ("--batch 500", "do not fill a batch"),
        ("--fold 7", "fold 7 does not exist"),
        ("--width 2", "width = 2: at least 8"),
    ],
)
def test_bad_recipes_are_refused(project, capsys, options, sentence):
    with pytest.raises(SystemExit) as stop:
        main.main(f"synth train x --data tiny --fold 0 --steps 1 {options}".split())
    assert stop.value.code == 2 and sentence in capsys.readouterr().err


def test_changed_weights_are_noticed(project):
    folder = train.train("one", recipe(steps=1))
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not the file that the training finished with"):
        load_generator(folder)
    assert read_json(folder / "manifest.json")["parents"]


def test_a_step_stays_on_its_device(monkeypatch):
    """Shapes without numbers stand for a GPU: an operand that was left behind on the CPU is an error there."""
    monkeypatch.setattr(train.distributed, "device", lambda: torch.device("meta"))
    monkeypatch.setattr(train.torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(train, "create_optimizer", lambda module, lr: torch.optim.Adam(module.parameters(), lr=lr))
    state = train.State(recipe())
    nodules = train.Nodules([str(n) for n in range(8)], np.zeros((8, 64, 64), np.uint8), {})
    with pytest.raises(NotImplementedError, match="meta tensor; no data"):
        train.train_step(recipe(), state, nodules, "fp32")
    assert state.step == 1  # only the figures, the last thing of a step, could not be read
