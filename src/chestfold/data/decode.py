"""One image file to one array: any mode, any depth, DICOM too, the same result."""

import io
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from chestfold.core.errors import InputError
from chestfold.data.dicom import is_dicom, read_dicom
from chestfold.data.levels import LUMA, Reading, at_depth, quantised, repeated, require_pixels
from chestfold.data.readers import load_arrays

cv2.setNumThreads(1)  # parallel over images, not inside one
Image.MAX_IMAGE_PIXELS = None  # `require_pixels` bounds them, before they are read
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a file that it cannot read is one sentence here

TRANSFORM = "grey-area-1"
"""Names what `decode` does to an image; part of the cache's key, changed whenever the pixels would change."""

DEEP_TRANSFORM = "deep-1"
"""The same for TIFFs and for colours of 16 bits, of which caches held 8 bits once; for sets that hold such files."""

_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    AssertionError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    cv2.error,
)
"""What Pillow and OpenCV raise over damaged files: each codec has its own."""

LARGEST_FILE = 1 << 29
"""Bytes of an image's file at most."""
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_REDUCED_GREY = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    1: cv2.IMREAD_GRAYSCALE,
}
_REDUCED_COLOUR = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
_TIFF = (b"II*\0", b"MM\0*")
_DRAWN = ("EPS", "WMF")
"""Formats that Pillow lets another program draw."""
_PNG_BITS = 24
"""Where a PNG says how many bits a sample has."""
_UNREDUCED = 1 << 30
"""A size that no codec reduces to."""
_NPZ_MEMBER = re.compile(r"(?P<file>.+\.npz)#(?P<member>\w+/\d+)", re.DOTALL)
"""No image of a file: those are called like one, and this ends in a bare number."""


def split_place(place: str) -> tuple[str, str]:
    """A place of an index as a file and the member of an .npz, `array/row`; "" where it is a file of its own."""
    match = _NPZ_MEMBER.fullmatch(place)
    return (match["file"], match["member"]) if match else (place, "")


def read_bytes(root: Path, place: str) -> bytes:
    """The bytes that decide an image: of its file, or of its row in an .npz."""
    name, member = split_place(place)
    if not member:
        return _file_bytes(root / name)
    return _npz_image(root / name, member).tobytes()


def decode(
    root: Path,
    place: str,
    size: int,
    value_range: tuple[int, int] | None = None,
    ct_window: str = "",
    *,
    colour: bool = False,
    depth: int = 8,
) -> np.ndarray:
    """The image at `place` as uint8 (size, size), one channel, 0 black to 255 white; aspect is not kept.

    JPEGs are scaled down in the codec (DCT) to at least `size`, then by area. DICOM is known by its content, whatever
    the file is called; `ct_window` is for DICOM alone (see `read_dicom`). With `colour` it is RGB, (size, size, 3), in
    which grey files have three equal channels; with a `depth` of 16 it is uint16, 65535 is white, and what is read from
    a file of 8 bits is multiplied by 257.

    Raises:
        InputError: the file is empty, truncated, no image, of several pages, or of more than 8 bits without a declared
            `value_range`.
    """
    image = _decode(root, place, size, Reading(value_range, ct_window, colour, depth))
    return at_depth(resize(image, size), depth)


def decode_fitted(
    root: Path, place: str, longest: int, value_range: tuple[int, int] | None = None, ct_window: str = ""
) -> np.ndarray:
    """The image at `place` in its own shape, uint8 (H, W), no side above `longest`; else as `decode`."""
    image = _decode(root, place, longest, Reading(value_range, ct_window))
    height, width = image.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def decode_native(
    root: Path, place: str, value_range: tuple[int, int] | None = None, ct_window: str = ""
) -> np.ndarray:
    """The image at `place` in its own size, uint8 (H, W); else as `decode`."""
    return _decode(root, place, _UNREDUCED, Reading(value_range, ct_window))


def _decode(root: Path, place: str, size: int, reading: Reading) -> np.ndarray:
    """In its own shape; a JPEG is scaled down in the codec to at least `size`."""
    name, member = split_place(place)
    if member:
        return _of_array(_npz_image(root / name, member), place, reading)
    return _decode_file(_file_bytes(root / name), root / name, size, reading)


