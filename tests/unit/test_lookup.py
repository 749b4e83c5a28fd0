"""An image is found in a data set by its bytes, and by its pixels where those of the data set are decoded already."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from chestfold.core.files import sha256_file
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form
from chestfold.data.lookup import Found, ImageLookup

FORM = Form(32)


@pytest.fixture
def images(project):
    """The images of `tiny`, of which t007 is t000 once more."""
    folder = project.input / "tiny" / "images"
    shutil.copy(folder / "t000.png", folder / "t007.png")
    return folder


def grey(path: Path) -> np.ndarray:
    found = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    return found


def test_the_same_file_is_found_without_any_decoded_image(images):
    lookup = ImageLookup(open_index("tiny"), FORM)
    found = lookup.find(sha256_file(images / "t000.png"), np.zeros((32, 32), np.uint8))
    assert found == Found(["t000", "t007"], same_file=True)
    assert lookup.find("", grey(images / "t000.png")) is None


def test_a_copy_that_was_saved_anew_is_found_by_its_pixels(images):
    index = open_index("tiny")
    open_cache(index, 32)
    lookup = ImageLookup(index, FORM)
    darker = (grey(images / "t003.png") * 0.9).astype(np.uint8)
    found = lookup.find("0" * 64, darker)
    assert found is not None and found.ids == ["t003"] and not found.same_file
    assert lookup.find("", darker[::-1].copy()) is None


def test_images_in_other_sizes_are_compared_as_thumbnails(images):
    index = open_index("tiny")
    open_cache(index, 48)
    large = cv2.resize(grey(images / "t000.png"), (48, 48), interpolation=cv2.INTER_LINEAR)
    assert ImageLookup(index, Form(48)).find("", large) == Found(["t000", "t007"], same_file=False)
