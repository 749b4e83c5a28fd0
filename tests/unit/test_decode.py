"""Whatever a file holds arrives as one grey channel of 8 bits, with the expected pixels."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey
from PIL import Image

from chestfold.core.errors import InputError
from chestfold.data import decode as module
from chestfold.data.decode import decode, decode_fitted, decode_native, is_deep, read_bytes, resize, split_place
from chestfold.data.levels import Reading

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


RAMP = np.add.outer(np.arange(SIZE) * 80, np.arange(SIZE) * 50)
"""0 to 4030: a radiograph of 12 bits."""
MEANT = np.rint(RAMP / 4095 * 255)
TINTED = np.stack([RAMP, 4095 - RAMP, np.full_like(RAMP, 700)], axis=2)


def encoded(suffix: str, values: np.ndarray) -> bytes:
    """By OpenCV; colours are given as RGB(A)."""
    shuffled = values if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[2]]]
    return cv2.imencode(suffix, np.ascontiguousarray(shuffled))[1].tobytes()


def png16(values: np.ndarray, exif: bytes = b"") -> bytes:
    """A PNG of 16 bits of any colour type: OpenCV writes none of grey and alpha."""
    height, width = values.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[values[0, 0].size]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"eXIf", exif)]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks:
        if content or name != b"eXIf":
            data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data


def tiff(values: np.ndarray, photometric: int = 1, order: str = "<", orientation: int = 1, planar: int = 1) -> bytes:
    """An uncompressed TIFF of one strip, of any type and photometric interpretation, by TIFF 6.0."""
    height, width = values.shape[:2]
    samples = values[0, 0].size
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = 8 * values.dtype.itemsize
    tags: dict[int, list[int]] = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric]}
    tags |= {273: [0], 274: [orientation], 277: [samples], 278: [height], 279: [values.nbytes]}
    tags |= {284: [planar], 339: [kind] * samples}
    lists = b"".join(struct.pack(f"{order}{samples}H", *tags[tag]) for tag in (258, 339)) if samples > 2 else b""
    start = 8 + 2 + 12 * len(tags) + 4
    tags[273] = [start + len(lists)]
    entries = b""
    for tag, numbers in sorted(tags.items()):
        content = struct.pack(f"{order}{len(numbers)}H" if len(numbers) > 1 else f"{order}I", *numbers)
        if len(content) > 4:
            content = struct.pack(f"{order}I", start + (0 if tag == 258 else 2 * samples))
        entries += struct.pack(f"{order}HHI", tag, 3 if len(numbers) > 1 else 4, len(numbers)) + content.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + lists + (values if order == "<" else values.byteswap()).tobytes()


def with_alpha(values: np.ndarray, alpha: int = 65535) -> np.ndarray:
    return np.dstack([values, np.full(values.shape[:2], alpha)]).astype(np.uint16)


def deep_files() -> dict[str, bytes]:
    """Name -> the same radiograph of 12 bits, in every way in which a file of more than 8 bits may hold it."""
    grey = RAMP.astype(np.uint16)
    rgb = np.dstack([grey] * 3)
    lzw = io.BytesIO()
    Image.fromarray(grey).save(lzw, "TIFF", compression="tiff_lzw")
    return {
        "grey.png": png16(grey),
        "grey and alpha.png": png16(with_alpha(grey)),
        "grey, half transparent.png": png16(with_alpha(grey, 30000)),
        "rgb.png": png16(rgb),
        "rgba.png": png16(with_alpha(rgb)),
        "rgba, transparent.png": png16(with_alpha(rgb, 0)),
        "rgb.tif": encoded(".tif", rgb),
        "rgba.tif": encoded(".tif", with_alpha(rgb)),
        "lzw.tif": lzw.getvalue(),
        "big endian.tif": tiff(grey, order=">"),
        "big endian rgb.tif": tiff(rgb, 2, order=">"),
        "white is zero.tif": tiff((4095 - RAMP).astype(np.uint16), 0),
        "int16.tif": tiff(RAMP.astype(np.int16)),
        "int32.tif": tiff(RAMP.astype(np.int32)),
        "uint32.tif": tiff(RAMP.astype(np.uint32)),
        "float32.tif": tiff(RAMP.astype(np.float32)),
        "grey.jp2": encoded(".jp2", grey),
        "rgb.jp2": encoded(".jp2", rgb),
        "grey.pgm": b"P5 32 32 4095\n" + RAMP.astype(">u2").tobytes(),
        "rgb.ppm": b"P6 32 32 4095\n" + rgb.astype(">u2").tobytes(),
    }


@pytest.mark.parametrize("name", deep_files())
def test_every_file_of_more_than_8_bits_is_read_with_all_of_them_or_refused(tmp_path, name):
    """Pillow keeps the upper 8 bits of colours: 16 greys of a radiograph of 12 bits."""
    (tmp_path / name).write_bytes(deep_files()[name])
    assert far(decode(tmp_path, name, SIZE, (0, 4095)), MEANT) <= 1
    deep = decode(tmp_path, name, SIZE, (0, 4095), depth=16)
    assert deep.dtype == np.uint16 and far(deep, np.rint(RAMP / 4095 * 65535)) <= 1
    with pytest.raises(InputError, match=r"is a (16-bit|32-bit|floating-point) image; declare its value_range"):
        decode(tmp_path, name, SIZE)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jp2"])
def test_colours_of_16_bits_are_kept_where_they_are_wanted(tmp_path, suffix):
    (tmp_path / "a").write_bytes(encoded(suffix, TINTED.astype(np.uint16)))
    shown = decode(tmp_path, "a", SIZE, (0, 4095), colour=True)
    assert shown.shape == (SIZE, SIZE, 3) and far(shown, TINTED / 4095 * 255) <= 0.51
    luma = TINTED @ np.array([0.299, 0.587, 0.114]) / 4095 * 255
    assert far(decode(tmp_path, "a", SIZE, (0, 4095)), luma) <= 0.51
    deep = decode(tmp_path, "a", SIZE, (0, 4095), colour=True, depth=16)
    assert deep.dtype == np.uint16 and far(deep, TINTED / 4095 * 65535) <= 1


def test_signed_and_very_large_values(tmp_path):
    signed = (GREY.astype(np.int16) - 100).astype(np.int8)
    (tmp_path / "signed.tif").write_bytes(tiff(signed))
    assert far(decode(tmp_path, "signed.tif", SIZE, (-128, 127)), signed.astype(float) + 128) <= 1
    (tmp_path / "large.tif").write_bytes(tiff(RAMP.astype(np.uint32) + np.uint32(3_000_000_000)))
    assert far(decode(tmp_path, "large.tif", SIZE, (3_000_000_000, 3_000_004_095)), MEANT) <= 1
    holes = RAMP.astype(np.float32)
    holes[:4] = np.nan
    (tmp_path / "holes.tif").write_bytes(tiff(holes))
    assert (decode(tmp_path, "holes.tif", SIZE, (0, 4095))[:4] == 0).all()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 2])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_the_orientation_of_colours_of_16_bits(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = np.dstack([RAMP] * 3).astype(np.uint16)
    data = png16(rgb, exif.tobytes()[6:]) if kind == "png" else tiff(rgb, 2, orientation=orientation)
    (tmp_path / "a").write_bytes(data)
    turned = {1: MEANT, 3: np.rot90(MEANT, 2), 6: np.rot90(MEANT, -1), 8: np.rot90(MEANT, 1), 2: MEANT[:, ::-1]}
    assert far(decode(tmp_path, "a", SIZE, (0, 4095)), turned[orientation]) <= 1


def pages(count: int, kind: int = 0) -> bytes:
    """A TIFF of several images; `kind` is the NewSubfileType of all but the first."""
    buffer = io.BytesIO()
    others = [Image.fromarray(DEEP) for _ in range(count - 1)]
    for image in others:
        image.encoderinfo = {"tiffinfo": {254: kind}}
    Image.fromarray(DEEP).save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def animation(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind, save_all=True, append_images=[Image.fromarray(255 - GREY)])
    return buffer.getvalue()


@pytest.mark.parametrize("data", [pages(2), pages(5), animation("GIF"), animation("PNG"), animation("WEBP")])
def test_a_file_of_several_images_is_refused(tmp_path, data):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif holds [25] images; save the one that is meant as a file of its own"):
        decode(tmp_path, "a.tif", SIZE, (500, 3050))


def test_a_thumbnail_is_no_second_image(tmp_path):
    (tmp_path / "a.tif").write_bytes(pages(2, kind=1))
    assert far(decode(tmp_path, "a.tif", SIZE, (500, 3050)), GREY) == 0


@pytest.mark.parametrize(
    "values",
    [with_alpha(RAMP), np.dstack([RAMP] * 3).astype(np.float32), RAMP.astype(np.float64)],
    ids=["grey and alpha", "colours of numbers", "64 bits"],
)
def test_a_tiff_that_no_library_reads_is_one_sentence(tmp_path, values):
    (tmp_path / "a.tif").write_bytes(tiff(values, 2 if values[0, 0].size == 3 else 1))
    with pytest.raises(InputError, match=r"a\.tif is a TIFF of a kind that is not read here; save it as grey or RGB"):
        decode(tmp_path, "a.tif", SIZE, (0, 4095))


def test_colours_of_16_bits_in_planes_are_one_sentence(tmp_path):
    """OpenCV takes the planes for pixels."""
    planes = np.ascontiguousarray(TINTED.transpose(2, 0, 1)).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(planes.reshape(SIZE, SIZE, 3), 2, planar=2))
    with pytest.raises(InputError, match=r"a\.tif is a TIFF whose colours lie in planes; save it as grey or RGB"):
        decode(tmp_path, "a.tif", SIZE, (0, 4095))


def test_what_a_program_would_have_to_draw_is_no_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(InputError, match=r"a\.png is not an image that can be read; replace or remove it"):
        decode(tmp_path, "a.png", SIZE)


def test_cmyk_of_16_bits_is_one_sentence(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.dstack([RAMP] * 4).astype(np.uint16), 5))
    with pytest.raises(InputError, match=r"a\.tif is a TIFF of a kind that is not read here"):
        decode(tmp_path, "a.tif", SIZE, (0, 4095))


def test_damage_inside_a_file_of_16_bits_is_noticed(tmp_path):
    data = bytearray(png16(np.dstack([RAMP] * 3).astype(np.uint16)))
    data[len(data) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png is damaged"):
        decode(tmp_path, "a.png", SIZE, (0, 4095))


@pytest.mark.parametrize("mode", modes())
def test_colours_of_8_bits_are_kept_where_they_are_wanted(tmp_path, mode):
    image, grey = modes()[mode]
    saved(tmp_path, image, "a.png")
    shown = decode(tmp_path, "a.png", SIZE, colour=True)
    expected = COLOUR if mode.startswith("RGB") else np.dstack([grey] * 3)
    assert far(shown, expected) == 0
    np.testing.assert_array_equal(decode(tmp_path, "a.png", SIZE, colour=True, depth=16), shown * np.uint16(257))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("side", [SIZE, 5 * SIZE])
def test_colours_of_a_jpeg(tmp_path, mode, side):
    image = Image.fromarray(smooth(side, side)).convert("RGB")
    image.putalpha(255)
    red = Image.merge("RGB", [image.getchannel(0), Image.new("L", image.size, 90), Image.new("L", image.size, 40)])
    place = saved(tmp_path, (image if mode == "L" else red).convert(mode), "a.jpg", quality=100, **NO_SUBSAMPLING[mode])
    shown = decode(tmp_path, place, SIZE, colour=True)
    full = np.asarray(Image.open(tmp_path / place).convert("RGB"))
    expected = full if side == SIZE else cv2.resize(full, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    assert shown.shape == (SIZE, SIZE, 3) and np.abs(shown.astype(float) - expected).mean() < 3


NO_SUBSAMPLING: dict[str, dict] = {"L": {}, "RGB": {"subsampling": 0}, "CMYK": {}}


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


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_rows_of_an_npz_of_more_than_8_bits(tmp_path, dtype):
    colours = np.dstack([RAMP, RAMP, RAMP, RAMP * 0])
    np.savez(tmp_path / "set.npz", grey=RAMP[None].astype(dtype), rgb=colours[None].astype(dtype))
    for member in ("grey", "rgb"):
        assert far(decode(tmp_path, f"set.npz#{member}/0", SIZE, (0, 4095)), MEANT) <= 1
        assert decode(tmp_path, f"set.npz#{member}/0", SIZE, (0, 4095), colour=True).shape == (SIZE, SIZE, 3)
        with pytest.raises(InputError, match="image; declare its value_range"):
            decode(tmp_path, f"set.npz#{member}/0", SIZE)


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


@pytest.mark.parametrize("suffix", ["png", "jpg", "npz"])
@pytest.mark.parametrize("shape", [(64, 640), (640, 64), (90, 61), (1, 700), (40, 40), (176, 20)])
def test_a_fitted_image_keeps_its_shape_and_is_not_enlarged(tmp_path, suffix, shape):
    pixels = np.full(shape, 90, np.uint8)
    pixels[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = 200
    if suffix == "npz":
        np.savez(tmp_path / "a.npz", images=pixels[None])
    else:
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    found = decode_fitted(tmp_path, "a.npz#images/0" if suffix == "npz" else f"a.{suffix}", 176)
    scale = min(1.0, 176 / max(shape))
    assert found.dtype == np.uint8 and found.shape == tuple(max(1, round(side * scale)) for side in shape)
    assert abs(int(found[0, 0]) - 200) < 12 and abs(float(found.mean()) - pixels.mean()) < 4


def announcing(width: int, height: int, kind: str) -> bytes:
    """A small file whose header announces other sizes; PNG (its checksum is right), JPEG, BMP or TIFF."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    else:
        for tag, value in ((256, width), (257, height)):
            entry = data.index(struct.pack("<HHI", tag, 4, 1))
            data[entry + 8 : entry + 12] = struct.pack("<I", value)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(50_001, 1000), (1000, 50_001), (9000, 9000), (60_000, 60_000)])
