"""DICOM files become the image that a viewer shows: pydicom's own examples with expected pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from chestfold.core.errors import InputError
from chestfold.data import dicom
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.check import check
from chestfold.data.decode import decode
from chestfold.data.dicom import describe, is_dicom, read_dicom, require_window
from chestfold.data.levels import Reading


def example(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def written(name: str, **changes) -> bytes:
    """An example with some elements changed; None takes one away."""
    header = dcmread(io.BytesIO(example(name)))
    for tag, value in changes.items():
        if value is None:
            delattr(header, tag)
        else:
            setattr(header, tag, value)
    buffer = io.BytesIO()
    dcmwrite(buffer, header)
    return buffer.getvalue()


def windowed(values: np.ndarray, level: float, width: float) -> np.ndarray:
    """PS3.3, C.11.2.1.2.1, written down once more."""
    return np.rint(np.clip((values - (level - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def hounsfield() -> np.ndarray:
    """CT_small.dcm: 16 bits, signed, uncompressed, intercept -1024."""
    return np.frombuffer(dcmread(io.BytesIO(example("CT_small.dcm"))).PixelData, "<i2").reshape(128, 128) - 1024.0


@pytest.mark.parametrize(
    ("name", "level", "width"), [("lung", -600, 1500), ("mediastinum", 40, 400), ("bone", 400, 1800)]
)
def test_a_ct_window_by_name(name, level, width):
    shown = read_dicom(example("CT_small.dcm"), "a", ct_window=name)
    assert shown.dtype == np.uint8 and shown.shape == (128, 128)
    assert np.abs(shown - windowed(hounsfield(), level, width)).max() <= 1


def test_a_declared_range_is_in_hounsfield_units():
    expected = np.rint(np.clip((hounsfield() + 1000) / 1400, 0, 1) * 255)
    assert np.abs(read_dicom(example("CT_small.dcm"), "a", (-1000, 400)) - expected).max() <= 1


def test_the_file_s_own_window():
    values = np.frombuffer(dcmread(io.BytesIO(example("MR_small.dcm"))).PixelData, "<i2").reshape(64, 64)
    assert np.abs(read_dicom(example("MR_small.dcm"), "a") - windowed(values, 600, 1600)).max() <= 1


def test_the_first_of_several_windows():
    assert dcmread(io.BytesIO(example("J2K_pixelrep_mismatch.dcm"))).WindowCenter[0] == 40
    one = written("CT_small.dcm", WindowCenter=40, WindowWidth=400)
    two = written("CT_small.dcm", WindowCenter=[40, -600], WindowWidth=[400, 1500])
    np.testing.assert_array_equal(read_dicom(one, "a"), read_dicom(two, "a"))
    np.testing.assert_array_equal(read_dicom(one, "a"), read_dicom(one, "a", ct_window="mediastinum"))


def test_a_range_and_a_name_go_before_the_file_s_window():
    data = written("CT_small.dcm", WindowCenter=40, WindowWidth=400)
    assert not np.array_equal(read_dicom(data, "a", ct_window="lung"), read_dicom(data, "a"))
    assert not np.array_equal(read_dicom(data, "a", (-1000, 400)), read_dicom(data, "a"))


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_the_other_window_functions(function):
    data = written("CT_small.dcm", WindowCenter=40, WindowWidth=400, VOILUTFunction=function)
    values = hounsfield()
    exact = {
        "LINEAR_EXACT": np.clip((values - 40) / 400 + 0.5, 0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (values - 40) / 400)),
    }[function]
    assert np.abs(read_dicom(data, "a") - np.rint(exact * 255)).max() <= 1


def lut(first: int, entries: list[int], bits: int, vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "SS", [len(entries), first, bits])
    data = entries if vr == "US" else np.array(entries, "<u2").tobytes()
    item.add_new(0x00283006, vr, data)
    return Sequence([item])


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("bits", [8, 12])
def test_a_table_in_the_place_of_a_window(bits, vr):
    """Of 1000 entries: with those of 8 bits pydicom's own look-up wraps around at 256."""
    entries = [n * (2**bits - 1) // 999 for n in range(1000)]
    data = written("CT_small.dcm", VOILUTSequence=lut(-500, entries, bits, vr), WindowCenter=40, WindowWidth=400)
    position = np.clip(hounsfield() + 500, 0, 999).astype(int)
    assert np.abs(read_dicom(data, "a") - np.array(entries)[position] / (2**bits - 1) * 255).max() <= 1


def test_a_table_that_begins_below_0_and_was_written_without_a_sign():
    entries = list(range(1000))
    item = Dataset()
    item.add_new(0x00283002, "US", [1000, 2**16 - 500, 10])
    item.add_new(0x00283006, "US", entries)
    data = written("CT_small.dcm", VOILUTSequence=Sequence([item]))
    position = np.clip(hounsfield() + 500, 0, 999)
    assert np.abs(read_dicom(data, "a") - position / 1023 * 255).max() <= 1


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_what_an_enhanced_file_says_of_its_frame(groups):
    rescale, window, frame = Dataset(), Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1024
    window.WindowCenter, window.WindowWidth = [40, -600], [400, 1500]
    frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = Sequence([rescale]), Sequence([window])
    changes = {groups: Sequence([frame]), "NumberOfFrames": 1}
    data = written("CT_small.dcm", RescaleSlope=None, RescaleIntercept=None, **changes)
    plain = written("CT_small.dcm", WindowCenter=40, WindowWidth=400)
    assert np.array_equal(read_dicom(data, "a"), read_dicom(plain, "a"))
    assert np.array_equal(read_dicom(data, "a", ct_window="lung"), read_dicom(plain, "a", ct_window="lung"))


def test_a_modality_table_goes_before_the_window():
    entries = [n * 2 for n in range(3000)]
    data = written(
        "CT_small.dcm",
        RescaleSlope=None,
        RescaleIntercept=None,
        ModalityLUTSequence=lut(0, entries, 16),
        WindowCenter=2000,
        WindowWidth=3000,
    )
    values = np.clip(hounsfield() + 1024, 0, 2999) * 2
    assert np.abs(read_dicom(data, "a") - windowed(values, 2000, 3000)).max() <= 1


SAME = ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "padded")


