"""Synthetic images in training: read, proven unrelated to what is held out, part of the fold's fingerprint."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment
from signed_config import sign_config

from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.core.run_folder import SyntheticCount
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form
from chestfold.data.synthetic import open_part, require_unrelated
from chestfold.evaluate import predictions
from chestfold.evaluate.results import find_result
from chestfold.train.prepare import prepare, with_positive_share

FOLD = 0


def table() -> pd.DataFrame:
    return folds.load("tiny", open_index("tiny")).table


def write_part(project, parent: str, host: str, fold: int = FOLD, group: str = "new") -> None:
    """Two synthetic images and one untouched host, as synth blend writes them."""
    source, folder = project.input / "tiny", project.input / f"made_fold{fold}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text((source / "dataset.toml").read_text().replace("patient", "group"))
    first = table()["id"].iloc[0]
    rows = ["id,label,group,host,generator,parents,fold,seed,box"]
    for name, label, parents in (("s0", "ill", parent), ("s1", "ill", parent), ("h0", "healthy", "")):
        shutil.copy(source / "images" / f"{first}.png", folder / "images" / f"{name}.png")
        rows.append(f"{name},{label},{group},{host},abc,{parents},{FOLD},0,")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def related(project):
    """Ids inside and outside of the fold, and a training image's patient."""
    known = table()
    inside, outside = (known[(known["fold"] == FOLD) == held] for held in (True, False))
    return {"in": inside["id"].tolist(), "out": outside["id"].tolist()}


def exp(**changes):
    return tiny_experiment(epochs=1, max_steps=2, **changes)


def test_synthetic_images_join_the_training_part_and_nothing_else(project, related):
    write_part(project, f"{related['out'][0]};{related['out'][1]}", related["out"][2])
    made = project.run(exp(synthetic="made"), "--fold", "0")
    folder = project.runs / made.name / "fold0"
    log = (folder / "log.txt").read_text()
    assert f"{len(related['out']) + 2} training, {len(related['in'])} validation and 12 test images" in log
    assert "2 of the training images are synthetic, made from 2 real ones\n" in log
    assert sorted(predictions.read(folder / "oof.parquet")[0]["id"]) == sorted(related["in"])
    assert read_json(folder / "config.json")["fingerprint"]["synthetic_sha256"] == open_part("made", 0, Form(32)).sha256
    assert find_result(made.name).record.synthetic == (SyntheticCount(images=2, made_from=2),)


def test_parents_that_are_not_trained_on_are_counted(project, related):
    """With a share of the real positive class, synthetic images may stem from real ones that are left out."""
    known = table().set_index("id")["label"]
    positives = [i for i in related["out"] if known[i] == "ill"]
    kept = set(prepare(Request("exp100", exp(positive_share=0.1))).fold_images(FOLD).train.ids)
    left_out = [i for i in positives if i not in kept]
    trained_on = [i for i in positives if i in kept]
    write_part(project, f"{left_out[0]};{left_out[1]};{trained_on[0]}", related["out"][2])
    project.run(exp(synthetic="made", positive_share=0.1), "--fold", "0")
    log = (project.runs / "exp100" / "fold0" / "log.txt").read_text()
    assert "2 of the training images are synthetic, made from 3 real ones, 2 of which are not trained on" in log


def test_a_changed_synthetic_set_is_noticed(project, related):
    write_part(project, related["out"][0], related["out"][2])
    project.run(exp(synthetic="made"), "--fold", "0")
    write_part(project, related["out"][1], related["out"][2])
    with pytest.raises(InputError, match="begun with other settings .synthetic_sha256"):
        project.run(exp(synthetic="made"), "--fold", "0")


def test_a_changed_declaration_of_synthetic_pixels_is_noticed(project, related):
    write_part(project, related["out"][0], related["out"][2])
    project.run(exp(synthetic="made"), "--fold", "0")
    declared = project.input / f"made_fold{FOLD}" / "dataset.toml"
    declared.write_text(declared.read_text() + "value_range = [0, 100]\n")
    with pytest.raises(InputError, match="begun with other settings .synthetic_sha256"):
        project.run(exp(synthetic="made"), "--fold", "0")


@pytest.mark.parametrize("guilty", ["parent", "second parent", "host", "test image"])
def test_a_descendant_of_a_held_out_image_is_refused(project, related, guilty):
    own, stranger = related["in"][0], related["out"][0]
    parent = {"parent": own, "second parent": f"{stranger};{own}", "test image": "x000"}.get(guilty, stranger)
    write_part(project, parent, own if guilty == "host" else stranger)
    with pytest.raises(InputError, match=r"train\.csv: s0 descends from \w+, which is held out in this fold"):
        project.run(exp(synthetic="made"), "--fold", "0")
    assert not (project.runs / "exp100" / "fold0" / "last.ckpt").exists()


