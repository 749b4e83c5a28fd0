"""Fold files: what is written beside a split, read back, repeated, and compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fold_tables import images_of, index_of, texts_of, with_labels

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import FULL
from chestfold.core.task import create_task
from chestfold.data import folds
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.data.dataset import Index
from chestfold.data.folds import file, leaky, splitting
from chestfold.data.folds.file import LEAKY, describe, store
from chestfold.data.folds.leaky import split_by_image

CHECKOUT = Path(__file__).resolve().parents[2]
LABELS = ("effusion", "mass", "nodule")
KEYS = ["data", "scheme", "seed", "folds", "patient", "index_sha256", "sha256", "leaks", "images"]


def split_here(leaks: bool) -> list[str]:
    """The committed fold files that were split here, others were imported; those that leak on purpose, or the sound."""
    found = []
    for path in sorted((CHECKOUT / "folds").glob("*.json")):
        about = read_json(path)
        if "seed" in about and (about["scheme"] == LEAKY) == leaks:
            found.append(path.stem)
    return found


@pytest.fixture
def findings(project):
    """`tiny` with three labels an image, some unknown."""
    index = open_index("tiny")
    values = generator("findings").choice([0, 1, np.nan], (len(index.train), 3), p=[0.6, 0.3, 0.1])
    return with_labels(index, LABELS, texts_of(LABELS, values))


# What is written


@pytest.mark.parametrize("name", split_here(leaks=False))
def test_a_committed_file_is_made_again_byte_for_byte(name):
    """Its own ids, labels and groups, in which duplicates are joined already, are all that a split depends on."""
    path = CHECKOUT / "folds" / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="fold")
    index = Index(find_dataset(name), Path(), table.assign(path=table["id"], split="train"))
    about = read_json(path.with_suffix(".json"))
    found = splitting.split_images(images_of(index), about["folds"], about["seed"])
    assert found.table.to_csv(index=False, lineterminator="\n").encode() == path.read_bytes()
    record = describe(index, found.table, about["leaks"], found.scheme, about["folds"])
    stated = record.model_copy(update={"seed": about["seed"], "index_sha256": about["index_sha256"]}).to_dict()
    assert stated == about and list(stated) == list(about) == KEYS


@pytest.mark.parametrize("name", split_here(leaks=True))
def test_a_committed_file_that_leaks_is_made_again_byte_for_byte(name):
    path = CHECKOUT / "folds" / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="fold")
    about = read_json(path.with_suffix(".json"))
    dataset = find_dataset(about["data"])
    task = create_task(dataset.task, dataset.classes, dataset.positive)
    found = split_by_image(table, task, about["folds"], about["seed"])
    assert found.to_csv(index=False, lineterminator="\n").encode() == path.read_bytes()
    assert any(about["leaks"]["straddling"].values())


def test_there_are_five_folds_where_no_number_is_given(project, capsys):
    (project.root / "folds" / "tiny.csv").unlink()
    (project.root / "folds" / "tiny.json").unlink()
    main.main(["folds", "make", "tiny"])
    assert folds.load("tiny", open_index("tiny")).count == 5


def test_a_file_of_several_labels_says_how_even_it_is(project, findings):
    made, new = folds.make(findings, "several", 3)
    again, newer = folds.make(findings, "several", 3)
    assert (new, newer) == (True, False) and again.table.equals(made.table)
    about = read_json(project.root / "folds" / "several.json")
    assert list(about) == [*KEYS, "sizes", "deviations"]
    assert about["scheme"] == "stratified by all labels, grouped by patient and duplicates"
    assert about["sizes"] == made.sizes and sum(made.sizes) == len(findings.train)
    truth = made.task.truth(made.task.labels(made.table["label"]))
    for number, name in enumerate(LABELS):
        known = ~np.isnan(truth[:, number])
        in_folds = [truth[known & (made.table["fold"] == fold), number] for fold in range(3)]
        assert [about["images"][str(fold)][name] for fold in range(3)] == [labels.sum() for labels in in_folds]
        rate = truth[known, number].mean()
        largest = max(abs(labels.mean() - rate) for labels in in_folds)
        stated = about["deviations"][name]
        assert stated["rate"] == pytest.approx(rate, abs=1e-6)
        assert stated["percentage_points"] == pytest.approx(100 * largest, abs=1e-4)
        assert stated["relative"] == pytest.approx(largest / rate, abs=1e-6)


SIX = """id,label,patient
t000,c1,a
t003,c1,b
t006,c0,b
t009,c0,c
t012,c2,c
t015,c2,d
"""
"""Three classes and four patients, of whom only one split into two is sound."""


@pytest.fixture
def six(project):
    folder = project.input / "tiny"
    declaration = (folder / "dataset.toml").read_text()
    declaration = declaration.replace('["healthy", "ill"]', '["c0", "c1", "c2"]').replace('"ill"', '"c1"')
    (folder / "dataset.toml").write_text(declaration)
    (folder / "train.csv").write_text(SIX)
    return open_index("tiny")


def test_another_seed_that_was_needed_is_written_down(project, six):
    records = {seed: folds.make(six, f"six{seed}", 2, seed)[0].record for seed in range(8)}
    needed = {seed: record.seed_used for seed, record in records.items() if record.seed_used is not None}
    assert 0 < len(needed) < 8
    for seed, record in records.items():
        stated = read_json(project.root / "folds" / f"six{seed}.json")
        assert stated["seed"] == seed and ("seed_used" in stated) == (seed in needed)
        again, _ = folds.make(six, f"again{seed}", 2, needed.get(seed, seed))
        assert again.sha256 == record.sha256


def test_the_command_says_that_it_needed_another_seed(six, capsys):
    for seed in range(8):
        main.main(["folds", "make", "tiny", "--folds", "2", "--seed", str(seed), "--name", f"six{seed}"])
        used = folds.load(f"six{seed}", six).record.seed_used
        said = f"by seed {seed} a fold would lack a class: the split is that of seed {used}"
        assert (said in capsys.readouterr().out) == (used is not None)


def test_repeats_that_would_be_one_split_are_refused(project, six):
    with pytest.raises(InputError, match="repeat 2 would be the split of repeat 1 again"):
        folds.make_repeats(six, "six", 2, 2, 0)
    assert not list(project.root.glob("folds/six*"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"folds": "many"}, "folds: input should be a valid integer"), ({"fold_count": 3}, "fold_count: extra inputs")],
)
def test_a_json_with_a_wrong_field_is_one_sentence(project, change, sentence):
    path = project.root / "folds" / "tiny.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError, match=sentence):
        folds.load("tiny", open_index("tiny"))


NO_LEAKS: dict[str, dict[str, int]] = {"found": {}, "straddling": {}}


def kept(project, index: Index, fold_of: list[int], name: str = "drawn") -> Path:
    """The path of a fold file of an index without image files."""
    table = index.train[["id", "group", "label"]].assign(fold=fold_of)
    store(name, index, table, describe(index, table, NO_LEAKS, "by hand", max(fold_of) + 1))
    return project.root / "folds" / f"{name}.csv"


def rewrite(path: Path, text: str) -> None:
    """Another text, with the hash that belongs to it."""
    path.write_text(text)
    about = path.with_suffix(".json")
    write_json(about, read_json(about) | {"sha256": sha256_file(path)})


EIGHT = index_of("multiclass", "AB", "AABBAABB", "ppqqrrss")
IN_TWO = [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("cell", ["", "-1", "0.0", "\u00b2", "one", "000001", "123456"])
def test_a_fold_that_is_no_whole_number_is_refused(project, cell):
    path = kept(project, EIGHT, IN_TWO)
    rewrite(path, path.read_text().replace("t000004,r,A,1", f"t000004,r,A,{cell}"))
    with pytest.raises(InputError, match=f"the fold of 't000004' is {cell!r}, not a whole number$"):
        folds.load("drawn", EIGHT)


def test_a_fold_of_five_digits_is_a_number_like_any_other(project):
    path = kept(project, EIGHT, IN_TWO)
    rewrite(path, path.read_text().replace("t000004,r,A,1", "t000004,r,A,00001"))
    assert folds.load("drawn", EIGHT).sizes == [4, 4]


@pytest.mark.parametrize("column", ["group", "label", "fold"])
def test_a_file_that_lacks_a_column_is_refused(project, column):
    path = kept(project, EIGHT, IN_TWO)
    rewrite(path, pd.read_csv(path).drop(columns=column).to_csv(index=False))
    with pytest.raises(InputError, match=f"has no column '{column}'; restore it or make a new one"):
        folds.load("drawn", EIGHT)


def test_a_file_of_other_data_other_patients_or_another_content_is_refused(project):
    path = kept(project, EIGHT, IN_TWO)
    renamed = replace(EIGHT, dataset=EIGHT.dataset.model_copy(update={"name": "other"}))
    with pytest.raises(InputError, match="belongs to the data set 'drawn', not to 'other'"):
        folds.load("drawn", renamed)
    with pytest.raises(InputError, match="labels or patients of drawn changed since it was made"):
        folds.load("drawn", index_of("multiclass", "AB", "AABBAABB", "ppqqrrst"))
    path.write_text(path.read_text() + "\n")
    with pytest.raises(InputError, match="was changed after it was made"):
        folds.load("drawn", EIGHT)
    path.unlink()
    with pytest.raises(InputError, match="does not exist; make it: chestfold folds make drawn --name drawn"):
        folds.load("drawn", EIGHT)


def test_a_file_whose_json_is_lost_gets_it_again_and_no_other_split_its_name(project):
    path = kept(project, EIGHT, IN_TWO)
    about = path.with_suffix(".json").read_bytes()
    path.with_suffix(".json").unlink()
    kept(project, EIGHT, IN_TWO)
    assert path.with_suffix(".json").read_bytes() == about
    with pytest.raises(InputError, match="exists and differs; fold files are never edited"):
        kept(project, EIGHT, IN_TWO[::-1])


def test_rates_are_written_with_six_digits_and_percentage_points_with_four():
    """A is in 4 of 6 images, in 2 of 2 and 2 of 4; B in 2 of 6, in 0 of 2 and 2 of 4."""
    index = index_of("multilabel", "AB", ["A", "A", "A", "A|B", "B", "-"], "pqrstu")
    table = index.train[["id", "group", "label"]].assign(fold=[0, 0, 1, 1, 1, 1])
    record = describe(index, table, NO_LEAKS, "by hand", 2)
    assert record.deviations is not None and record.sizes == (2, 4)
    assert record.images == {"0": {"A": 2, "B": 0}, "1": {"A": 2, "B": 2}}
    a, b = (record.deviations[name].to_dict() for name in "AB")
    assert a == {"rate": 0.666667, "percentage_points": 33.3333, "relative": 0.5}
    assert b == {"rate": 0.333333, "percentage_points": 33.3333, "relative": 1.0}
    third = table.assign(fold=[0, 1, 1, 0, 1, 1])
    b = describe(index, third, NO_LEAKS, "by hand", 2).deviations["B"].to_dict()
    assert b == {"rate": 0.333333, "percentage_points": 16.6667, "relative": 0.5}
    a = describe(index, third.assign(fold=[0, 0, 0, 1, 1, 1]), NO_LEAKS, "by hand", 2).deviations["A"].to_dict()
    assert a == {"rate": 0.666667, "percentage_points": 33.3333, "relative": 0.5}


def test_the_largest_deviation_is_that_over_the_rate_too():
    """3 of 7, in 1 of 3 and in 2 of 4: 3/7 - 1/3 = 2/21, which is 2/9 of the rate."""
    index = index_of("multilabel", "AB", ["A", "-", "B", "A", "A", "B", "-"], "pqrstuv")
    table = index.train[["id", "group", "label"]].assign(fold=[0, 0, 0, 1, 1, 1, 1])
    deviations = describe(index, table, NO_LEAKS, "by hand", 2).deviations
    assert deviations is not None
    assert deviations["A"].to_dict() == {"rate": 0.428571, "percentage_points": 9.5238, "relative": 0.222222}


@pytest.mark.parametrize(("asked", "used"), [(0, 7), (7, None)])
def test_the_seed_that_gave_a_split_is_written_where_it_is_another(project, asked, used):
    table = EIGHT.train[["id", "group", "label"]].assign(fold=IN_TWO)
    found = splitting.Split(table, NO_LEAKS, "by hand", seed=7)
    made, new = file._store_split("drawn", images_of(EIGHT), found, 2, asked)
    assert new and (made.record.seed, made.record.seed_used, made.record.repeat) == (asked, used, None)


def test_the_folds_of_all_images_and_none(project):
    kept(project, EIGHT, IN_TWO)
    made = folds.load("drawn", EIGHT)
    ids = EIGHT.train["id"].tolist()
    assert (made.ids(FULL), made.other_ids(FULL)) == ([], ids)
    assert (made.ids(0), made.other_ids(0)) == (ids[:4], ids[4:])
    assert (made.ids(1), made.other_ids(1)) == (ids[4:], ids[:4])
    for fold in (-2, 2):
        with pytest.raises(InputError, match=f"^fold {fold} does not exist: folds/drawn.csv has folds 0 to 1$"):
            made.ids(fold)
        with pytest.raises(InputError, match=f"^fold {fold} does not exist"):
            made.other_ids(fold)


def test_where_nothing_can_leak_there_is_no_leaky_split(project, monkeypatch):
    monkeypatch.setattr(leaky, "linked_images", images_of)
    index = index_of("multiclass", "AB", "AABBAABB", "abcdefgh")
    with pytest.raises(InputError, match="^drawn: no patient and no duplicate has two images, so that nothing can"):
        leaky.make_leaky(index, "leaky", 2, 0)
    made, new = leaky.make_leaky(EIGHT, "leaky", 2, 0)
    assert new and made.record.leaky and made.record.seed == 0
    assert made.table["group"].tolist() == made.table["id"].tolist()
    assert made.record.leaks["found"]["groups"] == 4 and made.record.leaks["straddling"]["groups"] > 0


# A sample of each fold


@pytest.mark.parametrize(("images", "each"), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (100, 2)])
def test_a_small_sample_has_one_image_of_each_stratum(project, images, each):
    kept(project, EIGHT, IN_TWO)
    sample = folds.load("drawn", EIGHT).sample(images).table
    assert sample.groupby(["fold", "label"]).size().tolist() == [each] * 4
    assert list(sample.columns) == ["id", "group", "label", "fold"]
    assert sample["id"].is_monotonic_increasing and sample.index.tolist() == list(range(4 * each))


def test_a_sample_of_several_labels_has_each_of_them_in_every_fold(findings):
    made, _ = folds.make(findings, "several", 3)
    sample = made.sample(12)
    assert len(sample.table) < len(made.table)
    assert set(sample.table["id"]) <= set(made.table["id"]) and sample.sha256 == made.sha256
    truth = made.task.truth(made.task.labels(sample.table["label"]))
    for fold in range(3):
        rows = truth[sample.table["fold"] == fold]
        assert len(rows) <= 12 and (rows == 1).any(axis=0).all() and (rows == 0).any(axis=0).all()


def test_a_sample_of_exclusive_classes_has_as_many_of_each(project):
    table = folds.load("tiny", open_index("tiny")).sample(6).table
    assert (table.groupby(["fold", "label"]).size() == 3).all()


# Repeats


def test_repeats_are_other_splits_of_the_same_images(project, capsys):
    main.main(["folds", "make", "tiny", "--folds", "3", "--repeats", "3", "--seed", "4"])
    index = open_index("tiny")
    repeats = [folds.load(f"tiny-r{number}", index) for number in (1, 2, 3)]
    assert "tiny-r3.csv: 60 images in 3 folds, no leak" in capsys.readouterr().out
    for number, each in enumerate(repeats, start=1):
        assert each.record.seed == 3 + number
        assert each.record.repeat is not None
        assert each.record.repeat.to_dict() == {"family": "tiny", "number": number, "of": 3}
        assert folds.same_images(f"tiny-r{number}", "tiny")
    assert len({each.sha256 for each in repeats}) == 3
    single, _ = folds.make(index, "single", 3, seed=5)
    assert single.sha256 == repeats[1].sha256


def test_splits_of_other_labels_or_images_are_not_of_the_same_images(project, findings):
    folds.make(findings, "several", 3)
    assert folds.same_images("several", "several") and folds.same_images("tiny", "tiny")
    assert not folds.same_images("tiny", "several")
    folds.make(open_index("tiny"), "two", 2)
    assert folds.same_images("tiny", "two")
    with pytest.raises(InputError, match=r"none\.json does not exist"):
        folds.same_images("tiny", "none")


# What the commands say


@pytest.mark.parametrize("verb", [["make", "--folds", "3", "--name", "other"], ["check"]])
def test_the_commands_say_how_even_the_folds_are(project, capsys, verb):
    main.main(["folds", verb[0], "tiny", *verb[1:]])
    out = capsys.readouterr().out
    sizes = folds.load("tiny", open_index("tiny")).sizes
    assert f"images of each fold: {', '.join(map(str, sizes))}" in out
    assert "largest deviation" in out and "healthy" in out and "50.00" in out
    assert "means unknown" not in out


def test_the_commands_say_which_patient_is_too_large(project, capsys):
    path = project.input / "tiny" / "train.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"{line[:-3]}-1" for line in lines[1:31]), *lines[31:]]) + "\n")
    said = "patient '-1' has 30 of 60 images (50 %), and a fold's part is {}: declare unknown_group = [\"-1\"] "
    said += "if it means unknown"
    main.main(["data", "check", "tiny"])
    assert said.format(12) in capsys.readouterr().out.splitlines()
    main.main(["folds", "make", "tiny", "--folds", "3", "--name", "other"])
    assert said.format(20) in capsys.readouterr().out.splitlines()