@pytest.mark.parametrize("kind", SAME)
def test_the_same_image_in_every_transfer_syntax(kind):
    """Big endian, implicit, run-length, JPEG 2000 without loss."""
    plain = read_dicom(example("MR_small.dcm"), "a")
    np.testing.assert_array_equal(read_dicom(example(f"MR_small_{kind}.dcm"), "a"), plain)


COLOURS = {
    "SC_rgb_rle.dcm": 0,
    "SC_rgb_rle_16bit.dcm": 0,
    "SC_rgb_gdcm_KY.dcm": 0,
    "SC_rgb_jpeg_dcmtk.dcm": 1,
    "SC_rgb_dcmtk_+eb+cy+np.dcm": 1,
    "SC_ybr_full_422_uncompressed.dcm": 1,
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_become_luma(name):
    """The ten bars of a test card: red, green and blue, each with a paler one, black, greys, white."""
    bars = [76, 166, 150, 203, 29, 142, 0, 64, 192, 255]
    shown = read_dicom(example(name), "a")[5::10, 50].astype(int)
    assert np.abs(shown - bars).max() <= COLOURS[name]


def test_jpeg_baseline_and_8_bits_without_a_window():
    header = dcmread(io.BytesIO(example("image_dfl.dcm")))
    np.testing.assert_array_equal(read_dicom(example("image_dfl.dcm"), "a"), header.pixel_array)
    assert read_dicom(example("SC_rgb_small_odd_jpeg.dcm"), "a").shape == (3, 3)


def test_a_palette():
    shown = read_dicom(example("examples_palette.dcm"), "a")
    assert shown.shape == (350, 800) and shown.min() == 0 and shown.max() > 250


def test_a_file_without_preamble_is_known_by_its_first_element():
    complete = written("MR_small_implicit.dcm")
    bare = complete[132:]
    assert is_dicom(complete) and is_dicom(bare)
    np.testing.assert_array_equal(read_dicom(bare, "a"), read_dicom(complete, "a"))
    header = dcmread(io.BytesIO(complete))
    buffer = io.BytesIO()
    dcmwrite(buffer, header, implicit_vr=True, little_endian=True, force_encoding=True)
    meta_length = int.from_bytes(buffer.getvalue()[140:144], "little")
    data = buffer.getvalue()[144 + meta_length :]
    assert is_dicom(data), "the meta group is gone too"
    np.testing.assert_array_equal(read_dicom(data, "a"), read_dicom(complete, "a"))


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(99), b"\xff\xd8\xff\xe0" + bytes(99), bytes(200)])
def test_other_files_are_no_dicom(data):
    assert not is_dicom(data)


