"""A table as the user wrote it: every column in order, with row numbers; and how it is written back with more."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from transfuse.errors import DataError, OutputError

#: What a table can be read from, by the end of the file's name.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of equal length, row by row in the user's order.

    Args:
        columns: {name: N values}, in the order of the file. CSV and TSV give strings; the rest gives Python values.
        rows: int64 [N], the row of each in the file, counted from 1 (a header does not count, an empty line does).
        origin: the reference as the user wrote it, for messages.
        class_names: {column: names} of the columns that hold class numbers, from the features of `datasets`.
        arrow: the same as a pyarrow.Table where it came as one, so that types survive writing; else None.
    """

    columns: dict[str, list[Any]]
    rows: np.ndarray
    origin: str
    class_names: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    arrow: Any = None

    def __len__(self) -> int:
        return len(self.rows)


def write_table(table: Table, extra_columns: Mapping[str, Sequence[Any]], path: str | Path) -> None:
    """Write the table's own columns and then the extra ones; the file appears whole or not at all.

    Args:
        table: what to write; its order and values stay.
        extra_columns: {name: N values}.
        path: ends in .csv, .tsv, .jsonl, .ndjson or .parquet.

    Raises:
        DataError: an extra column has the name of an existing one, or another length.
        OutputError: a path that cannot be written, or whose ending is unknown.
    """
    target = Path(path)
    for name, values in extra_columns.items():
        if name in table.columns:
            raise DataError(
                f"{table.origin}: has a column '{name}' already, so it cannot be added to {target}",
                remedy=f"Rename or drop the column '{name}' of the input.",
            )
        if len(values) != len(table):
            raise DataError(f"{table.origin}: {len(table)} rows, but {len(values)} values for the column '{name}'")
    writer = {
        ".csv": _write_csv,
        ".tsv": _write_csv,
        ".jsonl": _write_jsonl,
        ".ndjson": _write_jsonl,
        ".parquet": _write_parquet,
    }.get(target.suffix.lower())
    if writer is None:
        raise OutputError(
            f"{target}: unknown kind of file", expected="a name that ends in .csv, .tsv, .jsonl or .parquet"
        )
    unfinished = target.with_name(target.name + ".tmp")
    try:
        writer(table, extra_columns, unfinished, target.suffix.lower())
        unfinished.replace(target)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(
            f"{target}: {error.strerror or error}",
            expected="a folder that exists, can be written and has space left",
            remedy="Choose another output file.",
        ) from error


def _write_csv(table: Table, extra: Mapping[str, Sequence[Any]], path: Path, suffix: str) -> None:
    columns = {**table.columns, **extra}
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_jsonl(table: Table, extra: Mapping[str, Sequence[Any]], path: Path, suffix: str) -> None:
    columns = {**table.columns, **extra}
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for values in zip(*columns.values(), strict=True):
            record = dict(zip(columns, values, strict=True))
            stream.write(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """A JSON value for NumPy scalars; anything else (a date, bytes) as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _write_parquet(table: Table, extra: Mapping[str, Sequence[Any]], path: Path, suffix: str) -> None:
    import pyarrow
    import pyarrow.parquet

    arrow = pyarrow.table(table.columns) if table.arrow is None else table.arrow
    for name, values in extra.items():
        arrow = arrow.append_column(name, pyarrow.array(values))
    pyarrow.parquet.write_table(arrow, path)


def read_lines(stream: TextIO, origin: str = "standard input") -> Table:
    """One text a line from an open stream, as a table with the column "text"; an empty line is an empty text."""
    texts = [line.rstrip("\r\n") for line in stream]
    return Table({"text": list(texts)}, np.arange(1, len(texts) + 1), origin)
