"""Prediction tables: parquet, `id, group, fold, label, <one column per class>`, provenance in the schema.

What a row must be is asked of the task that the provenance names; one that names none is of one class an image.
Rows are matched by id everywhere, never by position.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chestfold.core.errors import InputError
from chestfold.core.files import atomic_path
from chestfold.core.task import Task, create_task
from chestfold.core.task.base import TRUTH
from chestfold.data.folds import Folds

KEYS = ["id", "group", "fold", "label"]
CORRUPTION = "corruption"
"""Column of a stacked table: the same images once under each corruption."""
_META = b"chestfold"
MOST_CELLS = 64_000_000
"""Of a prediction table: eight corruptions of 400,000 images with 14 labels have so many."""
MOST_BYTES = 1 << 29
"""Of a prediction table, unpacked."""


def predictions(rows: pd.DataFrame, fold: int, classes: Sequence[str], probs: np.ndarray) -> pd.DataFrame:
    """A prediction table: `rows` gives id, group and label (N rows); `probs` float (N, K) in the order of `classes`."""
    table = rows[["id", "group", "label"]].reset_index(drop=True)
    table.insert(2, "fold", np.int64(fold))
    return pd.concat([table, pd.DataFrame(probs.astype(np.float64), columns=list(classes))], axis=1)


def class_columns(table: pd.DataFrame) -> list[str]:
    """The classes of a prediction table, in order."""
    return [c for c in table.columns if c not in (*KEYS, CORRUPTION) and not c.startswith(TRUTH)]


def task_of(table: pd.DataFrame, provenance: dict[str, Any]) -> Task:
    """The task that a prediction table is of, without a positive class."""
    return create_task(provenance.get("task", "multiclass"), class_columns(table))


def task_identity(task: Task) -> dict[str, str]:
    """What a prediction table says of its task, where that is not one of exclusive classes."""
    return {} if task.name == "multiclass" else {"task": task.name}


def probabilities(table: pd.DataFrame) -> np.ndarray:
    """float64 (N, K), a copy."""
    return table[class_columns(table)].to_numpy(np.float64, copy=True)


def with_probabilities(table: pd.DataFrame, probs: np.ndarray) -> pd.DataFrame:
    """A copy of `table` (N rows) with other probabilities, float (N, K)."""
    copy = table.copy()
    copy[class_columns(table)] = probs
    return copy


def check_probabilities(table: pd.DataFrame, name: str, task: Task) -> None:
    """Every id once, no NaN, each row a prediction of the task.

    Raises:
        InputError: names the file and the first offending id.
    """
    doubled = table.duplicated(_identity(table))
    if doubled.any():
        raise InputError(f"{name}: id {table.loc[doubled, 'id'].iloc[0]!r} occurs twice")
    probs = probabilities(table)
    wrong = ~np.isfinite(probs).all(axis=1)
    if wrong.any():
        raise InputError(f"{name}: the prediction for {table['id'][wrong.argmax()]!r} is not a number")
    wrong, complaint = task.wrong_rows(probs)
    if wrong.any():
        raise InputError(f"{name}: {complaint.format(repr(table['id'][wrong.argmax()]))}")


def _identity(table: pd.DataFrame) -> list[str]:
    return [CORRUPTION, "id"] if CORRUPTION in table else ["id"]


def stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Corruption -> prediction table, as one table with a column that names the corruption."""
    return pd.concat([t.assign(**{CORRUPTION: name}) for name, t in tables.items()], ignore_index=True)


