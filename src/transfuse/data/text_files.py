"""CSV, TSV, JSONL and plain lines into tables, with errors that name the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.table import Table
from transfuse.errors import DataError

_MAGIC = {
    b"PK\x03\x04": "a zip file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
_FIELD_LIMIT = 2**31 - 1


def decode(path: Path, origin: str) -> str:
    """The text of a UTF-8 file, a byte order mark left out.

    Raises:
        DataError: an empty file, a binary file, or another encoding; the message names the byte and the line.
    """
    data = path.read_bytes()
    if not data.strip():
        raise DataError(f"{origin}: the file is empty", expected="a header and at least one row")
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            raise DataError(f"{origin}: this is {kind}", expected="a text file in UTF-8", remedy=_export_remedy(kind))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong_encoding(origin, path, "UTF-16", "the whole file is UTF-16")
    nul = data.find(b"\0")
    if nul >= 0:
        raise DataError(f"{origin}: a binary file (a NUL at byte {nul})", expected="a text file in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = f"byte {error.start} (line {line}) is 0x{data[error.start]:02x}"
        raise _wrong_encoding(origin, path, _guess_encoding(data), place) from None


def _export_remedy(kind: str) -> str:
    if kind == "a Parquet file":
        return "Give the file a name that ends in .parquet."
    return "Export the data as CSV (UTF-8), or name the data file itself."


def _guess_encoding(data: bytes) -> str:
    """The likeliest of the encodings that people's spreadsheets write: GB18030 where it yields Chinese, else CP1252."""
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return "CP1252"
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in text)
    foreign = sum(character > "\x7f" for character in text)
    return "GB18030" if 4 * chinese > 3 * foreign else "CP1252"


def _wrong_encoding(origin: str, path: Path, guess: str, place: str) -> DataError:
    return DataError(
        f"{origin}: not UTF-8: {place}; it looks like {guess}",
        expected="UTF-8",
        remedy=f"Save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or: "
        f"iconv -f {guess} -t UTF-8 {path.name} > {path.stem}-utf8{path.suffix}",
    )


def read_csv(path: Path, origin: str) -> Table:
    """A comma-separated file with a header; quoted fields may hold commas and line breaks."""
    before = csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(io.StringIO(decode(path, origin), newline=""), strict=True)
    try:
        numbered = [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise DataError(
            f"{origin}, line {reader.line_num}: {error}",
            expected='fields in double quotes where they hold a comma, a quote (doubled: "") or a line break',
            remedy="Look for a quote that is not closed.",
        ) from None
    finally:
        csv.field_size_limit(before)
    return _from_fields(numbered, origin)


def read_tsv(path: Path, origin: str, columns: Sequence[str] = ()) -> Table:
    r"""A tab-separated file: a line is a row, quotes are plain characters unless they enclose a whole field.

    Args:
        columns: the names, for a file without a header in which every quote is a plain character.
    """
    lines = decode(path, origin).replace("\r\n", "\n").rstrip("\n").split("\n")
    numbered = [(n, line.split("\t") if line else []) for n, line in enumerate(lines, 1)]
    if columns:
        return _from_fields([(0, list(columns)), *numbered], origin)
    return _from_fields([(n, [_unquote(field) for field in fields]) for n, fields in numbered], origin)


def _unquote(field: str) -> str:
    """What a spreadsheet meant by a quoted field; any other field as it is."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in field[1:-1].replace('""', ""):
        return field
    return field[1:-1].replace('""', '"')


def _from_fields(records: list[tuple[int, list[str]]], origin: str) -> Table:
    """Build the table from (line, fields) of the header and of every row; empty lines count but are left out."""
    header = [name.strip() for name in records[0][1]]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if not header or doubled:
        found = f"the column name '{doubled[0]}' stands twice" if header else "the first line is empty"
        raise DataError(f"{origin}, line 1: {found}", expected="a header of different column names")
    body = [(row, line, fields) for row, (line, fields) in enumerate(records[1:], 1) if fields]
    if not body:
        raise DataError(f"{origin}: a header but no rows", expected="at least one row below the header")
    for _, line, fields in body:
        if len(fields) != len(header):
            raise DataError(
                f"{origin}, line {line}: {len(fields)} fields, but the header has {len(header)}",
                expected=f"{len(header)} fields: " + ", ".join(header),
                remedy="Put fields that hold a separator in double quotes, or fill what is missing.",
            )
    values = zip(*(fields for _, _, fields in body), strict=True)
    columns = {name: list(column) for name, column in zip(header, values, strict=True)}
    return Table(columns, np.array([row for row, _, _ in body], dtype=np.int64), origin)


def read_json(path: Path, origin: str) -> Table:
    """A JSON object a line, or one array of objects; a key that some objects lack is None there."""
    text = decode(path, origin)
    if text.lstrip().startswith("["):
        items = enumerate(_parse(text, origin, 0), 1)
        numbered = [(n, f"{origin}, item {n}", item) for n, item in items]
    else:
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        numbered = [(n, f"{origin}, line {n}", _parse(line, origin, n)) for n, line in lines]
    for _, place, record in numbered:
        if not isinstance(record, dict):
            raise DataError(
                f"{place}: {type(record).__name__} {json.dumps(record, ensure_ascii=False)[:40]}",
                expected='a JSON object, such as {"text": "…", "label": "…"}',
            )
    names = dict.fromkeys(name for _, _, record in numbered for name in record)
    if not names:
        raise DataError(f"{origin}: no rows", expected="at least one JSON object with a text")
    columns = {name: [record.get(name) for _, _, record in numbered] for name in names}
    return Table(columns, np.array([n for n, _, _ in numbered], dtype=np.int64), origin)


def _parse(text: str, origin: str, line: int) -> Any:
    """The JSON value of one line, or of the whole file where ``line`` is 0."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, character {error.colno}"
        raise DataError(f"{origin}, {place}: {error.msg}", expected="one JSON object a line") from None


def read_txt(path: Path, origin: str) -> Table:
    """One text a line, as the column "text"; empty lines are left out."""
    lines = decode(path, origin).replace("\r\n", "\n").split("\n")
    kept = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    return Table({"text": [line for _, line in kept]}, np.array([n for n, _ in kept], dtype=np.int64), origin)
