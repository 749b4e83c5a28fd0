"""Bug: a damaged disk changed a digit of a score, or a pixel of a decoded image, and both were read as they were.

Here JSON files of this program carry the hash of their content, and the cache that of each image; where either differs
the file is named. Files of before have none, and are read.
"""

import json

import pytest

from chestfold.core.errors import InputError
from chestfold.data import cache
from chestfold.data.catalogue import open_index
from chestfold.evaluate.results import find_result


def test_a_digit_of_a_score(trained):
    path = trained.runs / "exp100" / "scores.json"
    written, text = find_result("exp100").record, path.read_text()
    digit = text.index(".", text.index('"auc"')) + 1  # the first decimal, which every number has
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
    with pytest.raises(InputError, match=r"exp100/scores\.json is not what was written there"):
        find_result("exp100")
    path.write_text(json.dumps({key: value for key, value in json.loads(text).items() if key != "checksum"}))
    assert find_result("exp100").record == written


def test_a_pixel_of_a_decoded_image(project):
    index = open_index("tiny")
    cache.open_cache(index, 16)
    (path,) = (project.input / ".cache" / "tiny").glob("16px-*.npy")
    data = bytearray(path.read_bytes())
    data[128 + 5 * 256 + 7] ^= 1
    path.write_bytes(data)
    opened, ids = cache.open_cache(index, 16), index.table["id"].tolist()
    opened.rows(ids[:5])
    with pytest.raises(InputError, match=r"16px-.*\.npy is damaged \(image 5\); delete it, and it is made again"):
        opened.rows(ids[5:6])
