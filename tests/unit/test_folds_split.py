"""A split is grouped, even over all labels at once, and found wherever there is one."""

import itertools
import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fold_tables import images_of, index_of, texts_of

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.folds import assign, splitting
from chestfold.data.folds.assign import balanced, covering, seeded_order
from chestfold.data.folds.checks import first_lack, kinds_of, task_of

RATES = np.array([0.1, 0.025, 0.12, 0.18, 0.05, 0.056, 0.013, 0.047, 0.042, 0.02, 0.022, 0.015, 0.03, 0.004])
"""About those of the fourteen findings of NIH ChestX-ray14."""
LABELS = [f"finding {n}" for n in range(len(RATES))]


def findings(patients: int, unknown: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """An indicator (N, 14) and the patient of each row (N,): about four images each, whose findings are alike."""
    rng = generator("findings", patients)
    patient = np.repeat(np.arange(patients), rng.geometric(0.27, patients))
    tendency = rng.gamma(0.3, 1 / 0.3, (patients, len(RATES)))
    indicator = (rng.random((len(patient), len(RATES))) < np.minimum(tendency[patient] * RATES, 0.95)).astype(float)
    indicator[rng.random(indicator.shape) < unknown] = np.nan
    return indicator, patient


@pytest.fixture(scope="module")
def chest():
    """2,000 patients with fourteen labels an image."""
    indicator, patient = findings(2000)
    return images_of(index_of("multilabel", LABELS, texts_of(LABELS, indicator), [f"p{n}" for n in patient]))


def random_folds(groups: pd.Series, count: int, seed: int) -> np.ndarray:
    codes, names = pd.factorize(groups)
    return generator("random folds", seed).integers(0, count, len(names))[codes]


# Several labels an image


def test_the_rates_of_all_labels_are_more_even_than_by_chance(chest):
    even = folds.label_rates(splitting.split_images(chest, 5, 0).table, chest.task)
    for seed in range(3):
        chance = folds.label_rates(chest.table.assign(fold=random_folds(chest.table["group"], 5, seed)), chest.task)
        assert (even["deviation"] < chance["deviation"] / 2).all()
    assert even["relative"].max() < 0.06 and even["relative"].mean() < 0.02
    assert (even["lowest"] <= even["rate"]).all() and (even["rate"] <= even["highest"]).all()


def test_the_folds_of_several_labels_are_of_one_size_and_keep_patients_together(chest):
    for seed in range(3):
        table = splitting.split_images(chest, 5, seed).table
        sizes = table["fold"].value_counts()
        assert sizes.max() - sizes.min() <= 0.01 * len(table)
        assert (table.groupby("group")["fold"].nunique() == 1).all()


def test_thirty_thousand_patients_are_split_in_seconds():
    """All 112,000 images: a second, of which the arithmetic takes 0.2."""
    indicator, patient = findings(30_000)
    every_image = np.ones((len(patient), 1), bool)
    counts = folds.checks.count_by(patient, np.hstack([indicator == 1, indicator == 0, every_image]), 30_000)
    fold_of = balanced(counts, 5, seeded_order(counts, [f"p{n}" for n in range(30_000)], 0))
    filled = folds.checks.count_by(fold_of, counts, 5)
    assert np.abs(filled * 5 / counts.sum(axis=0) - 1).max() < 0.02


def together(table: pd.DataFrame) -> np.ndarray:
    """Whether each two of the 200 patients with the most images are in one fold."""
    largest = table["group"].value_counts().index[:200]
    fold = table.groupby("group")["fold"].first()[largest].to_numpy()
    return fold[:, None] == fold


def test_another_seed_is_another_split_of_large_groups_too(chest):
    first, other = (together(splitting.split_images(chest, 5, seed).table) for seed in (0, 1))
    assert (first & other).sum() / first.sum() < 0.3
    assert (first == together(splitting.split_images(chest, 5, 0).table)).all()


@pytest.mark.parametrize(
    ("text", "with_label", "without"),
    [
        ("A", [1, 0], [0, 1]),
        ("A?", [0, 0], [0, 1]),
        ("A?|B", [0, 1], [0, 0]),
        ("-", [0, 0], [1, 1]),
        ("", [0] * 2, [0] * 2),
    ],
)
def test_an_unknown_label_counts_neither_way(text, with_label, without):
    task = task_of(index_of("multilabel", "AB", ["A"], ["p"]))
    assert kinds_of(task, [text]).held.astype(int).tolist() == [[*with_label, *without]]


def test_rates_are_those_of_the_known_labels():
    task = task_of(index_of("multilabel", "AB", ["A"], ["p"]))
    table = pd.DataFrame({"label": ["A", "A?", "-", "A|B", "B?", "-"], "fold": [0, 0, 0, 1, 1, 1]})
    rates = folds.label_rates(table, task).set_index("label")
    assert rates.loc["A", "rate"] == pytest.approx(2 / 5)
    assert rates.loc["A", ["lowest", "highest"]].tolist() == pytest.approx([1 / 3, 1 / 2])
    assert rates.loc["A", ["deviation", "relative"]].tolist() == pytest.approx([0.1, 0.25])
    assert rates.loc["B", "rate"] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("texts", "lack"),
    [
        (["A|B", "-", "B", "-"], "fold 1 has no image with label 'A'"),
        (["A", "B", "A", "A|B"], "fold 1 has no image without label 'A'"),
        (["A", "B", "A?", "A?|B"], "fold 1 has no image with label 'A'"),
    ],
)
def test_a_fold_needs_images_with_and_without_each_label(texts, lack):
    index = index_of("multilabel", "AB", texts, "pqrs")
    table = index.train.assign(fold=[0, 0, 1, 1])
    with pytest.raises(InputError, match=f"^{lack}; add patients, or try another --seed$"):
        folds.assert_sound(table, index, 2)