REFUSED = {
    "CT_small.dcm": r"does not say which of its values are black and white \(no window, 16 bits\); declare a ct_window",
    "rtplan.dcm": r"without an image \(a report, a plan, a directory\); remove it",
    "dicomdirtests/DICOMDIR": "without an image",
    "examples_ybr_color.dcm": "holds 30 frames; save the one that is meant as a file of its own",
    "JPGExtended.dcm": r"is compressed as JPEG Extended \(Process 2 and 4\) and could not be decoded",
    "MR_small_jpeg_ls_lossless.dcm": "compressed as JPEG-LS Lossless Image Compression, which nothing here decodes",
    "MR_truncated.dcm": r"is a damaged DICOM file \(its pixels are incomplete\); replace or remove it",
    "badVR.dcm": r"is a damaged DICOM file \(ValueError in its header\); replace or remove it",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_one_sentence(name):
    with pytest.raises(InputError, match=REFUSED[name]) as refusal:
        read_dicom(example(name), "scan.dcm")
    assert str(refusal.value).startswith("scan.dcm") and len(str(refusal.value).splitlines()) == 1


def test_a_ct_window_is_for_ct():
    with pytest.raises(InputError, match="a is no CT slice: the lung window is in Hounsfield units; leave it out"):
        read_dicom(example("MR_small.dcm"), "a", ct_window="lung")


WINDOWS: list[tuple[dict, str]] = [
    ({"WindowWidth": 0}, "a window of WindowWidth 0, in which nothing is shown"),
    ({"WindowWidth": 0.5}, "a window of WindowWidth 0.5, in which nothing is shown"),
    ({"WindowWidth": -400}, "a window of WindowWidth -400, in which nothing is shown"),
    ({"WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "a window of WindowWidth 0, in which nothing is shown"),
    ({"WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "a window of WindowWidth 0, in which nothing is shown"),
    ({"VOILUTFunction": "CUBIC"}, "a window of an unknown VOILUTFunction"),
]


@pytest.mark.parametrize(("change", "complaint"), WINDOWS, ids=lambda value: str(value)[:50])
def test_a_window_that_shows_nothing_is_refused_by_its_name(change, complaint):
    data = written("MR_small.dcm", **change)
    with pytest.raises(InputError, match=f"^a has {complaint}; declare a ct_window or a value_range"):
        read_dicom(data, "a")
    assert read_dicom(data, "a", (0, 2000)).max() > 0, "what is declared goes before it"


@pytest.mark.parametrize("text", [b"NaN", b"inf", b"1e999", b"wide", b"1,5"])
@pytest.mark.parametrize("tag", ["WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"])
def test_a_number_that_is_none_is_refused_by_its_name(tag, text):
    numbers = {"WindowCenter": 40, "WindowWidth": 400, "RescaleSlope": 1, "RescaleIntercept": 0, tag: "987654"}
    data = written("MR_small.dcm", **numbers).replace(b"987654", text.ljust(6))
    with pytest.raises(InputError, match=f"^a has a {tag} that is not a number; (declare|export)"):
        read_dicom(data, "a")


def test_a_slope_that_makes_all_values_the_same_is_refused():
    with pytest.raises(InputError, match="^a has a RescaleSlope of 0, which makes all its values the same"):
        read_dicom(written("CT_small.dcm", RescaleSlope=0), "a", (0, 1000))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"BitsStored": 17}, r"bits contradict each other \(BitsAllocated 16, BitsStored 17, HighBit 15\)"),
        ({"BitsStored": 0}, "bits contradict each other"),
        ({"BitsAllocated": 12}, "bits contradict each other"),
        ({"HighBit": 10}, "bits contradict each other"),
        ({"HighBit": 16}, "bits contradict each other"),
        ({"PixelRepresentation": 2}, "does not say whether its values are signed"),
        ({"Rows": 0}, "of 0 rows and 64 columns"),
        ({"Columns": 0}, "of 64 rows and 0 columns"),
        ({"SamplesPerPixel": 3}, "of 3 samples a pixel in MONOCHROME2"),
        ({"PhotometricInterpretation": "RGB"}, "of 1 samples a pixel in RGB"),
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_refused(change, complaint):
    with pytest.raises(InputError, match=f"^a is a DICOM file .*{complaint}.*; export it again$"):
        read_dicom(written("MR_small.dcm", **change), "a", (0, 1000))


RAMP = np.add.outer(np.arange(64) * 30, np.arange(64) * 30).astype(np.int32)
"""0 to 3780, of 12 bits."""


def of_values(values: np.ndarray, stored: int, high: int, **elements) -> bytes:
    """MR_small.dcm with other stored values of 16 bits."""
    signed = int(values.dtype.kind == "i")
    about = {"BitsStored": stored, "HighBit": high, "PixelRepresentation": signed}
    return written("MR_small.dcm", **(about | {"PixelData": values.tobytes()} | elements))


def shades(values: np.ndarray, low: float, high: float, white: int = 255) -> np.ndarray:
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * white)


@pytest.mark.parametrize("high", range(11, 16))
def test_values_that_begin_above_the_lowest_bit(high):
    """HighBit 15 of 12 stored bits: the values are 16 times as large; what is in the unused bits does not count."""
    shift = high - 11
    unused = ((1 << shift) - 1 | 0xFFFF << (high + 1)) & 0xFFFF
    data = of_values((RAMP << shift | unused).astype(np.uint16), 12, high)
    np.testing.assert_array_equal(read_dicom(data, "a", (0, 4095)), shades(RAMP, 0, 4095))


@pytest.mark.parametrize("high", [11, 15])
def test_signed_values_of_12_bits(high):
    values = RAMP - 2048
    stored = (values << (high - 11) & 0xFFFF).astype(np.uint16).view(np.int16)
    data = of_values(stored, 12, high)
    np.testing.assert_array_equal(read_dicom(data, "a", (-2048, 2047)), shades(values, -2048, 2047))


def test_values_that_begin_above_the_lowest_bit_are_not_guessed_behind_a_codec():
    from pydicom.uid import JPEG2000Lossless, RLELossless

    for syntax, is_right in ((RLELossless, True), (JPEG2000Lossless, False)):
        header = dcmread(io.BytesIO(of_values((RAMP << 4).astype(np.uint16), 16, 15)))
        header.compress(syntax)
        header.BitsStored = 12
        buffer = io.BytesIO()
        dcmwrite(buffer, header)
        if is_right:
            np.testing.assert_array_equal(read_dicom(buffer.getvalue(), "a", (0, 4095)), shades(RAMP, 0, 4095))
        else:
            with pytest.raises(InputError, match=r"BitsStored 12, HighBit 15\); save it uncompressed"):
                read_dicom(buffer.getvalue(), "a", (0, 4095))


def padded(data: bytes, vr: str, value: int, limit: int | None = None) -> bytes:
    header = dcmread(io.BytesIO(data))
    header.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        header.add_new("PixelPaddingRangeLimit", vr, limit)
    buffer = io.BytesIO()
    dcmwrite(buffer, header)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("padding", [0, 3000, 4095])
def test_padding_is_black_whatever_its_value(kind, padding):
    values = RAMP.astype(np.uint16)
    values[:8] = padding
    data = padded(of_values(values, 12, 11, PhotometricInterpretation=kind), "US", padding)
    shown = read_dicom(data, "a", (0, 4095))
    assert (shown[values == padding] == 0).all()
    expected = shades(values, 0, 4095) if kind == "MONOCHROME2" else 255 - shades(values, 0, 4095)
    np.testing.assert_array_equal(shown[values != padding], expected[values != padding])


def test_a_range_of_padding():
    data = padded(of_values(RAMP.astype(np.uint16), 12, 11), "US", 4095, 3000)
    np.testing.assert_array_equal(read_dicom(data, "a", (0, 4095)), np.where(RAMP < 3000, shades(RAMP, 0, 4095), 0))


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)])
def test_padding_of_signed_values(vr, value):
    values = (RAMP - 1024).astype(np.int16)
    values[:8] = -2000
    data = padded(of_values(values, 16, 15, PhotometricInterpretation="MONOCHROME1"), vr, value)
    shown = read_dicom(data, "a", (-1024, 3071))
    assert (shown[:8] == 0).all() and shown[8:].min() > 0


