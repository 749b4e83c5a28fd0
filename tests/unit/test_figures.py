"""Pictures of a run: they are there, can be read, and show what they are about."""

import warnings

import cv2
import numpy as np
import pytest

from chestfold.evaluate import figures

ABOUT = {"classes": ["healthy", "ill"], "scores": {"confusion": [[40, 10], [5, 45]]}}


def history(epochs: int, **left_out) -> list[dict]:
    rows = []
    for n in range(epochs):
        row = {"epoch": n + 1, "train_loss": 1 / (n + 1), "loss": 1.2 / (n + 1)}
        rows.append(row | {"train_accuracy": 0.6 + 0.05 * n, "accuracy": 0.55 + 0.05 * n})
    return [{k: v for k, v in row.items() if k not in left_out} for row in rows]


def share_of(colour: str, picture: np.ndarray) -> float:
    """Share of the pixels, int (H, W, 3) in blue, green, red, that are nearly of a colour."""
    wanted = [int(colour[n : n + 2], 16) for n in (5, 3, 1)]
    return float((np.abs(picture - wanted).max(axis=2) < 30).mean())


def read(path) -> np.ndarray:
    picture = cv2.imread(str(path)).astype(int)
    assert picture.std() > 5, "the picture is blank"
    return picture


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_learning_curves_show_training_and_validation(tmp_path):
    figures.learning_curves(tmp_path / "curves.png", "exp100", {0: history(5), 2: history(4)})
    picture = read(tmp_path / "curves.png")
    for half in np.array_split(picture, 2, axis=1):
        assert share_of(figures.TRAIN, half) > 0.001 < share_of(figures.VALIDATION, half)
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_an_old_run_without_training_accuracy_is_drawn(tmp_path):
    figures.learning_curves(tmp_path / "old.png", "exp100", {0: history(5, train_accuracy=None)})
    loss, accuracy = np.array_split(read(tmp_path / "old.png"), 2, axis=1)
    assert share_of(figures.TRAIN, loss) > 0.0005 > share_of(figures.TRAIN, accuracy)
    assert share_of(figures.VALIDATION, accuracy) > 0.0005


def test_an_old_and_a_new_fold_are_drawn_together(tmp_path):
    folds = {0: history(5, train_accuracy=None), 1: history(5)}
    figures.learning_curves(tmp_path / "curves.png", "exp100", folds)
    read(tmp_path / "curves.png")


@pytest.mark.parametrize("classes", [2, 4])
def test_a_confusion_matrix_is_dark_where_the_images_are(tmp_path, classes):
    def darkness(counts: np.ndarray) -> float:
        about = {"classes": [f"class {n}" for n in range(classes)], "scores": {"confusion": counts.tolist()}}
        figures.confusion(tmp_path / "confusion.png", "exp100", about)
        return share_of("#08306b", read(tmp_path / "confusion.png"))

    uniform = np.ones((classes, classes), int)
    assert darkness(uniform + 50 * np.eye(classes, dtype=int)) > 0.05 > 0.005 > darkness(uniform)


def test_a_class_that_was_never_seen_is_drawn(tmp_path):
    about = {"classes": ["healthy", "ill"], "scores": {"confusion": [[3, 1], [0, 0]]}}
    figures.confusion(tmp_path / "confusion.png", "exp100", about)
    read(tmp_path / "confusion.png")


def test_the_same_figure_has_the_same_bytes(tmp_path):
    for name in ("one.png", "other.png"):
        figures.confusion(tmp_path / name, "exp100", ABOUT)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_run_has_both_pictures(trained):
    for name in ("curves.png", "confusion.png"):
        assert min(read(trained.runs / "exp100" / name).shape[:2]) > 300
