"""What the columns of a table may be: labels, patients; in English and in Japanese."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from chestfold.data.dataset import comparable, tidy
from chestfold.data.guess.lines import CONFIRM, Line, with_counts
from chestfold.data.readers.cells import ABSENT, PRESENT
from chestfold.data.tables import Table


def _words(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


LABEL = _words(
    *("label", "class", "target", "diagnos", "finding", "categor", "patholog", "grade"),
    *("診断", "所見", "ラベル", "分類", "クラス", "判定", "病名"),
)
PATIENT = [
    _words("patient", "subject", "person", "患者", "被験者"),
    _words("case", "症例"),
    _words("stud", "scan", "group", "block", "検査"),
]
"""The surest first."""
NOT_A_LABEL = _words(
    "sex", "gender", "^age", "view", "fold", "split", "width", "height", "date", "性別", "年齢", "日付"
)
NORMAL = _words(
    *("normal", "health", "negative", "benign", "no[ _-]?finding", "none", "^(no|not|non)[ _-]", "^0$"),
    *("正常", "陰性", "異常なし", "所見なし", "健常"),
)
ABNORMAL = _words("abnormal", "unhealth", "not[ _-]?normal")
UNKNOWN = {"", "-1", "nan", "na", "n/a", "unknown", "?", "不明"}
SEPARATORS = ("|", ";", "、", ",", "/", "+")
MOST_CLASSES = 50


@dataclass(frozen=True)
class Column:
    """A column, and how often each text is in it, the most frequent first."""

    name: str
    counts: dict[str, int]

    @property
    def unknown(self) -> list[str]:
        """The texts that may mean "not known"."""
        return [text for text in self.counts if comparable(text).lower() in UNKNOWN]

    @property
    def known(self) -> dict[str, int]:
        """The other texts."""
        return {text: count for text, count in self.counts.items() if text not in self.unknown}

    @property
    def is_binary(self) -> bool:
        """Whether all known texts are 0 and 1, or true and false."""
        known = {comparable(text).lower() for text in self.known}
        return bool(known & PRESENT) and known <= PRESENT | ABSENT


def columns_of(table: Table) -> dict[str, Column]:
    """The columns of a table by name."""
    found = {}
    for name in table.columns:
        counts = Counter(map(tidy, table.cells(name)))
        found[name] = Column(name, dict(counts.most_common()))
    return found


def is_normal(name: str) -> bool:
    """Whether a class is called like "nothing found"."""
    return bool(NORMAL.search(name)) and not ABNORMAL.search(name)


def ordered(classes: list[str]) -> list[str]:
    """Numbers by value, others by name, the normal ones first."""
    if all(re.fullmatch(r"[0-9]+", name) for name in classes):
        return sorted(classes, key=int)
    return sorted(classes, key=lambda name: (not is_normal(name), name))


def positive_line(classes: list[str]) -> Line:
    """The class that the others are told from: the last that is not called like a normal one."""
    ill = [name for name in classes if not is_normal(name)] or classes
    return Line("positive", ill[-1], CONFIRM + "precision, recall and a submission are about this class")


def patient_column(columns: dict[str, Column], id_column: str) -> str:
    """The column that is called like one of patients; "" where there is none."""
    for pattern in PATIENT:
        for column in columns.values():
            if pattern.search(column.name) and column.name != id_column and len(column.counts) > 1:
                return column.name
    return ""


def label_lines(table: Table, id_column: str, patient: str, answered: list[str]) -> Iterator[Line]:
    """What an image's labels are read from. `answered`: the columns of the sample submission beside its ids."""
    columns = columns_of(table)
    free = [c for name, c in columns.items() if name not in (id_column, patient) and not NOT_A_LABEL.search(name)]
    asked_for = [c for c in free if c.name in answered]
    possible = asked_for or free
    binary = [c for c in possible if c.is_binary]
    single = [c for c in possible if _may_be_labels(c)]
    named = [c for c in single if LABEL.search(c.name) or len(single) == 1]
    needed = 2 if asked_for or not named else 3
    if len(binary) >= needed:
        yield from _one_hot(table, binary)
    elif named:
        yield from _one_column(table, named[0], id_column)
    else:
        ideas = ", ".join(c.name for c in single) or "none fits"
        yield Line("label", "", f"no column is surely that of the labels ({ideas})", idea=True)
        yield Line("classes", [], CONFIRM + "the classes, in the order of the prediction columns")


