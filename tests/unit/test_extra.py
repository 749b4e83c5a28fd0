"""extra: another data set joins the training part of every fold, and no twin of a held-out image does."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_image, read_grey, tiny_experiment

from chestfold.core.config import Request, debug_settings
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.core.rng import generator
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import create_task
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form
from chestfold.data.duplicates import near_matches, near_pairs
from chestfold.data.extra import open_extra
from chestfold.data.twins import Twin, find_twins
from chestfold.evaluate import predictions
from chestfold.models import ood
from chestfold.train.prepare import prepare

DECLARED = 'classes = ["ill", "healthy"]\npositive = "ill"\nreader = "csv"\n'
COUNT = 6


def write_more(project, name="more", declared=DECLARED, labels=("ill", "healthy"), copies=()):
    """A data set of six new images; `copies`: (number, image) that take the place of some."""
    folder, rng = project.input / name, generator("more")
    (folder / "images").mkdir(parents=True)
    (folder / "dataset.toml").write_text(declared)
    rows = ["id,label"]
    for n in range(COUNT):
        label = labels[n % len(labels)]
        cv2.imwrite(str(folder / "images" / f"t{n:03d}.png"), draw_image(rng, label == "ill"))
        rows.append(f"t{n:03d},{label}")
    for n, image in copies:
        (folder / "images" / f"t{n:03d}.png").write_bytes(image)
    (folder / "train.csv").write_text("\n".join(rows) + "\n")


def exp(**changes):
    return tiny_experiment(epochs=1, max_steps=1, extra="more", **changes)


def ready(**changes):
    return prepare(Request("exp200", exp(**changes)))


def held_out(fold: int) -> list[str]:
    return folds.load("tiny", open_index("tiny")).ids(fold)


def file_of(project, image_id: str) -> bytes:
    return (project.input / "tiny" / "images" / f"{image_id}.png").read_bytes()


def brighter(project, image_id: str) -> bytes:
    """The same image with other bytes."""
    image = read_grey(project.input / "tiny" / "images" / f"{image_id}.png")
    return cv2.imencode(".png", np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8))[1].tobytes()


def test_its_images_join_the_training_part_and_nothing_else(project):
    write_more(project)
    project.run(exp(), "--fold", "1", name="exp200")
    table, folder = folds.load("tiny", open_index("tiny")), RunFolder("exp200").fold(1)
    log = (folder.path / "log.txt").read_text()
    assert f"{len(table.other_ids(1)) + COUNT} training, {len(table.ids(1))} validation and 12 test images" in log
    assert f"{COUNT} of the training images are of the data set more\n" in log
    assert folder.manifest().joined == {"extra": COUNT}
    assert folder.config().fingerprint["extra_sha256"] == ready().sources.extra.sha256(1)
    assert set(predictions.read(folder.table_path("oof"))[0]["id"]) == set(table.ids(1))


@pytest.mark.parametrize("fold", range(3))
def test_they_join_every_fold(project, fold):
    write_more(project)
    images = ready().fold_images(fold)
    own = folds.load("tiny", open_index("tiny"))
    assert set(images.train.ids) == {*own.other_ids(fold), *(f"more/t{n:03d}" for n in range(COUNT))}
    assert images.val.ids == own.ids(fold)


def test_its_images_keep_their_labels_and_pixels_whatever_the_order_of_its_classes(project):
    write_more(project)
    prepared = ready()
    train = prepared.fold_images(0).train
    own = prepared.task.classes
    for n in range(COUNT):
        place = train.ids.index(f"more/t{n:03d}")
        assert own[train.labels[place]] == ("ill", "healthy")[n % 2]
        assert (train.pixels[train.rows[place]] == read_grey(project.input / "more" / "images" / f"t{n:03d}.png")).all()
    assert "t000" in train.ids or "t001" in train.ids


def test_it_joins_beside_synthetic_images(project):
    from test_synthetic_training import write_part

    outside = folds.load("tiny", open_index("tiny")).other_ids(0)
    write_part(project, outside[0], outside[1])
    write_more(project)
    lines = ready(synthetic="made").fold_images(0).describe()
    assert lines[1:] == [
        "2 of the training images are synthetic, made from 1 real ones",
        f"{COUNT} of the training images are of the data set more",
    ]


def test_the_detector_knows_them_as_trained_on(project, monkeypatch):
    seen, fit = [], ood.fit
    monkeypatch.setattr(ood, "fit", lambda runner, train, *rest: seen.extend(train.ids) or fit(runner, train, *rest))
    write_more(project)
    project.run(exp(), "--fold", "0", name="exp200")
    assert {f"more/t{n:03d}" for n in range(COUNT)} < set(seen)


def test_a_changed_label_or_image_is_noticed(project):
    write_more(project)
    project.run(exp(), "--fold", "0", name="exp200")
    table = project.input / "more" / "train.csv"
    before = table.read_text()
    table.write_text(before.replace("t000,ill", "t000,healthy"))
    with pytest.raises(InputError, match="begun with other settings .extra_sha256"):
        project.run(exp(), "--fold", "0", name="exp200")
    table.write_text(before)
    (project.input / "more" / "images" / "t000.png").write_bytes(file_of(project, held_out(1)[0]))
    with pytest.raises(InputError, match="begun with other settings .extra_sha256"):
        project.run(exp(), "--fold", "0", name="exp200")


def test_a_fold_without_extra_images_has_no_trace_of_them(project):
    project.run(tiny_experiment(epochs=1, max_steps=1), "--fold", "0")
    folder = RunFolder("exp100").fold(0)
    assert "extra_sha256" not in folder.config().fingerprint and "joined" not in read_json(folder.manifest_path)


def test_a_debug_run_does_without(project):
    assert debug_settings(exp()).extra == ""


# Twins


@pytest.mark.parametrize(("copy", "words"), [(file_of, "the same file"), (brighter, "nearly the same image")])
@pytest.mark.parametrize("where", ["validation", "test"])
def test_a_twin_of_a_held_out_image_is_refused_before_anything_is_trained(project, copy, words, where):
    own = held_out(0)[0] if where == "validation" else "x003"
    write_more(project, copies=[(2, copy(project, own))])
    why = "validated on in fold 0" if where == "validation" else "a test image"
    complaint = f"extra = 'more': t002 is {words} as {own}, which is {why}; take such images out of the data set more"
    with pytest.raises(InputError, match=complaint):
        project.run(exp(), "--fold", "0", name="exp200")
    assert not (project.runs / "exp200").exists()


def test_the_other_twins_are_counted(project):
    own = held_out(0)[:3]
    write_more(project, copies=[(n, file_of(project, own[n])) for n in range(3)])
    with pytest.raises(InputError, match=rf"t000 is the same file as {own[0]}, .* \(and 2 more such pairs\)"):
        ready().fold_images(0)


def test_a_twin_of_a_training_image_is_no_leak_in_this_fold_but_in_its_own(project):
    write_more(project, copies=[(2, file_of(project, held_out(1)[0]))])
    assert len(ready().fold_images(0).additions[0]) == COUNT
    with pytest.raises(InputError, match="validated on in fold 1"):
        project.run(exp(), name="exp200")
    assert not (project.runs / "exp200").exists()


def test_the_data_set_itself_is_refused(project):
    with pytest.raises(InputError, match="extra = 'tiny': this is the experiment's own data set"):
        project.run(exp(data="tiny").but(extra="tiny"), name="exp200")


def test_the_same_file_shown_with_other_greys_is_a_twin_too(project):
    """A declared range may change what is seen, not what it is of."""
    write_more(project, copies=[(0, file_of(project, held_out(0)[0]))])
    more, own = open_index("more"), open_index("tiny")
    twins = find_twins(more, ["t000", "t001"], own, held_out(0))
    assert [(twin.added, twin.own, twin.exact) for twin in twins] == [("t000", held_out(0)[0], True)]


def test_matches_between_two_stacks_are_the_pairs_of_both_together():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 256, (40, 64, 64)).astype(np.uint8)
    others = np.concatenate([stack[30:] // 2 + 5, rng.integers(0, 256, (5, 64, 64)).astype(np.uint8)])
    expected = [(i, j - 40) for i, j in near_pairs(np.concatenate([stack, others])) if i < 40 <= j]
    assert near_matches(stack, others) == expected == [(30 + n, n) for n in range(10)]


# Classes


@pytest.mark.parametrize(
    ("declared", "labels", "complaint"),
    [
        ('classes = ["ill", "well"]\npositive = "ill"\nreader = "csv"\n', ("ill", "well"), "its classes are ill, well"),
        (
            'classes = ["ill", "healthy", "odd"]\npositive = "ill"\nreader = "csv"\n',
            ("ill", "healthy", "odd"),
            "its classes are ill, healthy, odd, and those here healthy, ill; give them the same names",
        ),
    ],
)
def test_other_classes_are_refused(project, declared, labels, complaint):
    write_more(project, declared=declared, labels=labels)
    with pytest.raises(InputError, match=complaint):
        project.run(exp(), "--fold", "0", name="exp200")


def test_a_data_set_that_is_not_there_is_one_sentence(project):
    with pytest.raises(InputError, match="unknown data set 'more'"):
        project.run(exp(), "--fold", "0", name="exp200")


def labelled(monkeypatch, classes: tuple[str, ...], texts: list[str]):
    """`open_extra` of a data set with several labels an image, for a task with the labels A, B, C."""
    import pandas as pd

    from chestfold.data import extra
    from chestfold.data.dataset import Dataset, Index

    dataset = Dataset(name="more", classes=classes, task="multilabel", reader="csv")
    rows = [{"id": f"m{n}", "path": "", "label": text, "group": "", "split": "train"} for n, text in enumerate(texts)]
    monkeypatch.setattr(extra, "open_index", lambda _: Index(dataset, Path(), pd.DataFrame(rows)))
    return open_extra("more", create_task("multilabel", ("A", "B", "C")))


def test_labels_that_it_does_not_declare_are_unknown(monkeypatch):
    found = labelled(monkeypatch, ("C", "A"), ["A", "C|A?", "-"])
    expected = [[1, np.nan, 0], [np.nan, np.nan, 1], [0, np.nan, 0]]
    np.testing.assert_array_equal(found.labels, np.array(expected, np.float32))


def test_an_image_of_which_nothing_is_known_does_not_join(monkeypatch):
    assert labelled(monkeypatch, ("C", "A"), ["A", "", "A?|C?"]).ids == ["m0"]


def test_a_label_of_its_own_is_refused(monkeypatch):
    with pytest.raises(InputError, match="its classes are A, D, and those here A, B, C"):
        labelled(monkeypatch, ("A", "D"), ["A"])


def test_one_of_several_classes_does_not_join_several_labels(project):
    write_more(project)
    with pytest.raises(InputError, match="it is declared as multiclass, and this experiment's data set as multilabel"):
        open_extra("more", create_task("multilabel", ("healthy", "ill")))


def test_a_data_set_that_lacks_a_class_does_not_join(project):
    write_more(project)
    with pytest.raises(
        InputError, match="its classes are ill, healthy, and those here healthy, ill, odd; give them the"
    ):
        open_extra("more", create_task("multiclass", ("healthy", "ill", "odd"), "ill"))


def test_what_joins_carries_the_name_of_its_data_set(project):
    write_more(project)
    found = open_extra("more", create_task("multiclass", ("healthy", "ill"), "ill"))
    made = found.addition(Form(32))
    assert found.name == "more" and found.ids == [f"t{n:03d}" for n in range(COUNT)]
    assert (made.kind, made.about, made.made_from) == ("extra", "of the data set more", 0)
    assert made.ids == [f"more/t{n:03d}" for n in range(COUNT)] and made.labels.tolist() == [1, 0] * 3
    expected = read_grey(project.input / "more" / "images" / "t004.png")
    np.testing.assert_array_equal(made.pixels[4], expected)
    with pytest.raises(InputError, match="more does not say what its three channels are"):
        found.addition(Form(32, 3))


@pytest.mark.parametrize(("exact", "words"), [(True, "the same file"), (False, "nearly the same image")])
def test_a_twin_in_words(exact, words):
    assert str(Twin("a", "b", exact)) == f"a is {words} as b"


def test_every_pair_of_twins_is_found_once_those_by_their_bytes_first(project):
    first, second = held_out(0)[:2]
    copies = [(0, brighter(project, first)), (1, file_of(project, second)), (2, file_of(project, second))]
    write_more(project, copies=copies)
    twins = find_twins(open_index("more"), ["t000", "t002", "t001"], open_index("tiny"), held_out(0))
    expected = [Twin("t002", second, exact=True), Twin("t001", second, exact=True), Twin("t000", first, exact=False)]
    assert twins == expected


# Columns beside the image


def with_age(project, name: str, other: bool = False) -> None:
    """Give a data set a column `age`: numbers, or a word in one cell."""
    folder = project.input / name
    lines = (folder / "train.csv").read_text().splitlines()
    rows = [f"{line},{'old' if other and n == 1 else n}" for n, line in enumerate(lines[1:], start=1)]
    (folder / "train.csv").write_text("\n".join([f"{lines[0]},age", *rows]) + "\n")
    declaration = folder / "dataset.toml"
    declaration.write_text(declaration.read_text() + 'tabular = ["age"]\n')


def test_its_columns_join_too(project):
    write_more(project)
    with_age(project, "tiny")
    with_age(project, "more")
    (project.input / "tiny" / "sample_submission.csv").unlink()
    train = ready(tabular=("age",)).fold_images(0).train
    assert train.cells.texts.shape == (len(train), 1)
    assert train.cells.texts[[i.startswith("more/") for i in train.ids], 0].tolist() == list("123456")


def test_a_data_set_without_the_columns_is_refused(project):
    write_more(project)
    with_age(project, "tiny")
    (project.input / "tiny" / "sample_submission.csv").unlink()
    with pytest.raises(InputError, match="more declares no column 'age'"):
        project.run(exp(tabular=("age",)), "--fold", "0", name="exp200")


def test_a_changed_declaration_of_its_pixels_is_another_set(project):
    write_more(project, declared=DECLARED + "value_range = [0, 200]\n")
    project.run(exp(), "--fold", "0", name="exp200")
    declared = project.input / "more" / "dataset.toml"
    declared.write_text(DECLARED + "value_range = [0, 100]\n")
    with pytest.raises(InputError, match="begun with other settings .extra_sha256"):
        project.run(exp(), "--fold", "0", name="exp200")
    declared.write_text(DECLARED + 'value_range = [0, 200]\nwarning = "drawn"\n')
    project.run(exp(), "--fold", "0", name="exp200")


def test_changed_cells_are_another_set(project):
    write_more(project)
    with_age(project, "more")
    task = create_task("multiclass", ("healthy", "ill"), "ill")
    before, without = open_extra("more", task, ["age"]).sha256(1), open_extra("more", task).sha256(1)
    table = project.input / "more" / "train.csv"
    table.write_text(table.read_text().replace("t000,ill,1", "t000,ill,99"))
    assert open_extra("more", task, ["age"]).sha256(1) != before
    assert open_extra("more", task).sha256(1) == without
