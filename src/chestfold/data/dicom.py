"""DICOM files to one grey image, through pydicom.

The order is that of the standard's grey-scale transformations (DICOM PS3.4, N.2): stored values, modality LUT (rescale
slope and intercept), VOI LUT or window, and last of all the inversion of MONOCHROME1. Of the header nothing but what
these steps need is read, and nothing of it is passed on: no name, no number, no date of a patient leaves this module.
"""

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.extras import require
from chestfold.data.levels import LUMA, Reading, quantised, repeated, require_pixels

DICOM_TRANSFORM = "dicom-3"
"""Names what `read_dicom` does to a file; part of the key of a cache that holds such files."""
DICOM_SUFFIXES = (".dcm", ".dicom")
CT_WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0)}
"""Name -> level and width in Hounsfield units, as viewers offer them for the chest. There is no standard: a lung window
of 1500 at -600 is usual, and mediastinal windows are 350 to 400 wide at 30 to 50 (Bae et al., Radiology 2005;
236:677-684, call 400 at 30 the standard one). Windows for bone differ most: teaching pages name widths of 1000 to
3000 at levels of 200 to 1000; this one lies between them."""
_KINDS = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"]
_KINDS += ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"]
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_DECLARE = "declare a ct_window or a value_range (chestfold predict: --window or --range)"
_AGAIN = "export it again"
_FRAME_VALUES = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction"),
}
"""Where enhanced files say it of a frame: sequence -> elements of its item."""
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


def read_dicom(
    data: bytes,
    name: str,
    value_range: tuple[int, int] | None = None,
    ct_window: str = "",
    *,
    colour: bool = False,
    depth: int = 8,
) -> np.ndarray:
    """The image in the bytes of a DICOM file, as a viewer shows it: uint8 (H, W), 0 black to 255 white.

    Pixels that only fill up the image (PixelPaddingValue, PS3.3, C.7.5.1.1.2) are black.

    Args:
        data: the file.
        name: its name in an error message.
        value_range: rescaled values that become black and white; goes before the file's own window.
        ct_window: a name of `CT_WINDOWS`, for CT alone; the same.
        colour: RGB (H, W, 3) instead; of a grey image three equal channels.
        depth: 16 for uint16, in which 65535 is white.

    Raises:
        InputError: damaged, without pixels, of several frames, compressed in a way that nothing here decodes, with a
            header that contradicts itself, or without anything that says which values are black and white.
    """
    reading = Reading(value_range, ct_window, colour, depth)
    with _explained(name):
        header = _parse(data, name)
        pixels = _pixels(header, name)
        if header.SamplesPerPixel > 1 or header.PhotometricInterpretation == "PALETTE COLOR":
            return _of_colour(pixels, header, reading)
        shown = quantised(_shares(_rescaled(pixels, header, name), header, name, reading), depth)
        if header.PhotometricInterpretation == "MONOCHROME1":
            shown = np.iinfo(shown.dtype).max - shown
        shown[_is_padding(pixels, header)] = 0
        return repeated(shown) if colour else shown


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

    odd = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)
    of_files = (OSError, EOFError, struct.error, zlib.error)
    _hush()
    try:
        yield
    except (InvalidDicomError, BytesLengthException, NotImplementedError, *odd, *of_files) as error:
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
    _lift_frame_values(header)
    return header