def _may_be_labels(column: Column) -> bool:
    return bool(_separator(column)) or 2 <= len(column.known) <= MOST_CLASSES


def _one_hot(table: Table, columns: list[Column]) -> Iterator[Line]:
    """Columns of 0 and 1."""
    names = [column.name for column in columns]
    unknown = list(dict.fromkeys(text for column in columns for text in column.unknown))
    ones = table.frame[names].map(lambda cell: comparable(cell).lower() in PRESENT)
    counts = {name: int(ones[name].sum()) for name in names}
    exclusive = not unknown and bool((ones.sum(axis=1) == 1).all())
    why = "each image has exactly one of them" if exclusive else "an image may have several of them, or none"
    yield Line("task", "multiclass" if exclusive else "multilabel", why)
    yield Line("labels", names, f"columns of 0 and 1: {with_counts(counts)}")
    if exclusive:
        yield positive_line(names)
    if unknown:
        yield Line("unknown", unknown, CONFIRM + 'these cells mean "not known"; if they mean "no": no_finding')


def _one_column(table: Table, column: Column, id_column: str) -> Iterator[Line]:
    """One column with the names of classes."""
    separator = _separator(column)
    parts = _parts(column, separator)
    said = zip(table.cells(id_column), map(tidy, table.cells(column.name)), strict=True)
    images: dict[str, set[str]] = {}
    for image_id, cell in said:
        images.setdefault(image_id, set()).add(cell)
    several = bool(separator) or any(len(cells) > 1 for cells in images.values())
    none = [name for name in parts if is_normal(name)] if several else []
    classes = ordered([name for name in parts if name not in none])
    yield Line("task", "multilabel" if several else "multiclass", _why_several(separator, several))
    yield Line("label", column.name, f"{len(parts)} different texts: {with_counts(parts)}")
    if separator:
        yield Line("separator", separator, "stands between the labels of an image")
    yield Line("classes", classes, "in the order of the prediction columns; to rename them: labels = { text = class }")
    if none:
        yield Line("no_finding", none, CONFIRM + "these mean that an image has none of the labels")
    if not several:
        yield positive_line(classes)
    if len(classes) > 3 and not several and all(name.isdigit() for name in classes):
        yield Line("task", "ordinal", "instead, if the numbers are grades", idea=True)
    if column.unknown:
        yield Line("unknown", column.unknown, CONFIRM + 'these cells mean "not known"')


def _why_several(separator: str, several: bool) -> str:
    if separator:
        return f"some cells hold several labels, with {separator!r} between them"
    return "some images have rows with different labels" if several else "each image has one label"


def _separator(column: Column) -> str:
    """What stands between labels: what it separates stands alone too, or there are fewer labels than texts."""
    for separator in SEPARATORS:
        together = [text for text in column.known if separator in text.strip(separator)]
        parts = _parts(column, separator)
        are_labels = bool(set(parts) & set(column.known)) or len(parts) < len(column.known)
        if together and are_labels and len(parts) <= MOST_CLASSES:
            return separator
    return ""


def _parts(column: Column, separator: str) -> dict[str, int]:
    """Label -> in how many cells it is, the most frequent first."""
    counts: Counter[str] = Counter()
    for text, count in column.known.items():
        for part in text.split(separator) if separator else [text]:
            if part.strip():
                counts[part.strip()] += count
    return dict(counts.most_common())
