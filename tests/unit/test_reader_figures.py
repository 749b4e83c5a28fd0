import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.evaluate.bootstrap import Score
from chestfold.synth.study.quiz import figures_of_outcomes
from chestfold.synth.study.reader_figures import (
    Answers,
    against_chance,
    auc_difference,
    d_prime,
    load_answers,
    proportion,
    rating_auc,
    read_answers,
    together,
)

CASES = [(0, 10), (3, 10), (10, 10), (57, 80), (1, 1)]


@pytest.mark.parametrize(("right", "number"), CASES)
def test_proportions_and_p_are_those_of_scipy(right, number):
    test = binomtest(right, number)
    figure, interval = proportion(right, number), test.proportion_ci(0.95, "wilson")
    assert (figure.low, figure.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert against_chance(right, number) == pytest.approx(test.pvalue)


def test_d_prime_of_a_known_table():
    """Hits 45 of 50, false alarms 10 of 50: z(45.5 / 51) - z(10.5 / 51)."""
    figure, z = d_prime(45, 50, 10, 50), norm.ppf
    assert figure.value == pytest.approx(z(45.5 / 51) - z(10.5 / 51))
    rates = [45.5 / 51, 10.5 / 51]
    variance = sum(r * (1 - r) / (50 * norm.pdf(z(r)) ** 2) for r in rates)
    assert figure.high - figure.low == pytest.approx(2 * 1.959964 * math.sqrt(variance), rel=1e-6)


def test_guessing_is_nought_and_perfection_is_finite():
    guess, perfect = d_prime(10, 20, 10, 20), d_prime(20, 20, 0, 20)
    assert guess.value == pytest.approx(0) and guess.low < 0 < guess.high
    assert 3 < perfect.value < 5 and math.isfinite(perfect.high)


def answered(truth: list[bool], ratings: list[int]) -> Answers:
    """Answers on the scale; from 4 on the signal is called."""
    return Answers(np.array(truth), np.array(ratings) >= 4, np.array(ratings))


def test_which_way_round_a_signal_is_and_an_undecided_answer_does_not_call_it():
    reading = read_answers(answered([True] * 4 + [False] * 6, [5, 4, 5, 3, 1, 2, 3, 4, 5, 4]))
    assert reading.sensitivity.value == 0.75 and reading.specificity.value == 0.5 and reading.accuracy.value == 0.6


@pytest.mark.parametrize("seed", range(5))
def test_the_area_under_the_ratings_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, ratings = rng.permutation(40) < 15, rng.integers(1, 6, 40)
    assert rating_auc(truth, ratings).value == pytest.approx(roc_auc_score(truth, ratings))


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.8, 1.0), (0.0, 0.0, 0.2), (0.5, 0.27, 0.73)])
def test_no_area_of_few_images_is_certain(value, low, high):
    """Of ten images each: of all right, all wrong, and one rating for all."""
    truth = np.arange(20) < 10
    figure = rating_auc(truth, truth * (2 * value - 1))
    assert (figure.value, figure.low, figure.high) == pytest.approx((value, low, high), abs=0.005)


def test_the_ends_of_an_interval_are_where_newcombe_s_equation_holds():
    truth, ratings = np.arange(50) < 20, np.random.default_rng(1).integers(1, 6, 50) + 2 * (np.arange(50) < 20)
    figure, m, n = rating_auc(truth, ratings), 20, 30
    for end in (figure.low, figure.high):
        spread = 1 + ((m + n) / 2 - 1) * ((1 - end) / (2 - end) + end / (1 + end))
        assert abs(figure.value - end) == pytest.approx(norm.ppf(0.975) * math.sqrt(end * (1 - end) * spread / (m * n)))


def test_a_paired_difference_covers_what_two_readers_differ_by():
    """Two readers of the same images, of whom one sees more; about 95 of 100 intervals hold the true difference."""
    rng = np.random.default_rng(0)
    true = norm.cdf(2 / math.sqrt(2)) - norm.cdf(1 / math.sqrt(2))
    truth, held = np.arange(80) < 40, 0
    for _ in range(400):
        common = rng.normal(0, 1, 80)
        better, worse = (0.6 * common + 0.8 * rng.normal(0, 1, 80) + gap * truth for gap in (2, 1))
        figure = auc_difference(truth, better, worse)
        held += figure.low <= true <= figure.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_difference_without_any_doubt_has_no_interval():
    truth = np.arange(10) < 5
    assert auc_difference(truth, truth * 1.0, truth * 2.0) is None


