"""The image of a heat map: its size, and the words beneath it."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from chestfold.evaluate.fonts import letter
from chestfold.explain.overlay import GAP
from chestfold.predict import heatmap
from chestfold.predict.prediction import Prediction
from chestfold.predict.remarks import Kind, Remark


def prediction(*folds: dict[str, float], ood_score: float | None = 0.5) -> Prediction:
    mean = {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}
    return Prediction(mean, folds, ood_score)


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [(1024, 2048, (320, 640)), (300, 400, (300, 400)), (10, 64, (50, 320)), (1, 4000, (1, 640))],
)
def test_a_panel_keeps_its_aspect_within_a_longest_and_a_shortest_side(height, width, wanted):
    grey = np.zeros((height, width), np.uint8)
    assert heatmap.fitted(grey, heatmap.SHORTEST, heatmap.LONGEST).shape == wanted


def words(lines) -> list[str]:
    return [text for text, _ in lines]


def test_the_caption_holds_file_prediction_spread_remarks_model_date_and_notice():
    two = prediction({"healthy": 0.6, "ill": 0.4}, {"healthy": 0.1, "ill": 0.9}, ood_score=2.0)
    two = replace(two, fold_decisions=("healthy", "ill"), decided="ill", model=(Remark(Kind.DEBUG),))
    lines = heatmap.caption_lines("scan.png", "exp100", two)
    assert words(lines) == [
        "scan.png",
        "ill 0.650 (folds 0.400-0.900), healthy 0.350",
        "debug run: not trained",
        "unlike the training data (2.0 x)",
        "folds disagree: 1 of 2 say ill",
        "Heat map of ill; lines at 50 and 80 % of its maximum",
        f"exp100, {date.today().isoformat()}. Not for clinical use.",
    ]
    colours = {colour for _, colour in lines}
    assert len(colours) == 3, "unlike and disagreeing have a colour each"
    one = words(heatmap.caption_lines("scan.png", "exp100", prediction({"healthy": 0.3, "ill": 0.7})))
    assert one[1] == "ill 0.700, healthy 0.300" and len(one) == 4


def test_of_several_labels_the_caption_says_what_is_decided():
    none = replace(prediction({"a": 0.3, "b": 0.2}), decided="-")
    assert words(heatmap.caption_lines("scan.png", "exp100", none))[1] == "a 0.300, b 0.200; decided: -"


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
        made = heatmap.class_line(prediction({name: 0.9, other: 0.1}), letter(names))
        drawn.append(heatmap.captioned(image, [made]))
    numbers = [heatmap.captioned(image, [f"class {n} 0.900, class {3 - n} 0.100"]) for n in (1, 2)]
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
    lines = words(heatmap.caption_lines("肺.png", "exp100@肺", prediction({"ill": 1.0})))
    assert lines[0] == "\\u80ba.png" and lines[-1].startswith("exp100@\\u80ba, ")