def test_of_exclusive_classes_a_fold_needs_an_image_of_each():
    index = index_of("ordinal", ["none", "mild", "severe"], ["none", "mild", "severe"] * 3, "aaabbbccc")
    table = index.train.assign(fold=[0, 0, 0, 1, 1, 1, 2, 2, 2])
    folds.assert_sound(table, index, 3)
    table["fold"] = [0, 0, 1, 1, 1, 0, 2, 2, 2]
    with pytest.raises(InputError, match="group 'a' is in 2 folds"):
        folds.assert_sound(table, index, 3)
    table["group"] = table["id"]
    sentence = "^fold 0 has no image of class 'none'; make fewer folds, add patients, or try another --seed$"
    with pytest.raises(InputError, match=sentence):
        folds.assert_sound(table.assign(fold=[1, 0, 1, 1, 1, 0, 2, 2, 2]), index, 3)


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_outside_the_count_is_refused(fold):
    index = index_of("multiclass", "AB", "ABABA", "pqrst")
    with pytest.raises(InputError, match=f"has a fold {fold}, but is said to have 2 folds"):
        folds.assert_sound(index.train.assign(fold=[0, 0, 1, 1, fold]), index, 2)


def test_an_id_a_label_or_a_row_that_is_not_the_data_sets_is_refused():
    index = index_of("multiclass", "AB", "ABAB", "pqrs")
    table = index.train.assign(fold=[0, 0, 1, 1])
    folds.assert_sound(table, index, 2)
    with pytest.raises(InputError, match="^id 't000001' occurs twice in the fold file$"):
        folds.assert_sound(pd.concat([table, table.iloc[[1]]]), index, 2)
    with pytest.raises(InputError, match="differ in 1 ids, the first is 't000003'$"):
        folds.assert_sound(table.iloc[:3], index, 2)
    with pytest.raises(InputError, match="differ in 2 ids, the first is 't000002'$"):
        folds.assert_sound(table.assign(id=["t000000", "t000001", "x", "t000003"]), index, 2)
    with pytest.raises(InputError, match="^the label of 't000002' in the fold file is not that of the data set$"):
        folds.assert_sound(table.assign(label=["A", "B", "B", "A"]), index, 2)
    folds.assert_sound(table.iloc[::-1], index, 2)


def test_links_are_counted_and_those_across_folds():
    table = pd.DataFrame({"group": ["p", "p", "q", "r", "r", "s"], "fold": [0, 0, 0, 0, 1, 1]})
    report = folds.leak_report(table, [[0, 1], [1, 2, 3], [2, 3, 4]], [(0, 4), (3, 5), (4, 5), (0, 1)])
    assert report == {
        "found": {"exact duplicates": 3, "near duplicates": 4, "groups": 4},
        "straddling": {"exact duplicates": 1, "near duplicates": 2, "groups": 1},
    }