def test_the_quiz_knows_the_figures_of_every_outcome():
    half = 3
    tables = figures_of_outcomes(half)
    truth = np.arange(2 * half) < half
    for hits, rejections in itertools.product(range(half + 1), repeat=2):
        called = [True] * hits + [False] * (half - hits) + [False] * rejections + [True] * (half - rejections)
        reading = read_answers(Answers(truth, np.array(called)))
        assert Score(*tables["accuracy"][hits + rejections]) == reading.accuracy
        assert Score(*tables["share"][hits]) == reading.sensitivity
        assert Score(*tables["share"][rejections]) == reading.specificity
        assert Score(*tables["d_prime"][hits][half - rejections]) == reading.d_prime
        assert tables["p_chance"][hits + rejections] == reading.p_chance


HEAD = "reader,number,id,truth,signal,rating,seconds,model\n"
OLD = "number,id,truth,answer,seconds\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a readable CSV"),
        ("a,b\n1,2\n", "no column 'id'"),
        ("id,b\n1,2\n", "not a quiz's CSV"),
        (OLD + "1,s0,synthetic,real,1.0\n2,r0,real,maybe,1.0\n", "line 3: answer is real or synthetic"),
        (OLD + "1,s0,synthetic,real,1.0\n", "some of each"),
        (HEAD + "ann,1,a,ill,ill,6,1.0,\n", "line 2: rating is a whole number from 1 to 5, not '6'"),
        (HEAD + "ann,1,a,ill,ill,,1.0,\n", "line 2: rating is a whole number"),
        (HEAD + "ann,1,a,ill,ill,4,1.0,0.5\nann,2,b,healthy,ill,4,1.0,\n", "line 3: model is a number from 0 to 1"),
        (HEAD + "ann,1,a,ill,ill,4,1.0,1.5\n", "line 2: model is a number from 0 to 1, not '1.5'"),
        (HEAD + "ann,1,a,ill,ill,4,1.0,\nann,2,b,real,synthetic,4,1.0,\n", "several quizzes"),
        (HEAD + "ann,1,a,ill,ill,4,1.0,\n", "some of each"),
        (HEAD, "some of each"),
    ],
)
def test_bad_answers_are_one_sentence(tmp_path, text, said):
    (tmp_path / "me.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_answers(load_answers(tmp_path / "me.csv"))


def test_answers_from_before_there_was_a_scale_are_still_scored(tmp_path, capsys):
    for name, answer in (("ann", "synthetic"), ("bob", "real")):
        rows = "".join(f"{n},s{n},synthetic,{answer},1.0\n{n},r{n},real,real,1.0\n" for n in range(5))
        (tmp_path / f"{name}.csv").write_text(OLD + rows)
    main.main(["synth", "answers", str(tmp_path / "ann.csv"), str(tmp_path / "bob.csv")])
    said = capsys.readouterr().out
    assert "ann" in said and "1.00 [" in said and "0.50 [" in said and "all together" in said and "0.75 [" in said


def test_readers_with_and_without_a_scale_or_a_model_are_taken_together_without_it(tmp_path, capsys):
    lines = [f"ann,{n},x{n},{'ill' if n % 2 else 'well'},ill,{5 if n % 2 else 2},1.0,0.{n}" for n in range(8)]
    (tmp_path / "ann.csv").write_text(HEAD + "\n".join(lines) + "\n")
    (tmp_path / "bob.csv").write_text(HEAD + "\n".join(line.rpartition(",")[0] + "," for line in lines) + "\n")
    main.main(["answers", str(tmp_path / "ann.csv"), str(tmp_path / "bob.csv")])
    head, rows = capsys.readouterr().out.split("reader", 1)[1].splitlines()[0], load_answers(tmp_path / "ann.csv")
    assert "reader - model" in head and rows.model is not None
    both = together([rows, load_answers(tmp_path / "bob.csv")])
    assert both.model is None and len(both.ratings) == 16 and read_answers(both).auc.value == 1
