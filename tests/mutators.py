"""Valid files made wrong: each mutator takes the bytes of a valid file and a random generator, and gives other bytes.

What is changed is what the format is made of (a field, a type, a key, an encoding, a length), besides single bytes.
"""

import copy
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

TEXTS = [
    "",
    " ",
    "\t",
    "a\nb",
    "\0",
    "a\0b",
    "\x7f",
    "\x1b[31m",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "None",
    "true",
    "1.0",
    "-1",
]
TEXTS += [
    "1e400",
    "9" * 400,
    "0x10",
    "1_000",
    "é",
    "e\u0301",
    "肺炎",
    "\u202ertl",
    "\u200b",
    "\ufeff",
    "🫁",
    "\U0010ffff",
]
TEXTS += [
    "../..",
    "/etc/passwd",
    "..",
    ".",
    "C:\\x",
    "a/b",
    "~",
    "{id}",
    "{",
    "*",
    "%s",
    "'",
    '"',
    ",",
    ";",
    "|",
    "a" * 70_000,
]
TEXTS += ["(", "[", "(?P<a>", "(a)", "()", "(?:)", "\\", "(?i)", "a{99999999999}", "(" * 200 + ")" * 200]
NUMBERS = [0, -0.0, 1, -1, 2, 3, 7, 0.5, 255, 2**31, -(2**31), 2**63, 2**64, 10**30, 1e-320, 1.7e308, -1e9]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
DEPTHS = [3, 60, 500, 5_000, 100_000]


def odd_value(rng: random.Random) -> Any:
    """A value of JSON that is rarely meant."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice([None, True, False])
    if kind == 3:
        return [odd_value(rng) for _ in range(rng.randrange(4))]
    if kind == 4:
        return {rng.choice(TEXTS): odd_value(rng) for _ in range(rng.randrange(3))}
    return rng.choice(["\ud800", "a\udfff", 10 ** rng.choice([20, 400, 5000])])


# Any bytes


def flip(data: bytes, rng: random.Random) -> bytes:
    """Other bits, or bytes that are inserted, removed, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        place = rng.randrange(len(changed) + 1)
        how = rng.randrange(6)
        if how < 2 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif how == 2 and place < len(changed):
            changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif how == 3:
            changed[place:place] = rng.randbytes(rng.choice([1, 2, 4, 40]))
        elif how == 4:
            del changed[place : place + rng.choice([1, 2, 4, 100])]
        else:
            changed[place:place] = changed[place : place + rng.choice([1, 10, 1000])]
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def reencoded(data: bytes, rng: random.Random) -> bytes:
    """A text in another encoding, with other ends of lines, a mark in front, or NULs."""
    text = data.decode("utf-8", "replace")
    how = rng.randrange(8)
    if how == 0:
        return b"\xef\xbb\xbf" * rng.choice([1, 2]) + data
    if how == 1:
        return text.encode(rng.choice(["utf-16", "utf-16-le", "utf-32"]))
    if how == 2:
        return text.replace("\n", rng.choice(["\r\n", "\r", "\n\n", "\u2028", "\x0b", "\x85"])).encode()
    if how == 3:
        return text.replace("e", "\xe9").encode("latin-1", "replace")
    if how == 4:
        return text.replace("l", "ﾊｲ炎").encode("cp932", "replace")
    if how == 5:
        place = rng.randrange(len(data) + 1)
        return (
            data[:place]
            + rng.choice([b"\0", b"\0" * 4096, b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
            + data[place:]
        )
    return b"" if how == 6 else data * rng.choice([2, 50])


# JSON


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON value, its own one first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places_in(inner, (*path, key))
    return found


def change_json(value: Any, rng: random.Random) -> Any:
    """A JSON value in which one place is another value, another type, missing, renamed or doubled."""
    value = copy.deepcopy(value)
    path = rng.choice(places_in(value))
    if not path:
        return odd_value(rng)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, old = path[-1], holder[path[-1]]
    how = rng.randrange(8)
    if how == 0:
        del holder[key]
    elif how == 1:
        holder[key] = other_type(old)
    elif how == 2 and isinstance(holder, dict):
        holder[rng.choice([f"{key} ", str(key).upper(), *TEXTS])] = holder.pop(key)
    elif how == 3 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), old)
    elif how == 4 and isinstance(old, (int, float)) and not isinstance(old, bool):
        holder[key] = rng.choice([-old, old + 1, old - 1, old * 1_000_000, *NUMBERS])
    elif how == 5 and isinstance(old, (list, dict)):
        holder[key] = type(old)()
    else:
        holder[key] = odd_value(rng)
    return value


