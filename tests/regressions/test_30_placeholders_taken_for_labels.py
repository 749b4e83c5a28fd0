"""Bug: the placeholders of sample_submission.csv were read as the true labels of the test images, and scored.

Here only its ids are read.
"""

import pytest
from layouts import declared, put, table

from chestfold.data.readers import read_index


@pytest.mark.parametrize("placeholder", ["0", "1", "0.5", "ill"])
def test_the_labels_of_test_images_are_not_known(tmp_path, placeholder):
    put(tmp_path, "images/a.png", "images/b.png", "images/x.png")
    table(tmp_path, "train.csv", "id,label", "a,healthy", "b,ill")
    table(tmp_path, "sample_submission.csv", "id,label", f"x,{placeholder}")
    index = read_index(declared(reader="csv"), tmp_path)
    assert index.test[["id", "label"]].to_numpy().tolist() == [["x", ""]]