def test_a_descendant_of_a_held_out_patient_is_refused(project, related):
    write_part(project, related["out"][0], related["out"][1])
    part, group_of = (
        open_part("made", 0, Form(32)),
        dict.fromkeys(related["out"], "a") | dict.fromkeys(related["in"], "b"),
    )
    require_unrelated(part, group_of, set(related["in"]))
    with pytest.raises(InputError, match="is of a patient who is held out"):
        require_unrelated(part, group_of | {related["out"][0]: "b"}, set(related["in"]))


def test_an_image_without_host_of_a_held_out_patient_is_refused(project, related):
    patient = table().set_index("id")["group"][related["in"][0]]
    write_part(project, "elsewhere", "", group=patient)
    with pytest.raises(InputError, match=f"s0 is of patient {patient}, who is held out"):
        project.run(exp(synthetic="made"), "--fold", "0")


def test_a_part_of_another_fold_and_one_without_lineage_are_refused(project, related):
    write_part(project, related["out"][0], related["out"][1], fold=1)
    with pytest.raises(InputError, match="s0 was made for fold 0, not for fold 1"):
        open_part("made", 1, Form(32))
    write_part(project, related["out"][0], related["out"][1])
    path = project.input / "made_fold0" / "train.csv"
    pd.read_csv(path).drop(columns="parents").to_csv(path, index=False)
    with pytest.raises(InputError, match="has no column 'parents'"):
        open_part("made", 0, Form(32))
    with pytest.raises(
        InputError, match="there is no .*made_fold2, the synthetic.*; make it with: chestfold synth blend"
    ):
        open_part("made", 2, Form(32))


def test_what_a_part_holds(project, related):
    write_part(project, f"{related['out'][0]};{related['out'][1]}", related["out"][2])
    part = open_part("made", 0, Form(32))
    assert (part.name, part.fold, part.ids) == ("made_fold0", 0, ["made_fold0/s0", "made_fold0/s1"])
    assert part.parents() == set(related["out"][:2])
    assert part.pixels.shape == (2, 32, 32) and part.path.name == "train.csv"
    with pytest.raises(InputError, match="made_fold0 does not say what its three channels are"):
        open_part("made", 0, Form(32, 3))


def test_a_part_without_synthetic_images_and_one_of_no_fold_are_refused(project, related):
    write_part(project, "", related["out"][1])
    with pytest.raises(InputError, match=r"train\.csv: no row has parents, so that the set holds no synthetic image"):
        open_part("made", 0, Form(32))
    write_part(project, related["out"][0], related["out"][1])
    path = project.input / "made_fold0" / "train.csv"
    path.write_text(path.read_text().replace(f",{FOLD},0,", ",,0,"))
    with pytest.raises(InputError, match=r"s0 was made for fold \(none\), not for fold 0"):
        open_part("made", 0, Form(32))


@pytest.mark.parametrize("column", ["label", "group", "host", "parents", "fold"])
def test_a_table_that_lacks_a_column_is_refused(project, related, column):
    write_part(project, related["out"][0], related["out"][1])
    declared = project.input / "made_fold0" / "dataset.toml"
    declared.write_text(declared.read_text().replace('group_column = "group"\n', ""))
    path = project.input / "made_fold0" / "train.csv"
    pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
    with pytest.raises(InputError, match=f"has no column '{column}'"):
        open_part("made", 0, Form(32))


@pytest.mark.parametrize(("host", "group", "is_refused"), [("", "b", True), ("", "c", False), ("out", "b", False)])
def test_a_host_says_of_whom_an_image_is(project, related, host, group, is_refused):
    """Where there is none, the group does."""
    write_part(project, "elsewhere", host, group=group)
    part = open_part("made", 0, Form(32))
    if not is_refused:
        require_unrelated(part, {"in": "b", "out": "a"}, {"in"})
        return
    with pytest.raises(InputError, match="s0 is of patient b, who is held out in this fold; make the set again"):
        require_unrelated(part, {"in": "b", "out": "a"}, {"in"})


def test_a_share_of_the_positive_class_is_trained_on(project, related):
    chosen = exp(positive_share=0.5)
    ready = prepare(Request("exp100", chosen))
    every = ready.images(ready.rows(related["out"]))
    part = with_positive_share(chosen, FOLD, every, ready.task)
    assert (part.labels == 1).sum() == (every.labels == 1).sum() / 2
    assert (part.labels == 0).sum() == (every.labels == 0).sum()
    kept = set(part.ids)
    assert [i for i in every.ids if i in kept] == part.ids and np.array_equal(part.rows, ready.cache.rows(part.ids))


def test_without_synthetic_images_a_fold_from_before_there_were_any_is_finished(project):
    project.run(exp(), "--fold", "0")
    path = project.runs / "exp100" / "fold0" / "config.json"
    config = read_json(path)
    assert "synthetic_sha256" not in config["fingerprint"]
    for name in ("positive_share", "synthetic"):
        del config["settings"][name]
    sign_config(path.parent, config)
    project.run(exp(), "--fold", "0")  # finished: not refused