def other_type(value: Any) -> Any:
    """The same, said in another type."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list):
        return {str(n): inner for n, inner in enumerate(value)}
    return f"{value:x}" if isinstance(value, int) and abs(value) > 10**9 else str(value)  # no limit of digits


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON file."""
    how = rng.randrange(10)
    if how == 0:
        return flip(data, rng)
    if how == 1:
        return reencoded(data, rng)
    if how == 2:
        depth = rng.choice(DEPTHS)
        return rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth])
    text = data.decode()
    if how == 3:  # a key twice
        lines = text.splitlines(keepends=True)
        place = rng.randrange(len(lines))
        lines.insert(place, lines[rng.randrange(len(lines))])
        return "".join(lines).encode()
    value = json.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        value = change_json(value, rng)
    return dumped(value)


def dumped(value: Any) -> bytes:
    """A value as JSON; one with a number of thousands of digits too."""
    try:
        return json.dumps(value, indent=1).encode()
    except ValueError:
        return b'{"a": 1' + b"0" * 5000 + b"}"


def mutate_json_lines(data: bytes, rng: random.Random) -> bytes:
    """A file with a JSON value on each line."""
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = mutate_json(lines[place], rng).replace(b"\n", b"")
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"\n".join(lines) + b"\n"


# TOML

TOML = [
    "nan",
    "-inf",
    "inf",
    "-1",
    "0",
    "1",
    "2",
    "3.5",
    "1e400",
    "9" * 30,
    "9" * 5000,
    "1979-05-27",
    "07:32:00",
    "true",
    "''",
    '""',
]
TOML += [
    '"\\u0000"',
    '"\\ud800"',
    "[]",
    "{}",
    "[[]]",
    "[1, 'a']",
    "['a', 'a']",
    "{a = 'b'}",
    "{a = {b = 1}}",
    "['']",
    "[1, 2]",
    "[2, 1]",
]
TOML += [
    "[1.0, 2.0]",
    "['healthy', 'ill']",
    "['lung', 'bone', [0, 1]]",
    "{healthy = 'a'}",
    "{ill = 1}",
    "'id'",
    "'label'",
    "'../x'",
]
TOML += [
    "'{id}'",
    "'images/{id}'",
    "'*'",
    "'*/{id}*'",
    "'(.*)'",
    "'^(t..)'",
    "'train.csv'",
    "'/etc'",
    "'rgb'",
    "'windows'",
    "'slices'",
]
TOML += [
    "'folders'",
    "'npz'",
    "'csv'",
    "'multilabel'",
    "'ordinal'",
    "'auc'",
    "'qwk'",
    "'weighted_log_loss'",
    '"""',
    "'''",
    "'",
    '"\\',
]
TOML += ["[[1, 2], [1, 2], [1, 2]]", "{ '*' = 'ill' }", "{ '1' = 'ill', '' = '' }", "['1', '0']", "'|'", "'patient'"]


