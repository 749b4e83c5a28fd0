"""The images of a sample submission are looked for where the data set declares them, else by their names."""

import pytest
from layouts import declared, put, table

from chestfold.core.errors import InputError
from chestfold.data.readers.wanted import find_wanted

CSV = dict(reader="csv")


def paths(dataset, root, *ids: str) -> dict[str, str]:
    rows = find_wanted(dataset, root, ids).index.table
    return dict(zip(rows["id"], rows["path"], strict=True))


@pytest.mark.parametrize(
    ("fields", "found", "others"),
    [
        (CSV, "images/x0.png", ["masks/nodule/x0.png", "masks/lung/x0.png"]),
        (CSV | {"test_images": "test/{id}.png"}, "test/x0.png", ["test/small/x0.png", "train/x0.png"]),
        (CSV | {"test_images": "test/{id}.dcm"}, "test/x0.dcm", ["test/x0.png"]),
        (CSV | {"images": "images_*/images/{id}"}, "images_02/images/x0.png", ["images_02/thumbs/x0.png"]),
        (CSV | {"test_images": "test/*/{id}/image.png"}, "test/a/x0/image.png", ["test/a/x0/mask.png", "x0.png"]),
        ({}, "test/x0.png", ["thumbnails/x0.png", "train/ill/x0.png"]),
        ({}, "inner/test/x0.png", ["thumbnails/x0.png", "inner/train/ill/x0.png"]),
    ],
)
def test_a_declared_place_goes_before_all_others(tmp_path, fields, found, others):
    dataset, root = declared(**fields), put(tmp_path, found, *others)
    assert paths(dataset, root, "x0") == {"x0": found}
    assert paths(dataset, root, f"x0.{found[-3:]}") == {f"x0.{found[-3:]}": found}


def test_what_the_declared_places_lack_is_lost_and_taken_from_nowhere_else(tmp_path):
    wanted = find_wanted(declared(**CSV), put(tmp_path, "images/x0.png", "masks/x1.png"), ["x0", "x1"])
    assert wanted.index.table["id"].tolist() == ["x0"] and list(wanted.lost) == ["x1"]
    assert "no image 'x1' in" in wanted.lost["x1"] and wanted.how == "where mine declares its test images"


@pytest.mark.parametrize("reader", ["csv", "folders", "joined"])
def test_images_that_lie_otherwise_are_known_by_their_names(tmp_path, reader):
    """Another data set was trained on: the declaration says nothing of the competition's folders."""
    root = put(tmp_path, "test_set/a/x0.png", "train_set/x0.png", "other/x1.jpeg", "other/x2.png", "more/x2.png")
    wanted = find_wanted(declared(reader=reader, images="pictures/{id}"), root, ["x0.png", "x1", "x2", "x3", "../x1"])
    assert wanted.index.table["path"].tolist() == ["test_set/a/x0.png", "other/x1.jpeg"]
    assert {image_id: text.split(";")[0] for image_id, text in wanted.lost.items()} == {
        "x2": "2 images are called 'x2'",
        "x3": "0 images are called 'x3'",
        "../x1": "0 images are called '../x1'",
    }
    assert wanted.how.startswith("by their names")


def test_ids_with_folders_and_ids_that_differ_in_the_suffix_alone(tmp_path):
    root = put(tmp_path, "a/x0.png", "b/x0.png")
    assert paths(declared(images="pictures/{id}", **CSV), root, "b/x0.png") == {"b/x0.png": "b/x0.png"}
    put(root, "images/x0.png")
    wanted = find_wanted(declared(**CSV), root, ["x0.png", "x0"])
    assert wanted.index.table["id"].tolist() == ["x0.png"] and wanted.names == {"x0.png": "x0.png", "x0": "x0.png"}


def test_columns_come_from_the_table_of_the_test_images(tmp_path):
    root = put(tmp_path, "images/x0.png", "images/x1.png", "images/x2.png")
    table(root, "test.csv", "id,age,sex", "x1.png,40,", "x0,20,F")
    dataset = declared(tabular=("age", "sex"), **CSV)
    wanted = find_wanted(dataset, root, ["x2", "x1", "x0"], ("age", "sex"))
    assert wanted.index.table[["id", "age", "sex"]].values.tolist() == [["x0", "20", "F"], ["x1", "40", ""]]
    assert wanted.lost == {"x2": "no row of the table of test images is of 'x2'"}
    with pytest.raises(InputError, match=r"test.csv has no column 'weight'.*dataset.toml"):
        find_wanted(dataset, root, ["x0"], ("weight",))
