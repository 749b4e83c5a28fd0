"""Whatever a file holds arrives as one grey channel of 8 bits, with the expected pixels."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey
from PIL import Image

from chestfold.core.errors import InputError
from chestfold.data.decode import decode

SIZE = 32
GREY = np.add.outer(np.arange(SIZE) * 4, np.arange(SIZE) * 3).astype(np.uint8)  # 0 to 217, no symmetry
COLOUR = np.stack([GREY, 255 - GREY, np.full_like(GREY, 40)], axis=2)
LUMA = np.rint(COLOUR @ np.array([0.299, 0.587, 0.114]))


def saved(tmp_path: Path, image: Image.Image, name: str, **options) -> str:
    image.save(tmp_path / name, **options)
    return name


def far(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of two images."""
    return float(np.abs(a.astype(float) - b.astype(float)).max())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_grey_and_colour_without_loss(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    grey = decode(tmp_path, saved(tmp_path, Image.fromarray(GREY), f"a.{suffix}", **options), SIZE)
    colour = decode(tmp_path, saved(tmp_path, Image.fromarray(COLOUR), f"b.{suffix}", **options), SIZE)
    assert grey.dtype == np.uint8 and grey.shape == (SIZE, SIZE)
    assert far(grey, GREY) == 0 and far(colour, LUMA) <= 1


def modes() -> dict[str, tuple[Image.Image, np.ndarray]]:
    """Mode -> an image in it and the grey values that are meant."""
    opaque = np.dstack([COLOUR, np.full_like(GREY, 255)])
    shades = Image.new("P", (SIZE, SIZE))
    shades.putpalette([v for n in range(256) for v in (255 - n,) * 3])
    shades.putdata(GREY.ravel().tolist())
    black_and_white = (GREY > 100).astype(np.uint8) * 255
    return {
        "L": (Image.fromarray(GREY), GREY),
        "RGB": (Image.fromarray(COLOUR), LUMA),
        "RGBA": (Image.fromarray(opaque), LUMA),
        "LA": (Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)])), GREY),
        "P": (shades, 255 - GREY),
        "1": (Image.fromarray(black_and_white).convert("1", dither=Image.Dither.NONE), black_and_white),
    }


@pytest.mark.parametrize("mode", modes())
def test_every_mode_of_a_png(tmp_path, mode):
    image, expected = modes()[mode]
    assert image.mode == mode
    assert far(decode(tmp_path, saved(tmp_path, image, "a.png"), SIZE), expected) <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_mode_of_a_jpeg(tmp_path, mode):
    image = Image.fromarray(GREY).convert("RGB").convert(mode)
    assert far(decode(tmp_path, saved(tmp_path, image, "a.jpg", quality=100), SIZE), GREY) <= 4


DEEP = GREY.astype(np.uint16) * 10 + 500  # 500 to 2670


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_mapped_by_the_declared_range(tmp_path, suffix):
    place = saved(tmp_path, Image.fromarray(DEEP), f"a.{suffix}")
    assert far(decode(tmp_path, place, SIZE, (500, 3050)), GREY) == 0
    assert far(decode(tmp_path, place, SIZE, (3050, 500)), 255 - GREY) == 0, "a range that falls is a negative"
    clipped = decode(tmp_path, place, SIZE, (1000, 1100))
    assert clipped[DEEP <= 1000].max() == 0 and clipped[DEEP >= 1100].min() == 255


def test_16_bits_without_a_declared_range_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.png is a 16-bit image; declare its value_range"):
        decode(tmp_path, saved(tmp_path, Image.fromarray(DEEP), "a.png"), SIZE)


def test_8_bits_need_no_range(tmp_path):
    assert far(decode(tmp_path, saved(tmp_path, Image.fromarray(GREY), "a.png"), SIZE, (0, 4000)), GREY) == 0


ROTATED = {1: GREY, 3: np.rot90(GREY, 2), 6: np.rot90(GREY, -1), 8: np.rot90(GREY, 1), 2: GREY[:, ::-1]}


@pytest.mark.parametrize("orientation", ROTATED)
@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "L"), ("a.jpg", "RGB"), ("a.jpg", "CMYK"), ("a.png", "L")])
def test_the_orientation_that_a_file_declares_is_honoured(tmp_path, name, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(GREY).convert("RGB").convert(mode)
    options = {"quality": 100} if name.endswith("jpg") else {}
    place = saved(tmp_path, image, name, exif=exif, **options)
    assert far(decode(tmp_path, place, SIZE), ROTATED[orientation]) <= 4


def smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 1, (height, width)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), min(height, width) / 10)
    return np.interp(blurred, (blurred.min(), blurred.max()), (10, 240)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(70, 300), (300, 300), (400, 517), (33, 40)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_scaled_in_the_codec_is_close_to_the_full_image(tmp_path, shape, mode):
    """Factors 2, 8, 8 and none."""
    image = Image.fromarray(smooth(*shape)).convert(mode)
    place = saved(tmp_path, image, "a.jpg", quality=95)
    full = cv2.resize(read_grey(tmp_path / place), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    fast = decode(tmp_path, place, SIZE)
    assert fast.shape == (SIZE, SIZE)
    assert np.abs(fast.astype(float) - full).mean() < 3 and far(fast, full) <= 16


@pytest.mark.parametrize("side", [8, 31, 33, 100])
def test_an_image_of_any_size_arrives_at_the_wanted_size(tmp_path, side):
    flat = np.full((side, side + 5), 77, np.uint8)
    made = decode(tmp_path, saved(tmp_path, Image.fromarray(flat), "a.png"), SIZE)
    assert made.shape == (SIZE, SIZE) and (made == 77).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_of_an_npz(tmp_path, dtype):
    np.savez(tmp_path / "set.npz", train_images=np.stack([GREY.astype(dtype) * 0, GREY.astype(dtype)]))
    value_range = None if dtype is np.uint8 else (0, 255)
    assert far(decode(tmp_path, "set.npz#train_images/1", SIZE, value_range), GREY) == 0


def test_a_thumbnail_inside_a_truncated_file_does_not_hide_its_missing_end(tmp_path):
    small = io.BytesIO()
    Image.fromarray(GREY).save(small, "JPEG")
    complete = io.BytesIO()
    Image.fromarray(smooth(200, 200)).save(complete, "JPEG", exif=b"Exif\0\0" + small.getvalue())
    data = complete.getvalue()
    (tmp_path / "a.jpg").write_bytes(data)
    decode(tmp_path, "a.jpg", SIZE)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(InputError, match=r"a\.jpg is truncated"):
        decode(tmp_path, "a.jpg", SIZE)


def test_real_x_rays_are_close_to_the_full_image_too(real_data):
    paths = sorted((real_data / "chest_xray_native").rglob("*.jp*g"))[:4]
    for path in paths:
        full = cv2.resize(read_grey(path), (64, 64), interpolation=cv2.INTER_AREA)
        made = decode(path.parent, path.name, 64)
        assert made.std() > 20 and np.abs(made.astype(float) - full).mean() < 3
