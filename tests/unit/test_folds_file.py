"""Fold files: what is written beside a split, read back, repeated, and compared."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fold_tables import images_of, texts_of, with_labels

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.core.rng import generator
from chestfold.core.task import create_task
from chestfold.data import folds
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.data.dataset import Index
from chestfold.data.folds import splitting
from chestfold.data.folds.file import LEAKY, describe
from chestfold.data.folds.leaky import split_by_image

CHECKOUT = Path(__file__).resolve().parents[2]
LABELS = ("effusion", "mass", "nodule")
KEYS = ["data", "scheme", "seed", "folds", "patient", "index_sha256", "sha256", "leaks", "images"]


def split_here(leaky: bool) -> list[str]:
    """The committed fold files that were split here, others were imported; those that leak on purpose, or the sound."""
    found = []
    for path in sorted((CHECKOUT / "folds").glob("*.json")):
        about = read_json(path)
        if "seed" in about and (about["scheme"] == LEAKY) == leaky:
            found.append(path.stem)
    return found


@pytest.fixture
def findings(project):
    """`tiny` with three labels an image, some unknown."""
    index = open_index("tiny")
    values = generator("findings").choice([0, 1, np.nan], (len(index.train), 3), p=[0.6, 0.3, 0.1])
    return with_labels(index, LABELS, texts_of(LABELS, values))


# What is written


@pytest.mark.parametrize("name", split_here(leaky=False))
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


@pytest.mark.parametrize("name", split_here(leaky=True))
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


# A sample of each fold


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