def test_16_bits_are_kept_where_they_are_wanted():
    data = of_values(RAMP.astype(np.uint16), 12, 11)
    shown = read_dicom(data, "a", (0, 4095), depth=16)
    assert shown.dtype == np.uint16
    np.testing.assert_array_equal(shown, shades(RAMP, 0, 4095, 65535))
    assert len(np.unique(shown)) == len(np.unique(RAMP))
    eight = read_dicom(example("image_dfl.dcm"), "a")
    np.testing.assert_array_equal(read_dicom(example("image_dfl.dcm"), "a", depth=16), eight * np.uint16(257))


def test_colours_are_kept_where_they_are_wanted():
    name = "SC_rgb_rle.dcm"
    shown = read_dicom(example(name), "a", colour=True)
    np.testing.assert_array_equal(shown, dcmread(io.BytesIO(example(name))).pixel_array)
    grey = read_dicom(example("CT_small.dcm"), "a", ct_window="lung", colour=True)
    assert grey.shape == (128, 128, 3) and (grey == grey[:, :, :1]).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_RLE.dcm"]
)
def test_whatever_is_truncated_or_flipped_there_is_an_image_or_a_sentence(name):
    data, rng = example(name), np.random.default_rng(0)
    for n in range(60):
        broken = bytearray(data[: rng.integers(1, len(data))] if n % 2 else data)
        for place in rng.integers(0, min(len(broken), 1500), 5):
            broken[place] = rng.integers(0, 256)
        if is_dicom(bytes(broken)):
            try:
                assert read_dicom(bytes(broken), "a", (0, 1000)).dtype == np.uint8
            except InputError as error:
                assert len(str(error).splitlines()) == 1
                assert "CompressedSa" not in str(error), "the patient's name"


