"""DICOM files to one grey image, through pydicom.

The order is that of the standard's grey-scale transformations (DICOM PS3.4, N.2): stored values, modality LUT (rescale
slope and intercept), VOI LUT or window, and last of all the inversion of MONOCHROME1. Of the header nothing but what
these steps need is read, and nothing of it is passed on: no name, no number, no date of a patient leaves this module.
"""

import io
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.extras import require

DICOM_TRANSFORM = "dicom-1"
"""Names what `read_dicom` does to a file; part of the key of a cache that holds such files."""
DICOM_SUFFIXES = (".dcm", ".dicom")
CT_WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0)}
"""Name -> level and width in Hounsfield units, as viewers offer them for the chest. There is no standard: a lung window
of 1500 at -600 is usual, and mediastinal windows are 350 to 400 wide at 30 to 50 (Bae et al., Radiology 2005;
236:677-684, call 400 at 30 the standard one)."""
_KINDS = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"]
_KINDS += ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"]
_PIXEL_TAGS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(data: bytes) -> bool:
    """Whether these are the bytes of a DICOM file: by its mark, or without one by a first element that only it has."""
    return data[128:132] == b"DICM" or _starts_with_an_element(data)


def _starts_with_an_element(data: bytes) -> bool:
    """A file that lost its preamble begins with group 0002 or 0008, and with a value representation or a length."""
    if data[:2] not in (b"\x02\x00", b"\x08\x00") or len(data) < 16:
        return False
    element, kind = int.from_bytes(data[2:4], "little"), data[4:6]
    explicit = kind in (b"UL", b"OB", b"UI", b"CS", b"SH", b"DA", b"TM", b"LO")
    return element <= 0x0100 and (explicit or int.from_bytes(data[4:8], "little") <= 64)


def read_dicom(data: bytes, name: str, value_range: tuple[int, int] | None = None, ct_window: str = "") -> np.ndarray:
    """The image in the bytes of a DICOM file, as a viewer shows it: uint8 (H, W), 0 black to 255 white.

    Args:
        data: the file.
        name: its name in an error message.
        value_range: rescaled values that become black and white; goes before the file's own window.
        ct_window: a name of `CT_WINDOWS`, for CT alone; the same.

    Raises:
        InputError: damaged, without pixels, of several frames, compressed in a way that nothing here decodes, or
            without anything that says which values are black and white.
    """
    with _explained(name):
        header = _parse(data, name)
        pixels = _pixels(header, name)
        if header.SamplesPerPixel > 1 or header.PhotometricInterpretation == "PALETTE COLOR":
            return _grey_of_colour(pixels, header)
        shown = _shown(_rescaled(pixels, header), header, name, value_range, ct_window)
        return 255 - shown if header.PhotometricInterpretation == "MONOCHROME1" else shown


def describe(data: bytes, name: str) -> str:
    """Format and size in words, e.g. `DICOM MONOCHROME2 512x512`."""
    with _explained(name):
        header = _parse(data, name)
        return f"DICOM {header.PhotometricInterpretation} {header.Columns}x{header.Rows}"


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what pydicom raises over a damaged file into one sentence.

    It parses an element when it is asked for, so it may raise anywhere, and many kinds of errors. Their texts quote the
    file, a patient's name perhaps: they are not repeated.
    """
    require("pydicom", "dicom")
    from pydicom.errors import BytesLengthException, InvalidDicomError

    odd = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, OSError, EOFError, struct.error)
    _hush()
    try:
        yield
    except (InvalidDicomError, BytesLengthException, NotImplementedError, *odd) as error:
        kind = type(error).__name__
        raise InputError(f"{name} is a damaged DICOM file ({kind} in its header); replace or remove it") from error


@lru_cache(maxsize=1)
def _hush() -> None:
    """Keep pydicom's warnings about odd values: some name a patient's, and those that matter are looked at here.

    Once for the process: what Python offers for a block of code is not safe in the threads that decode.
    """
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.ERROR)


def _parse(data: bytes, name: str) -> Any:
    """The header, proven to describe one image."""
    import pydicom

    header = pydicom.dcmread(io.BytesIO(data), force=data[128:132] != b"DICM")
    _require_image(header, name)
    return header


def _require_image(header: Any, name: str) -> None:
    if not any(tag in header for tag in _PIXEL_TAGS):
        raise InputError(f"{name} is a DICOM file without an image (a report, a plan, a directory); remove it")
    frames = int(header.get("NumberOfFrames", None) or 1)
    if frames > 1:
        raise InputError(f"{name} holds {frames} frames; save the one that is meant as a file of its own")
    for tag in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        if header.get(tag) is None:
            raise InputError(f"{name} is a DICOM file without {tag}; export it again")
    if header.PhotometricInterpretation not in _KINDS:
        raise InputError(f"{name} is a DICOM file of an unknown photometric interpretation; export it again")


def _pixels(header: Any, name: str) -> np.ndarray:
    """Stored values (H, W), or RGB (H, W, 3)."""
    from pydicom.pixels import apply_color_lut

    _complete_syntax(header)
    try:
        pixels = header.pixel_array
    except RuntimeError as error:  # pydicom's word for a codec that is missing or gave up
        _not_decoded(header, name, error)
    except ValueError as error:
        raise InputError(f"{name} is a damaged DICOM file (its pixels are incomplete); replace or remove it") from error
    return apply_color_lut(pixels, header) if header.PhotometricInterpretation == "PALETTE COLOR" else pixels


def _not_decoded(header: Any, name: str, error: RuntimeError) -> NoReturn:
    syntax = header.file_meta.TransferSyntaxUID.name
    if "missing dependencies" in str(error):
        raise InputError(
            f"{name} is compressed as {syntax}, which nothing here decodes; save it uncompressed"
        ) from error
    reason = " ".join(str(error).partition("plugins:")[2].split())[:120]
    raise InputError(
        f"{name} is compressed as {syntax} and could not be decoded ({reason}); save it uncompressed"
    ) from error


def _complete_syntax(header: Any) -> None:
    """A file without the meta group is uncompressed, and pydicom has seen how its elements are written."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if getattr(header, "file_meta", None) is None:
        header.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, little = header.original_encoding
        syntax = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else syntax


