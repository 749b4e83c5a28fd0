"""Every layout that data sets come in ends in the same index."""

from pathlib import Path

import numpy as np
import pytest
from layouts import declared, put, rows, table

from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.data.dataset import Dataset
from chestfold.data.readers import read_index

# Folder per class

KAGGLE = (
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/PNEUMONIA/person1_bacteria_1.jpeg",
    "train/PNEUMONIA/person1_virus_6.jpeg",
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
    "val/PNEUMONIA/person1_bacteria_2.jpeg",
)
FLAT_TEST = ("test/test_0001.jpeg", "test/test_0000.jpeg")
LABELLED_TEST = ("test/NORMAL/IM-0001-0001.jpeg", "test/PNEUMONIA/person9_virus_1.jpeg")


def kaggle(name: str = "chest_xray") -> Dataset:
    return find_dataset(name)


def test_the_kaggle_layout(tmp_path):
    index = read_index(kaggle(), put(tmp_path, *KAGGLE, *FLAT_TEST))
    assert rows(index, "id", "label", "group", "split") == [
        ("train/NORMAL/IM-0115-0001", "NORMAL", "IM-0115", "train"),
        ("train/PNEUMONIA/person1_bacteria_1", "PNEUMONIA", "person1_bacteria", "train"),
        ("train/PNEUMONIA/person1_virus_6", "PNEUMONIA", "person1_virus", "train"),
        ("val/NORMAL/NORMAL2-IM-1427-0001", "NORMAL", "NORMAL2-IM-1427", "train"),
        ("val/PNEUMONIA/person1_bacteria_2", "PNEUMONIA", "person1_bacteria", "train"),
        ("test_0000", "", "test_0000", "test"),
        ("test_0001", "", "test_0001", "test"),
    ]
    assert index.notes == ()


def test_a_test_split_in_class_folders_is_labelled(tmp_path):
    index = read_index(kaggle(), put(tmp_path, *KAGGLE, *LABELLED_TEST))
    assert index.test["label"].tolist() == ["NORMAL", "PNEUMONIA"]
    assert len(index.train) == 5


def test_without_a_test_folder_there_is_no_test_split(tmp_path):
    assert len(read_index(kaggle(), put(tmp_path, *KAGGLE)).test) == 0


@pytest.mark.parametrize("deeper", ["", "chest_xray/"])
def test_the_nested_copy_and_the_shadow_files_are_left_out_and_said(tmp_path, deeper):
    places = [*KAGGLE, *FLAT_TEST]
    nested = [f"chest_xray/{p}" for p in places] + [f"__MACOSX/chest_xray/{p}" for p in places]
    shadows = ["train/NORMAL/._IM-0115-0001.jpeg", "train/NORMAL/.DS_Store"]
    put(tmp_path, *[deeper + place for place in (*places, *nested, *shadows)])
    index = read_index(kaggle(), tmp_path)
    plain = read_index(kaggle(), put(tmp_path / "plain", *places))
    assert rows(index, "label", "group", "split") == rows(plain, "label", "group", "split")
    assert not index.table["path"].str.contains(r"__MACOSX|chest_xray/chest_xray|\._").any()
    said = " ".join(index.notes)
    assert "ignored: __MACOSX/" in said and "ignored: chest_xray/" in said and ".DS_Store in NORMAL/" in said


def test_three_classes_come_from_the_file_names(tmp_path):
    put(tmp_path, *KAGGLE, *LABELLED_TEST)
    index = read_index(kaggle("chest_xray_3class"), tmp_path)
    assert index.train["label"].tolist() == ["NORMAL", "BACTERIA", "VIRUS", "NORMAL", "BACTERIA"]
    assert index.test["label"].tolist() == ["NORMAL", "VIRUS"]


def test_a_name_that_fits_no_class_is_refused(tmp_path):
    put(tmp_path, *KAGGLE, "train/PNEUMONIA/person7_fungus_1.jpeg")
    with pytest.raises(InputError, match=r"person7_fungus_1\.jpeg: its name fits 0 of the classes"):
        read_index(kaggle("chest_xray_3class"), tmp_path)


def test_class_folders_without_splits_are_all_training(tmp_path):
    index = read_index(declared(), put(tmp_path, "ill/b.png", "healthy/a.png", "ill/a.TIF", "__MACOSX/x.png"))
    assert rows(index, "id", "label", "group") == [
        ("healthy/a", "healthy", "healthy/a"),
        ("ill/a", "ill", "ill/a"),
        ("ill/b", "ill", "ill/b"),
    ]


def test_other_files_are_left_out_and_said(tmp_path):
    index = read_index(
        declared(), put(tmp_path, "ill/a.png", "ill/a.txt", "ill/b.txt", "healthy/a.png", "ill/Thumbs.db")
    )
    assert len(index.table) == 2
    assert index.notes == ("ignored: 1 file(s) .db in ill/", "ignored: 2 file(s) .txt in ill/")


def test_an_image_outside_the_class_folders_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"train/a\.png is outside a class folder"):
        read_index(declared(), put(tmp_path, "train/a.png", "train/ill/b.png"))


@pytest.mark.parametrize(
    ("pattern", "patient"), [(r"^(p\d+)_(left|right)", "p07_left"), (r"^p\d+", "p07"), (r"^(?:p(\d+)|q)_", "07")]
)
def test_a_patient_is_what_the_groups_of_the_pattern_match_or_all_of_it(tmp_path, pattern, patient):
    put(tmp_path, "ill/p07_left_1.png", "healthy/p08_left_1.png")
    index = read_index(declared(patient_pattern=pattern), tmp_path)
    assert index.table["group"].tolist()[1] == patient


