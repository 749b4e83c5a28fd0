"""What stands in the figures of a run: each curve, dot, text and tile where it belongs."""

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import record_of
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from chestfold.evaluate import figures
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.figures import Interval
from chestfold.evaluate.results import Scores

pytestmark = [pytest.mark.figures, pytest.mark.filterwarnings("ignore:No artists")]


@pytest.fixture
def drawn(monkeypatch) -> list[Any]:
    """The figures that were saved, and how; nothing is rendered."""
    saved = []

    def savefig(figure: Figure, path, **options) -> None:
        path.write_bytes(b"")
        saved.append(SimpleNamespace(figure=figure, axes=figure.axes, **options))

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def curves(axis) -> list[tuple[str, list[float], list[float], float]]:
    """Colour, epochs, values and width of each line with points."""
    found = []
    for line in axis.get_lines():
        if len(line.get_xdata()):
            x, y = (np.asarray(data, float).tolist() for data in line.get_data())
            found.append((to_hex(line.get_color()), x, y, line.get_linewidth()))
    return found


def rows(*losses: float, **more: float) -> list[dict[str, float]]:
    return [{"epoch": n, "train_loss": 2 * loss, "loss": loss} | more for n, loss in enumerate(losses, start=1)]


def size(figure: Figure) -> list[float]:
    return [round(float(inches), 3) for inches in figure.get_size_inches()]


# Curves


def test_each_fold_has_a_thin_line_and_their_mean_a_thick_one(tmp_path, drawn):
    histories = {0: rows(4.0, 2.0, 1.0), 3: rows(2.0, 1.0)}
    figures.learning_curves(tmp_path / "a.png", "exp100", histories, "loss", {0: [2], 3: [1, 2]})
    (made,) = drawn
    assert made.dpi == 120 and size(made.figure) == [10, 4] and len(made.axes) == 2
    assert made.figure.get_suptitle() == "exp100: folds 0, 3"
    axis, other = made.axes
    found = curves(axis)
    training, validation = (
        [each for each in found if each[0] == colour] for colour in (figures.TRAIN, figures.VALIDATION)
    )
    means = [each for each in found if each[3] > 1.5]
    assert [each[1:3] for each in training] == [([1, 2, 3], [8, 4, 2]), ([1, 2], [4, 2]), ([1, 2], [6, 3])]
    assert [each[1:3] for each in validation[:3]] == [([1, 2, 3], [4, 2, 1]), ([1, 2], [2, 1]), ([1, 2], [3, 1.5])]
    assert [each[2] for each in means[:2]] == [[6, 3], [3, 1.5]]
    shown = [(line.get_linewidth(), line.get_alpha()) for line in axis.get_lines() if line.get_marker() != "o"]
    assert shown[:3] == [(1, 0.35), (1, 0.35), (2.5, None)], "the folds are pale beside their mean"
    (dots,) = (line for line in axis.get_lines() if line.get_marker() == "o" and len(line.get_xdata()))
    assert dots.get_xydata().tolist() == [[2, 2], [1, 2], [2, 1]]
    assert dots.get_markersize() == 7 and dots.get_zorder() > max(line.get_zorder() for line in axis.get_lines()[:3])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["training", "validation", "kept"]
    assert axis.get_title() == "loss, by which epochs were kept" and axis.get_xlabel() == "epoch"
    assert other.get_title() == "accuracy" and curves(other) == []


def test_a_single_fold_is_no_mean(tmp_path, drawn):
    figures.learning_curves(tmp_path / "a.png", "exp100", {2: rows(4.0, 2.0, auc=0.5)}, "auc", {2: [2]})
    (made,) = drawn
    assert size(made.figure) == [15, 4] and made.figure.get_suptitle() == "exp100: fold 2"
    assert [axis.get_title() for axis in made.axes] == ["loss", "accuracy", "auc, by which epochs were kept"]
    assert [each[1:3] for each in curves(made.axes[0])] == [([1, 2], [8, 4]), ([1, 2], [4, 2])]
    lines = [line for line in made.axes[0].get_lines() if len(line.get_xdata())]
    assert {line.get_alpha() for line in lines} == {1} and {line.get_linewidth() for line in lines} == {1}


def test_a_fold_that_lacks_a_figure_in_an_epoch_has_no_line_and_no_dot_there(tmp_path, drawn):
    half = [*rows(4.0, auc=0.5), *rows(2.0)]
    figures.learning_curves(
        tmp_path / "a.png", "exp100", {0: half, 1: rows(3.0, 1.0, auc=0.7)}, "auc", {0: [1], 5: [1]}
    )
    axis = drawn[0].axes[2]
    assert [each[1:3] for each in curves(axis)] == [([1, 2], [0.7, 0.7]), ([1], [0.5])]


# Counts


def confusion(path, counts, drawn, **fields):
    about = {"classes": ("a", "b"), "positive": "a"} | fields
    figures.confusion(path, record_of("exp100", scores=Scores(at_half={}, confusion=counts), **about))
    (made,) = drawn
    texts = {tuple(map(int, text.get_position())): text for text in made.axes[0].texts}
    return made, made.axes[0], texts