def toml_literal(rng: random.Random) -> str:
    """A value of TOML, some of them no valid one."""
    if rng.random() < 0.7:
        return rng.choice(TOML)
    if rng.random() < 0.3:
        depth = rng.choice(DEPTHS)
        return rng.choice(["[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth])
    return json.dumps(rng.choice(TEXTS), ensure_ascii=rng.random() < 0.5)


def toml_mutator(fields: list[str]) -> Mutator:
    """Of a dataset.toml; `fields`: keys that may be added, `table.key` in a table."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.06:
            return flip(data, rng)
        if rng.random() < 0.06:
            return reencoded(data, rng)
        lines = data.decode().strip().splitlines()
        for _ in range(rng.choice([1, 1, 2, 3])):
            _change_line(lines, fields, rng)
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")

    return mutate


def _change_line(lines: list[str], fields: list[str], rng: random.Random) -> None:
    """One line of a TOML text is another, missing, doubled, or new."""
    place = rng.randrange(len(lines)) if lines else 0
    how = rng.randrange(6)
    if how == 0 and lines:
        del lines[place]
    elif how == 1 and lines:
        lines.insert(place, lines[place])
    elif how == 2 and lines and "=" in lines[place]:
        lines[place] = f"{lines[place].partition('=')[0]}= {toml_literal(rng)}"
    elif how == 3 and lines:
        lines[place] = f"{rng.choice(fields)} ={lines[place].partition('=')[2]}"
    elif how == 4 and rng.random() < 0.3:
        lines.append(
            rng.choice(
                ["[submission]", "[[submission]]", "[subgroups.a]", "[labels]", "[a", "[[[", "[" * 3000, "a.b.c = 1"]
            )
        )
    else:
        lines.append(f"{rng.choice(fields)} = {toml_literal(rng)}")


# CSV


def mutate_csv(data: bytes, rng: random.Random) -> bytes:
    """A CSV: other cells, columns and rows, other separators and quotes, another encoding."""
    how = rng.randrange(12)
    if how == 0:
        return flip(data, rng)
    if how == 1:
        return reencoded(data, rng)
    rows = [line.split(",") for line in data.decode("utf-8-sig").splitlines()]
    for _ in range(rng.choice([1, 1, 2, 4])):
        _change_rows(rows, rng)
    separator = rng.choice([",", ",", ",", ",", ",", ",", ";", "\t", ", "])
    text = "\n".join(separator.join(row) for row in rows) + rng.choice(["\n", "", "\n\n", "\n,,,\n", '"', '\n"'])
    return text.encode("utf-8", "surrogatepass")


def _change_rows(rows: list[list[str]], rng: random.Random) -> None:
    """A cell, a row or a column is another, missing, doubled or elsewhere."""
    if rows:
        rng.choice([_change_row, _change_column, _change_cell, _change_cell])(rows, rng)


def _change_row(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice([0, rng.randrange(len(rows))])
    how = rng.randrange(4)
    if how == 0:
        del rows[row]
    elif how == 1:
        rows.insert(row, list(rng.choice(rows)))
    elif how == 2:
        rows[row] = rows[row][::-1]
    else:
        rows[row].append(rng.choice(TEXTS))


def _change_column(rows: list[list[str]], rng: random.Random) -> None:
    column, how, text = rng.randrange(max(1, len(rows[0]))), rng.randrange(3), rng.choice(TEXTS)
    for number, row in enumerate(rows):
        if how == 0:
            del row[column : column + 1]
        elif how == 1:
            row[column:column] = row[column : column + 1]
        elif number:
            row[column : column + 1] = [text]


def _change_cell(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice([0, rng.randrange(len(rows))])
    column, text = rng.randrange(max(1, len(rows[row]))), rng.choice(TEXTS)
    rows[row][column : column + 1] = [f'"{text}"' if rng.random() < 0.3 else text]


# Zip

NAMES = [
    "a.png",
    "b/c.png",
    "../evil",
    "../../evil",
    "/tmp/evil-by-zip",
    "..\\evil",
    "C:\\evil",
    "a/../../evil",
    "a//b",
    "a/./b",
]
NAMES += [
    "",
    ".",
    "/",
    "..",
    "a/",
    "a",
    "A",
    "a/b",
    "a.png/b",
    "é",
    "e\u0301",
    "肺.png",
    "\u202egnp.a",
    "x" * 300,
    "d/" * 200 + "e",
    "a\nb",
]
NAMES += [
    "__MACOSX/a",
    ".hidden",
    ".sha256.json",
    "tiny/a.png",
    "inner.zip",
    "con",
    "a:b",
    "a ",
    " a",
    "*",
    "\\\\host\\a",
    "a\0b",
]


def mutate_zip(data: bytes, rng: random.Random) -> bytes:
    """A zip of odd names, sizes, kinds and ways of compression, and with other bytes in its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for _ in range(rng.randrange(6)):
            info = zipfile.ZipInfo(rng.choice(NAMES))
            info.compress_type = rng.choice([0, 8, 8, 12, 14])
            info.external_attr = rng.choice([0, 0o644, 0o100644, 0o120777, 0o040755, 0o020644, 0o010644]) << 16
            body = rng.choice(
                [b"", b"abc", rng.randbytes(500), b"/etc/passwd", b"\0" * 10_000_000 if rng.random() < 0.02 else b"z"]
            )
            archive.writestr(info, body)
    made = buffer.getvalue() if rng.random() < 0.8 else data
    if rng.random() < 0.6:
        made = in_zip_headers(made, rng)
    return flip(made, rng) if rng.random() < 0.2 else made


def in_zip_headers(data: bytes, rng: random.Random) -> bytes:
    """Other numbers in one header of a zip: flags, compression, sizes, lengths, offsets."""
    places = [match.start() for match in re.finditer(b"PK\x01\x02|PK\x03\x04|PK\x05\x06", data)]
    if not places:
        return data
    changed, place = bytearray(data), rng.choice(places) + rng.randrange(4, 46, 2)
    number = rng.choice([0, 1, 0xFFFF, 0x7FFF, 9, 99, 0x800, rng.randrange(1 << 16)])
    changed[place : place + 2] = number.to_bytes(2, "little")
    return bytes(changed)


# Images


def mutate_png(data: bytes, rng: random.Random) -> bytes:
    """A PNG: other fields of its header, chunks that are new, missing, doubled, or of another content."""
    if rng.random() < 0.2:
        return flip(data, rng)
    chunks = png_chunks(data)
    for _ in range(rng.choice([1, 1, 2])):
        _change_chunks(chunks, rng)
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += length + 12
    return chunks


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


SIDES = [0, 1, 2, 4, 100, 30_000, 65_535, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF]
PNG_KINDS = [
    b"tEXt",
    b"zTXt",
    b"iTXt",
    b"iCCP",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"gAMA",
    b"PLTE",
    b"tRNS",
    b"sBIT",
    b"pHYs",
    b"IDAT",
    b"IEND",
    b"cHRM",
]


def _change_chunks(chunks: list[tuple[bytes, bytes]], rng: random.Random) -> None:
    how = rng.randrange(7)
    place = rng.randrange(len(chunks))
    kind, body = chunks[place]
    if how == 0:
        width, height = rng.choice(SIDES), rng.choice(SIDES)
        chunks[0] = (b"IHDR", struct.pack(">II", width, height) + chunks[0][1][8:])
    elif how == 1:
        tail = bytes(
            [
                rng.choice([1, 2, 4, 8, 16, 3, 0]),
                rng.choice([0, 2, 3, 4, 6, 1]),
                *rng.choice([(0, 0, 0), (0, 0, 1), (1, 1, 2)]),
            ]
        )
        chunks[0] = (b"IHDR", chunks[0][1][:8] + tail)
    elif how == 2 and len(chunks) > 1:
        del chunks[place]
    elif how == 3:
        chunks.insert(place, (kind, body))
    elif how == 4:
        chunks[place] = (kind, flip(body, rng))
    elif how == 5:
        chunks[place] = (b"IDAT", zlib.compress(b"\0" * rng.choice([0, 10, 5_000_000])))
    else:
        content = rng.choice(
            [
                b"",
                rng.randbytes(30),
                b"a\0\0" + zlib.compress(b"\0" * 3_000_000),
                b"Exif\0\0II*\0\x08\0\0\0" + rng.randbytes(40),
            ]
        )
        chunks.insert(rng.randrange(len(chunks) + 1), (rng.choice(PNG_KINDS), content))


def mutate_jpeg(data: bytes, rng: random.Random) -> bytes:
    """A JPEG: other sizes, components and tables, and segments of odd contents."""
    how = rng.randrange(5)
    if how == 0:
        return flip(data, rng)
    changed = bytearray(data)
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    if how == 1 and frame > 0:
        changed[frame + 5 : frame + 9] = struct.pack(">HH", *(rng.choice(SIDES) & 0xFFFF for _ in range(2)))
    elif how == 2 and frame > 0:
        place = frame + rng.randrange(1, 18)
        changed[place] = rng.choice([0, 1, 2, 3, 4, 8, 12, 17, 34, 255])
    elif how == 3:
        body = rng.choice(
            [
                rng.randbytes(20),
                exif(rng),
                b"MPF\0" + rng.randbytes(60),
                b"ICC_PROFILE\0\1\1" + rng.randbytes(80),
                b"Adobe\0d\0\0\0\0" + rng.randbytes(1),
            ]
        )
        segment = (
            b"\xff"
            + bytes([rng.choice([0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDB, 0xC4, 0xDD])])
            + struct.pack(">H", len(body) + 2)
            + body
        )
        changed[2:2] = segment
    else:
        place = rng.randrange(2, len(changed))
        changed[place:place] = rng.choice([b"\xff\xd9", b"\xff\xd8", b"\xff\xda", b"\xff\xd0", b"\xff\xff"])
    return bytes(changed)


def exif(rng: random.Random) -> bytes:
    """An Exif segment with one entry, an orientation that may be no number from 1 to 8."""
    order = rng.choice([b"II", b"MM"])
    mark = "<" if order == b"II" else ">"
    kind, count = rng.choice([1, 2, 3, 4, 5, 7, 12, 99]), rng.choice([0, 1, 2, 0xFFFF, 0xFFFFFFFF])
    value = rng.choice([0, 1, 3, 6, 8, 9, 0xFFFF, 0xFFFFFFFF])
    entry = struct.pack(f"{mark}HHII", 0x0112, kind, count, value)
    return b"Exif\0\0" + order + struct.pack(f"{mark}HIH", 42, 8, rng.choice([0, 1, 1, 1, 500])) + entry + b"\0" * 4


def mutate_tiff(data: bytes, rng: random.Random) -> bytes:
    """A TIFF: one entry of its directory has another tag, type, count or value."""
    if rng.random() < 0.2:
        return flip(data, rng)
    mark = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    start = struct.unpack_from(f"{mark}I", data, 4)[0]
    count = struct.unpack_from(f"{mark}H", data, start)[0]
    for _ in range(rng.choice([1, 1, 2, 3])):
        place = start + 2 + 12 * rng.randrange(count)
        what = rng.randrange(4)
        if what == 0:
            tags = [
                254,
                256,
                257,
                258,
                259,
                262,
                273,
                274,
                277,
                278,
                279,
                282,
                284,
                317,
                320,
                322,
                324,
                338,
                339,
                700,
                34665,
            ]
            struct.pack_into(f"{mark}H", changed, place, rng.choice(tags))
        elif what == 1:
            struct.pack_into(f"{mark}H", changed, place + 2, rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 99]))
        elif what == 2:
            struct.pack_into(f"{mark}I", changed, place + 4, rng.choice([0, 1, 2, 3, 4, 0xFFFF, 0xFFFFFFFF]))
        else:
            values = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 32, 64, 32773, 34712, 50000, 0xFFFF, 0xFFFFFFFF]
            struct.pack_into(f"{mark}I", changed, place + 8, rng.choice(values))
    if rng.random() < 0.05:  # a directory that points at itself
        struct.pack_into(f"{mark}I", changed, start + 2 + 12 * count, start)
    return bytes(changed)