# CSV beside a folder


@pytest.fixture
def hospital(tmp_path) -> Path:
    """images/ and train.csv with a patient column."""
    put(tmp_path, *[f"images/{n}.png" for n in ("c", "a", "b", "x", "y", "unused")])
    table(tmp_path, "train.csv", "id,label,who", "c,1,p2", "a,0,p1", "b,1,")
    return tmp_path


CODES = declared(reader="csv", labels={"0": "healthy", "1": "ill"}, group_column="who")


def test_a_table_with_codes_and_patients(hospital):
    index = read_index(CODES, hospital)
    assert rows(index, "id", "path", "label", "group") == [
        ("a", "images/a.png", "healthy", "p1"),
        ("b", "images/b.png", "ill", "b"),
        ("c", "images/c.png", "ill", "p2"),
    ]
    assert "ignored: 3 image(s) that no table names" in index.notes
    assert "no test.csv and no sample_submission.csv: there is no test split" in index.notes


def test_the_test_ids_come_from_the_sample_submission(hospital):
    table(hospital, "sample_submission.csv", "id,ill", "y,0.5", "x,0.5")
    assert rows(read_index(CODES, hospital), "id", "label")[3:] == [("x", ""), ("y", "")]


def test_a_test_table_stands_before_the_sample_and_may_be_labelled(hospital):
    table(hospital, "sample_submission.csv", "id,ill", "x,0.5", "y,0.5")
    table(hospital, "test.csv", "id,label,who", "x,1,p1")
    assert rows(read_index(CODES, hospital), "id", "label", "group", "split")[3:] == [("x", "ill", "p1", "test")]


def test_ids_that_look_like_numbers_or_gaps_stay_texts(tmp_path):
    put(tmp_path, "images/007.png", "images/NA.png", "images/1e3.png")
    table(tmp_path, "train.csv", "id,label", "007,ill", "NA,healthy", "1e3,ill")
    assert read_index(declared(reader="csv"), tmp_path).train["id"].tolist() == ["007", "1e3", "NA"]


def test_a_table_that_excel_wrote(hospital):
    text = (hospital / "train.csv").read_text()
    (hospital / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(read_index(CODES, hospital).train) == 3


# MedMNIST


@pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
def test_medmnist_arrays(tmp_path, shape):
    arrays = {f"{part}_images": np.zeros((n, 28, 28), np.uint8) for part, n in (("train", 3), ("val", 2), ("test", 2))}
    labels = {"train_labels": [0, 1, 1], "val_labels": [1, 0], "test_labels": [0, 1]}
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays, **{k: np.reshape(v, shape) for k, v in labels.items()})
    index = read_index(find_dataset("pneumoniamnist"), tmp_path)
    assert rows(index, "id", "label", "split")[3:] == [
        ("val_000000", "pneumonia", "train"),
        ("val_000001", "normal", "train"),
        ("test_000000", "normal", "test"),
        ("test_000001", "pneumonia", "test"),
    ]
    assert index.table["path"].iloc[1] == "pneumoniamnist.npz#train_images/1"


def test_an_npz_with_pickled_objects_is_not_read(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pneumoniamnist.npz", train_images=objects, train_labels=np.array([0]))
    with pytest.raises(InputError, match=r"pneumoniamnist\.npz is not a readable \.npz"):
        read_index(find_dataset("pneumoniamnist"), tmp_path)


def test_several_labels_an_image_are_refused(tmp_path):
    arrays = {"train_images": np.zeros((2, 28, 28), np.uint8), "train_labels": np.zeros((2, 14), np.uint8)}
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays)
    with pytest.raises(InputError, match="train_labels does not hold one label for each of the 2 train_images"):
        read_index(find_dataset("pneumoniamnist"), tmp_path)


# Declarations


def test_a_data_set_of_ones_own_is_a_folder_with_a_declaration(project):
    root = put(project.input / "ward", "old/a1_x.png", "old/a2_x.png", "young/b1_x.png")
    (root / "dataset.toml").write_text(
        'classes = ["young", "old"]\npositive = "old"\nreader = "folders"\npatient_pattern = "^([a-z]\\\\d)_"\n'
    )
    index = open_index("ward")
    assert index.dataset.classes == ("young", "old") and index.dataset.positive == "old"
    assert index.table["group"].tolist() == ["a1", "a2", "b1"]


def test_what_an_image_shows_is_declared_in_the_words_that_are_known(project):
    with (project.input / "tiny" / "dataset.toml").open("a") as file:
        file.write('view = "axial"\n')
    assert open_index("tiny").dataset.view == "axial"
    text = (project.input / "tiny" / "dataset.toml").read_text().replace('"axial"', '"coronal"')
    (project.input / "tiny" / "dataset.toml").write_text(text)
    with pytest.raises(InputError, match="view is one of axial, projection, patch, not 'coronal'"):
        open_index("tiny")


def test_the_hash_of_an_index_is_that_of_ids_labels_and_patients_in_training(hospital):
    before = read_index(CODES, hospital).sha256()
    table(hospital, "sample_submission.csv", "id,ill", "y,0.5")
    assert read_index(CODES, hospital).sha256() == before
    table(hospital, "train.csv", "id,label,who", "c,1,p2", "a,0,p1", "b,1,p1")
    assert read_index(CODES, hospital).sha256() != before


def test_the_real_chest_x_rays(real_data):
    index = read_index(kaggle(), real_data / "chest_xray")
    assert index.train["label"].value_counts().to_dict() == {"PNEUMONIA": 3883, "NORMAL": 1349}
    assert len(index.test) == 624 and (index.test["label"] == "").all()
