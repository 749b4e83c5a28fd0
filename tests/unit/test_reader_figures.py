import itertools
import math

import pytest
from scipy.stats import binomtest, norm

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.evaluate.bootstrap import Score
from chestfold.synth.study.quiz import figures_of_outcomes
from chestfold.synth.study.reader_figures import against_chance, d_prime, load_answers, proportion, read_answers

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


def test_which_way_round_a_signal_is():
    truth = ["synthetic"] * 4 + ["real"] * 6
    reading = read_answers(truth, ["synthetic", "synthetic", "synthetic", "real"] + ["real"] * 3 + ["synthetic"] * 3)
    assert reading.sensitivity.value == 0.75 and reading.specificity.value == 0.5 and reading.accuracy.value == 0.6


def test_the_quiz_knows_the_figures_of_every_outcome():
    half = 3
    tables = figures_of_outcomes(half)
    truth = ["synthetic"] * half + ["real"] * half
    for hits, rejections in itertools.product(range(half + 1), repeat=2):
        says_synthetic = [True] * hits + [False] * (half - hits) + [False] * rejections + [True] * (half - rejections)
        reading = read_answers(truth, ["synthetic" if yes else "real" for yes in says_synthetic])
        assert Score(*tables["accuracy"][hits + rejections]) == reading.accuracy
        assert Score(*tables["share"][hits]) == reading.sensitivity
        assert Score(*tables["share"][rejections]) == reading.specificity
        assert Score(*tables["d_prime"][hits][half - rejections]) == reading.d_prime
        assert tables["p_chance"][hits + rejections] == reading.p_chance


HEAD = "number,id,truth,answer,seconds\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a readable CSV"),
        ("a,b\n1,2\n", "no column 'id'"),
        ("id,b\n1,2\n", "not a quiz's CSV"),
        (HEAD + "1,s0,synthetic,real,1.0\n2,r0,real,maybe,1.0\n", "line 3: answer is real or synthetic"),
        (HEAD + "1,s0,synthetic,real,1.0\n", "some of each"),
    ],
)
def test_bad_answers_are_one_sentence(tmp_path, text, said):
    (tmp_path / "me.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        table = load_answers(tmp_path / "me.csv")
        read_answers(table["truth"].tolist(), table["answer"].tolist())


def test_the_command_shows_each_reader_and_all_together(tmp_path, capsys):
    for name, answer in (("ann", "synthetic"), ("bob", "real")):
        rows = "".join(f"{n},s{n},synthetic,{answer},1.0\n{n},r{n},real,real,1.0\n" for n in range(5))
        (tmp_path / f"{name}.csv").write_text(HEAD + rows)
    main.main(["synth", "answers", str(tmp_path / "ann.csv"), str(tmp_path / "bob.csv")])
    said = capsys.readouterr().out
    assert "ann" in said and "1.00 [" in said and "0.50 [" in said and "all together" in said and "0.75 [" in said