def test_an_image_of_more_pixels_than_a_radiograph_has_is_refused_before_they_are_read(tmp_path, kind, size):
    (tmp_path / "a.img").write_bytes(announcing(*size, kind))
    with pytest.raises(InputError, match=rf"a\.img.*{size[0]} x {size[1]} pixels"):
        decode(tmp_path, "a.img", SIZE)


def test_so_many_pixels_as_are_allowed_are_read(tmp_path):
    name = saved(tmp_path, Image.new("L", (50_000, 1000), 7), "a.png")
    assert (decode(tmp_path, name, SIZE) == 7).all()


@pytest.mark.parametrize(("smaller", "side"), [(0, 64), (1, 64), (2, 32), (3, 32), (4, 16), (7, 16), (8, 8), (99, 8)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_jpeg_is_scaled_down_by_8_4_2_or_not(tmp_path, smaller, side, colour):
    place = saved(tmp_path, Image.fromarray(smooth(64, 64)), "a.jpg")
    made = module._decode_jpeg((tmp_path / place).read_bytes(), tmp_path, smaller, colour)
    assert made.shape == ((side, side, 3) if colour else (side, side)) and made.flags.c_contiguous


def test_a_jpeg_is_never_smaller_than_the_wanted_size(tmp_path, monkeypatch):
    """By the shorter side: 64 of 64 x 200 is two times 32, and 63 is not."""
    factors = []
    honest = module._decode_jpeg
    monkeypatch.setattr(module, "_decode_jpeg", lambda *of: factors.append(of[2]) or honest(*of))
    for shape in ((64, 200), (200, 64), (63, 200)):
        decode(tmp_path, saved(tmp_path, Image.fromarray(smooth(*shape)), "a.jpg"), SIZE)
    assert factors == [2, 2, 1]
    whole = decode_native(tmp_path, "a.jpg")
    assert whole.shape == (63, 200) and whole.dtype == np.uint8 and factors[3:] == [0]


def test_a_jpeg_that_opencv_does_not_read_is_one_sentence():
    with pytest.raises(InputError, match=r"^a\.jpg is damaged; replace or remove it"):
        module._decode_jpeg(b"\xff\xd8\xff", Path("a.jpg"), 1, False)


STRIPES = np.tile(np.array([0, 200], np.uint8), (32, 32))
"""32 x 64: by area a grey of 100."""


def test_by_area_where_it_shrinks_else_bilinear():
    assert (resize(STRIPES, 32) == 100).all() and (resize(STRIPES.T, 32) == 100).all()
    assert (resize(STRIPES[:31], 32) == cv2.resize(STRIPES[:31], (32, 32), interpolation=cv2.INTER_LINEAR)).all()
    square = STRIPES[:, :32]
    assert resize(square, 32) is square
    deep = resize(np.dstack([STRIPES.astype(np.uint16) * 257] * 3), 32)
    assert deep.dtype == np.uint16 and deep.shape == (32, 32, 3) and (deep == 25700).all()


@pytest.mark.parametrize(
    ("head", "deep"),
    [
        (b"II*\0", True),
        (b"MM\0*" + bytes(30), True),
        (b"II+\0" + bytes(30), False),
        (b"\x89PNG" + bytes(20) + b"\x10\x02", True),
        (b"\x89PNG" + bytes(20) + b"\x10\x06" + bytes(9), True),
        (b"\x89PNG" + bytes(20) + b"\x10\x00", False),
        (b"\x89PNG" + bytes(20) + b"\x08\x02", False),
        (b"\x89PNG" + bytes(20) + b"\x10", False),
        (b"\x89PNG", False),
        (b"", False),
        (b"\xff\xd8\xff\xe0" + bytes(20) + b"\x10\x02", False),
    ],
)
def test_tiffs_and_colours_of_16_bits_have_another_transform(tmp_path, head, deep):
    (tmp_path / "a").write_bytes(head)
    assert is_deep(tmp_path / "a") is deep


def test_a_file_that_is_too_large_or_none_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_FILE", 2_000_000)
    (tmp_path / "a.png").write_bytes(bytes(2_000_000))
    assert read_bytes(tmp_path, "a.png") == bytes(2_000_000)
    (tmp_path / "a.png").write_bytes(bytes(2_000_001))
    with pytest.raises(InputError, match=r"a\.png has 2 MB, which no image here has; remove it"):
        read_bytes(tmp_path, "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=r"folder\.png is no file; replace or remove it"):
        decode(tmp_path, "folder.png", SIZE)
    with pytest.raises(InputError, match=r"b\.png cannot be read \(No such file or directory\); replace or remove it"):
        decode(tmp_path, "b.png", SIZE)


def test_files_of_half_a_gigabyte_are_read():
    assert module.LARGEST_FILE == 2**29


def test_a_place_in_an_npz():
    assert split_place("a/set.npz#train_images/12") == ("a/set.npz", "train_images/12")
    assert split_place("set.npz#train_images/x") == ("set.npz#train_images/x", "")
    assert split_place("a.png") == ("a.png", "")


def test_transparency_is_no_second_image_and_a_page_is(tmp_path):
    for kind, is_page in ((1, False), (4, False), (5, False), (0, True), (2, True)):
        (tmp_path / "a.tif").write_bytes(pages(2, kind=kind))
        if is_page:
            with pytest.raises(InputError, match="holds 2 images"):
                decode(tmp_path, "a.tif", SIZE, (500, 3050))
        else:
            assert far(decode(tmp_path, "a.tif", SIZE, (500, 3050)), GREY) == 0


def test_a_photograph_with_its_preview_is_one_image(tmp_path):
    photograph, preview = (Image.fromarray(pixels).convert("RGB") for pixels in (GREY, GREY[::2, ::2]))
    photograph.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview], quality=100)
    assert Image.open(tmp_path / "a.jpg").format == "MPO"
    assert far(decode(tmp_path, "a.jpg", SIZE), GREY) <= 4


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32])
def test_the_type_that_a_tiff_has_is_kept(tmp_path, dtype):
    """A wrong sign would be noticed at the ends of the range alone."""
    ends = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype).reshape(1, 2)
    (tmp_path / "a.tif").write_bytes(tiff(ends))
    header = Image.open(tmp_path / "a.tif")
    values = module._grey_values(header, header)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, ends)