# DICOM

ELEMENTS: dict[str, list[Any]] = {
    "Rows": [0, 1, 7, 65535],
    "Columns": [0, 1, 7, 65535],
    "BitsAllocated": [0, 1, 7, 8, 16, 24, 32, 64, 65535],
    "BitsStored": [0, 1, 7, 8, 12, 16, 32],
    "HighBit": [0, 7, 11, 15, 31, 65535],
    "PixelRepresentation": [0, 1, 2],
    "SamplesPerPixel": [0, 1, 2, 3, 4],
    "PlanarConfiguration": [0, 1, 2],
    "NumberOfFrames": ["0", "1", "2", "-1", "99999999", "a", ""],
    "PhotometricInterpretation": [
        "MONOCHROME1",
        "MONOCHROME2",
        "RGB",
        "YBR_FULL_422",
        "PALETTE COLOR",
        "ARGB",
        "",
        "a\\b",
    ],
    "WindowCenter": ["", "0", "1e308", "nan", "inf", "a", "40\\50", "9" * 17],
    "WindowWidth": ["", "0", "1", "-5", "1e308", "nan", "1\\2", "a"],
    "RescaleSlope": ["", "0", "1e308", "nan", "-1", "a", "1\\2"],
    "RescaleIntercept": ["", "1e308", "nan", "inf", "a", "-1024\\3"],
    "VOILUTFunction": ["", "LINEAR", "SIGMOID", "LINEAR_EXACT", "linear", "x", "LINEAR\\SIGMOID"],
    "PixelPaddingValue": [0, 1, 65535, 63536],
    "PixelPaddingRangeLimit": [0, 1, 65535],
    "Modality": ["CT", "MR", "", "CT\\MR"],
    "PixelAspectRatio": ["0\\0", "1\\2", "a"],
    "SpecificCharacterSet": ["ISO_IR 100", "ISO 2022 IR 87", "x", "\\"],
    "PatientName": ["Yamada^Tarou=山田^太郎", "a" * 1000],
}
SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
]
SYNTAXES += [
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.1.99",
    "1.2.3",
    "",
]