def test_decode_knows_a_dicom_file_by_its_content(tmp_path):
    for name in ("a.dcm", "b", "c.png"):
        (tmp_path / name).write_bytes(example("MR_small.dcm"))
        assert np.array_equal(decode(tmp_path, name, 64), read_dicom(example("MR_small.dcm"), "a"))
    assert decode(tmp_path, "a.dcm", 20).shape == (20, 20)
    assert describe(example("MR_small.dcm"), "a") == "DICOM MONOCHROME2 64x64"


def declare(project, line: str) -> None:
    path = project.input / "tiny" / "dataset.toml"
    path.write_text(path.read_text().partition("ct_window")[0] + line)


def test_a_data_set_of_dicom_files(project):
    images = project.input / "tiny" / "images"
    for png in sorted(images.glob("*.png")):
        (images / f"{png.stem}.dcm").write_bytes(example("CT_small.dcm"))
        png.unlink()
    declare(project, 'ct_window = "lung"\n')
    lung = np.array(open_cache(open_index("tiny"), 128).images)
    assert np.array_equal(lung[0], read_dicom(example("CT_small.dcm"), "a", ct_window="lung"))
    declare(project, 'ct_window = "mediastinum"\n')
    assert not np.array_equal(open_cache(open_index("tiny"), 128).images, lung)
    assert check(open_index("tiny")).formats == {"DICOM MONOCHROME2 128x128": 72}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('ct_window = "brain"', "ct_window is one of lung, mediastinum, bone, not 'brain'"),
        ("ct_window = 3", "ct_window is one of lung, mediastinum, bone, not 3"),
        ('ct_window = "lung"\nvalue_range = [0, 1]', "value_range and ct_window both say .*; keep one of them"),
    ],
)
def test_a_declaration_that_cannot_be(project, line, complaint):
    declare(project, line)
    with pytest.raises(InputError, match=complaint):
        open_index("tiny")


@pytest.mark.parametrize("suffix", ["", ".1", ".png", ".dcm"])
def test_another_window_is_another_cache_whatever_the_files_are_called(project, suffix):
    root = project.input / "wards"
    for n, kind in enumerate(("healthy", "ill")):
        (root / kind).mkdir(parents=True)
        (root / kind / f"IM{n}{suffix}").write_bytes(written("CT_small.dcm", SeriesNumber=n))
    seen = []
    for window in ("lung", "mediastinum"):
        (root / "dataset.toml").write_text(
            f'classes = ["healthy", "ill"]\npositive = "ill"\nreader = "folders"\nct_window = "{window}"\n'
        )
        seen.append(np.array(open_cache(open_index("wards"), 32).images))
    assert not np.array_equal(*seen)


