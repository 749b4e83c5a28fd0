"""Runs whose networks see three channels or 16 bits: trained, predicted, explained, from the data set's declaration."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import make_tiny_folds, tiny_experiment
from kernel_inputs import CONTEST, kaggle_inputs, keep_precision, predicted_in_a_kernel

from chestfold import Predictor
from chestfold.core.checkpoint import load_weights
from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions
from chestfold.explain.run import explain
from chestfold.explain.select import ExplainConfig
from chestfold.integrations.kaggle.kernel import write_kernel
from chestfold.predict.heatmap import HeatmapWriter


def declare(project, *lines: str) -> None:
    path = project.input / "tiny" / "dataset.toml"
    path.write_text(path.read_text() + "\n".join(lines) + "\n")


def rewrite(project, change) -> None:
    """Every image of `tiny` as `change` makes it of its grey values."""
    for path in (project.input / "tiny" / "images").iterdir():
        grey = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert grey is not None
        cv2.imwrite(str(path), change(grey))


def coloured(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey, 255 - grey, np.full_like(grey, 60)])


def to_12_bits(grey: np.ndarray) -> np.ndarray:
    """Grey values that 8 bits do not hold: the same picture, in 16 times as many steps."""
    fine = np.random.default_rng(int(grey.sum())).integers(0, 16, grey.shape)
    return (grey.astype(np.uint16) * 16 + fine).astype(np.uint16)


def into_series(project) -> None:
    """The three images of each patient as slices 8, 9 and 10, and so the test images."""
    folder = project.input / "tiny"
    for name in ("train.csv", "sample_submission.csv"):
        path = folder / name
        header, *rows = path.read_text().splitlines()
        made = [header]
        for n, row in enumerate(rows):
            old, _, rest = row.partition(",")
            new = f"{old[0]}{n // 3:02d}_{8 + n % 3}"
            (folder / "images" / f"{old}.png").rename(folder / "images" / f"{new}.png")
            made.append(f"{new},{rest}")
        path.write_text("\n".join(made) + "\n")
    for path in (project.root / "folds").iterdir():
        path.unlink()
    make_tiny_folds(3)


KINDS: dict[str, tuple[Callable, list[str], dict]] = {
    "colours": (coloured, ['three_channels = "rgb"'], dict(channels=3)),
    "windows": (
        to_12_bits,
        ['three_channels = "windows"', "windows = [[0, 2000], [1000, 3000], [0, 4095]]"],
        dict(channels=3),
    ),
    "slices": (
        lambda grey: grey,
        ['three_channels = "slices"', r"slice_pattern = '^(\w+)_(\d+)$'"],
        dict(channels=3, augment="plain", precision="fp32"),
    ),
    "16 bits": (to_12_bits, ["value_range = [0, 4095]"], dict(depth=16, augment="plain", normalise="image")),
    "colours of 16 bits": (
        lambda grey: coloured(grey).astype(np.uint16) * 16,
        ['three_channels = "rgb"', "value_range = [0, 4095]"],
        dict(channels=3, depth=16, augment="d4", frame="centre", mixup_alpha=0.2),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_predicts_single_files_as_it_predicted_them_in_training(project, tmp_path, monkeypatch, kind):
    change, lines, settings = KINDS[kind]
    rewrite(project, change)
    declare(project, *lines)
    if kind == "slices":
        into_series(project)
    project.run(tiny_experiment(**settings), "--debug", "--fold", "0")
    folder = RunFolder("exp100-debug").fold(0)
    saved = load_weights(folder.best_checkpoint)
    assert saved["network"]["arguments"]["in_chans"] == settings.get("channels", 1)
    shown = cv2.imread(str(folder.path / "inputs.png"))
    assert shown is not None and shown.std() > 5
    is_grey = (shown == shown[:, :, :1]).all()
    assert is_grey == (settings.get("channels", 1) == 1)
    table, _ = predictions.read(folder.table_path("test"))
    predictor = Predictor("exp100-debug")
    index = open_index("tiny")
    paths = [index.root / index.table.set_index("id").loc[image_id, "path"] for image_id in table["id"]]
    made = [image.prediction.probabilities["ill"] for batch in predictor.many(paths) for _, image in batch]
    np.testing.assert_allclose(made, table["ill"], atol=1e-5)
    drawn = HeatmapWriter(predictor, tmp_path).write([next(iter(batch)) for batch in predictor.many(paths[:1])])
    assert len(drawn) == 1
    explain(ExplainConfig("exp100-debug", count=4))
    pictures = list((RunFolder("exp100-debug").path / "explain" / "gradcam" / "pictures").iterdir())
    assert len(pictures) == 4
    require_same_in_a_kernel(project, tmp_path)


def require_same_in_a_kernel(project, tmp_path: Path) -> None:
    """A kernel has the declaration of the data set, and finds the neighbours of a slice by it."""
    made = write_kernel("exp100-debug", CONTEST, "someone")
    inputs = kaggle_inputs(made.folder, project.input / "tiny", tmp_path / "inputs")
    keep_precision(inputs, project.runs)
    answers = pd.read_csv(io.BytesIO(predicted_in_a_kernel(made, inputs, tmp_path / "work")))
    trained = predictions.read(project.runs / "exp100-debug" / "fold0" / "test.parquet")[0].set_index("id")
    np.testing.assert_array_equal(answers["ill"], trained.loc[answers["id"], "ill"].round(6))


def test_a_series_of_several_patients_would_leak(project):
    declare(project, 'three_channels = "slices"', r"slice_pattern = '^(t|x)(\d+)$'")
    with pytest.raises(InputError, match="series 't' is of two patients"):
        project.run(tiny_experiment(channels=3), "--debug")


def test_what_three_channels_are_is_declared_not_guessed(project):
    with pytest.raises(InputError, match="tiny does not say what its three channels are; declare three_channels"):
        project.run(tiny_experiment(channels=3), "--debug")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (dict(augment="plian"), "augment = 'plian' is not one of none, plain, photometric, d4; did you mean plain?"),
        (dict(normalise="imgae"), "normalise = 'imgae' is not one of weights, image; did you mean image?"),
    ],
)
def test_a_name_that_is_not_in_the_table_is_refused_before_anything_begins(project, settings, complaint):
    with pytest.raises(InputError, match=complaint.replace("?", r"\?")):
        project.run(tiny_experiment(**settings), "--debug")
    assert not (project.runs / "exp100-debug").exists()
