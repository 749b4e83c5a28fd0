"""Three channels are what a data set declares: colours, windows, neighbouring slices, or one grey image three times."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment

from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.data import cache
from chestfold.data import channels as channels_of
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import catalogue, open_index, read_declaration
from chestfold.data.channels import (
    Form,
    as_hashed,
    decode_form,
    file_places,
    grey_of,
    neighbours,
    require_channels,
    require_shown,
    shown_as,
    slice_of,
)
from chestfold.data.dataset import Dataset, Index
from chestfold.train.prepare import prepare

RAMP = np.add.outer(np.arange(32) * 80, np.arange(32) * 50).astype(np.uint16)
"""0 to 4030."""


def dataset(**fields) -> Dataset:
    about = {"name": "made", "classes": ("healthy", "ill"), "positive": "ill", "reader": "csv"}
    return Dataset(**(about | fields))


def index_of(root: Path, images: dict[str, np.ndarray], groups: dict[str, str] | None = None, **fields) -> Index:
    """A data set of these images, each its own patient unless `groups` says otherwise; ids in x are test images."""
    rows = []
    for name, image in images.items():
        cv2.imwrite(str(root / f"{name}.png"), image)
        split = "test" if name.startswith("x") else "train"
        rows.append((name, f"{name}.png", "ill", (groups or {}).get(name, name), split))
    return Index(dataset(**fields), root, pd.DataFrame(rows, columns=["id", "path", "label", "group", "split"]))


@pytest.fixture
def folder(project, tmp_path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def shades(low: int, high: int, white: int = 255) -> np.ndarray:
    return np.rint(np.clip((RAMP.astype(float) - low) / (high - low), 0, 1) * white)


@pytest.mark.parametrize(("depth", "white"), [(8, 255), (16, 65535)])
def test_three_windows_of_one_image(folder, depth, white):
    windows = ((0, 1000), (500, 1500), (0, 4095))
    index = index_of(folder, {"a": RAMP}, three_channels="windows", windows=windows)
    made = open_cache(index, 32, 3, depth).images[0]
    assert made.shape == (32, 32, 3) and made.dtype == (np.uint8 if depth == 8 else np.uint16)
    for n, window in enumerate(windows):
        assert np.abs(made[..., n] - shades(*window, white)).max() <= 1
    one_channel = open_cache(index, 32).images[0]
    np.testing.assert_array_equal(one_channel, shades(0, 1000))


def test_three_ct_windows_by_name(folder):
    from test_dicom import example, read_dicom

    (folder / "a.dcm").write_bytes(example("CT_small.dcm"))
    names = ("lung", "mediastinum", "bone")
    index = index_of(folder, {}, three_channels="windows", windows=names)
    table = pd.DataFrame([("a", "a.dcm", "ill", "a", "train")], columns=["id", "path", "label", "group", "split"])
    made = open_cache(replace(index, table=table), 128, 3).images[0]
    for n, name in enumerate(names):
        np.testing.assert_array_equal(made[..., n], read_dicom(example("CT_small.dcm"), "a", ct_window=name))


def test_colours_and_grey_images_among_them(folder):
    grey = (RAMP // 16).astype(np.uint8)
    red = np.dstack([grey * 0, grey // 2, grey])  # blue first, as cv2 writes
    index = index_of(folder, {"a": red, "b": grey}, three_channels="rgb")
    made = open_cache(index, 32, 3).images
    np.testing.assert_array_equal(made[0], red[..., ::-1])
    np.testing.assert_array_equal(made[1], np.dstack([grey] * 3))


def test_one_grey_image_three_times(folder):
    index = index_of(folder, {"a": RAMP}, three_channels="grey", value_range=(0, 4095))
    np.testing.assert_array_equal(open_cache(index, 32, 3).images[0], np.dstack([shades(0, 4095)] * 3))


def slices(*names: str) -> dict[str, np.ndarray]:
    return {name: np.full((32, 32), 10 * n + 10, np.uint8) for n, name in enumerate(names)}


PATTERN = r"^(\w+)_(\d+)$"


def test_a_slice_between_its_neighbours(folder):
    """By number, not as texts; over gaps; its own neighbour at either end; never of another series or split."""
    images = slices("s_9", "s_10", "s_2", "q_9", "x_10", "x_11")
    groups = dict.fromkeys(images, "p")
    index = index_of(folder, images, groups, three_channels="slices", slice_pattern=PATTERN)
    ids = index.table["id"].tolist()
    found = {ids[n]: [ids[row] for row in rows] for n, rows in enumerate(neighbours(index))}
    assert found == {
        "s_2": ["s_2", "s_2", "s_9"],
        "s_9": ["s_2", "s_9", "s_10"],
        "s_10": ["s_9", "s_10", "s_10"],
        "q_9": ["q_9", "q_9", "q_9"],
        "x_10": ["x_10", "x_10", "x_11"],
        "x_11": ["x_10", "x_11", "x_11"],
    }
    made = open_cache(index, 32, 3)
    value = {name: int(image[0, 0]) for name, image in images.items()}
    for name, row in made.row_of.items():
        assert made.images[row][5, 5].tolist() == [value[other] for other in found[name]]


def test_the_split_keeps_neighbours_apart(folder):
    index = index_of(folder, slices("s_1", "s_2"), {"s_1": "p", "s_2": "p"}, slice_pattern=PATTERN)
    table = index.table.assign(split=["train", "test"])
    assert neighbours(replace(index, table=table)).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["s_1", "s_2"], "the series 's' is of two patients, 's_1' and 's_2', so that a slice would be trained on"),
        (["s_1", "s_01"], "s_1 and s_01 are both slice 1 of the series 's'"),
        (["s_1", "t"], "slice_pattern does not match the id 't'"),
    ],
)
def test_what_has_no_neighbours_for_certain_is_refused(folder, names, complaint):
    index = index_of(folder, slices(*names), three_channels="slices", slice_pattern=PATTERN)
    with pytest.raises(InputError, match=f"^made: .*{complaint}"):
        open_cache(index, 32, 3)


@pytest.mark.parametrize("pattern", [PATTERN, r"^(\w+)_(\d+)\.png$", r"images/(\w+)_(\d+)$"])
def test_neighbours_of_a_file_are_in_its_folder(folder, pattern):
    for name in ("s_1.png", "s_2.png", "s_10.png", "t_1.png", "s_3.txt", "s.png"):
        (folder / name).write_bytes(b"")
    made = dataset(three_channels="slices", slice_pattern=pattern)
    form = Form(32, 3)
    assert file_places(made, folder / "s_2.png", form) == ("s_1.png", "s_2.png", "s_10.png")
    assert file_places(made, folder / "s_10.png", form) == ("s_2.png", "s_10.png", "s_10.png")
    assert file_places(made, folder / "t_1.png", form) == ("t_1.png", "t_1.png", "t_1.png")
    assert file_places(made, folder / "s_2.png", Form(32)) == ("s_2.png", "s_2.png", "s_2.png")
    with pytest.raises(InputError, match=r"s\.png: its neighbours are unknown: the slice_pattern of made does not"):
        file_places(made, folder / "s.png", form)
    (folder / "s_01.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"s_1\.png and s_01\.png are both slice 1 of the series 's'"):
        file_places(made, folder / "s_2.png", form)


def test_grey_of_three_channels():
    pixels = np.stack([np.full((1, 4, 4), value, np.uint8) for value in (200, 100, 0)], axis=-1)
    for kind, expected in (("windows", 200), ("slices", 100), ("grey", 100), ("rgb", round(0.299 * 200 + 58.7))):
        assert (grey_of(dataset(three_channels=kind), pixels) == expected).all()
        assert (grey_of(dataset(three_channels=kind), pixels.astype(np.uint16) * 257) == expected).all()
    assert grey_of(dataset(), np.full((2, 4, 4), 65535, np.uint16)).max() == 255


@pytest.mark.parametrize(
    ("fields", "channels", "greys"),
    [
        ({}, 1, 20),
        ({"three_channels": "slices", "slice_pattern": "(a)(1)"}, 1, 20),
        ({"three_channels": "grey"}, 3, [20, 20, 20]),
        ({"three_channels": "rgb"}, 3, [20, 20, 20]),
        ({"three_channels": "slices", "slice_pattern": "(a)(1)"}, 3, [10, 20, 30]),
        ({"three_channels": "windows", "windows": ((0, 1), (0, 2), (0, 3))}, 3, [20, 20, 20]),
    ],
)
def test_the_image_itself_is_the_second_of_three_places(tmp_path, fields, channels, greys):
    places = ("before.png", "itself.png", "after.png")
    for name, grey in zip(places, (10, 20, 30), strict=True):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8), grey, np.uint8))
    made = decode_form(dataset(**fields), tmp_path, places, Form(8, channels), (None, ""))
    assert made.shape == Form(8, channels).shape and made[3, 3].tolist() == greys


@pytest.mark.parametrize(
    ("form", "shape", "dtype"),
    [
        (Form(8), (8, 8), np.uint8),
        (Form(8, 3), (8, 8, 3), np.uint8),
        (Form(9, 1, 16), (9, 9), np.uint16),
        (Form(9, 3, 16), (9, 9, 3), np.uint16),
    ],
)
def test_the_shape_of_a_form(form, shape, dtype):
    assert form.shape == shape and form.dtype is dtype


def test_a_slice_s_number_is_a_number_and_its_series_the_rest():
    made = dataset(slice_pattern=PATTERN)
    assert slice_of(made, "s_012") == ("s", 12) and slice_of(made, "s") is None


# What is declared


SLICES = {"three_channels": "slices", "slice_pattern": PATTERN}


@pytest.mark.parametrize(
    ("fields", "channels", "shown"),
    [
        ({}, 1, {}),
        (SLICES, 1, {}),
        (SLICES, 3, SLICES),
        ({"value_range": (0, 9), "ct_window": "lung"}, 1, {"value_range": "(0, 9)", "ct_window": "lung"}),
        ({"windows": ("lung", "bone", "lung")}, 1, {"windows": "('lung', 'bone', 'lung')"}),
    ],
)
def test_what_decides_the_pixels_is_what_is_declared_of_them(fields, channels, shown):
    made = dataset(**fields)
    assert shown_as(made, channels) == shown
    assert as_hashed(made, channels) == ([shown] if shown else [])
    require_shown(shown, made, channels, "exp100")
    require_shown(None, made, channels, "exp100")
    with pytest.raises(
        InputError, match=r"exp100 was trained while .* of made said .*\(ct_window: brain then, .* now\); rest"
    ):
        require_shown(shown | {"ct_window": "brain"}, made, channels, "exp100")


@pytest.mark.parametrize(
    ("kind", "given", "missing"),
    [
        ("rgb", {}, ""),
        ("", {}, ""),
        ("windows", {}, 'three_channels = "windows" needs windows, a list of three'),
        ("windows", {"windows": ((0, 1), (0, 2), (0, 3))}, ""),
        ("slices", {}, 'three_channels = "slices" needs slice_pattern'),
        ("slices", {"slice_pattern": PATTERN}, ""),
    ],
)
def test_what_three_channels_need_is_said(kind, given, missing):
    made = dataset().model_copy(update={"three_channels": kind} | given)
    found = channels_of.what_is_missing(made)
    assert found.startswith(missing) and bool(found) is bool(missing)


# Caches


def caches(index: Index) -> set[str]:
    return {path.name for path in (cache.cache_dir() / index.dataset.name).glob("*.npy")}


def test_every_form_has_a_cache_of_its_own(folder):
    images = dict.fromkeys(("s_1", "s_2"), RAMP)
    index = index_of(folder, images, dict.fromkeys(images, "p"), value_range=(0, 4095))
    seen: set[str] = set()
    declared: list[tuple[Dataset, int, int]] = [
        (dataset(value_range=(0, 4095)), 1, 8),
        (dataset(value_range=(0, 4095)), 1, 16),
        (dataset(value_range=(0, 4095), three_channels="grey"), 3, 8),
        (dataset(value_range=(0, 4095), three_channels="rgb"), 3, 8),
        (dataset(value_range=(0, 4095), three_channels="grey"), 3, 16),
        (dataset(three_channels="windows", windows=((0, 1), (0, 2), (0, 3))), 3, 8),
        (dataset(three_channels="windows", windows=((0, 1), (0, 2), (0, 4))), 3, 8),
        (dataset(three_channels="windows", windows=((0, 1), (0, 2), (0, 4))), 1, 8),
        (dataset(value_range=(0, 4095), three_channels="slices", slice_pattern=PATTERN), 3, 8),
    ]
    for made, channels, depth in declared:
        open_cache(replace(index, dataset=made), 32, channels, depth)
        assert len(caches(index) - seen) == 1, (made, channels, depth)
        seen = caches(index)


def test_8_bits_in_16_are_said_and_scaled(folder, capsys):
    grey = (RAMP // 16).astype(np.uint8)
    large = cv2.resize(grey, (50, 50))
    index = index_of(folder, {"a": grey, "b": large, "c": RAMP}, value_range=(0, 4095))
    made = open_cache(index, 32, 1, 16).images
    assert "depth = 16: 2 of 3 images of made hold 8 bits; they are scaled" in capsys.readouterr().out
    np.testing.assert_array_equal(made[:2], open_cache(index, 32).images[:2] * np.uint16(257))
    np.testing.assert_array_equal(made[2], shades(0, 4095, 65535))
    open_cache(index, 32, 1, 16)
    assert "depth" not in capsys.readouterr().out


# Declarations


WRONG = {
    'three_channels = "red"': "three_channels is rgb, windows, slices or grey, not 'red'",
    'three_channels = "windows"': 'three_channels = "windows" needs windows, a list of three',
    'three_channels = "slices"': 'three_channels = "slices" needs slice_pattern, a regular expression',
    'windows = ["lung", "bone"]': "windows is a list of three: names of CT windows",
    'windows = ["lung", "bone", "brain"]': "windows is a list of three: names of CT windows",
    'windows = ["lung", "bone", [5, 5]]': "windows is a list of three",
    'windows = ["lung", "bone", [5, 6, 7]]': "windows is a list of three",
    'windows = "lung"': "windows is a list of three",
    "windows = 3": "windows is a list of three",
    "slice_pattern = '^(a)'": "slice_pattern is a regular expression with two groups",
    "slice_pattern = '('": "slice_pattern is a regular expression with two groups",
}
RIGHT = [
    'three_channels = "rgb"',
    'three_channels = "windows"\nwindows = ["lung", [-160, 240], "bone"]',
    "three_channels = 'slices'\nslice_pattern = '^(.+)_([0-9]+)$'",
]


def declared(project, lines: str) -> Dataset:
    path = project.input / "tiny" / "dataset.toml"
    path.write_text(path.read_text() + lines + "\n")
    return read_declaration("tiny", path)


@pytest.mark.parametrize("line", WRONG)
def test_a_declaration_that_cannot_be(project, line):
    with pytest.raises(InputError, match=rf"dataset\.toml, line \d+: {WRONG[line]}"):
        declared(project, line)


@pytest.mark.parametrize("lines", RIGHT)
def test_a_declaration_that_can_be(project, lines):
    made = declared(project, lines)
    require_channels(Form(32, 3), made)
    if made.windows:
        assert made.window_levels == [(None, "lung"), ((-160, 240), ""), (None, "bone")]
        assert made.levels == (None, "lung")


def test_what_is_not_declared_is_refused(project):
    with pytest.raises(InputError, match="channels = 3: tiny does not say what its three channels are; declare"):
        require_channels(Form(32, 3), open_index("tiny").dataset)
    require_channels(Form(32), open_index("tiny").dataset)
    with pytest.raises(InputError, match="tiny does not say what its three channels are"):
        prepare(Request("exp100", tiny_experiment(channels=3)))


def test_the_known_data_sets_are_grey():
    assert {made.three_channels for made in catalogue().values() if made.view} == {"grey"}


# What a declaration said when a run was trained


def test_a_run_is_not_mixed_from_two_declarations_of_its_pixels(project):
    from conftest import tiny_experiment

    from chestfold import Predictor

    path = project.input / "tiny" / "dataset.toml"
    text = path.read_text()
    path.write_text(text + "value_range = [0, 255]\n")
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    assert Predictor("exp100").levels == ((0, 255), "")
    path.write_text(text + "value_range = [0, 200]\n")
    with pytest.raises(InputError, match=r"begun with other settings \(value_range: \(0, 255\) -> \(0, 200\)\)"):
        project.run(tiny_experiment(epochs=1), "--fold", "0")
    with pytest.raises(
        InputError, match=r"exp100 was trained while .*\(value_range: \(0, 255\) then, \(0, 200\) now\)"
    ):
        _ = Predictor("exp100").levels
    assert Predictor("exp100", value_range=(0, 200)).levels == ((0, 200), "")
