"""CSV, TSV, JSONL and plain lines into tables, whole or part by part, with errors that name the line."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from transfuse.data import shapes
from transfuse.data.table import Table
from transfuse.errors import DataError

T = TypeVar("T")

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
_PART = 1 << 20
"""Bytes of a file that are looked at a time."""

Numbered = Iterator[tuple[int, str]]
"""Lines with their numbers from 1 on, without what ends them."""


def lines(path: Path, origin: str) -> Numbered:
    """The lines of a UTF-8 file, a byte order mark left out; only a line feed ends one. The file is checked first.

    Raises:
        DataError: an empty file, a binary file, or another encoding; the message names the byte and the line.
    """
    check(path, origin)
    with path.open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, 1):
            yield number, line.removesuffix("\n").removesuffix("\r")


def check(path: Path, origin: str) -> None:
    """Refuse what is no UTF-8 text, in one pass over the bytes.

    Raises:
        DataError: as `lines` says.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    before, newlines, blank = 0, 0, True
    with path.open("rb") as file:
        while data := file.read(_PART):
            if not before:
                _refuse_kinds(data, path, origin)
            nul = data.find(b"\0")
            if nul >= 0:
                raise DataError(
                    f"{origin}: a binary file (a NUL at byte {before + nul})", expected="a text file in UTF-8"
                )
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(data)
            except UnicodeDecodeError as error:
                raise _not_utf8(path, origin, before - waiting + error.start) from None
            blank = blank and not data.strip()
            before, newlines = before + len(data), newlines + data.count(b"\n")
    if blank:
        raise DataError(f"{origin}: the file is empty", expected="a header and at least one row")
    if decoder.getstate()[0]:
        raise _not_utf8(path, origin, before - len(decoder.getstate()[0]))


def _refuse_kinds(start: bytes, path: Path, origin: str) -> None:
    """What the first bytes of a file give away."""
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{origin}: this is {kind}", expected="a text file in UTF-8", remedy=_export_remedy(kind))
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong_encoding(origin, path, "UTF-16", "the whole file is UTF-16")


def _not_utf8(path: Path, origin: str, at: int) -> DataError:
    """The error for a byte that is no UTF-8; to guess what it is, the file is read as a whole."""
    data = path.read_bytes()
    place = f"byte {at} (line {data.count(10, 0, at) + 1}) is 0x{data[at]:02x}"
    return _wrong_encoding(origin, path, _guess_encoding(data), place)


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


def csv_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A comma-separated file with a header; quoted fields may hold commas and line breaks."""
    check(path, origin)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        yield from _of_fields(_csv_fields(csv.reader(stream, strict=True), origin), origin, rows)


def _csv_fields(reader: Any, origin: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row; the limit of a field's length is the reader's own only while it reads."""
    while True:
        before = csv.field_size_limit(_FIELD_LIMIT)
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{origin}, line {reader.line_num}: {error}",
                expected='fields in double quotes where they hold a comma, a quote (doubled: "") or a line break',
                remedy="Look for a quote that is not closed.",
            ) from None
        finally:
            csv.field_size_limit(before)
        if fields is None:
            return
        yield reader.line_num, fields


def tsv_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A tab-separated file: a line is a row, quotes are plain characters unless they enclose a whole field."""
    numbered = ((n, line.split("\t") if line else []) for n, line in lines(path, origin))
    yield from _of_fields(((n, [_unquote(field) for field in fields]) for n, fields in numbered), origin, rows)


def read_headless_tsv(path: Path, origin: str, columns: Sequence[str]) -> Table:
    """A tab-separated file without a header in which every quote is a plain character; ``columns`` are its names."""
    fields = ((n, line.split("\t") if line else []) for n, line in lines(path, origin))
    (table,) = _of_fields(itertools.chain([(0, list(columns))], fields), origin, None)
    return table


def _unquote(field: str) -> str:
    """What a spreadsheet meant by a quoted field; any other field as it is."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in field[1:-1].replace('""', ""):
        return field
    return field[1:-1].replace('""', '"')


