"""The generated data set keeps its promises: exact masks, fair labels, honest splits, no shortcut."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from chestfold.data import phantom
from chestfold.data.phantom import SIDE, draw_slice, write_phantom

PATIENTS, SLICES, SEED = 30, 4, 0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "phantom"
    write_phantom(path, patients=PATIENTS, slices=SLICES, seed=SEED)
    return path


@pytest.fixture(scope="module")
def table(root):
    return pd.concat([pd.read_csv(root / f"{split}.csv").assign(split=split) for split in ("train", "test")])


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_and_another_seed_differs(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_phantom(tmp_path / name, patients=5, slices=2, seed=seed)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert all(a[name] != c[name] for name in a if name.startswith(("images/", "masks/lung/")))


DRAWN = [
    [17, 15, 18, 16, 17, 17, 17, 16],
    [17, 28, 82, 101, 108, 98, 44, 17],
    [44, 166, 152, 164, 142, 125, 179, 66],
    [115, 135, 127, 162, 173, 63, 142, 140],
    [105, 155, 79, 140, 141, 50, 132, 114],
    [35, 170, 165, 176, 202, 138, 167, 32],
    [23, 36, 93, 129, 136, 99, 36, 22],
    [16, 21, 22, 21, 23, 22, 20, 17],
]
"""Mean grey values of the 16 x 16 blocks of one slice, as they have been since the first published result."""


def test_a_slice_is_drawn_as_it_always_was():
    """Fold files hold the hashes of images: another drawing would be another data set, with nobody told."""
    made = draw_slice(seed=0, patient=3, slice_=1, with_nodule=True)
    blocks = made.image.reshape(8, SIDE // 8, 8, SIDE // 8).mean((1, 3))
    np.testing.assert_allclose(blocks, DRAWN, atol=1)  # processors round differently
    assert [np.count_nonzero(mask) for mask in (made.lung, made.nodule)] == pytest.approx([2514, 235], rel=0.01)
    assert np.argwhere(made.nodule).mean(axis=0) == pytest.approx([53.06, 41.99], abs=0.1)


def test_a_patient_is_the_same_whatever_else_is_written(root, tmp_path):
    write_phantom(tmp_path / "few", patients=5, slices=SLICES, seed=SEED)
    few, many = contents(tmp_path / "few"), contents(root)
    first = [name for name in few if Path(name).stem.startswith(("p000", "p001", "p002", "p003"))]
    assert len(first) == 4 * SLICES * 3
    assert all(few[name] == many[name] for name in first)


def test_half_of_each_split_has_a_nodule_and_patients_differ(table):
    assert table.split.value_counts().to_dict() == {"train": 96, "test": 24}
    assert (table.groupby("split").label.value_counts(normalize=True) == 0.5).all()
    assert set(table.label) == {"nodule", "no_nodule"}
    burden = (table.label == "nodule").groupby(table.patient).sum()
    assert burden.nunique() >= 4, "a fixed number per patient would give the last slice's label away"


def test_no_patient_in_both_splits_and_ids_name_every_image_once(root, table):
    patients = table.groupby("split").patient.unique()
    assert not set(patients["train"]) & set(patients["test"])
    assert len(patients["test"]) == PATIENTS // 5
    for folder in ("images", "masks/lung", "masks/nodule"):
        assert sorted(path.stem for path in (root / folder).iterdir()) == sorted(table.id)


def test_sample_submission_has_the_test_ids_in_order(root):
    sample, test = pd.read_csv(root / "sample_submission.csv"), pd.read_csv(root / "test.csv")
    assert list(sample.columns) == ["id", "nodule"]
    assert list(sample.id) == list(test.id)
    assert (sample.nodule == 0.5).all()


def test_masks_are_exact(root, table):
    for row in table.itertuples():
        image, lung, nodule = (
            read(root / folder / f"{row.id}.png") for folder in ("images", "masks/lung", "masks/nodule")
        )
        for array in (image, lung, nodule):
            assert array.shape == (SIDE, SIDE) and array.dtype == np.uint8
        assert set(np.unique(lung)) == {0, 255} and set(np.unique(nodule)) <= {0, 255}
        assert nodule.any() == (row.label == "nodule")
        assert not (nodule & ~lung).any()
        assert np.median(image[lung > 0]) < 80, "the lungs are dark"


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_slices_of_a_patient_look_alike_but_are_not_copies(root):
    lungs = [[read(root / f"masks/lung/p{p:03d}_s{s}.png") > 0 for s in (0, 1)] for p in range(12)]
    own = [overlap(first, second) for first, second in lungs]
    other = [overlap(lungs[p][0], lungs[p - 1][1]) for p in range(12)]
    assert min(own) > 0.9 and max(own) < 1
    assert max(other) < min(own)
    same_number = draw_slice(SEED + 1, 0, 0, with_nodule=False).lung > 0
    assert overlap(lungs[0][0], same_number) < min(own), "another seed is another patient"


@pytest.mark.parametrize(("patient", "slice_"), [(p, s) for p in range(40, 50) for s in (0, 3)])
def test_a_nodule_is_one_round_brighter_blob_and_changes_nothing_else(patient, slice_):
    without, with_ = (draw_slice(SEED, patient, slice_, nodule) for nodule in (False, True))
    assert np.array_equal(without.lung, with_.lung) and not without.nodule.any()
    count, _, stats, _ = cv2.connectedComponentsWithStats(with_.nodule)
    area, width, height = (
        stats[1, cv2.CC_STAT_AREA],
        stats[1, cv2.CC_STAT_WIDTH],
        stats[1, cv2.CC_STAT_HEIGHT],
    )
    assert count == 2
    assert 0.04 <= np.sqrt(area / np.pi) / SIDE <= 0.08
    assert 0.65 < width / height < 1.55 and area > 0.6 * width * height
    around = cv2.dilate(with_.nodule, np.ones((19, 19), np.uint8)) > 0
    gain = with_.image.astype(int) - without.image
    assert np.abs(gain[~around]).max() <= 1, "the same noise; the soft edge may tip a rounding"
    assert gain.min() >= 0 and gain[with_.nodule > 0].mean() > 15


@pytest.mark.parametrize("shortcut", ["mean", "max", "file size"])
def test_no_shortcut_separates_the_classes(root, table, shortcut):
    measure = {
        "mean": lambda path: read(path).mean(),
        "max": lambda path: read(path).max(),
        "file size": lambda path: path.stat().st_size,
    }[shortcut]
    values = [measure(root / "images" / f"{name}.png") for name in table.id]
    assert 0.4 < roc_auc_score(table.label == "nodule", values) < 0.65


@pytest.fixture(scope="module")
def marked(root, tmp_path_factory):
    """The ids that have the marker in the marked baseline of `root`, and the baseline."""
    baseline = tmp_path_factory.mktemp("data") / "phantom_marked"
    write_phantom(baseline, patients=PATIENTS, slices=SLICES, seed=SEED, marked=True)
    changed = {
        name: read(baseline / name).astype(int) - read(root / name) for name in contents(root) if "images" in name
    }
    return {Path(name).stem: gain for name, gain in changed.items() if gain.any()}, baseline


def test_the_marker_goes_with_the_class_in_training_and_not_in_test(marked, table):
    has = table.id.isin(list(marked[0]))
    train, test = table.split == "train", table.split == "test"
    assert (has[train] == (table.label[train] == "nodule")).all()
    assert has[test].groupby(table.label[test]).mean().to_dict() == {"no_nodule": 0.5, "nodule": 0.5}


def test_the_marker_is_all_that_differs_and_lies_outside_the_body(marked, root):
    gains, baseline = marked
    assert all(gain[:20, :20].max() > 150 and not gain[20:].any() and not gain[:, 20:].any() for gain in gains.values())
    plain, other = contents(root), contents(baseline)
    assert all(other[name] == data for name, data in plain.items() if not name.startswith("images/"))
    body = [cv2.blur(read(root / "images" / f"{name}.png"), (3, 3))[:20, :20].max() for name in gains]
    assert max(body) < 80, "air, to the edge of the skin"


def test_an_existing_folder_is_left_alone(root):
    before = contents(root)
    with pytest.raises(FileExistsError, match="exists"):
        write_phantom(root, patients=5)
    assert contents(root) == before


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "_write_csv", fail)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "data", patients=2, slices=1)
    assert list(tmp_path.iterdir()) == []
