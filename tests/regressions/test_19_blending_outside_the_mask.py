"""Bug: Poisson blending changed pixels outside its mask, or left the range of the image: 16 bits wrapped round.

Here not a pixel outside the mask changes, whatever the depth, near the border too, and a made data set says which may.
"""

import cv2
import numpy as np
import pytest
from small_patches import lung, to_grey, with_disc, write_patches

from chestfold.core.rng import generator
from chestfold.synth.blend.dataset import BlendRequest, blend
from chestfold.synth.blend.poisson import clone

PLACES = {"middle": (32, 32), "edge": (0, 30), "corner": (0, 0), "other corner": (63, 63)}


def scaled(hu: np.ndarray, dtype: type) -> np.ndarray:
    """Lung as the depth would hold it: HU for int16 and floats, else the whole range from -1000 to 400 HU."""
    if np.dtype(dtype).kind == "f" or dtype == np.int16:
        return hu.astype(dtype)
    return np.clip((hu + 1000) / 1400 * np.iinfo(dtype).max, 0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_only_the_mask_changes_and_nothing_leaves_the_range(dtype, place):
    rng = generator("bug 19", str(dtype), place)
    host, source = scaled(lung(rng, 64), dtype), scaled(with_disc(lung(rng, 64), 30, 390), dtype)
    row, column = PLACES[place]
    mask = np.hypot(*(np.indices((64, 64)) - np.array([row, column])[:, None, None])) < 20
    made = clone(host, source, mask)
    assert made.dtype == dtype and np.array_equal(made[~mask], host[~mask])
    assert (made[mask] != host[mask]).any()
    assert min(host.min(), source[mask].min()) <= made.min()
    assert made.max() <= max(host.max(), source[mask].max())


def test_what_opencv_does_here():
    """Why its seamlessClone is not used: it takes colour only, so that grey becomes colour and 16 bits are lost."""
    host, source = to_grey(lung(generator("cv2"), 64)), to_grey(with_disc(lung(generator("cv2")), 5))
    colours = [cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) for grey in (source, host)]
    made = cv2.seamlessClone(*colours, np.full(source.shape, 255, np.uint8), (32, 32), cv2.NORMAL_CLONE)
    assert made.shape == (64, 64, 3) and made.dtype == np.uint8


def test_a_made_data_set_differs_from_its_hosts_where_it_says(project):
    write_patches(project.input / "patches")
    builder = blend(BlendRequest("made", "patches", "patches", count=12))
    folder = project.input / "made"
    for row in builder.rows[:12]:
        host = cv2.imread(str(project.input / "patches/images" / f"{row['host']}.png"), cv2.IMREAD_GRAYSCALE)
        made, changed, nodule = (
            cv2.imread(str(folder / part / f"{row['id']}.png"), cv2.IMREAD_UNCHANGED)
            for part in ("images", "masks/changed", "masks/nodule")
        )
        assert np.array_equal(made[changed == 0], host[changed == 0]) and (made[nodule > 0] != host[nodule > 0]).any()
        assert changed.mean() < 255 / 2 and not nodule[changed == 0].any()
