"""A table as the user wrote it: every column in order, with row numbers; and how it is written back with more."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TextIO

import numpy as np

from transfuse.errors import DataError, OutputError

#: What a table can be read from, by the end of the file's name.
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt", ".po", ".mo")


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
    """Write the table's own columns and then the extra ones; see `TableWriter`."""
    with TableWriter(path) as writer:
        writer.write(table, extra_columns)


class TableWriter:
    """Writes tables of equal columns into one file, part by part; the file appears whole or not at all.

    Args:
        path: ends in .csv, .tsv, .jsonl, .ndjson or .parquet.

    Raises:
        OutputError: a path that cannot be written, or whose ending is unknown.
    """

    def __init__(self, path: str | Path) -> None:
        self.target = Path(path)
        suffix = self.target.suffix.lower()
        if suffix not in _KINDS:
            raise OutputError(
                f"{self.target}: unknown kind of file", expected="a name that ends in .csv, .tsv, .jsonl or .parquet"
            )
        self._unfinished = self.target.with_name(self.target.name + ".tmp")
        with self._refusals():
            self._rows: _Rows = _KINDS[suffix](self._unfinished.open("wb"))

    def __enter__(self) -> TableWriter:
        return self

    def write(self, table: Table, extra_columns: Mapping[str, Sequence[Any]]) -> None:
        """Write a table's own columns and then the extra ones, after what was written before.

        Args:
            table: what to write; its order and values stay.
            extra_columns: {name: N values}.

        Raises:
            DataError: an extra column has the name of an existing one, or another length.
            OutputError: the disk is full.
        """
        for name, values in extra_columns.items():
            if name in table.columns:
                raise DataError(
                    f"{table.origin}: has a column '{name}' already, so it cannot be added to {self.target}",
                    remedy=f"Rename or drop the column '{name}' of the input.",
                )
            if len(values) != len(table):
                raise DataError(f"{table.origin}: {len(table)} rows, but {len(values)} values for the column '{name}'")
        with self._refusals():
            self._rows.write(table, extra_columns)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._refusals():
            self._rows.close()
            if kind is None:
                self._unfinished.replace(self.target)
        self._unfinished.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                self._unfinished.unlink(missing_ok=True)
            raise OutputError(
                f"{self.target}: {error.strerror or error}",
                expected="a folder that exists, can be written and has space left",
                remedy="Choose another output file.",
            ) from error


class _Rows(Protocol):
    """How rows of one kind of file are written to an open stream of bytes."""

    def write(self, table: Table, extra: Mapping[str, Sequence[Any]]) -> None: ...

    def close(self) -> None: ...


class CsvRows:
    """Rows of strings with a header, to a stream of text."""

    def __init__(self, stream: TextIO, delimiter: str = ",") -> None:
        self._stream, self._begun = stream, False
        self._writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")

    def write(self, table: Table, extra: Mapping[str, Sequence[Any]]) -> None:
        """Write the rows; before the first ones the names."""
        columns = {**table.columns, **extra}
        if not self._begun:
            self._writer.writerow(columns)
            self._begun = True
        self._writer.writerows(zip(*columns.values(), strict=True))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class JsonlRows:
    """A JSON object a row, to a stream of text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, table: Table, extra: Mapping[str, Sequence[Any]]) -> None:
        """Write the rows."""
        columns = {**table.columns, **extra}
        for values in zip(*columns.values(), strict=True):
            record = dict(zip(columns, values, strict=True))
            self._stream.write(json.dumps(record, ensure_ascii=False, default=_plain) + "\n")

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


class _ParquetRows:
    """A row group a part; the types are those of the first part."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._writer: Any = None

    def write(self, table: Table, extra: Mapping[str, Sequence[Any]]) -> None:
        """Write the rows as a group of their own."""
        import pyarrow
        import pyarrow.parquet

        arrow = table.arrow
        if arrow is None:
            arrow = pyarrow.table(table.columns)
        for name, values in extra.items():
            arrow = arrow.append_column(name, pyarrow.array(values))
        if self._writer is None:
            self._writer = pyarrow.parquet.ParquetWriter(self._stream, arrow.schema)
        try:
            self._writer.write_table(arrow.cast(self._writer.schema))
        except (pyarrow.ArrowInvalid, ValueError) as error:
            raise DataError(
                f"{table.origin}, rows {table.rows[0]} to {table.rows[-1]}: other types than the rows before: {error}",
                expected="one type a column",
                remedy="Write to .jsonl or .csv instead.",
            ) from error

    def close(self) -> None:
        """Write what ends the file, and close the stream."""
        if self._writer is not None:
            self._writer.close()
        self._stream.close()


def _text(stream: IO[bytes]) -> TextIO:
    return io.TextIOWrapper(stream, encoding="utf-8", newline="")


_KINDS: dict[str, Callable[[IO[bytes]], _Rows]] = {
    ".csv": lambda stream: CsvRows(_text(stream)),
    ".tsv": lambda stream: CsvRows(_text(stream), "\t"),
    ".jsonl": lambda stream: JsonlRows(_text(stream)),
    ".ndjson": lambda stream: JsonlRows(_text(stream)),
    ".parquet": _ParquetRows,
}


def _plain(value: Any) -> Any:
    """A JSON value for NumPy scalars; anything else (a date, bytes) as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def read_lines(stream: Iterable[str], origin: str = "standard input", rows: int | None = None) -> Iterator[Table]:
    """One text a line from an open stream, as tables of at most ``rows`` rows; an empty line is an empty text."""
    numbered = enumerate((line.rstrip("\r\n") for line in stream), 1)
    while part := list(itertools.islice(numbered, rows)):
        yield Table({"text": [text for _, text in part]}, np.array([n for n, _ in part], dtype=np.int64), origin)
