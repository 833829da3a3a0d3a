"""Parquet files and saved `datasets` folders into tables."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.table import Table
from transfuse.errors import DataError, nearest


def parquet_parts(path: Path, origin: str, rows: int | None) -> Iterator[Table]:
    """A Parquet file; class names are taken from the features that `datasets` leaves in it."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if rows is None or not file.metadata.num_rows:
                yield from_arrow(file.read(), origin)
                return
            done = 0
            for batch in file.iter_batches(batch_size=rows):
                table = from_arrow(pyarrow.Table.from_batches([batch], file.schema_arrow), origin)
                yield dataclasses.replace(table, rows=table.rows + done)
                done += len(table)
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{origin}: not a Parquet file: {error}", expected="a Parquet file") from None


def read_saved_dataset(folder: Path, split: str | None, origin: str) -> Table:
    """A folder that `datasets` wrote with save_to_disk; one with several splits needs ``split``.

    Raises:
        DataError: no or an unknown split; the message lists the splits.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{origin}: the datasets folder cannot be read: {error}") from None
    if isinstance(saved, datasets.DatasetDict):
        saved = saved[choose_split(list(saved), split, origin)]
    elif split is not None:
        raise DataError(f"{origin}: the folder holds one data set without splits", remedy=f"Leave out '#{split}'.")
    return from_dataset(saved, origin)


def choose_split(known: list[str], split: str | None, origin: str) -> str:
    """The split that was asked for, or the only one."""
    if split is None and len(known) == 1:
        return known[0]
    if split not in known:
        found = "several splits" if split is None else f"no split '{split}'.{nearest(split, known)}"
        raise DataError(
            f"{origin}: {found}",
            expected="one of " + ", ".join(known),
            remedy=f"Write #SPLIT at the end, such as #{known[0]}.",
        )
    return split


def from_dataset(dataset: Any, origin: str) -> Table:
    """A `datasets.Dataset`; nothing (such as images) is decoded."""
    names = {name: tuple(feature.names) for name, feature in dataset.features.items() if hasattr(feature, "str2int")}
    return _table(dataset.with_format("arrow")[:], names, origin)


def from_arrow(arrow: Any, origin: str) -> Table:
    """A pyarrow.Table."""
    metadata = (arrow.schema.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(metadata).get("info", {}).get("features") or {}
    names = {
        name: tuple(feature["names"])
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    return _table(arrow, names, origin)


def _table(arrow: Any, class_names: dict[str, tuple[str, ...]], origin: str) -> Table:
    if arrow.num_rows == 0:
        raise DataError(f"{origin}: no rows", expected="at least one row")
    columns = {name: arrow.column(name).to_pylist() for name in arrow.column_names}
    return Table(columns, np.arange(1, arrow.num_rows + 1), origin, class_names, arrow)