@pytest.mark.parametrize(
    ("dtype", "kind"), [(np.uint16, "16-bit"), (np.int32, "32-bit"), (np.float32, "floating-point")]
)
def test_values_without_a_range_are_refused_by_their_kind(dtype, kind):
    with pytest.raises(InputError, match=f"a is a {kind} image"):
        module._shown(np.zeros((2, 2), dtype), "a", Reading())


def test_stored_values_are_shown_by_the_range():
    values = np.array([[100, 200, 300, 50, 400]], np.uint16)
    reading = Reading((100, 300))
    assert module._shown(values, "a", reading).tolist() == [[0, 128, 255, 0, 255]]
    assert module._shown(values, "a", reading, negative=True).tolist() == [[255, 128, 0, 255, 0]]
    colours = np.dstack([values, values * 0 + 100, values * 0 + 9000])
    clipped = [[29, 67, 105, 29, 105]]  # 0.114 of white, for blue is far beyond it, and of red 0, 0.299 / 2, 0.299
    assert module._shown(colours, "a", reading).tolist() == clipped
    assert module._shown(colours, "a", Reading((100, 300), colour=True))[0, 1].tolist() == [128, 0, 255]
    assert module._shown(values, "a", Reading((100, 300), colour=True))[0, 1].tolist() == [128] * 3


def test_what_lies_behind_its_end_does_not_make_a_jpeg_whole(tmp_path):
    """The end that counts is behind the start of the last scan."""
    data = (tmp_path / saved(tmp_path, Image.fromarray(GREY), "a.jpg")).read_bytes()
    module.open_header(data, Path("a.jpg"))
    module.open_header(data + b"more", Path("a.jpg"))
    start = data.rfind(b"\xff\xda")
    with pytest.raises(InputError, match=r"a\.jpg is truncated; replace or remove it"):
        module.open_header(data[:start] + b"\xff\xd9" + data[start:-2], Path("a.jpg"))
    with pytest.raises(InputError, match=r"a\.jpg is empty; replace or remove it"):
        module.open_header(b"", Path("a.jpg"))