def test_caches_of_other_formats_keep_their_names(project):
    """A cache that was made before there was DICOM is still the one that is used: hash of content, transform, size."""
    from chestfold.core.files import sha256_json
    from chestfold.data.cache import content_hashes

    index = open_index("tiny")
    ids, digests = index.table["id"].tolist(), content_hashes(index)
    content = sha256_json([[i, d] for i, d in zip(ids, digests, strict=True)])
    open_cache(index, 20)
    key = sha256_json([content, "grey-area-1", 20, None])[:16]
    assert (project.input / ".cache" / "tiny" / f"20px-{key}.npy").exists()


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("CT_small.dcm", 64, 128), ("CT_small.dcm", 128, 1), ("SC_rgb_small_odd.dcm", 1, 3)]
)
def test_more_pixels_than_rows_and_columns_are_one_sentence(name, rows, columns):
    data = written(name, Rows=rows, Columns=columns)
    with pytest.raises(InputError, match="holds more pixels than its"):
        read_dicom(data, "a", (0, 255))


@pytest.mark.parametrize("place", [299, 345, 368, 414, 805, 1173, 4577])
def test_a_damaged_deflated_file_is_one_sentence(place):
    data = example("image_dfl.dcm")
    with pytest.raises(InputError, match=r"a\.dcm is a damaged DICOM file"):
        read_dicom(data[:place] + b"\xff\xff\xff" + data[place + 3 :], "a.dcm")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(128) + b"DICM", True),
        (bytes(127) + b"DICM" + bytes(9), False),
        (b"\x08\x00\x05\x00CS" + bytes(10), True),
        (b"\x08\x00\x05\x00CS" + bytes(9), False),  # shorter than two elements
        (b"\x02\x00\x00\x00UL" + bytes(10), True),
        (b"\x03\x00\x00\x00UL" + bytes(10), False),
        (b"\x08\x00\x00\x01LO" + bytes(10), True),  # element 0100
        (b"\x08\x00\x01\x01LO" + bytes(10), False),
        (b"\x08\x00\x05\x00" + (64).to_bytes(4, "little") + bytes(8), True),  # implicit: a length
        (b"\x08\x00\x05\x00" + (65).to_bytes(4, "little") + bytes(8), False),
        (b"\x08\x00\x05\x00\x01\x00\x01\x00" + bytes(8), False),
    ],
)
def test_a_first_element_that_only_a_dicom_file_has(data, expected):
    assert is_dicom(data) is expected