def test_a_split_that_leaks_is_never_handed_out(monkeypatch):
    images = replace(images_of(index_of("multiclass", "AB", "ABAB", "pqrs")), exact=[[0, 2]])
    monkeypatch.setattr(splitting, "stratified", lambda *_: np.array([0, 0, 1, 1]))
    with pytest.raises(AssertionError, match="the split leaks"):
        splitting.split_images(images, 2, 0)


# A class with hardly more patients than folds

SIX = (["c1", "c1", "c0", "c0", "c2", "c2"], "abbccd")
"""Three classes, four patients: only {a, c} and {b, d} have all classes."""


@pytest.mark.parametrize("seed", range(12))
def test_the_only_possible_split_is_found_with_every_seed(seed):
    images = images_of(index_of("multiclass", ["c0", "c1", "c2"], *SIX))
    table = splitting.split_images(images, 2, seed).table
    fold = table.groupby("group")["fold"].first()
    assert fold["a"] == fold["c"] != fold["b"] == fold["d"]


def test_the_seed_that_gave_the_split_gives_it_again():
    images = images_of(index_of("multiclass", ["c0", "c1", "c2"], *SIX))
    found = [splitting.split_images(images, 2, seed) for seed in range(12)]
    others = [each for seed, each in enumerate(found) if each.seed != seed]
    assert 0 < len(others) < len(found)
    for each in others:
        again = splitting.split_images(images, 2, each.seed)
        assert again.seed == each.seed and again.table.equals(each.table)


def test_which_further_seeds_are_tried_stays_as_it_is():
    """Or fold files would not be made again from the seed that was asked for."""
    images = images_of(index_of("multiclass", ["c0", "c1", "c2"], *SIX))
    assert [splitting.split_images(images, 2, seed).seed for seed in range(12)] == [
        *(0, 156933715, 2, 4223613843, 1063199048, 5),
        *(6, 7, 8, 3156277364, 3410136855, 3453209864),
    ]


def test_where_no_seed_works_the_rare_classes_are_placed_first(monkeypatch):
    monkeypatch.setattr(splitting, "stratified", lambda images, *_: np.zeros(len(images.table), int))
    images = images_of(index_of("multiclass", ["c0", "c1", "c2"], *SIX))
    for seed in range(4):
        found = splitting.split_images(images, 2, seed)
        assert found.scheme == f"{splitting.SCHEME}; a patient of each rare class placed first"
        assert first_lack(images.kinds, found.table["fold"].to_numpy(), 2) is None


def drawn(task: str, trial: int):
    """A random set of up to seven patients, with two or three classes, and a number of folds."""
    rng = generator("drawn", task, trial)
    patients, classes = int(rng.integers(3, 8)), "ABC"[: int(rng.integers(2, 4))]
    size = int(rng.integers(patients, 2 * patients + 4))
    groups = [f"p{n}" for n in [*range(patients), *rng.integers(0, patients, size - patients)]]
    if task == "multilabel":
        texts = texts_of(classes, rng.choice([0, 1, np.nan], (size, len(classes)), p=[0.45, 0.4, 0.15]))
    else:
        texts = [*classes, *rng.choice(list(classes), size)][:size]
    return images_of(index_of(task, classes, texts, groups)), int(rng.integers(2, 4))


def is_possible(images: splitting.Images, count: int) -> bool:
    """Whether any of all assignments of patients to folds is sound."""
    codes, names = pd.factorize(images.table["group"])
    every = itertools.product(range(count), repeat=len(names))
    return any(first_lack(images.kinds, np.array(fold_of)[codes], count) is None for fold_of in every)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_split_is_found_exactly_where_there_is_one(task):
    outcomes = []
    for trial in range(40):
        images, count = drawn(task, trial)
        possible = is_possible(images, count)
        try:
            splitting.split_images(images, count, trial)
        except InputError as refusal:
            assert not possible, (trial, str(refusal))
        else:
            assert possible
        outcomes.append(possible)
    assert 5 < sum(outcomes) < 35