def _file_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise InputError(f"{path} is no file; replace or remove it")
        if status.st_size > LARGEST_FILE:
            raise InputError(f"{path} has {status.st_size / 1e6:,.0f} MB, which no image here has; remove it")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace or remove it") from error


def _npz_image(path: Path, member: str) -> np.ndarray:
    array, row = member.split("/")
    return load_arrays(path)[array][int(row)]


def _decode_file(data: bytes, path: Path, size: int, reading: Reading) -> np.ndarray:
    if is_dicom(data):
        return read_dicom(
            data, str(path), reading.value_range, reading.ct_window, colour=reading.colour, depth=reading.depth
        )
    header = open_header(data, path)
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        return _decode_jpeg(data, path, min(header.size) // size, reading.colour)
    try:
        _require_one_page(header, path)
        upright = ImageOps.exif_transpose(header)
        values = _deep_values(header, upright, data, str(path))
        if values is None:
            return _pixels(upright, reading)
        return _shown(values, str(path), reading, negative=_tiff_tag(header, 262, 1) == 0)
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged ({error}); replace or remove it") from error


def _decode_jpeg(data: bytes, path: Path, smaller: int, colour: bool) -> np.ndarray:
    """Grey (H, W) or RGB (H, W, 3), scaled down in the codec by a factor of at most `smaller`."""
    factor = next((f for f in (8, 4, 2) if smaller >= f), 1)
    flags = _REDUCED_COLOUR if colour else _REDUCED_GREY
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags[factor])
    if image is None:
        raise InputError(f"{path} is damaged; replace or remove it")
    return np.ascontiguousarray(image[:, :, ::-1]) if colour else image


def open_header(data: bytes, path: Path) -> Image.Image:
    """The image with its header read (size, mode, format), its pixels not yet.

    Raises:
        InputError: empty, no image, or the file's end is missing (decoders fill up with grey, silently).
    """
    if not data:
        raise InputError(f"{path} is empty; replace or remove it")
    try:
        header = Image.open(io.BytesIO(data))
        if header.format in _DRAWN:
            raise OSError(f"a {header.format} is drawn by another program")
    except _DAMAGE as error:
        if data[:4] in _TIFF:
            raise InputError(
                f"{path} is a TIFF of a kind that is not read here; save it as grey or RGB of 8 or 16 bits"
            ) from error
        raise InputError(f"{path} is not an image that can be read; replace or remove it") from error
    require_pixels(*header.size, str(path))
    end = _ENDS.get(header.format or "")
    start = data.rfind(b"\xff\xda") if header.format == "JPEG" else 0
    if end and data.rfind(end) <= start:
        raise InputError(f"{path} is truncated; replace or remove it")
    return header


def is_deep(path: Path) -> bool:
    """Whether `DEEP_TRANSFORM` is about a file: a TIFF, or a PNG with colours of 16 bits."""
    with path.open("rb") as file:
        head = file.read(_PNG_BITS + 2)
    if head[:4] in _TIFF:
        return True
    if head[:4] != b"\x89PNG" or len(head) <= _PNG_BITS + 1:  # a damaged one is refused when it is decoded
        return False
    bits, colour_type = head[_PNG_BITS], head[_PNG_BITS + 1]
    return bits == 16 and colour_type != 0


def _require_one_page(header: Image.Image, path: Path) -> None:
    """Raise `InputError` for a stack of slices or an animation, of which Pillow would show the first image, silently.

    A smaller copy of the image or its transparency (NewSubfileType of TIFF 6.0) is no page of its own.
    """
    if header.format == "MPO":  # a photograph and its preview
        return
    pages = 0
    for page in range(getattr(header, "n_frames", 1)):
        header.seek(page)
        pages += not (_tiff_tag(header, 254, 0) & 5)
    header.seek(0)
    if pages > 1:
        raise InputError(f"{path} holds {pages} images; save the one that is meant as a file of its own")