def header(**elements) -> Dataset:
    made = Dataset()
    for name, value in ({"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1} | elements).items():
        setattr(made, name, value)
    return made


def test_an_element_of_16_bits_as_a_stored_value():
    assert [dicom._as_stored(value, header()) for value in (5, 32767, 32768, 63536)] == [5, 32767, -32768, -2000]
    assert dicom._as_stored(40000, header(PixelRepresentation=0)) == 40000
    assert dicom._as_stored(0xFFF0, header(HighBit=15, PixelRepresentation=0)) == 0xFFF
    assert dicom._as_stored(0xFFF0, header(HighBit=15)) == -1


def test_where_there_is_no_padding_nothing_is_padded():
    pixels = np.array([[0, 5, 7, 9]])
    assert not dicom._is_padding(pixels, header()).any()
    one = header()
    one.add_new("PixelPaddingValue", "US", 5)
    assert dicom._is_padding(pixels, one).tolist() == [[False, True, False, False]]
    one.add_new("PixelPaddingRangeLimit", "US", 7)
    assert dicom._is_padding(pixels, one).tolist() == [[False, True, True, False]]
    one.PixelPaddingValue = None
    assert not dicom._is_padding(pixels, one).any()


def test_the_highest_bit_is_the_last_that_is_stored_where_it_is_missing():
    one = header()
    del one.HighBit
    assert dicom._high_bit(one) == 11 and dicom._high_bit(header(HighBit=0)) == 0
    data = of_values(RAMP.astype(np.uint16), 12, 11, HighBit=None)
    np.testing.assert_array_equal(read_dicom(data, "a", (0, 4095)), shades(RAMP, 0, 4095))


def layout(**elements) -> Dataset:
    about = {"Rows": 2, "Columns": 3, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}
    about |= {"BitsAllocated": 16, "PixelRepresentation": 0}
    return header(**(about | elements))


@pytest.mark.parametrize(
    ("elements", "is_refused"),
    [
        ({}, False),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, False),
        ({"BitsAllocated": 2, "BitsStored": 1, "HighBit": 0}, True),
        ({"BitsAllocated": 12}, True),
        ({"BitsAllocated": None}, True),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, False),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 8}, True),
        ({"BitsAllocated": 8, "BitsStored": 9, "HighBit": 7}, True),
        ({"BitsAllocated": 16, "BitsStored": 16, "HighBit": 14}, True),
        ({"BitsStored": 1, "HighBit": 0}, False),
        ({"BitsStored": 0, "HighBit": 0}, True),
        ({"PixelRepresentation": 1}, False),
        ({"PixelRepresentation": 2}, True),
        ({"Rows": 0}, True),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL"}, False),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "PALETTE COLOR"}, True),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "PALETTE COLOR"}, False),
        ({"SamplesPerPixel": 1, "PhotometricInterpretation": "RGB"}, True),
    ],
    ids=str,
)
def test_how_pixels_are_stored(elements, is_refused):
    if is_refused:
        with pytest.raises(InputError, match="^a is a DICOM file .*; export it again$"):
            dicom._require_layout(layout(**elements), "a")
    else:
        dicom._require_layout(layout(**elements), "a")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"PhotometricInterpretation": "HSV"}, "of an unknown photometric interpretation; export it again"),
        ({"PhotometricInterpretation": None}, "without PhotometricInterpretation; export it again"),
        ({"BitsStored": None}, "without BitsStored; export it again"),
        ({"Rows": None}, "without Rows; export it again"),
        ({"NumberOfFrames": 2}, "holds 2 frames; save the one that is meant"),
    ],
    ids=str,
)
def test_what_a_header_must_say(change, complaint):
    with pytest.raises(InputError, match=complaint):
        read_dicom(written("MR_small.dcm", **change), "a", (0, 1000))


def test_one_frame_is_an_image():
    one = written("MR_small.dcm", NumberOfFrames=1)
    np.testing.assert_array_equal(read_dicom(one, "a"), read_dicom(example("MR_small.dcm"), "a"))


def test_what_a_file_says_itself_goes_before_what_its_first_frame_says():
    def frame(level: float) -> Dataset:
        window, made = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = level, 300
        made.FrameVOILUTSequence = Sequence([window])
        return made

    one = header(WindowCenter=7, PerFrameFunctionalGroupsSequence=Sequence([frame(40), frame(50)]))
    one.SharedFunctionalGroupsSequence = Sequence([frame(60)])
    dicom._lift_frame_values(one)
    assert (one.WindowCenter, one.WindowWidth) == (7, 300)
    other = header(PerFrameFunctionalGroupsSequence=Sequence([frame(40), frame(50)]))
    dicom._lift_frame_values(other)
    assert other.WindowCenter == 40 and "RescaleSlope" not in other


def table(first: int, entries: list[int]) -> Dataset:
    made = Dataset()
    made.add_new(0x00283002, "US", [len(entries), first, 16])
    made.add_new(0x00283006, "US", entries)
    return made


def test_values_through_a_table():
    values = np.array([-5.0, 0, 1.4, 1.6, 9])
    assert dicom._looked_up(values, table(0, [10, 20, 30])).tolist() == [10, 10, 20, 30, 30]
    assert dicom._looked_up(values, table(1, [10, 20, 30])).tolist() == [10, 10, 10, 20, 30]
    assert dicom._looked_up(values, table(65534, [10, 20, 30])).tolist() == [10, 30, 30, 30, 30], "begins at -2"
    assert dicom._looked_up(np.array([-40000.0, -32767]), table(2**15, [10, 20, 30])).tolist() == [10, 20]
    unsigned = np.array([39999.0, 40001, 50000])
    assert dicom._looked_up(unsigned, table(40000, [10, 20, 30])).tolist() == [10, 20, 30]
    assert dicom._looked_up(np.array([0.0, 40001]), table(40000, [10, 20, 30])).tolist() == [10, 20], "no value below 0"