def test_each_count_stands_with_its_share_of_the_true_class(tmp_path, drawn):
    made, axis, texts = confusion(tmp_path / "a.png", [[3, 2], [61, 39]], drawn)
    words = {place: text.get_text() for place, text in texts.items()}
    assert words == {(0, 0): "3\n60.0%", (1, 0): "2\n40.0%", (0, 1): "61\n61.0%", (1, 1): "39\n39.0%"}
    assert {place for place, text in texts.items() if text.get_color() == "white"} == {(0, 1)}, "on dark"
    assert size(made.figure) == [4.4, 3.6] and made.dpi == 120
    (image,) = axis.get_images()
    np.testing.assert_allclose(image.get_array(), [[0.6, 0.4], [0.61, 0.39]])
    assert image.get_clim() == (0, 1)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == ("predicted", "true", "exp100")


def test_a_class_without_images_has_no_share(tmp_path, drawn):
    _, _, texts = confusion(tmp_path / "a.png", [[1, 0], [0, 0]], drawn)
    assert [texts[place].get_text() for place in ((0, 0), (0, 1), (1, 1))] == ["1\n100.0%", "0\n0.0%", "0\n0.0%"]


def test_labels_have_a_row_of_outcomes_each(tmp_path, drawn):
    about = {"task": "multilabel", "positive": "", "classes": ("a", "b", "c")}
    made, axis, texts = confusion(tmp_path / "a.png", [[5, 1, 2, 2]] * 3, drawn, **about)
    assert len(texts) == 12 and texts[2, 1].get_text() == "2\n20.0%"
    assert size(made.figure) == [6.6, 4.6]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    assert len(axis.get_xticklabels()) == 4 and axis.get_xlabel() == axis.get_ylabel() == ""


# Images


@pytest.mark.parametrize(
    ("side", "shown", "width", "height"),
    [(64, 192, 792, 452), (50, 200, 824, 468), (32, 192, 792, 452), (224, 224, 920, 516), (500, 500, 2024, 1068)],
)
def test_tiles_are_a_whole_multiple_of_an_image(tmp_path, side, shown, width, height):
    """Four and their gaps beside each other; a gap and two lines of letters beneath each of two rows."""
    images = np.stack([np.full((1, side, side), 40 + 10 * n, np.uint8) for n in range(5)])
    figures.inputs(tmp_path / "a.png", images, ["ill"] * 5)
    made = cv2.imread(str(tmp_path / "a.png"))
    assert made is not None and made.shape == (height, width, 3)
    for n in range(5):
        x, y = n % 4 * (shown + 6), n // 4 * (shown + 34)
        assert (made[y : y + shown, x : x + shown] == 40 + 10 * n).all()
        assert made[y : y + shown, x + shown : x + shown + 6].max() == 0
        beneath = made[y + shown : y + shown + 34, x : x + shown]
        assert beneath.max() > 200 and beneath[:2].max() == 0 == beneath[:, :2].max()
        assert beneath[:, shown // 2 :].max() == 0, "three letters"


def test_only_sixteen_are_shown(tmp_path):
    images = np.full((18, 1, 96, 96), 200, np.uint8)
    figures.inputs(tmp_path / "a.png", images, ["ill"] * 18)
    made = cv2.imread(str(tmp_path / "a.png"))
    assert made is not None and made.shape == (4 * 226, 4 * 198, 3)
    figures.inputs(tmp_path / "b.png", images[:4], ["ill"] * 4)
    few = cv2.imread(str(tmp_path / "b.png"))
    assert few is not None and few.shape == (226, 4 * 198, 3)


@pytest.mark.parametrize(
    ("width", "text"), [(6, "abcdef"), (7, "abcdef"), (5, "ab..."), (4, "a..."), (3, "..."), (0, "...")]
)
def test_a_text_is_cut_where_it_does_not_fit(width, text):
    font = SimpleNamespace(getlength=len)
    assert figures._shortened("abcdef", font, width) == text


# Intervals


def test_a_point_its_interval_and_the_source_s_figure_are_in_one_row(tmp_path, drawn):
    made = [Interval("first", Score(0.8, 0.7, 0.9)), Interval("second", None, 0.6), Interval("third", None)]
    figures.intervals(tmp_path / "a.png", "AUC", made)
    axis = drawn[0].axes[0]
    lines = [line.get_xydata().tolist() for line in axis.get_lines()]
    assert lines == [[[0.7, 0], [0.9, 0]], [[0.8, 0]], [[0.6, 1]]]
    assert [line.get_marker() for line in axis.get_lines()][1:] == ["o", "D"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second", "third"]
    assert axis.get_ylim() == (2.5, -0.5), "from the top down"
    assert {label.get_fontsize() for label in axis.get_yticklabels()} == {8}
    assert axis.get_lines()[0].get_linewidth() == 2
    assert size(drawn[0].figure) == [6.4, 2.16]
    assert axis.get_xlabel() == "AUC, 95 % interval; diamond: the source, on its own data"
    figures.intervals(tmp_path / "b.png", "AUC", made[:1])
    assert drawn[1].axes[0].get_xlabel() == "AUC, 95 % interval"