@pytest.mark.parametrize(
    ("task", "classes", "few"),
    [
        ("multiclass", ("ill", "healthy"), "ill"),
        ("ordinal", ("healthy", "ill"), "ill"),
        ("multilabel", ("ill", "old"), "ill|old?"),
    ],
)
@pytest.mark.parametrize(
    ("patients", "way"), [(3, "make fewer folds (--folds 3), or add patients"), (1, "add patients, or leave it out")]
)
def test_fewer_patients_than_folds_are_refused_with_the_ways_on(task, classes, few, patients, way):
    others = ["old", "-"] if task == "multilabel" else ["healthy"] * 2
    texts = [few] * (2 * patients) + [other for other in others for _ in range(20)]
    groups = [f"p{n // 2}" for n in range(len(texts))]
    images = images_of(index_of(task, classes, texts, groups))
    kind = "with label 'ill'" if task == "multilabel" else "of class 'ill'"
    there = f"are {patients}" if patients > 1 else "is 1"
    with pytest.raises(InputError) as refusal:
        splitting.split_images(images, 5, 0)
    assert str(refusal.value) == f"5 folds need 5 patients {kind}; there {there}: {way}"


def test_three_patients_of_a_class_are_enough_for_three_folds():
    texts = ["ill"] * 6 + ["healthy"] * 54
    images = images_of(index_of("multiclass", ["healthy", "ill"], texts, [f"p{n // 2}" for n in range(60)]))
    table = splitting.split_images(images, 3, 0).table
    assert table[table["label"] == "ill"]["fold"].value_counts().tolist() == [2, 2, 2]


FANO = ["124", "235", "346", "457", "561", "672", "713"]
"""Classes as lines of the Fano plane, whose points are patients: whoever colours the points in two colours leaves a
line of one."""


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize(("count", "fewer"), [(2, ""), (3, "make fewer folds, ")])
def test_what_no_seed_can_split_is_refused_with_the_ways_on(task, count, fewer):
    texts = [name for name in "ABCDEFG" for _ in range(3)]
    images = images_of(index_of(task, "ABCDEFG", texts, list("".join(FANO))))
    each, noun = {
        "multiclass": ("an image of every class", "class"),
        "multilabel": ("an image with and one without each label", "label"),
    }[task]
    with pytest.raises(InputError) as refusal:
        splitting.split_images(images, count, 0)
    way = f"{fewer}add patients, or leave a {noun} out"
    assert str(refusal.value) == f"no split was found in which each of {count} folds has {each}: {way}"


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_is_refused(seed):
    images = images_of(index_of("multiclass", "AB", "ABAB", "pqrs"))
    with pytest.raises(InputError, match=f"^--seed {seed}: a whole number from 0 to 4294967295"):
        splitting.split_images(images, 2, seed)


def test_groups_that_no_kind_depends_on_stay_free():
    held = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [0, 1], [1, 1], [1, 1]], bool)
    fixed = covering(held, np.ones(7), 2, np.arange(7))
    assert fixed is not None and (fixed == -1).any()
    for fold in range(2):
        assert held[fixed == fold].any(axis=0).all()
    whole = balanced(held.astype(int), 2, np.arange(7), fixed)
    assert set(whole) == {0, 1} and (whole[fixed >= 0] == fixed[fixed >= 0]).all()


def test_a_group_that_is_fixed_in_fold_0_stays_there_even_where_that_is_uneven():
    counts = np.array([[5, 5], [5, 5], [1, 1], [1, 1]])
    fold_of = balanced(counts, 2, np.arange(4), np.array([0, 0, -1, -1]))
    assert fold_of.tolist() == [0, 0, 1, 1]


def test_a_second_pass_finds_what_the_first_has_missed():
    """5 with 1 and 3 with 4 is the evenest of all sixteen ways, and whoever places 5, 1, 3 and 4 in turn misses it."""
    assert balanced(np.array([[5], [1], [3], [4]]), 2, np.arange(4)).tolist() == [0, 0, 1, 1]


def test_a_rare_label_counts_as_much_as_a_frequent_one():
    """3 and 3 of the 6, 9 and 13 of the 22: in no other of the eight ways is the sum of the squared shares as small."""
    counts = np.array([[2, 4], [2, 10], [1, 3], [1, 5]])
    assert balanced(counts, 2, np.arange(4)).tolist() == [0, 1, 1, 0]