def _grey_of_colour(pixels: np.ndarray, header: Any) -> np.ndarray:
    """RGB to luma as for any other file; the colours of a palette fill the range of their type."""
    palette = header.PhotometricInterpretation == "PALETTE COLOR"
    white = np.iinfo(pixels.dtype).max if palette else 2**header.BitsStored - 1
    return _bytes(pixels @ np.array([0.299, 0.587, 0.114]) / white)


def _rescaled(pixels: np.ndarray, header: Any) -> np.ndarray:
    """Values after the modality LUT, float64: Hounsfield units for CT."""
    if header.get("ModalityLUTSequence"):
        return _looked_up(pixels, header.ModalityLUTSequence[0])
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return pixels * float(1 if slope is None else slope) + float(0 if intercept is None else intercept)


def _looked_up(values: np.ndarray, table: Any) -> np.ndarray:
    """`values` through a LUT (PS3.3, C.11.1.1.1), float64; those outside take its first or last entry.

    Not pydicom's own: its 3.0.2 wraps around at 256 in a table of more than 256 entries of 8 bits.
    """
    first, entries = int(table.LUTDescriptor[1]), table.LUTData
    numbers = np.frombuffer(entries, "<u2") if isinstance(entries, bytes) else np.array(entries)
    return numbers[np.clip(np.rint(values) - first, 0, len(numbers) - 1).astype(np.int64)].astype(np.float64)


def _shown(
    values: np.ndarray, header: Any, name: str, value_range: tuple[int, int] | None, ct_window: str
) -> np.ndarray:
    """Rescaled values to uint8, by what is declared, else by the file's own LUT or window, else as 8 bits."""
    if value_range is not None:
        low, high = value_range
        return _bytes((values - low) / (high - low))
    if ct_window:
        if header.get("Modality") != "CT":
            raise InputError(f"{name} is no CT slice: the {ct_window} window is in Hounsfield units; leave it out")
        return _windowed(values, *CT_WINDOWS[ct_window], "LINEAR")
    if header.get("VOILUTSequence"):
        table = header.VOILUTSequence[0]
        return _bytes(_looked_up(values, table) / (2 ** int(table.LUTDescriptor[2]) - 1))
    level, width = (_first(header.get(tag)) for tag in ("WindowCenter", "WindowWidth"))
    if level is not None and width is not None:
        return _windowed(values, level, width, str(header.get("VOILUTFunction", "") or "LINEAR"))
    if header.BitsStored == 8 and not header.PixelRepresentation and values.min() >= 0 and values.max() <= 255:
        return np.rint(values).astype(np.uint8)
    raise InputError(
        f"{name} does not say which of its values are black and white (no window, {header.BitsStored} bits); declare "
        "a ct_window or a value_range (chestfold predict: --window or --range)"
    )


def _first(value: Any) -> float | None:
    """The number of an element that may hold several, or none, or an empty text."""
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return float(several[0]) if len(several) and several[0] not in (None, "") else None


def _windowed(values: np.ndarray, level: float, width: float, function: str) -> np.ndarray:
    """A window (PS3.3, C.11.2.1.2) by pydicom, with 0 to 255 as its output range."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    window = Dataset()
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = level, width, function
    with np.errstate(over="ignore"):  # far from the level a sigmoid is 0 or 1
        return _bytes(apply_windowing(values, window) / 255)


def _bytes(shares: np.ndarray) -> np.ndarray:
    """0 to 1 to uint8; what is no number (a float image may hold some) is black."""
    return np.rint(np.clip(np.nan_to_num(shares, nan=0.0), 0, 1) * 255).astype(np.uint8)


def require_window(name: str) -> None:
    """Raise `InputError` when no CT window is called `name`."""
    if name and name not in CT_WINDOWS:
        text = ", ".join(f"{n} (level {c:.0f}, width {w:.0f})" for n, (c, w) in CT_WINDOWS.items())
        raise InputError(f"unknown CT window {name!r}; there are {text}")