def unstacked(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What `stacked` was made from: corruption -> prediction table."""
    return {
        str(name): t.drop(columns=CORRUPTION).reset_index(drop=True) for name, t in table.groupby(CORRUPTION, sort=True)
    }


def check_against_folds(table: pd.DataFrame, folds: Folds, wanted: Sequence[int], name: str, task: Task) -> None:
    """Every id of the `wanted` folds once, in its own fold, with the fold file's label.

    Raises:
        InputError: names the file and the first offending id.
    """
    check_probabilities(table, name, task)
    truth = folds.table[folds.table["fold"].isin(list(wanted))].set_index("id")
    strays = sorted(set(table["id"]) ^ set(truth.index))
    if strays:
        raise InputError(f"{name}: {len(strays)} ids missing from or foreign to fold {wanted}, e.g. {strays[0]!r}")
    for column in ("fold", "label", "group"):
        wrong = table[column].to_numpy() != truth.loc[table["id"], column].to_numpy()
        if wrong.any():
            raise InputError(
                f"{name}: the {column} of {table['id'][wrong.argmax()]!r} is not that of folds/{folds.name}.csv"
            )


def write(path: Path, table: pd.DataFrame, provenance: dict[str, Any]) -> None:
    """Write a prediction table sorted by id, with its provenance: same rows, same bytes.

    Of several labels it has a column with the truth of each besides: 1, 0, or empty where it is not known.
    """
    task = task_of(table, provenance)
    check_probabilities(table, path.name, task)
    if CORRUPTION in table:  # eight times as many rows, in the precision that a network has
        table = table.astype(dict.fromkeys(class_columns(table), np.float32))
    elif not task.sums_to_one:
        table = with_truth(table, task)
    ordered = pa.Table.from_pandas(table.sort_values(_identity(table)), preserve_index=False)
    ordered = ordered.replace_schema_metadata({_META: json.dumps(provenance, sort_keys=True).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(ordered, temporary, compression="zstd")


def with_truth(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """`table` with a column of truth for each label before its probabilities."""
    truth = task.labels(table["label"].tolist())
    columns = {TRUTH + name: truth[:, n] for n, name in enumerate(task.classes)}
    return pd.concat([table[KEYS], pd.DataFrame(columns, index=table.index), table[class_columns(table)]], axis=1)


def without_truth(table: pd.DataFrame, task: Task, name: str) -> pd.DataFrame:
    """What `with_truth` was given; `InputError` where its columns and the labels say different things."""
    present = [column for column in table.columns if column.startswith(TRUTH)]
    if not present:
        return table
    wanted = [TRUTH + label for label in task.classes]
    if sorted(present) != sorted(wanted):
        raise InputError(f"{name}: its columns of truth are {', '.join(present)}, and not {', '.join(wanted)}")
    bare = table.drop(columns=present)
    try:
        expected = with_truth(bare, task)
    except KeyError as error:
        raise InputError(f"{name}: {error.args[0]!r} in its column label is none of the labels") from error
    for column in present:
        differs = ~np.isclose(table[column], expected[column], equal_nan=True)
        if differs.any():
            raise InputError(f"{name}: {column!r} of {table['id'][differs.argmax()]!r} is not what its label says")
    return bare


def _read_bounded(path: Path) -> pa.Table:
    """The table in a parquet file, once it is known that it fits into memory.

    A few bytes may stand for any number of rows, and a text that is stored once may be that of each of them.
    """
    with pq.ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
    unpacked = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
    if about.num_rows * about.num_columns > MOST_CELLS or unpacked > MOST_BYTES:
        raise InputError(
            f"{path} announces {about.num_rows:,} rows of {about.num_columns} columns, {unpacked / 1e6:,.0f} MB; a "
            f"prediction table has at most {MOST_CELLS:,} cells and {MOST_BYTES / 1e6:,.0f} MB"
        )
    texts = [
        column.name for column in schema if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    stored = pq.read_table(path, read_dictionary=texts)
    if sum(_text_bytes(stored[name]) for name in texts) > MOST_BYTES:
        raise InputError(f"{path} holds texts of more than {MOST_BYTES / 1e6:,.0f} MB; it is no prediction table")
    return stored.cast(schema)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Bytes that the texts of a column take once each row has its own."""
    total = 0
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
    return total


def _require_types(path: Path, stored: pa.Table) -> None:
    """Raise `InputError` where a column does not hold what it is called, or leaves a key out."""
    for name, column in zip(stored.column_names, stored.columns, strict=True):
        is_key = name in (*KEYS, CORRUPTION)
        if name == "fold" or (name == "group" and pa.types.is_integer(column.type)):
            fits = pa.types.is_integer(column.type)
        else:
            fits = _is_text(column.type) if is_key else pa.types.is_floating(column.type)
        if not fits:
            raise InputError(f"{path}: its column {name!r} holds {column.type}; it is no prediction table")
        if is_key and column.null_count:
            raise InputError(f"{path}: its column {name!r} is empty in {column.null_count} rows; restore it")


def read(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A checked prediction table and its provenance.

    Raises:
        InputError: missing, damaged, or without provenance.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; train the missing fold first")
    with _explained(path):
        stored = _read_bounded(path)
        table = stored.to_pandas()
        provenance = json.loads((stored.schema.metadata or {}).get(_META, b"null"))
    if not isinstance(provenance, dict) or any(k not in stored.column_names for k in KEYS):
        raise InputError(f"{path} was not written by chestfold: it carries no provenance")
    _require_types(path, stored)
    task = task_of(table, provenance)
    table = without_truth(table, task, str(path))
    check_probabilities(table, str(path), task)
    _require_labels(table, task, path)
    return table, provenance


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, LookupError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable parquet file; delete it and run its fold again") from error


def _require_labels(table: pd.DataFrame, task: Task, path: Path) -> None:
    """Raise `InputError` where a label is none of the classes whose columns the table has."""
    try:
        task.labels(table["label"].tolist())
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]!r} in its column label is none of its classes; restore it") from error


def merge_oof(parts: dict[int, pd.DataFrame], folds: Folds, wanted: Sequence[int], task: Task) -> pd.DataFrame:
    """The OOF tables of the `wanted` folds as one, proven against the fold file.

    Raises:
        InputError: a fold is missing, or a table is not that of its fold.
    """
    missing = sorted(set(wanted) - set(parts))
    if missing:
        raise InputError(f"the out-of-fold predictions of fold {missing} are missing; train them first")
    for fold, table in parts.items():
        check_against_folds(table, folds, [fold], f"OOF of fold {fold}", task)
    merged = pd.concat([parts[f] for f in sorted(parts)], ignore_index=True)
    check_against_folds(merged, folds, wanted, "merged OOF", task)
    return merged


def mean_predictions(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of several models' predictions of the same ids; `fold` becomes -1.

    Raises:
        InputError: they do not hold the same ids or classes.
    """
    first = parts[0]
    columns = class_columns(first)
    total = np.zeros((len(first), len(columns)))
    for part in parts:
        total += probabilities(aligned(part, first["id"], columns))
    mean = first.copy()
    mean["fold"] = np.int64(-1)
    mean[columns] = total / len(parts)
    return mean


def aligned(table: pd.DataFrame, ids: pd.Series, classes: Sequence[str]) -> pd.DataFrame:
    """`table` in the order of `ids`, matched by id, its class columns in the order of `classes`.

    Raises:
        InputError: other ids or other classes.
    """
    if sorted(class_columns(table)) != sorted(classes):
        raise InputError(f"classes differ: {class_columns(table)} and {list(classes)}")
    strays = sorted(set(table["id"]) ^ set(ids))
    if strays:
        raise InputError(f"the tables differ in {len(strays)} ids, the first is {strays[0]!r}")
    return table.set_index("id").loc[ids].reset_index()[[*KEYS, *classes]]