def _tiff_tag(header: Image.Image, number: int, default: Any) -> Any:
    """A tag of a TIFF; `default` where it has none, or is none."""
    return header.tag_v2.get(number, default) if isinstance(header, TiffImageFile) else default


def _deep_values(header: Image.Image, upright: Image.Image, data: bytes, name: str) -> np.ndarray | None:
    """Stored values, (H, W) or RGB (H, W, 3), of a file of more than 8 bits a sample; None for other files.

    Pillow reads them in grey PNGs and TIFFs. Of colours it keeps the upper 8 bits, silently: of a radiograph of 12 bits
    in a file of 16 that leaves 16 greys. And it scales JPEG 2000 and PGM of 9 to 15 bits up to 16.
    """
    rare = header.format in ("JPEG2000", "PPM")
    if _is_deep_grey(header) and not rare:
        return _grey_values(header, upright)
    if header.format == "PNG":
        deep = data[_PNG_BITS] == 16
    else:
        deep = max(_tiff_tag(header, 258, (1,))) > 8 or _is_signed(header)
    if not deep and not rare:
        return None
    if _tiff_tag(header, 284, 1) == 2:  # OpenCV takes planes of colours for pixels, silently
        raise InputError(f"{name} is a TIFF whose colours lie in planes; save it as grey or RGB, pixel by pixel")
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)  # without alpha
    if values is not None and values.dtype != np.uint8:
        return values[:, :, ::-1]
    if deep:
        raise InputError(f"{name} is a {header.format} of a kind that is not read here; save it as grey or RGB")
    return None


def _is_deep_grey(image: Image.Image) -> bool:
    """Whether Pillow itself has all bits of a grey image."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _is_signed(header: Image.Image) -> bool:
    return _tiff_tag(header, 339, (1,))[0] == 2


def _grey_values(header: Image.Image, upright: Image.Image) -> np.ndarray:
    """Stored values (H, W) of the type that the file has: Pillow takes all but uint16 for int32 or float32."""
    values = np.asarray(upright)
    if values.dtype != np.int32:
        return values
    bits = _tiff_tag(header, 258, (32,))[0]
    if _is_signed(header):
        return values.astype(np.int16) if bits == 16 else values
    return values.view(np.uint32)


def _of_array(values: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    """An image of an .npz, (H, W) or RGB(A), as `_pixels` or `_shown`."""
    if values.dtype in (np.uint8, np.bool_):
        return _pixels(Image.fromarray(values), reading)
    return _shown(values[..., :3] if values.ndim == 3 else values, name, reading)


def _pixels(image: Image.Image, reading: Reading) -> np.ndarray:
    """A loaded image of 8 bits, uint8: grey (H, W), or RGB (H, W, 3) where colours are wanted."""
    if reading.colour:
        return np.asarray(image.convert("RGB"))
    flat = image if image.mode in ("L", "1") else image.convert("RGB")
    return np.asarray(flat.convert("L"))


def _shown(values: np.ndarray, name: str, reading: Reading, negative: bool = False) -> np.ndarray:
    """Stored values (H, W) or RGB (H, W, 3) by the declared range; `negative`: 0 is white, as some TIFFs say."""
    if reading.value_range is None:
        kind = "floating-point" if values.dtype.kind == "f" else f"{8 * values.dtype.itemsize}-bit"
        raise InputError(f"{name} is a {kind} image; declare its value_range (chestfold predict: --range)")
    low, high = reading.value_range
    exact = np.float64 if values.dtype == np.uint32 else np.float32
    shares = np.subtract(values, low, dtype=exact) / (high - low)
    if negative:
        shares = 1 - shares
    if values.ndim == 3 and not reading.colour:
        shares = np.clip(shares, 0, 1) @ LUMA
    image = quantised(shares, reading.depth)
    return repeated(image) if reading.colour and image.ndim == 2 else image


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 or uint16 (H, W) or (H, W, 3) to `size` a side: by area where it shrinks, else bilinear."""
    if image.shape[:2] == (size, size):
        return image
    shrinks = min(image.shape[:2]) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
