"""Bug: an image without a row in the fold file was in no validation set, and therefore in every training set.

Here a fold file that does not hold exactly the training images of its data set is refused before anything is trained,
even when its hash was made to fit; and a fold is trained on the rows of the other folds, never on "all but mine".
"""

import cv2
import pytest
from conftest import draw_image, tiny_experiment

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.catalogue import open_index


def sign(root) -> None:
    """Make the hash in the JSON that of the edited CSV."""
    about = read_json(root / "folds" / "tiny.json") | {"sha256": sha256_file(root / "folds" / "tiny.csv")}
    write_json(root / "folds" / "tiny.json", about)


def drop_row(root, image: str) -> None:
    path = root / "folds" / "tiny.csv"
    path.write_text("".join(line for line in path.open() if not line.startswith(f"{image},")))


def test_a_fold_file_without_one_image_is_refused(project):
    drop_row(project.root, "t007")
    sign(project.root)
    with pytest.raises(InputError, match=r"fold file and the data set differ in 1 ids.*'t007'"):
        project.run(tiny_experiment())
    assert not project.runs.exists()


def test_an_edited_fold_file_is_refused(project):
    drop_row(project.root, "t007")
    with pytest.raises(InputError, match=r"tiny\.csv was changed after it was made"):
        project.run(tiny_experiment())


def test_an_image_that_came_after_the_folds_is_refused(project):
    data = project.input / "tiny"
    cv2.imwrite(str(data / "images" / "t999.png"), draw_image(generator("new"), ill=True))
    with (data / "train.csv").open("a") as file:
        file.write("t999,ill,p99\n")
    with pytest.raises(InputError, match=r"differ in 1 ids.*'t999'"):
        project.run(tiny_experiment())


def test_each_image_is_validated_once_and_trained_in_all_other_folds(project):
    made = folds.load("tiny", open_index("tiny"))
    everything = set(made.table["id"])
    validated = [made.ids(fold) for fold in range(made.count)]
    assert sorted(i for own in validated for i in own) == sorted(everything)
    for fold, own in enumerate(validated):
        assert set(made.other_ids(fold)) == everything - set(own)
