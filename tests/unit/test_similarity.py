"""KID, copying and checkerboard on sets whose answer is known; a table of a tiny feature network and generator."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.core.rng import generator
from chestfold.synth.gan import train
from chestfold.synth.gan.measure import gap_to_floor, mean_over_folds, open_feature_network
from chestfold.synth.gan.similarity import kid, nearest, squared_mmd, stride_power


def normal(name: str, count: int, shift: float = 0.0) -> np.ndarray:
    return generator("kid", name).normal(shift, 1, (count, 8))


def test_kid_of_one_distribution_is_about_zero_and_of_another_is_large():
    same, other = kid(normal("a", 400), normal("b", 400)), kid(normal("a", 400), normal("c", 400, shift=1.0))
    assert abs(same[0]) < 0.03 and other[0] > 1


def test_the_estimate_is_unbiased():
    values = [squared_mmd(normal(f"x{n}", 12), normal(f"y{n}", 12)) for n in range(400)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error and min(values) < 0


def test_squared_mmd_is_that_of_its_definition():
    a, b = normal("a", 5), normal("b", 4)
    k = lambda x, y: (x @ y / 8 + 1) ** 3  # noqa: E731
    inside = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (a, b)]
    across = np.mean([k(x, y) for x in a for y in b])
    assert squared_mmd(a, b) == pytest.approx(sum(inside) - 2 * across)


def test_the_way_from_the_floor():
    kids = pd.DataFrame({"kid": [0.1, 0.3, 0.5], "middle_kid": [1.0, 2.0, 5.0]}, ["real, training", "ours", "theirs"])
    assert gap_to_floor(kids, "ours", "theirs") == pytest.approx({"kid": 0.5, "middle_kid": 0.25})


def test_a_copy_is_found_in_any_rotation():
    known = generator("copies").integers(0, 256, (6, 64, 64), dtype=np.uint8)
    away, which = nearest(np.stack([np.rot90(known[4], 3), known[2].T]), known)
    assert away.max() < 1e-6 and which.tolist() == [4, 2]
    strangers = generator("strangers").integers(0, 256, (3, 64, 64), dtype=np.uint8)
    assert nearest(strangers, known)[0].min() > 20


@pytest.mark.parametrize("period", [2, 4])
def test_a_planted_pattern_is_found_at_its_own_period_only(period):
    plain = generator("smooth").normal(100, 5, (4, 64, 64))
    wave = 6 * np.cos(2 * np.pi * np.arange(64) / period)
    marked = plain + wave[None, :, None]
    gain = {p: stride_power(marked, p) / stride_power(plain, p) for p in (2, 4)}
    assert gain.pop(period) > 50 and all(0.9 < g < 1.1 for g in gain.values())


def test_brightness_and_ramps_are_no_pattern():
    flat = np.full((2, 64, 64), 90.0)
    ramp = flat + np.arange(64)[None, :, None]
    assert stride_power(flat, 2) == pytest.approx(0) and stride_power(ramp, 2) < 1e-3


def test_a_table_of_a_generator(project, capsys, monkeypatch):
    monkeypatch.setattr(train, "BN_BATCHES", 1)
    project.run(tiny_experiment(epochs=1), "--fold", "0", "1")
    for name, architecture in (("ours", "sagan"), ("theirs", "transposed")):
        for fold in (0, 1):
            train.train(name, train.Recipe("tiny", fold, architecture, steps=1, batch=4, width=8))
    main.main(["synth", "measure", "ours", "theirs", "--features", "exp100", "--fold", "0", "1"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("real, held out", "noise", "fold 1", "mean of the folds"))
    assert shown.count("of the way from the floor") == 3
    for name in ("ours", "theirs"):
        folder = project.runs / "synth" / name / "fold0"
        about = read_json(folder / "measures.json")
        assert set(about["rows"]) == {"real, held out", "real, training", "noise", "ours", "theirs"}
        assert (folder / "real_and_made.png").exists() and (folder / "nearest.png").exists()
    with pytest.raises(InputError, match="exp100/fold0 was trained on other folds"):
        open_feature_network("exp100", 0, "0" * 64)
    with pytest.raises(InputError, match="exp100/fold2 is not finished"):
        open_feature_network("exp100", 2, "0" * 64)


def test_the_mean_over_folds():
    tables = []
    for kid_ in (0.1, 0.3):
        row = {"kid": kid_, "kid_deviation": 9.0, "middle_kid": 2 * kid_, "middle_kid_deviation": 9.0}
        row |= {"distance": np.nan, "power_2": 1.0 + kid_, "power_4": 2.0}
        tables.append(pd.DataFrame([row, row], ["theirs", "ours"]))
    table = mean_over_folds(tables)
    mean = table.loc["ours"]
    assert list(table.index) == ["theirs", "ours"]
    assert mean["kid"] == pytest.approx(0.2) and mean["middle_kid"] == pytest.approx(0.4)
    assert mean["kid_deviation"] == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert np.isnan(mean["distance"]) and mean["power_2"] == pytest.approx(1.2) and mean["power_4"] == 2