def _lift_frame_values(header: Any) -> None:
    """Let an enhanced file say of its image what it says of its one frame, or of all (PS3.3, C.7.6.16.1.1)."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for frame in (header.get(groups) or [])[:1]:
            for sequence, names in _FRAME_VALUES.items():
                for item in (frame.get(sequence) or [])[:1]:
                    for name in names:
                        if name in item and name not in header:
                            setattr(header, name, item[name].value)


def _require_image(header: Any, name: str) -> None:
    if not any(tag in header for tag in _PIXEL_TAGS):
        raise InputError(f"{name} is a DICOM file without an image (a report, a plan, a directory); remove it")
    frames = int(header.get("NumberOfFrames", None) or 1)
    if frames > 1:
        raise InputError(f"{name} holds {frames} frames; save the one that is meant as a file of its own")
    for tag in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        if header.get(tag) is None:
            raise InputError(f"{name} is a DICOM file without {tag}; {_AGAIN}")
    if header.PhotometricInterpretation not in _KINDS:
        raise InputError(f"{name} is a DICOM file of an unknown photometric interpretation; {_AGAIN}")
    _require_layout(header, name)


def _require_layout(header: Any, name: str) -> None:
    """Raise `InputError` where the numbers that say how pixels are stored contradict each other (PS3.5, 8.1.1)."""
    if not header.Rows or not header.Columns:
        raise InputError(f"{name} is a DICOM file of {header.Rows} rows and {header.Columns} columns; {_AGAIN}")
    require_pixels(header.Columns, header.Rows, name)
    kind, samples = header.PhotometricInterpretation, header.SamplesPerPixel
    if samples != (1 if kind.startswith("MONOCHROME") or kind == "PALETTE COLOR" else 3):
        raise InputError(f"{name} is a DICOM file of {samples} samples a pixel in {kind}; {_AGAIN}")
    stored, allocated, high = header.BitsStored, header.get("BitsAllocated"), _high_bit(header)
    whole = allocated == 1 or (allocated or 1) % 8 == 0
    if not whole or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(
            f"{name} is a DICOM file whose bits contradict each other (BitsAllocated {allocated}, BitsStored {stored}, "
            f"HighBit {high}); {_AGAIN}"
        )
    if header.PixelRepresentation not in (0, 1):
        raise InputError(f"{name} is a DICOM file that does not say whether its values are signed; {_AGAIN}")


def _high_bit(header: Any) -> int:
    """Number of the bit that is the highest of a stored value; where it is missing, unused bits are above it."""
    high = header.get("HighBit")
    return header.BitsStored - 1 if high is None else high


def _pixels(header: Any, name: str) -> np.ndarray:
    """Stored values (H, W), or RGB (H, W, 3)."""
    from pydicom.pixels import apply_color_lut

    _complete_syntax(header)
    shift = _unused_low_bits(header, name)
    stored = header.BitsStored
    header.BitsStored = stored + shift  # pydicom takes so many bits from the lowest on, and blanks those above
    try:
        pixels = header.pixel_array >> shift if shift else header.pixel_array
    except RuntimeError as error:  # pydicom's word for a codec that is missing or gave up
        _not_decoded(header, name, error)
    except ValueError as error:
        raise InputError(f"{name} is a damaged DICOM file (its pixels are incomplete); replace or remove it") from error
    finally:
        header.BitsStored = stored
    size = header.Rows, header.Columns
    if pixels.shape not in (size, (*size, 3)):  # pydicom takes what is too much for further frames
        raise InputError(
            f"{name} is a damaged DICOM file (it holds more pixels than its {size[0]} rows and {size[1]} columns); "
            "replace or remove it"
        )
    return apply_color_lut(pixels, header) if header.PhotometricInterpretation == "PALETTE COLOR" else pixels


def _unused_low_bits(header: Any, name: str) -> int:
    """How many bits below a stored value are not in use: 4 where 12 bits fill the upper end of 16.

    What a codec makes of such values depends on who encoded them.
    """
    from pydicom.uid import RLELossless

    shift = _high_bit(header) + 1 - header.BitsStored
    syntax = header.file_meta.TransferSyntaxUID
    if shift and syntax.is_encapsulated and syntax != RLELossless:
        raise InputError(
            f"{name} is compressed, and its values do not begin at the lowest bit (BitsStored {header.BitsStored}, "
            f"HighBit {_high_bit(header)}); save it uncompressed"
        )
    return shift


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


def _of_colour(pixels: np.ndarray, header: Any, reading: Reading) -> np.ndarray:
    """RGB, or its luma as for any other file; the colours of a palette fill the range of their type."""
    palette = header.PhotometricInterpretation == "PALETTE COLOR"
    white = np.iinfo(pixels.dtype).max if palette else 2**header.BitsStored - 1
    return quantised((pixels if reading.colour else pixels @ LUMA) / white, reading.depth)


def _is_padding(pixels: np.ndarray, header: Any) -> np.ndarray:
    """Which of the stored values (H, W) are no part of the image."""
    value = header.get("PixelPaddingValue")
    if value in (None, ""):
        return np.zeros(pixels.shape, bool)
    limit = header.get("PixelPaddingRangeLimit", value)
    ends = [_as_stored(int(end), header) for end in (value, limit)]
    return (pixels >= min(ends)) & (pixels <= max(ends))


def _as_stored(value: int, header: Any) -> int:
    """An element of 16 bits that means a stored value: some files write -2000 as 63536."""
    shift = _high_bit(header) + 1 - header.BitsStored
    if header.PixelRepresentation and value >= 2**15:
        value -= 2**16
    return value >> shift


def _rescaled(pixels: np.ndarray, header: Any, name: str) -> np.ndarray:
    """Values after the modality LUT, float64: Hounsfield units for CT."""
    if header.get("ModalityLUTSequence"):
        return _looked_up(pixels, header.ModalityLUTSequence[0])
    slope, intercept = (_number(header, tag, name, _AGAIN) for tag in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError(f"{name} has a RescaleSlope of 0, which makes all its values the same; {_AGAIN}")
    return pixels * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)


def _looked_up(values: np.ndarray, table: Any) -> np.ndarray:
    """`values` through a LUT (PS3.3, C.11.1.1.1), float64; those outside take its first or last entry.

    Not pydicom's own: its 3.0.2 wraps around at 256 in a table of more than 256 entries of 8 bits.
    """
    first, entries = int(table.LUTDescriptor[1]), table.LUTData
    if first >= 2**15 and values.min() < 0:  # written without a sign
        first -= 2**16
    numbers = np.frombuffer(entries, "<u2") if isinstance(entries, bytes) else np.array(entries)
    return numbers[np.clip(np.rint(values) - first, 0, len(numbers) - 1).astype(np.int64)].astype(np.float64)


def _shares(values: np.ndarray, header: Any, name: str, reading: Reading) -> np.ndarray:
    """Rescaled values to 0 black and 1 white, by what is declared, else by the file's LUT or window, else as 8 bits."""
    if reading.value_range is not None:
        low, high = reading.value_range
        return (values - low) / (high - low)
    if reading.ct_window:
        if header.get("Modality") != "CT":
            raise InputError(
                f"{name} is no CT slice: the {reading.ct_window} window is in Hounsfield units; leave it out"
            )
        return _windowed(values, *CT_WINDOWS[reading.ct_window], "LINEAR")
    if header.get("VOILUTSequence"):
        table = header.VOILUTSequence[0]
        return _looked_up(values, table) / (2 ** int(table.LUTDescriptor[2]) - 1)
    window = _own_window(header, name)
    if window is not None:
        return _windowed(values, *window)
    if header.BitsStored == 8 and not header.PixelRepresentation and values.min() >= 0 and values.max() <= 255:
        return np.rint(values) / 255
    raise InputError(
        f"{name} does not say which of its values are black and white (no window, {header.BitsStored} bits); {_DECLARE}"
    )


