"""Figures of a run: they are there, can be read, and show what they are about."""

import warnings

import cv2
import numpy as np
import pytest
from conftest import record_of

from chestfold.evaluate import figures, fonts
from chestfold.evaluate.results import ResultRecord, Scores

pytestmark = pytest.mark.figures


def record(counts: list[list[int]], *classes: str) -> ResultRecord:
    """A result with these counts in its confusion matrix."""
    names = classes or [f"class {n}" for n in range(len(counts))]
    return record_of("exp100", classes=tuple(names), positive=names[0], scores=Scores(at_half={}, confusion=counts))


def history(epochs: int, monitor: str = "loss") -> list[dict]:
    rows = []
    for n in range(epochs):
        row = {"epoch": n + 1, "train_loss": 1 / (n + 1), "loss": 1.2 / (n + 1)}
        rows.append(row | {"train_accuracy": 0.6 + 0.05 * n, "accuracy": 0.55 + 0.05 * n})
        rows[-1].setdefault(monitor, 0.7 + 0.05 * n)
    return rows


def share_of(colour: str, image: np.ndarray) -> float:
    """Share of the pixels, int (H, W, 3) in blue, green, red, that are nearly of a colour."""
    wanted = [int(colour[n : n + 2], 16) for n in (5, 3, 1)]
    return float((np.abs(image - wanted).max(axis=2) < 30).mean())


def read(path) -> np.ndarray:
    image = np.asarray(cv2.imread(str(path))).astype(int)
    assert image.std() > 5, "the figure is blank"
    return image


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("monitor", ["loss", "accuracy", "auc", "weighted_kappa"])
def test_learning_curves_show_training_validation_and_what_chose_the_epochs(tmp_path, monitor):
    kept = {0: [5], 2: [3, 4]}
    histories = {0: history(5, monitor), 2: history(4, monitor)}
    figures.learning_curves(tmp_path / "curves.png", "exp100", histories, monitor, kept)
    image = read(tmp_path / "curves.png")
    panels = 2 if monitor in ("loss", "accuracy") else 3
    parts = np.array_split(image, panels, axis=1)
    for part in parts[:2]:
        assert share_of(figures.TRAIN, part) > 0.001 < share_of(figures.VALIDATION, part)
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]
    figures.learning_curves(tmp_path / "none.png", "exp100", histories, monitor, {})
    chosen = ["loss", "accuracy", monitor].index(monitor)
    changed = [
        (a != b).mean() for a, b in zip(parts, np.array_split(read(tmp_path / "none.png"), panels, axis=1), strict=True)
    ]
    assert changed[chosen] > 0.001 and sum(changed) == changed[chosen], "dots, and only there"


def test_learning_curves_of_a_run_that_lacks_a_figure(tmp_path):
    figures.learning_curves(tmp_path / "curves.png", "exp100", {0: history(3)}, "auc", {0: [2]})
    read(tmp_path / "curves.png")


@pytest.mark.parametrize("classes", [2, 4])
def test_a_confusion_matrix_is_dark_where_the_images_are(tmp_path, classes):
    def darkness(counts: np.ndarray) -> float:
        figures.confusion(tmp_path / "confusion.png", record(counts.tolist()))
        return share_of("#08306b", read(tmp_path / "confusion.png"))

    uniform = np.ones((classes, classes), int)
    assert darkness(uniform + 50 * np.eye(classes, dtype=int)) > 0.05 > 0.005 > darkness(uniform)


def test_a_class_that_was_never_seen_is_drawn(tmp_path):
    figures.confusion(tmp_path / "confusion.png", record([[3, 1], [0, 0]]))
    read(tmp_path / "confusion.png")


def test_the_same_figure_has_the_same_bytes(tmp_path):
    for name in ("one.png", "other.png"):
        figures.confusion(tmp_path / name, record([[40, 10], [5, 45]]))
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_a_run_has_both_figures(trained):
    for name in ("curves.png", "confusion.png"):
        assert min(read(trained.runs / "exp100" / name).shape[:2]) > 300


# Names in other letters than English ones

