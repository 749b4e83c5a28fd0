"""Bug: when a batch could not be made the error was swallowed, and the batch before it was trained a second time.

Here an error is never swallowed: an unreadable image stops the run with its name before training, anything else as
what it is; and an epoch holds every image once.
"""

import numpy as np
import pytest
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.errors import InputError
from chestfold.data.loader import Images, TrainBatches


def numbered(count: int, rows: np.ndarray) -> Images:
    """Images that are filled with their number."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 32, 32))
    return Images(pixels, rows, [f"i{n}" for n in range(len(rows))], np.zeros(len(rows), np.int64))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_that_cannot_be_made_is_an_error(workers):
    rows = np.arange(32)
    rows[20] = 99  # there are 32
    batches = TrainBatches(tiny_experiment(), exclusive(), 0, numbered(32, rows), workers)
    with pytest.raises(IndexError):
        list(batches.epoch(0))


def test_an_epoch_holds_every_image_once():
    batches = TrainBatches(tiny_experiment(), exclusive(), 0, numbered(32, np.arange(32)), 0)
    for epoch in range(2):
        seen = [int(image[0, 0, 0]) for pixels, _ in batches.epoch(epoch) for image in pixels]
        assert sorted(seen) == list(range(32))


def test_an_unreadable_image_stops_the_run_before_training(project):
    path = project.input / "tiny" / "images" / "t031.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"t031\.png is (truncated|damaged)"):
        project.run(tiny_experiment())
    assert not project.runs.exists()