def _own_window(header: Any, name: str) -> tuple[float, float, str] | None:
    """Level, width and function of the first window in the file; None where it has none.

    Raises:
        InputError: it has one by which nothing can be shown (PS3.3, C.11.2.1.2).
    """
    level, width = (_number(header, tag, name, _DECLARE) for tag in ("WindowCenter", "WindowWidth"))
    if level is None or width is None:
        return None
    function = str(header.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS:
        raise InputError(f"{name} has a window of an unknown VOILUTFunction; {_DECLARE}")
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise InputError(f"{name} has a window of WindowWidth {width:g}, in which nothing is shown; {_DECLARE}")
    return level, width, function


def _number(header: Any, tag: str, name: str, advice: str) -> float | None:
    """The first number of an element that may hold several, or none, or an empty text.

    Raises:
        InputError: it holds something else; the sentence ends in `advice`.
    """
    try:
        value = header.get(tag)
        several = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
        number = float(several[0]) if len(several) and several[0] not in (None, "") else None
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{name} has a {tag} that is not a number; {advice}") from error
    if number is not None and not math.isfinite(number):
        raise InputError(f"{name} has a {tag} that is not a number; {advice}")
    return number


def _windowed(values: np.ndarray, level: float, width: float, function: str) -> np.ndarray:
    """A window (PS3.3, C.11.2.1.2) by pydicom: 0 to 1."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    window = Dataset()
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
    window.WindowCenter, window.WindowWidth, window.VOILUTFunction = level, width, function
    with np.errstate(over="ignore"):  # far from the level a sigmoid is 0 or 1
        return apply_windowing(values, window) / 255


def require_window(name: str) -> None:
    """Raise `InputError` when no CT window is called `name`."""
    if name and name not in CT_WINDOWS:
        text = ", ".join(f"{n} (level {c:.0f}, width {w:.0f})" for n, (c, w) in CT_WINDOWS.items())
        raise InputError(f"unknown CT window {name!r}; there are {text}")