def test_a_covering_is_searched_for_among_four_groups_a_fold_of_each_kind():
    held = np.array([[True, n in (5, 3)] for n in range(20)])
    order = np.arange(20)[::-1]
    assert assign._some_of_each_kind(held, 2, order).tolist() == [19, 18, 17, 16, 15, 14, 13, 12, 5, 3]
    assert assign._some_of_each_kind(held[:, :1], 3, order).tolist() == list(range(19, 7, -1))


def test_one_group_a_fold_is_enough_where_all_are_alike():
    for many in (3, 20):
        fixed = covering(np.ones((many, 1), bool), np.ones(many), 2, np.arange(many))
        assert fixed is not None and sorted(fixed) == [-1] * (many - 2) + [0, 1]


def test_of_all_coverings_the_one_with_the_smallest_largest_fold_is_taken():
    """Groups 0 and 1 have to be apart, and so have 2 and 3: 10 + 2 and 1 + 7, or 10 + 7 and 1 + 2."""
    held = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    fixed = covering(held, np.array([10, 1, 7, 2]), 2, np.arange(4))
    assert fixed is not None and fixed.min() == 0
    assert fixed[0] == fixed[3] != fixed[1] == fixed[2]


def test_large_groups_are_placed_first_and_those_of_about_one_size_in_any_order():
    counts = np.array([[1], [64], [1], [8], [1], [9]])
    orders = [seeded_order(counts, list("abcdef"), seed).tolist() for seed in range(20)]
    for order in orders:
        assert order[0] == 1 and set(order[1:3]) == {3, 5} and set(order[3:]) == {0, 2, 4}
    assert len({tuple(order) for order in orders}) > 3


# Groups that are larger than a fold


def many_of_one(word: str, many: int, images: int = 100):
    groups = [word] * many + [f"p{n // 2}" for n in range(images - many)]
    return index_of("multiclass", ["healthy", "ill"], ["healthy", "ill"] * (images // 2), groups)


@pytest.mark.parametrize("word", ["-1", "nan", "unknown", "不明", 'no "name"', "a\\b", "0"])
def test_a_patient_with_more_than_a_folds_part_is_said_by_name_and_share(word):
    (line,) = folds.large_groups(many_of_one(word, 70), 5)
    assert line.startswith(f"patient {word!r} has 70 of 100 images (70 %), and a fold's part is 20: declare ")
    declaration = line.partition("declare ")[2].removesuffix(" if it means unknown")
    assert tomllib.loads(declaration) == {"unknown_group": [word]}


def test_unknown_group_is_advised_where_it_can_be_declared():
    index = many_of_one("p", 70)
    of_names = replace(index, dataset=index.dataset.model_copy(update={"patient_pattern": "^(p)"}))
    assert folds.large_groups(of_names, 5)[0].endswith("a fold's part is 20: look whether that is one patient")


def test_of_folders_no_cell_can_be_declared_unknown():
    index = many_of_one("p", 70)
    in_folders = replace(index, dataset=index.dataset.model_copy(update={"reader": "folders"}))
    assert folds.large_groups(in_folders, 5)[0].endswith("a fold's part is 20: look whether that is one patient")


def test_a_large_patient_alone_is_said_once():
    index = many_of_one("p", 70)
    assert len(folds.large_groups(index, 5, index.train)) == 1


@pytest.mark.parametrize(("many", "count", "said"), [(20, 5, 0), (22, 5, 1), (48, 2, 0), (52, 2, 1), (34, 3, 1)])
def test_a_folds_part_depends_on_their_number(many, count, said):
    assert len(folds.large_groups(many_of_one("-1", many), count)) == said


def test_single_images_are_never_too_large():
    assert folds.large_groups(index_of("multiclass", "AB", "ABA", "pqr"), 5) == []


def test_patients_who_share_duplicates_are_said_as_one_group():
    index = many_of_one("p000", 2)
    table = index.train.assign(group=["p000"] * 40 + index.train["group"].tolist()[40:])
    (line,) = folds.large_groups(index, 5, table)
    assert line.startswith("20 patients, the first is 'p000', share duplicates and are one group of 40 of 100 images")
    shuffled = table.sample(frac=1, random_state=0)
    assert folds.large_groups(index, 5, shuffled) == [line]