BYTES = {"BitsStored": 8, "PixelRepresentation": 0}


@pytest.mark.parametrize(
    ("values", "elements", "is_shown"),
    [
        ([0, 100.4, 255], BYTES, True),
        ([0, 256], BYTES, False),
        ([-1, 255], BYTES, False),
        ([0, 255], BYTES | {"PixelRepresentation": 1}, False),
        ([0, 255], {"BitsStored": 7, "PixelRepresentation": 0}, False),
        ([0, 255], BYTES | {"WindowCenter": 40}, True),
        ([0, 255], {"WindowCenter": 40}, False),
        ([0, 255], {"WindowWidth": 40}, False),
    ],
)
def test_values_of_8_bits_need_no_window(values, elements, is_shown):
    if is_shown:
        shares = dicom._shares(np.array(values), header(**elements), "a", Reading())
        np.testing.assert_allclose(shares, np.rint(values) / 255)
    else:
        with pytest.raises(InputError, match="a does not say which of its values are black and white"):
            dicom._shares(np.array(values), header(**elements), "a", Reading())


@pytest.mark.parametrize(
    ("function", "width", "expected"),
    [
        ("", 1, "LINEAR"),
        ("LINEAR", 1, "LINEAR"),
        ("linear_exact ", 0.5, "LINEAR_EXACT"),
        ("SIGMOID", 0.01, "SIGMOID"),
        ("LINEAR", 0.99, None),
        ("LINEAR_EXACT", 0, None),
        ("SIGMOID", -1, None),
    ],
)
def test_the_narrowest_windows(function, width, expected):
    one = header(WindowCenter=40, WindowWidth=width, VOILUTFunction=function)
    if expected:
        assert dicom._own_window(one, "a") == (40, width, expected)
    else:
        with pytest.raises(InputError, match="in which nothing is shown"):
            dicom._own_window(one, "a")


def test_a_number_is_the_first_of_several():
    assert dicom._number(header(WindowCenter=[40, 50]), "WindowCenter", "a", "") == 40
    assert dicom._number(header(WindowCenter=40), "WindowCenter", "a", "") == 40
    assert dicom._number(header(WindowCenter=None), "WindowCenter", "a", "") is None
    assert dicom._number(header(), "WindowCenter", "a", "") is None


def test_values_are_rescaled_by_what_the_header_says():
    values = np.array([1, 2])
    assert dicom._rescaled(values, header(RescaleSlope=3, RescaleIntercept=-10), "a").tolist() == [-7, -4]
    assert dicom._rescaled(values, header(RescaleSlope=3), "a").tolist() == [3, 6]
    assert dicom._rescaled(values, header(RescaleIntercept=5), "a").tolist() == [6, 7]
    assert dicom._rescaled(values, header(), "a").tolist() == [1, 2]


def test_the_ends_of_the_windows_by_name():
    """PS3.3, C.11.2.1.2.1: black up to level - 0.5 - (width - 1) / 2, white above level - 0.5 + (width - 1) / 2."""
    for name, black, white in (("lung", -1350, 149), ("mediastinum", -160, 239), ("bone", -500, 1299)):
        ends = np.array([black, black + 1, (black + white) / 2, white - 1, white], float)
        one = header(Modality="CT")
        expected = np.clip((ends - black) / (white - black), 0, 1)
        np.testing.assert_allclose(dicom._shares(ends, one, "a", Reading(ct_window=name)), expected, atol=1e-9)


def test_a_window_is_called_by_its_name():
    for name in ("", "lung", "mediastinum", "bone"):
        require_window(name)
    with pytest.raises(
        InputError, match=r"unknown CT window 'brain'; there are lung \(level -600, width 1500\), medias"
    ):
        require_window("brain")


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("little", [False, True])
def test_the_transfer_syntax_of_a_file_without_one(implicit, little):
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    one = Dataset()
    one.set_original_encoding(implicit, little)
    dicom._complete_syntax(one)
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    assert one.file_meta.TransferSyntaxUID == (ImplicitVRLittleEndian if implicit else explicit)
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dicom._complete_syntax(one)
    assert one.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
