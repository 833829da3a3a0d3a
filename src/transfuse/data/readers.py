"""References into tables and examples: the one door through which data come in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data import arrow_files, shapes, text_files
from transfuse.data.examples import Examples
from transfuse.data.labels import bin_labels, is_missing, is_number, name_rows, read_labels, refuse_missing
from transfuse.data.references import split_fragment
from transfuse.data.table import SUFFIXES, Table
from transfuse.errors import DataError, nearest

#: Column names that mean the input where none is named.
INPUT_NAMES = ("text", "sentence", "review", "content", "utterance", "query")
#: A text of more characters is a broken file and no text.
MOST_CHARACTERS = 1_000_000
#: What a path is relative to, for messages.
RELATIVE = "to the recipe, on the command line to the current folder"


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which column holds what.

    Args:
        input: the texts; None guesses: the only text column, or one named text, sentence, review and the like.
        label: the labels; None reads no labels.
        weight: a number >= 0 for each row; group: a key whose rows must not be split apart.
        bins: {label: condition} that turns a numeric label column into classes; see `labels.bin_labels`.
        written: whether labels are answers in words; the columns may then be left out, and the shape of the data be
            known by its keys (see `shapes`). context: a column of passages that the texts are about. tests, entry:
            where answers are programs, columns of test programs and of the function's name that they check. answered:
            whether answers are read; else requests alone, with or without answers beside them.
    """

    input: str | None = None
    label: str | None = None
    weight: str | None = None
    group: str | None = None
    bins: Mapping[str, str] | None = None
    written: bool = False
    context: str | None = None
    tests: str | None = None
    entry: str | None = None
    answered: bool = True


def read(reference: str, *, columns: Columns, base: Path) -> Examples:
    """The examples that a reference names.

    Args:
        reference: a path (relative to ``base``), ``catalog:NAME`` or ``hub:OWNER/NAME[:CONFIG][@REVISION][#SPLIT]``.
        columns: which column holds what; rows that fall in no bin are left out and counted in ``dropped``.

    Raises:
        DataError: anything that cannot be read or used; file, row, column and remedy are named.
        AssetError: a catalog or hub asset that cannot be fetched.
    """
    return to_examples(read_table(reference, base=base), columns)


def to_examples(table: Table, columns: Columns) -> Examples:
    """The examples of a table that has been read."""
    if columns.written:
        if columns.tests is not None:
            table = shapes.with_checks(table, columns.tests, columns.entry)
        table = shapes.plain(table, columns.input, columns.label, columns.context, answered=columns.answered)
        label = shapes.ANSWER if columns.answered else None
        columns = dataclasses.replace(columns, input=shapes.REQUEST, label=label, bins=None)
    for column in (columns.label, columns.weight, columns.group):
        if column is not None:
            _require(table, column)
    source = choose_input(table, columns)
    kept = np.arange(len(table))
    labels: tuple[str, ...] | None = None
    if columns.label is not None and columns.bins:
        kept, labels = bin_labels(table, columns.label, columns.bins)
    elif columns.written and columns.answered:
        labels = tuple(_texts(table, shapes.ANSWER))
    elif columns.label is not None:
        labels = read_labels(table, columns.label)
    texts = _texts(table, source)
    weights = None if columns.weight is None else _weights(table, columns.weight)
    groups = None if columns.group is None else _groups(table, columns.group)
    return Examples(
        texts=tuple(texts[i] for i in kept),
        labels=labels,
        weights=None if weights is None else weights[kept],
        groups=None if groups is None else tuple(groups[i] for i in kept),
        rows=table.rows[kept],
        origin=table.origin,
        dropped=len(table) - len(kept),
        further=tuple(table.columns[shapes.FURTHER]) if shapes.FURTHER in table.columns else None,
        checks=tuple(table.columns[shapes.CHECK]) if shapes.CHECK in table.columns else None,
    )


def read_table(reference: str, *, base: Path) -> Table:
    """The whole table that a reference names; see `read`."""
    if reference.startswith("catalog:"):
        return _read_asset(reference)
    if reference.startswith("hub:"):
        from transfuse.data import hub

        return hub.read(reference)
    path, split = base / Path(reference).expanduser(), None
    if not path.exists() and "#" in reference:
        plain, split = split_fragment(reference)
        path = base / Path(plain).expanduser()
    if not path.exists():
        raise _missing(reference, path)
    if path.is_dir():
        return _read_folder(path, split, reference)
    if split is not None:
        raise DataError(f"{reference}: a file has no splits", remedy=f"Leave out '#{split}'.")
    return read_file(path, reference)


def read_file(path: Path, origin: str) -> Table:
    """The table in one file, read by the ending of its name; ``origin`` stands in messages."""
    (table,) = read_parts(path, origin, None)
    return table