def mutate_dicom(data: bytes, rng: random.Random) -> bytes:
    """A DICOM file: elements that are missing, of another value, representation or length; another transfer syntax."""
    if rng.random() < 0.25:
        return flip(data, rng)
    changed = data
    for _ in range(rng.choice([1, 1, 2, 3])):
        changed = _with_element(changed, rng)
    return flip(changed, rng) if rng.random() < 0.1 else changed


def _with_element(data: bytes, rng: random.Random) -> bytes:
    """One element of an image in explicit little endian is another; what pydicom would refuse to write too."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    if rng.random() < 0.1:
        old = re.search(rb"\x02\x00\x10\x00UI..[0-9.]+\0?", data, re.DOTALL)
        text = rng.choice(SYNTAXES).encode()
        new = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(text) + len(text) % 2) + text + b"\0" * (len(text) % 2)
        return data[: old.start()] + new + data[old.end() :] if old else data
    name = rng.choice(list(ELEMENTS))
    tag = tag_for_keyword(name)
    assert tag is not None
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    kind = dictionary_VR(tag).split()[0]
    value = rng.choice(ELEMENTS[name])
    body = struct.pack("<H", value) if isinstance(value, int) else value.encode()
    body += b" " * (len(body) % 2)
    if rng.random() < 0.1:
        kind = rng.choice(["US", "DS", "LO", "SQ", "OB", "UN", "ZZ", "FD"])
    length = len(body) if rng.random() < 0.9 else rng.choice([0, 1, 0xFFFF])
    long = kind in ("SQ", "OB", "UN", "OW")
    new = (
        head
        + kind.encode()
        + (b"\0\0" + struct.pack("<I", length) if long else struct.pack("<H", length & 0xFFFF))
        + body
    )
    if rng.random() < 0.15:
        new = b""
    old = re.search(re.escape(head) + b"[A-Z]{2}(..)", data, re.DOTALL)
    if old:
        return data[: old.start()] + new + data[old.end() + struct.unpack("<H", old[1])[0] :]
    pixels = data.rfind(b"\xe0\x7f\x10\x00")
    return data[:pixels] + new + data[pixels:]


# Weights, arrays, parquet, Python


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file: another header, or a length of the header that is not its own."""
    if rng.random() < 0.2:
        return flip(data, rng)
    end = 8 + int.from_bytes(data[:8], "little")
    header = mutate_json(data[8:end], rng)
    length = len(header) if rng.random() < 0.8 else rng.choice([0, 1, 7, 2**31, 2**63, max(0, len(header) - 1)])
    return length.to_bytes(8, "little") + header + data[end:]


