"""The generated data set keeps its promises: exact masks, fair labels, honest splits, no shortcut."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from chestfold.core.rng import generator
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


# The steps, one by one


WEIGHTS = generator("weights of densities").normal(size=(SIDE, SIDE))
LUNG = np.uint8(255) * (np.hypot(*np.mgrid[-60:68, -50:78]) < 30)
"""A round lung."""


def figures(field: np.ndarray) -> list[float]:
    """The mean, and one with weights by chance, which is another as soon as something moves."""
    return [float(field.mean(dtype=float)), float((field * WEIGHTS).mean(dtype=float))]


def at_least(reached: list[float], digits: float) -> object:
    return pytest.approx(reached, abs=digits, rel=0)


def test_a_body_is_as_it_always_was(monkeypatch):
    body = phantom.draw_anatomy(0, 0)
    numbers = [*body.body, body.fat, body.level, *body.heart, body.spine, *body.ribs, body.blood, body.noise]
    expected = [0.897116, 0.684897, 0.056144, 0.725960, 0.072412, 0.913032, 0.469477, 0.323573, 14.162596, 6.279417]
    assert numbers == at_least([*expected, 45, 25.019347], 1e-5)
    fields = [figures(field) for field in (*body.warp, body.ripple, body.texture)]
    assert sum(fields, []) == at_least([0.00455, -6e-5, 0.00029, -2e-5, 0.0013, 1e-4, 0.05911, -0.00644], 2e-5)
    left, right = body.vessels[:500].mean(axis=0), body.vessels[500:].mean(axis=0)
    assert left.tolist() == at_least([-0.38894, -0.01465, 0.46036, -0.42481, -0.02395, 0.4604, 0.00789], 2e-5)
    assert right.tolist() == at_least([0.40042, -0.01623, 0.42617, 0.43326, -0.02399, 0.4236, 0.00803], 2e-5)
    monkeypatch.setattr(phantom, "TWIGS", 2)
    bloods = [phantom.draw_anatomy.__wrapped__(0, patient).blood for patient in range(40)]
    assert 10 < sum(blood == 45 for blood in bloods) < 30, "some have had contrast medium"
    assert min(blood for blood in bloods if blood > 45) > 105 and 180 < max(bloods) < 205


SHAPES = {
    0.1: {"heart": (-0.5336, 0.0002), "cavity": (-0.16194, 0.0009), "middle": (-0.28609, 0.0002)},
    0.7: {"heart": (-0.49173, 0.00025), "cavity": (-0.15104, 0.00086), "middle": (-0.27958, 6e-05)},
}
LUNGS = {0.1: (-0.19629, 0.00031), 0.7: (-0.18871, 0.00042)}
PAINTED = {
    0.1: {"wall": (-468.4044, 3.84938), "middle": (-932.4173, 0.02166), "bone": (-921.20674, -0.33839)},
    0.7: {"wall": (-467.73312, 3.82514), "middle": (-922.42954, -0.36456), "bone": (-919.87621, -0.07223)},
}
TISSUES = {0.1: (0.0401, 0.00107, -823.7801, -2.15269), 0.7: (0.04394, -0.00175, -820.11554, -1.1587)}
"""Height -> figures of what is drawn there of patient 0, as they have been since the first published result."""


@pytest.mark.parametrize("z", SHAPES)
def test_the_shapes_of_a_cut_are_as_they_always_were(z):
    body = phantom.draw_anatomy(0, 0)
    cut = phantom._cut(body, z, generator("cut"))
    bent = figures(cut.x) + figures(cut.y) + figures(cut.body)
    assert bent == at_least([0.0056, 0.00472, -0.00235, 0.00088, 0.02942, 0.00131], 2e-5)
    for name, expected in (SHAPES[z] | {"lung": LUNGS[z]}).items():
        assert figures(getattr(cut, name)) == at_least([*expected], 2e-5), name
    for name, expected in PAINTED[z].items():
        density = np.full((SIDE, SIDE), -1000, np.float32)
        getattr(phantom, f"_paint_{name}")(density, body, cut)
        assert figures(density) == at_least([*expected], 0.005), name
    tissue = figures(phantom._vessels(body, z)) + figures(phantom._lung_tissue(body, cut))
    assert tissue[:2] == at_least([*TISSUES[z][:2]], 2e-5) and tissue[2:] == at_least([*TISSUES[z][2:]], 0.005)


SCARS = [(-857.60643, -1.80574), (-853.54761, -1.87727), (-860, -1.73592)]
NODULES = [(-855.8079, -2.245, 109), (-853.98048, -0.65023, 145)]


def test_scars_and_nodules_are_as_they_always_were():
    for number, scars in enumerate(SCARS):
        density = np.full((SIDE, SIDE), -860, np.float32)
        phantom._add_scars(density, generator("scars", number), LUNG)
        assert figures(density) == at_least([*scars], 0.005)
        assert (density[LUNG == 0] == -860).all(), "within the lung"
    for number, (*nodule, pixels) in enumerate(NODULES):
        density = np.full((SIDE, SIDE), -860, np.float32)
        mask = phantom._add_nodule(density, generator("nodule", number), LUNG)
        assert figures(density) == at_least(nodule, 0.005)
        assert abs(np.count_nonzero(mask) - pixels) <= 1 and set(np.unique(mask)) == {0, 255}
        assert (density[mask > 0] > -860 + 0.5 * 560).all(), "at the edge it is half there"


@pytest.mark.parametrize(("slice_", "with_nodule"), [(0, True), (1, False), (5, True)])
def test_slices_are_as_they_always_were(slice_, with_nodule):
    """The last one would be beyond the lowest height."""
    greys, lung, nodule = {
        0: ((83.41101, 0.78247), 3327, 154),
        1: ((82.35065, 0.77168), 3331, 0),
        5: ((82.21466, 0.96879), 3348, 145),
    }[slice_]
    made = draw_slice(0, 0, slice_, with_nodule)
    assert figures(made.image) == at_least([*greys], 2e-3)
    assert [np.count_nonzero(made.lung), np.count_nonzero(made.nodule)] == at_least([lung, nodule], 2)


def test_a_nodule_fits_into_a_small_lung():
    """Its outline reaches out to 1.15 radii, and all of that is in the mask, whatever its size."""
    for half, number in ((4, 0), (6, 1), (8, 2)):
        lung = np.zeros((SIDE, SIDE), np.uint8)
        lung[60 - half : 60 + half + 1, 50 - half : 50 + half + 1] = 255
        density = np.full((SIDE, SIDE), -860, np.float32)
        nodule = phantom._add_nodule(density, generator("small", number), lung)
        radius = np.sqrt(np.count_nonzero(nodule) / np.pi)
        assert not (nodule & ~lung).any() and (half - 0.5) / 1.2 - 0.6 < radius < (half - 0.5) / 1.2 + 0.4


def test_the_scanner_shows_from_black_to_white_what_is_in_its_window():
    body = phantom.draw_anatomy(0, 0)
    for density, grey in ((-1100, 0), (-340, 127.5), (420, 255)):
        flat = np.full((SIDE, SIDE), density, np.float32)
        made = phantom._scan(flat, body, generator("scan"))
        assert made.dtype == np.uint8
        if 0 < grey < 255:
            assert made.mean() == pytest.approx(grey, abs=0.2)
            assert made.std() == pytest.approx(body.noise / 1520 * 255, rel=0.01)
        else:
            clipped = body.noise / 1520 * 255 / np.sqrt(2 * np.pi)  # of a normal distribution, half is beyond the end
            assert abs(made.mean() - grey) == pytest.approx(clipped, rel=0.05)
    step = np.where(phantom.X < 0, -1000, 0).astype(np.float32)
    row = phantom._scan(step, body, generator("scan")).mean(axis=0)
    weights = np.exp(-0.5 * (np.arange(-3, 4) / 0.55) ** 2)
    beyond = weights[4:].sum() / weights.sum()
    assert row[63] == pytest.approx((100 + 1000 * beyond) / 1520 * 255, abs=1.5), "blurred by half a pixel"


def test_depths_of_shapes():
    x, y = np.array([0, 1.5, 2, 4, 0.0]), np.array([0, 0, 0, 0, 3.0])
    np.testing.assert_allclose(phantom._oval(x, y, (0, 0), (2, 3)), [2, 0.5, 0, -2, 0])
    np.testing.assert_allclose(phantom._oval(x + 1, y - 1, (1, -1), (2, 3)), [2, 0.5, 0, -2, 0])
    corner = phantom._oval(np.array([1.0]), np.array([1.0]), (0, 0), (2, 2), 3)
    np.testing.assert_allclose(corner, 2 * (1 - 0.25 ** (1 / 3)))
    along, across = phantom._turned(np.array([1.0, 0]), np.array([0, 1.0]), np.pi / 6)
    np.testing.assert_allclose([along, across], [[np.sqrt(0.75), 0.5], [-0.5, np.sqrt(0.75)]])


def test_shapes_are_joined_and_painted():
    near = phantom._union(np.array([1.0, 0.2]), np.array([-1.0, 0.2]))
    np.testing.assert_allclose(near, [1, 0.2 + 0.03 * np.log(2)])
    np.testing.assert_allclose(phantom._union(np.zeros(1), np.zeros(1), blend=0.1), 0.1 * np.log(2))
    density = np.full(4, 10, np.float32)
    phantom._paint(density, np.array([-1, 0, 0.25, 3]) / 64, 30)
    np.testing.assert_allclose(density, [10, 20, 25, 30])  # a pixel is a 64th
    np.testing.assert_allclose(phantom._soft(np.array([0, 1 / 64, -1 / 64]), 0.5), 0.5 + 0.5 * np.tanh([0, 1, -1]))
    lung, vessel = np.float32(-860), np.float32(100)
    density = np.array([lung, lung, vessel])
    phantom._add_lesion(density, np.array([1, 0.5, 1], np.float32), 600)
    np.testing.assert_allclose(density, [-260, -560, 100])


def test_vessels_grow_where_the_gap_and_the_way_back_are_short():
    """Point 2 is 1 from point 1, which is 1 from the root: by half of the way back that is as if it were 1.5."""
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1.4, 0, 0], [1.4, 1, 0], [3, 0, 0]], float)
    assert phantom._grow(points) == [0, 0, 0, 2, 1]
    assert phantom._grow(np.array([[0, 0, 0], [1, 0, 0], [1, 1.05, 0], [2, 1.05, 0], [2, 0, 0]], float)) == [0, 0, 2, 1]


@pytest.mark.parametrize("side", [-1, 1])
def test_vessels_follow_murray_s_law(side, monkeypatch):
    monkeypatch.setattr(phantom, "TWIGS", 60)
    vessels = phantom._branches(generator("branches"), side).astype(float)
    start, end, cubes = vessels[:, :3], vessels[:, 3:6], (vessels[:, 6] / 0.0053) ** 3
    assert vessels.shape == (60, 7) and (end[:, 0] * side > 0.1).all()
    root = start[0]
    assert root.tolist() == pytest.approx([0.17 * side, 0.06, 0.45])
    fed = np.ones(60)
    for n in reversed(range(60)):
        for parent in np.flatnonzero((end == start[n]).all(axis=1)):
            fed[parent] += fed[n]
    shares = cubes / fed
    assert (shares > 0.8**3 - 1e-3).all() and (shares < 1.2**3 + 1e-3).all() and np.ptp(np.cbrt(shares)) > 0.3
    distances = np.linalg.norm(end - root, axis=1)
    assert (np.diff(distances) >= 0).all(), "the nearest first"


@pytest.mark.parametrize("patients", [3, 4])
@pytest.mark.parametrize("slices", [1, 3])
def test_half_of_the_slices_of_a_block_have_a_nodule_rounded_down(patients, slices):
    for first in range(5):
        labels = phantom._has_nodule(0, range(first, first + patients), slices)
        assert len(labels) == patients * slices and sum(labels) == patients * slices // 2


def test_some_patients_have_more_nodules_than_others():
    """The variance between patients is that within them: it would be 1 of 4 slices by chance, and is 2.5."""
    counts = np.array([phantom._has_nodule(n, range(4), 4) for n in range(200)]).reshape(800, 4).sum(axis=1)
    assert counts.mean() == 2 and 1.4 < counts.var() < 2.2


def test_rows_are_named_by_patient_and_slice():
    rows = phantom._rows(0, range(6), 2)
    assert [row.id for row in rows[:3]] == ["p000_s0", "p000_s1", "p001_s0"] and len(rows) == 12
    assert [(row.patient, row.slice_) for row in rows[-2:]] == [(5, 0), (5, 1)]
    assert sum(row.with_nodule for row in rows[:8]) == 4 and sum(row.with_nodule for row in rows[8:]) == 2
    assert not any(row.marked for row in rows)


def test_half_of_each_class_are_marked_at_random_rounded_down():
    rows = [phantom.Row(f"i{n}", n, 0, n < 7) for n in range(12)]
    marked = phantom._marked_at_random(rows, 0)
    assert [sum(row.marked for row in marked[:7]), sum(row.marked for row in marked[7:])] == [3, 2]
    assert marked != phantom._marked_at_random(rows, 1)


def test_the_marker_is_a_white_letter_in_the_corner():
    corners = set()
    for number in range(60):
        image = np.zeros((SIDE, SIDE), np.uint8)
        phantom._burn_marker(image, generator("marker", number))
        rows, columns = np.nonzero(image > 128)
        corners.add((int(columns.min()), int(rows.max())))
        assert image.max() > 240 and 6 <= np.ptp(rows) + 1 <= 10 and 4 <= np.ptp(columns) + 1 <= 9
        assert 30 <= np.count_nonzero(image) < 90, "thin lines"
    columns, rows = zip(*corners, strict=True)
    assert (np.ptp(columns), np.ptp(rows)) == (5, 3) and max(rows) == 16


@pytest.mark.parametrize(("patients", "train"), [(5, 4), (9, 7), (10, 8)])
def test_the_last_fifth_of_the_patients_is_the_test_split(tmp_path, monkeypatch, patients, train):
    monkeypatch.setattr(phantom, "_write_images", lambda *_: None)
    phantom._write_all(tmp_path, patients, 2, 0, marked=False)
    for split, first, count in (("train", 0, train), ("test", train, patients - train)):
        table = pd.read_csv(tmp_path / f"{split}.csv")
        assert table.patient.tolist() == [f"p{n:03d}" for n in range(first, first + count) for _ in range(2)]


def test_what_is_written_where_nothing_is_said(tmp_path, monkeypatch):
    written = []

    def write(root: Path, *arguments: object) -> None:
        root.mkdir(exist_ok=True)
        written.append(arguments)

    monkeypatch.setattr(phantom, "_write_all", write)
    write_phantom(tmp_path / "phantom")
    assert written == [(100, 4, 0, False)]