def read_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A file part by part, so that one of any size can be read: tables of at most ``rows`` rows with equal columns.

    Args:
        path: the file.
        origin: stands in messages.
        rows: rows a part; None for all in one.

    Raises:
        DataError: as `read`; it may come after some parts.
    """
    readers: dict[str, Callable[[Path, str, int | None], Iterator[Table]]] = {
        ".csv": text_files.csv_parts,
        ".tsv": text_files.tsv_parts,
        ".jsonl": text_files.json_parts,
        ".ndjson": text_files.json_parts,
        ".json": text_files.json_parts,
        ".parquet": arrow_files.parquet_parts,
        ".txt": text_files.txt_parts,
        ".po": shapes.po_parts,
        ".mo": shapes.po_parts,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{origin}: unknown kind of file '{path.suffix}'", expected="a file that ends in " + ", ".join(SUFFIXES)
        )
    try:
        yield from reader(path, origin, rows)
    except OSError as error:
        raise DataError(f"{origin}: cannot be read: {error.strerror or error}") from error


def _read_folder(folder: Path, split: str | None, origin: str) -> Table:
    if any((folder / name).exists() for name in ("state.json", "dataset_dict.json")):
        return arrow_files.read_saved_dataset(folder, split, origin)
    inside = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    raise DataError(
        f"{origin}: a folder",
        expected="a data file, or a folder that `datasets` saved with save_to_disk",
        remedy=f"Name one of its files: {', '.join(inside[:10])}." if inside else "It holds no data file.",
    )


def _missing(reference: str, path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        return DataError(f"{reference}: there is no folder {folder}", remedy=f"Paths are relative {RELATIVE}.")
    known = sorted(item.name for item in folder.iterdir() if item.is_dir() or item.suffix.lower() in SUFFIXES)
    return DataError(
        f"{reference}: there is no such file in {folder.resolve()}.{nearest(path.name, known)}",
        expected=f"a path (relative {RELATIVE}), catalog:NAME or hub:OWNER/NAME",
    )


def _read_asset(reference: str) -> Table:
    """A data asset of the catalog, fetched where it is not yet in the cache."""
    from transfuse.data import catalog

    asset = catalog.entry(reference.removeprefix("catalog:"))
    if asset.kind != "data":
        raise DataError(f"{reference}: a {asset.kind}, not data", expected="one of " + ", ".join(catalog.told("data")))
    folder = catalog.pull(asset.name)
    if asset.format == "tsv":
        return text_files.read_headless_tsv(folder / next(iter(asset.members)), reference, asset.columns)
    if asset.format == "gettext":
        return shapes.catalogues(folder, reference)
    texts: list[Any] = []
    labels: list[Any] = []
    for label, name in asset.labels.items():
        part = read_file(folder / name, reference).columns["text"]
        texts += part
        labels += [label] * len(part)
    return Table({"text": texts, "label": labels}, np.arange(1, len(texts) + 1), reference)


def _require(table: Table, column: str) -> None:
    if column in table.columns:
        return
    only = next(iter(table.columns)) if len(table.columns) == 1 else ""
    separator = next((name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in only), "")
    raise DataError(
        f"{table.origin}: no column '{column}'.{nearest(column, list(table.columns))}",
        expected="one of the columns " + ", ".join(f"'{name}'" for name in table.columns),
        remedy=f"The file seems to be separated by {separator}: save it with commas, or with tabs as .tsv."
        if separator
        else "",
    )


def choose_input(table: Table, columns: Columns) -> str:
    """The column with the texts: the one that is named, or else the one that can only be meant.

    Raises:
        DataError: no such column, or several that could be meant; the message lists the columns.
    """
    if columns.input is not None:
        _require(table, columns.input)
        return columns.input
    others = [name for name in table.columns if name not in (columns.label, columns.weight, columns.group)]
    named = [name for name in others if name.strip().casefold() in INPUT_NAMES]
    wordy = [name for name in others if _is_text(table.columns[name])]
    for candidates in (named, others, wordy):
        if len(candidates) == 1:
            return candidates[0]
    raise DataError(
        f"{table.origin}: which column holds the texts?",
        expected="one of the columns " + ", ".join(f"'{name}'" for name in table.columns),
        remedy="Name it: task: {input: COLUMN}.",
    )


def choose_asked(table: Table, input: str | None, output: str | None, context: str | None) -> Columns:
    """The columns of what is asked where answers are written, whether or not answers stand beside it.

    Args:
        table: as it was read.
        input, output: the columns of requests and answers, where they are named; without both the shape of the data is
            known by its keys, and without the first the column of requests by its name.
        context: the column of passages that requests are about, or None.

    Raises:
        DataError: no column of requests can be meant, or several.
    """
    if input is None and output is None and shapes.shape_of(table.columns, answered=False) is not None:
        return Columns(written=True, answered=False)
    asked = input or shapes.usual_request(table.columns) or choose_input(table, Columns(label=output))
    return Columns(asked) if context is None else Columns(asked, written=True, context=context, answered=False)


def _is_text(values: list[Any]) -> bool:
    """Strings that are not all numbers."""
    if not all(isinstance(value, str) or value is None for value in values):
        return False
    return not all(is_number(value) for value in values if value)


def _texts(table: Table, column: str) -> list[str]:
    """The column as N strings; a missing text is "", and half a surrogate pair becomes U+FFFD."""
    texts = []
    for row, value in zip(table.rows, table.columns[column], strict=True):
        if isinstance(value, (list, dict, bytes)):
            raise DataError(
                f"{table.origin}, column '{column}', row {row}: {type(value).__name__} {value!r:.60}",
                expected="a text in every row",
            )
        missing = value is None or (isinstance(value, float) and is_missing(value))
        text = "" if missing else str(value)
        if len(text) > MOST_CHARACTERS:
            raise DataError(
                f"{table.origin}, column '{column}', row {row}: a text of {len(text):,} characters",
                expected=f"at most {MOST_CHARACTERS:,} characters",
                remedy="Look for a quote that is not closed or line breaks that are lost, or split the document.",
            )
        texts.append(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return texts


def _weights(table: Table, column: str) -> np.ndarray:
    """The column as float64 [N], finite and >= 0."""
    weights = np.empty(len(table))
    for i, value in enumerate(table.columns[column]):
        try:
            weights[i] = float(value)
        except (TypeError, ValueError):
            weights[i] = np.nan
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataError(
            f"{table.origin}, column '{column}', {name_rows(table.rows[wrong])}: "
            f"'{table.columns[column][wrong[0]]}' is not a weight",
            expected="a finite number >= 0 in every row",
        )
    return weights


def _groups(table: Table, column: str) -> tuple[str, ...]:
    refuse_missing(table, column)
    return tuple(str(value) for value in table.columns[column])
