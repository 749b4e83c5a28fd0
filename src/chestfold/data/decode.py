"""One image file to one grey array: any mode, any depth, DICOM too, the same result."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from chestfold.core.errors import InputError
from chestfold.data.dicom import is_dicom, read_dicom
from chestfold.data.readers import load_arrays

cv2.setNumThreads(1)  # parallel over images, not inside one

TRANSFORM = "grey-area-1"
"""Names what `decode` does to an image; part of the cache's key, changed whenever the pixels would change."""

_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
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
    root: Path, place: str, size: int, value_range: tuple[int, int] | None = None, ct_window: str = ""
) -> np.ndarray:
    """The image at `place` as uint8 (size, size), one channel, 0 black to 255 white; aspect is not kept.

    JPEGs are scaled down in the codec (DCT) to at least `size`, then by area. DICOM is known by its content, whatever
    the file is called; `ct_window` is for DICOM alone (see `read_dicom`).

    Raises:
        InputError: the file is empty, truncated, no image, or 16-bit without a declared `value_range`.
    """
    name, member = split_place(place)
    if member:
        return resize(_grey(Image.fromarray(_npz_image(root / name, member)), place, value_range), size)
    data = _file_bytes(root / name)
    return resize(_decode_file(data, root / name, size, value_range, ct_window), size)


def decode_native(
    root: Path, place: str, value_range: tuple[int, int] | None = None, ct_window: str = ""
) -> np.ndarray:
    """The image at `place` in its own size, uint8 (H, W); else as `decode`."""
    name, member = split_place(place)
    if member:
        return _grey(Image.fromarray(_npz_image(root / name, member)), place, value_range)
    return _decode_file(_file_bytes(root / name), root / name, _UNREDUCED, value_range, ct_window)


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); replace or remove it") from error


def _npz_image(path: Path, member: str) -> np.ndarray:
    array, row = member.split("/")
    return load_arrays(path)[array][int(row)]


def _decode_file(data: bytes, path: Path, size: int, value_range: tuple[int, int] | None, ct_window: str) -> np.ndarray:
    if is_dicom(data):
        return read_dicom(data, str(path), value_range, ct_window)
    header = open_header(data, path)
    if header.format == "JPEG" and header.mode in ("L", "RGB"):
        factor = next((f for f in (8, 4, 2) if min(header.size) >= f * size), 0)
        flag = _REDUCED.get(factor, cv2.IMREAD_GRAYSCALE)
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        if grey is None:
            raise InputError(f"{path} is damaged; replace or remove it")
        return grey
    try:
        return _grey(ImageOps.exif_transpose(header), str(path), value_range)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); replace or remove it") from error


def open_header(data: bytes, path: Path) -> Image.Image:
    """The image with its header read (size, mode, format), its pixels not yet.

    Raises:
        InputError: empty, no image, or the file's end is missing (decoders fill up with grey, silently).
    """
    if not data:
        raise InputError(f"{path} is empty; replace or remove it")
    try:
        header = Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise InputError(f"{path} is not an image that can be read; replace or remove it") from error
    end = _ENDS.get(header.format or "")
    start = data.rfind(b"\xff\xda") if header.format == "JPEG" else 0
    if end and data.rfind(end) <= start:
        raise InputError(f"{path} is truncated; replace or remove it")
    return header


def _grey(image: Image.Image, name: str, value_range: tuple[int, int] | None) -> np.ndarray:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        if value_range is None:
            raise InputError(f"{name} is a 16-bit image; declare its value_range (chestfold predict: --range)")
        low, high = value_range
        values = (np.asarray(image, np.float32) - low) / (high - low)
        return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    flat = image if image.mode in ("L", "1") else image.convert("RGB")
    return np.asarray(flat.convert("L"))


def resize(grey: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W) to (size, size): by area where it shrinks, else bilinear."""
    if grey.shape == (size, size):
        return grey
    shrinks = min(grey.shape) >= size
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
