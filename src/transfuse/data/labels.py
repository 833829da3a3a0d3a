"""Label columns into class names: plain values, class numbers with names, and bins of a number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.data.table import Table
from transfuse.errors import DataError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPARISON = re.compile(rf"(<=|>=|==|<|>)?\s*({_NUMBER})")
_RANGE = re.compile(rf"((?:{_NUMBER})?)\s*\.\.\s*((?:{_NUMBER})?)")
_BINS_HELP = '{low: "< 2", middle: "2..4", high: "> 4"}'
#: More different labels than this, when they are fractions, are ratings and not classes.
MANY_FRACTIONS = 50


def name_rows(rows: Sequence[int] | np.ndarray, limit: int = 5) -> str:
    """``"row 4"``, ``"rows 4, 18, 77"`` or ``"rows 1, 2, 3, 4, 5 and 120 more"``."""
    shown = ", ".join(str(int(row)) for row in rows[:limit])
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def is_missing(value: Any) -> bool:
    """None, NaN, an empty string or the string "nan"."""
    if isinstance(value, str):
        return value.strip().casefold() in ("", "nan")
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_number(text: str) -> bool:
    """Whether the whole text is a decimal number."""
    return re.fullmatch(_NUMBER, text.strip()) is not None


def refuse_missing(table: Table, column: str) -> None:
    """Raise a DataError that names the rows in which the column has no value."""
    missing = [i for i, value in enumerate(table.columns[column]) if is_missing(value)]
    if missing:
        raise DataError(
            f"{table.origin}, column '{column}', {name_rows(table.rows[missing])}: no value",
            expected="a value in every row",
            remedy="Fill it, drop these rows, or give the file as unlabelled text.",
        )


def read_labels(table: Table, column: str) -> tuple[str, ...]:
    """The labels of N rows as strings; 1.0 becomes "1", class numbers become their names.

    Raises:
        DataError: a missing label, a label that is a list or an object, a class number without a name, or more than
            50 different fractions, which are ratings that need bins.
    """
    values = table.columns[column]
    refuse_missing(table, column)
    names = table.class_names.get(column)
    if names and all(isinstance(value, int) for value in values):
        return _class_names(table, column, names)
    for row, value in zip(table.rows, values, strict=True):
        if isinstance(value, (list, dict)):
            raise DataError(f"{table.origin}, column '{column}', row {row}: {value!r:.60}", expected="one label a row")
    labels = [value.strip() if isinstance(value, str) else str(value) for value in values]
    if not all(map(is_number, labels)):
        return tuple(labels)
    distinct = set(labels)
    fractions = [label for label in distinct if not float(label).is_integer()]
    if len(distinct) > MANY_FRACTIONS and fractions:
        low, high = min(map(float, distinct)), max(map(float, distinct))
        raise DataError(
            f"{table.origin}, column '{column}': {len(distinct)} different numbers from {low:g} to {high:g}, "
            "which are ratings and not classes",
            expected=f"at most {MANY_FRACTIONS} different labels where they are fractions",
            remedy=f"Say which numbers make a class with bins, such as {_BINS_HELP}.",
        )
    return tuple(re.sub(r"\.0*$", "", label) for label in labels) if not fractions else tuple(labels)


def _class_names(table: Table, column: str, names: Sequence[str]) -> tuple[str, ...]:
    values = table.columns[column]
    outside = [i for i, value in enumerate(values) if not 0 <= value < len(names)]
    if outside:
        raise DataError(
            f"{table.origin}, column '{column}', {name_rows(table.rows[outside])}: the class number "
            f"{values[outside[0]]} has no name (-1 marks a split whose labels are kept secret)",
            expected=f"0 to {len(names) - 1}: " + ", ".join(names),
            remedy="Choose a split with labels, or give it as unlabelled text.",
        )
    return tuple(names[value] for value in values)


def bin_labels(table: Table, column: str, bins: Mapping[str, str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions [M] of the rows that fall in a bin, and the bin of each.

    Args:
        bins: {label: condition}; a condition is ``"< -0.5"``, ``">= 0, < 2"``, ``"0..2"`` (both ends in) or ``"3"``.

    Raises:
        DataError: a value that is not a number, a row in two bins, a condition that cannot be read, no row in any bin.
    """
    numbers = _numbers(table, column)
    inside = np.stack([_matches(numbers, label, condition) for label, condition in bins.items()])  # [bins, N]
    twice = np.flatnonzero(inside.sum(axis=0) > 1)
    if len(twice):
        both = [label for label, hit in zip(bins, inside[:, twice[0]], strict=True) if hit]
        raise DataError(
            f"{table.origin}, column '{column}', {name_rows(table.rows[twice])}: {numbers[twice[0]]:g} falls in the "
            f"bins '{both[0]}' and '{both[1]}'",
            expected="bins that do not overlap",
        )
    kept = np.flatnonzero(inside.any(axis=0))
    if not len(kept):
        raise DataError(
            f"{table.origin}, column '{column}': no row falls in any of the bins {dict(bins)}; "
            f"the values go from {numbers.min():g} to {numbers.max():g}"
        )
    labels = list(bins)
    return kept, tuple(labels[i] for i in inside[:, kept].argmax(axis=0))


def _numbers(table: Table, column: str) -> np.ndarray:
    """The column as float64 [N]."""
    refuse_missing(table, column)
    numbers = np.empty(len(table))
    for i, value in enumerate(table.columns[column]):
        try:
            numbers[i] = float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"{table.origin}, column '{column}', row {table.rows[i]}: '{value}' is not a number",
                expected="numbers, because bins are given",
                remedy="Leave out bins where the column holds labels.",
            ) from None
    return numbers


def _matches(numbers: np.ndarray, label: str, condition: str) -> np.ndarray:
    """Bool [N]: which numbers fulfil the condition of one bin."""
    result = np.ones(len(numbers), dtype=bool)
    for part in str(condition).split(","):
        bounds, comparison = _RANGE.fullmatch(part.strip()), _COMPARISON.fullmatch(part.strip())
        if bounds:
            low, high = bounds.groups()
            result &= (numbers >= float(low or -np.inf)) & (numbers <= float(high or np.inf))
        elif comparison:
            sign, bound = comparison.groups()
            result &= _COMPARE[sign or "=="](numbers, float(bound))
        else:
            raise DataError(
                f"bins: '{label}: {condition}' cannot be read",
                expected=f"conditions of <, <=, >, >=, == and ranges, such as {_BINS_HELP}",
            )
    return result


_COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal}