NAMES = [
    ("正常", "肺炎"),
    ("정상", "폐렴"),
    ("正常", "间质性肺炎"),
    ("🫁", "🫀"),
    ("طبيعي", "التهاب"),
    ("विकार", "ठीक"),
]


@pytest.mark.parametrize("names", NAMES)
def test_without_a_font_two_names_are_numbers_that_can_be_told_apart(tmp_path, no_fonts, names, capsys):
    figures.confusion(tmp_path / "confusion.png", record([[3, 1], [0, 4]], *names))
    figures.confusion(tmp_path / "numbers.png", record([[3, 1], [0, 4]], "class 1", "class 2"))
    assert (tmp_path / "confusion.png").read_bytes() == (tmp_path / "numbers.png").read_bytes()
    legend = (tmp_path / "class_names.txt").read_text(encoding="utf-8")
    assert legend == f"class 1 = {names[0]}\nclass 2 = {names[1]}\n"
    said = capsys.readouterr().out
    assert f"class 1 is {names[0]}, class 2 is {names[1]}" in said and "pip install 'chestfold[fonts]'" in said


def test_names_that_can_be_drawn_need_no_legend(tmp_path, no_fonts, capsys):
    figures.confusion(tmp_path / "confusion.png", record([[3, 1], [0, 4]], "Κανονικό", "Пневмония"))
    assert not (tmp_path / "class_names.txt").exists() and not capsys.readouterr().out


@pytest.mark.parametrize("names", NAMES[:3])
def test_with_a_font_the_names_themselves_are_drawn(tmp_path, names):
    if fonts.letter(names).numbered:
        pytest.skip("no font with these letters is installed (pip install 'chestfold[fonts]')")
    pictures = []
    for n, name in enumerate([*names, "class 1"]):
        figures.confusion(tmp_path / f"{n}.png", record([[3, 1], [0, 4]], name, "ill"))
        pictures.append((tmp_path / f"{n}.png").read_bytes())
    assert len(set(pictures)) == 3


def test_a_dollar_in_a_name_is_a_dollar(tmp_path):
    figures.confusion(tmp_path / "confusion.png", record([[3, 1], [0, 4]], r"$\frac$", "ill"))
    figures.learning_curves(tmp_path / "curves.png", r"exp100@$\frac$", {0: history(2)}, "loss", {0: [1]})
    read(tmp_path / "confusion.png")


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, np.uint8), (2, np.uint8), (3, np.uint8), (1, np.uint16), (3, np.uint16)]
)
def test_inputs_shows_what_the_network_is_given(tmp_path, channels, dtype):
    scale = 1 if dtype == np.uint8 else 257
    images = np.stack([np.full((5, 6, 6), 60 * n + 60) for n in range(channels)], axis=1).astype(dtype) * dtype(scale)
    figures.inputs(tmp_path / "inputs.png", images, ["ill"] * 5)
    shown = cv2.imread(str(tmp_path / "inputs.png"), cv2.IMREAD_UNCHANGED)
    assert shown is not None and shown.dtype == np.uint8 and min(shown.shape[:2]) > 2 * figures.TILE
    expected = [180, 120, 60] if channels == 3 else [60] * 3  # cv2 reads blue first
    assert shown[3, 3].tolist() == expected and shown[figures.TILE - 9, 9].tolist() == expected
    assert shown[figures.TILE + 2 : figures.TILE + 22, :60].max() > 200, "the class beneath"
    assert shown[-80:, -80:].max() == 0, "where no image is"


@pytest.mark.parametrize("side", [32, 50, 64, 224, 500])
def test_inputs_are_large_enough_to_look_at(tmp_path, side):
    figures.inputs(tmp_path / "inputs.png", np.zeros((16, 1, side, side), np.uint8), ["肺炎" * 40, "a"] * 8)
    height, width = read(tmp_path / "inputs.png").shape[:2]
    assert width / 4 > 150 and width / 4 < 520 and height > width


def test_the_inputs_of_a_run_carry_the_classes_of_its_task(trained):
    assert min(read(trained.runs / "exp100" / "fold0" / "inputs.png").shape[:2]) > 400