def mutate_archive(data: bytes, rng: random.Random) -> bytes:
    """A zip that holds arrays (.npz, a checkpoint of torch): a member that is changed, missing, doubled or renamed."""
    if rng.random() < 0.2:
        return flip(data, rng)
    if rng.random() < 0.2:
        return in_zip_headers(data, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
        place = rng.randrange(len(members))
        name, body = members[place]
        how = rng.randrange(5)
        if how == 0:
            del members[place]
        elif how == 1:
            members[place] = (name + "x", body)
        elif how == 2:
            members[place] = (name, rng.choice(members)[1])
        elif how == 3 and body[:6] == b"\x93NUMPY":
            members[place] = (name, _other_array(body, rng))
        else:
            members[place] = (name, flip(body, rng))
        for name, body in members:
            new.writestr(name, body)
    return buffer.getvalue()


def mutate_array(data: bytes, rng: random.Random) -> bytes:
    """A .npy."""
    how = rng.randrange(3)
    if how == 0:
        return flip(data[: rng.randrange(1, 200)] + data[200:], rng)
    return flip(data, rng) if how == 1 else _other_array(data, rng)


def _other_array(body: bytes, rng: random.Random) -> bytes:
    """An array of numpy's with another type, order or shape in its header."""
    kinds = [b"'<f4'", b"'|O'", b"'<U5'", b"'>i8'", b"'|V4'", b"'<c16'", b"'<M8[D]'", b"[('a', '<f4')]", b"'x'"]
    shapes = [b"()", b"(0,)", b"(1, 2)", b"(99999999999,)", b"(-1,)", b"(1.5,)", b"3"]
    end = body.index(b"\n") + 1
    header = (
        re.sub(rb"'descr': '[^']*'", b"'descr': " + rng.choice(kinds), body[10:end])
        if rng.random() < 0.5
        else body[10:end]
    )
    if rng.random() < 0.7:
        header = re.sub(rb"\([0-9, ]*\)", rng.choice(shapes), header, count=1)
    return body[:8] + struct.pack("<H", len(header)) + header + body[end:]


def mutate_parquet(data: bytes, rng: random.Random) -> bytes:
    """A prediction table: other columns, types, values and provenance."""
    if rng.random() < 0.15:
        return flip(data, rng)
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = pq.read_table(io.BytesIO(data))
    meta = dict(stored.schema.metadata or {})
    for _ in range(rng.choice([1, 1, 2])):
        stored = _other_table(stored, pa, rng)
    for key in list(meta):
        if rng.random() < 0.3:
            meta[key] = mutate_json(meta[key], rng)
    buffer = io.BytesIO()
    try:
        pq.write_table(stored.replace_schema_metadata(meta), buffer)
    except (pa.ArrowException, ValueError, UnicodeError):
        return flip(data, rng)
    return buffer.getvalue()


def _other_table(stored: Any, pa: Any, rng: random.Random) -> Any:
    """A column or a row of a table is another, missing or doubled."""
    if not stored.column_names:
        return stored
    names = stored.column_names
    place, rows, how = rng.randrange(len(names)), stored.num_rows, rng.randrange(8)
    if how == 0:
        return stored.remove_column(place)
    if how == 1:
        names[place] = rng.choice(["x", "true:ill", "corruption", "id", *TEXTS])
        return stored.rename_columns(names)
    if how == 2:
        return stored.slice(rng.randrange(rows + 1), rng.randrange(rows + 1))
    if how == 3:
        return pa.concat_tables([stored, stored.slice(0, 1)])
    if how == 4:
        return stored.append_column(rng.choice(TEXTS), stored.column(place))
    column = _other_column(stored.column(place).to_pylist(), rng)
    try:
        return stored.set_column(place, names[place], pa.array(column))
    except (pa.ArrowException, ValueError, TypeError):
        return stored


def _other_column(values: list[Any], rng: random.Random) -> list[Any]:
    """Values of a column of a table, of another type or with one that is odd."""
    how = rng.randrange(5)
    if how == 0:
        return [None] * len(values)
    if how == 1:
        return [[1.0]] * len(values)
    if how == 2:
        return [str(value) for value in values]
    odd: list[Any] = [float("nan"), float("inf"), -1.0, 2.0, 1e300, 0.5]
    if values and isinstance(values[0], str):
        odd = [*TEXTS]
    if how == 3:
        return [rng.choice(odd)] * len(values)
    if values:
        values[rng.randrange(len(values))] = rng.choice([None, values[0], *odd])
    return values


STATEMENTS = [
    "LOSSES = {}",
    "LOSSES = []",
    "LOSSES = None",
    "LOSSES = {1: print}",
    "LOSSES = {'a': 1}",
    "LOSSES = {None: None}",
]
STATEMENTS += [
    "METRICS = {'auc': print}",
    "METRICS = {'': print}",
    "METRICS = {'\\ud800': print}",
    "READERS = {('a',): 1}",
    "MODELS = {'a': None}",
]
STATEMENTS += [
    "1/0",
    "undefined",
    "raise ValueError('no')",
    "raise SystemExit",
    "raise SystemExit(0)",
    "import sys; sys.exit(3)",
]
STATEMENTS += [
    "import nowhere",
    "from . import a",
    "from chestfold import nothing",
    "def f(:",
    "x = (",
    "'",
    "\tx",
    "\0",
    "# -*- coding: rot13 -*-",
]
STATEMENTS += [
    "(" * 300,
    "x = " + "(" * 150 + ")" * 150,
    "x = " + "-" * 100_000 + "1",
    "x = " + "[" * 5000,
    "def f(): f()\nf()",
    "assert False",
]
STATEMENTS += [
    "x = 10 ** 10 ** 3",
    "open('nowhere')",
    "é = 1",
    "return",
    "await x",
]
STATEMENTS += [
    "LOSSES = type('D', (dict,), {'__iter__': lambda self: 1/0})({'a': 1})",
    "x = '\\ud800'; raise ValueError(x)",
    "del __name__",
]


def mutate_python(data: bytes, rng: random.Random) -> bytes:
    """A file of hooks: a statement that is new, missing, or no Python."""
    if rng.random() < 0.15:
        return flip(data, rng)
    if rng.random() < 0.15:
        return reencoded(data, rng)
    lines = data.decode().splitlines()
    place = rng.choice([0, len(lines), rng.randrange(len(lines) + 1)])
    if rng.random() < 0.2:
        del lines[place : place + 1]
    else:
        lines[place:place] = rng.choice(STATEMENTS).split("\n")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