def _of_fields(records: Iterator[tuple[int, list[str]]], origin: str, rows: int | None) -> Iterator[Table]:
    """Tables from (line, fields) of the header and of every row; empty lines count but are left out."""
    header = [name.strip() for name in next(records, (1, []))[1]]
    doubled = sorted({name for name in header if header.count(name) > 1})
    if not header or doubled:
        found = f"the column name '{doubled[0]}' stands twice" if header else "the first line is empty"
        raise DataError(f"{origin}, line 1: {found}", expected="a header of different column names")
    body = ((row, line, fields) for row, (line, fields) in enumerate(records, 1) if fields)
    part: list[tuple[int, int, list[str]]] = []
    for part in _in_parts(body, rows):
        for _, line, fields in part:
            if len(fields) != len(header):
                raise DataError(
                    f"{origin}, line {line}: {len(fields)} fields, but the header has {len(header)}",
                    expected=f"{len(header)} fields: " + ", ".join(header),
                    remedy="Put fields that hold a separator in double quotes, or fill what is missing.",
                )
        values = zip(*(fields for _, _, fields in part), strict=True)
        columns = {name: list(column) for name, column in zip(header, values, strict=True)}
        yield Table(columns, np.array([row for row, _, _ in part], dtype=np.int64), origin)
    if not part:
        raise DataError(f"{origin}: a header but no rows", expected="at least one row below the header")


def _in_parts(items: Iterator[T], size: int | None) -> Iterator[list[T]]:
    """Items in lists of ``size``, the last one shorter; all in one list for None."""
    while part := list(itertools.islice(items, size)):
        yield part


def json_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A JSON object a line, or one array of objects, or SQuAD's JSON; a key that some objects lack is None there."""
    squad = _squad(path, origin)
    if squad is not None:
        yield squad
        return
    names: dict[str, None] = {}
    for _, record in _records(path, origin):  # the keys are known only at the end of the file
        names.update(dict.fromkeys(record))
    if not names:
        raise DataError(f"{origin}: no rows", expected="at least one JSON object with a text")
    for part in _in_parts(_records(path, origin), rows):
        columns = {name: [record.get(name) for _, record in part] for name in names}
        yield Table(columns, np.array([n for n, _ in part], dtype=np.int64), origin)


def _squad(path: Path, origin: str) -> Table | None:
    """A file that is one object with SQuAD's articles under ``data``."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        start = stream.read(4096).lstrip()
    if not start.startswith("{") or '"data"' not in start:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError:  # lines of objects, or a mistake that is told with its line
        return None
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        return None
    return shapes.squad_table(content, origin)


def _records(path: Path, origin: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON file with their numbers."""
    numbered = ((n, line) for n, line in lines(path, origin) if line.strip())
    first = next(numbered, (1, ""))
    if first[1].lstrip().startswith("["):
        items = enumerate(_parse(path.read_text(encoding="utf-8-sig"), origin, 0), 1)
        found = ((n, f"{origin}, item {n}", item) for n, item in items)
    else:
        every = itertools.chain([first] if first[1] else [], numbered)
        found = ((n, f"{origin}, line {n}", _parse(line, origin, n)) for n, line in every)
    for n, place, record in found:
        if not isinstance(record, dict):
            raise DataError(
                f"{place}: {type(record).__name__} {json.dumps(record, ensure_ascii=False)[:40]}",
                expected='a JSON object, such as {"text": "…", "label": "…"}',
            )
        yield n, record


def _parse(text: str, origin: str, line: int) -> Any:
    """The JSON value of one line, or of the whole file where ``line`` is 0."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, character {error.colno}"
        raise DataError(f"{origin}, {place}: {error.msg}", expected="one JSON object a line") from None


def txt_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """One text a line, as the column "text"; empty lines are left out."""
    part: list[tuple[int, str]] = []
    for part in _in_parts(((n, line) for n, line in lines(path, origin) if line.strip()), rows):
        yield Table({"text": [line for _, line in part]}, np.array([n for n, _ in part], dtype=np.int64), origin)
    if not part:
        raise DataError(f"{origin}: no rows", expected="at least one text, one a line")
