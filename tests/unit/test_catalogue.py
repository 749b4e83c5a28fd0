"""Data sets by name: those of the catalogue, and those that a folder in input/ declares."""

import pytest

from chestfold.core.errors import InputError
from chestfold.data.catalogue import catalogue, find_dataset, folders_of, known_dataset


def test_a_name_of_the_catalogue_goes_before_a_folder(project):
    folder = project.input / "chest_xray"
    folder.mkdir()
    (folder / "dataset.toml").write_text('classes = ["a", "b"]\npositive = "b"\nreader = "folders"\n')
    assert find_dataset("chest_xray") is known_dataset("chest_xray") is catalogue()["chest_xray"]
    assert catalogue()["chest_xray"].classes == ("NORMAL", "PNEUMONIA")


def test_a_folder_with_a_declaration_is_a_data_set(project):
    assert find_dataset("tiny") == known_dataset("tiny")
    assert find_dataset("tiny").classes == ("healthy", "ill")
    assert folders_of(find_dataset("tiny")) == [project.input / "tiny"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chest_xrai", "; did you mean chest_xray?, or declare your own in "),
        ("quite_another", "; `chestfold data list` names them, or declare your own in "),
        ("../input/tiny", "; `chestfold data list` names them, or declare your own in "),
        ("bare", "; `chestfold data list` names them, or declare your own in "),
    ],
)
def test_a_name_that_nothing_has(project, name, hint):
    (project.input / "bare").mkdir()
    assert known_dataset(name) is None
    with pytest.raises(InputError) as refusal:
        find_dataset(name)
    assert str(refusal.value).startswith(f"unknown data set {name!r}{hint}")
    assert str(refusal.value).endswith("dataset.toml")
