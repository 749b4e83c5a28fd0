"""The image of a heat map: its size, and the words beneath it."""

import numpy as np
import pytest

from chestfold.evaluate.fonts import japanese_fonts
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


def test_japanese_class_names_are_legible_in_a_caption():
    if not japanese_fonts():
        pytest.skip("no font with Japanese glyphs is installed (Debian: apt-get install fonts-noto-cjk)")
    image = np.zeros((20, 300, 3), np.uint8)
    first, second = heatmap.captioned(image, ["正常 0.9"]), heatmap.captioned(image, ["悪性 0.9"])
    assert first.shape == second.shape and (first != second).any(), "two names look the same: empty boxes"
