"""The image of a heat map: its size, and the words beneath it."""

import numpy as np
import pytest

from chestfold.evaluate.fonts import letter
from chestfold.explain.overlay import GAP
from chestfold.predict import heatmap
from chestfold.predict.predictor import Prediction


def prediction(*folds: dict[str, float], ood_score: float | None = 0.5) -> Prediction:
    mean = {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}
    return Prediction(mean, folds, ood_score)


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(1024, 2048, (256, 512)), (300, 400, (300, 400)), (10, 56, (40, 224)), (1, 4000, (1, 512))],
)
def test_a_panel_keeps_its_aspect_within_a_longest_and_a_shortest_side(height, width, wanted):
    assert heatmap.fitted(np.zeros((height, width), np.uint8)).shape == wanted


def test_the_caption_holds_prediction_spread_warning_model_and_notice():
    two = prediction({"healthy": 0.3, "ill": 0.7}, {"healthy": 0.1, "ill": 0.9}, ood_score=2.0)
    assert heatmap.caption_lines("exp100", two) == [
        "ill 0.800, folds 0.700-0.900",
        "out of distribution: unlike the training data",
        "exp100",
        "Not for clinical use.",
    ]
    one = prediction({"healthy": 0.3, "ill": 0.7})
    assert heatmap.caption_lines("exp100", one) == ["ill 0.700", "exp100", "Not for clinical use."]


def test_a_caption_is_below_the_image_and_no_word_of_it_is_cut():
    image = np.full((20, 30, 3), 77, np.uint8)
    drawn = heatmap.captioned(image, ["a caption that is much wider than the image"])
    assert (drawn[:20, :30] == 77).all() and drawn.shape[1] > 200
    assert drawn[20:].max() > 200 and not drawn[:, -GAP:].any()


@pytest.mark.parametrize("names", [("正常", "肺炎"), ("정상", "폐렴"), ("🫁", "🫀"), ("طبيعي", "التهاب")])
def test_two_classes_differ_in_a_caption_whatever_their_letters_and_fonts(no_fonts, names):
    image = np.zeros((20, 300, 3), np.uint8)
    drawn = []
    for name in names:
        other = names[1 - names.index(name)]
        lines = heatmap.caption_lines("exp100", prediction({name: 0.9, other: 0.1}), letter(names))
        drawn.append(heatmap.captioned(image, lines))
    numbers = [heatmap.captioned(image, [f"class {n} 0.900", "exp100", "Not for clinical use."]) for n in (1, 2)]
    assert (drawn[0] != drawn[1]).any(), "two names look the same: empty boxes"
    assert (drawn[0] == numbers[0]).all() and (drawn[1] == numbers[1]).all()


@pytest.mark.parametrize("names", [("正常", "肺炎"), ("정상", "폐렴")])
def test_with_a_font_the_caption_holds_the_name(names):
    if letter(names).numbered:
        pytest.skip("no font with these letters is installed (pip install 'chestfold[fonts]')")
    image = np.zeros((20, 300, 3), np.uint8)
    drawn = [heatmap.captioned(image, [f"{name} 0.9"]) for name in (*names, "class 1")]
    assert (drawn[0] != drawn[1]).any() and (drawn[0] != drawn[2]).any()


def test_a_run_whose_name_has_no_font_is_spelled_by_numbers(no_fonts):
    lines = heatmap.caption_lines("exp100@肺", prediction({"ill": 1.0}))
    assert lines[1] == "exp100@\\u80ba"
