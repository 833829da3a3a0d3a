"""The one place that checks labels and probabilities, so that every figure refuses the same mistakes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError

TOLERANCE = 1e-4
"""How far a probability may lie outside 0..1, for the rounding of half-precision arithmetic."""


def as_labels(labels: ArrayLike, classes: int) -> np.ndarray:
    """Class positions as int64 [N].

    Raises:
        DataError: no labels, labels that are not whole numbers, or a label outside 0..classes-1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"Labels of shape {array.shape}", expected="one class position an example, of at least one")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"Labels of type {array.dtype}", expected="whole numbers", remedy="Give each label its position."
        )
    if array.min() < 0 or array.max() >= classes:
        wrong = int(array[(array < 0) | (array >= classes)][0])
        raise DataError(
            f"Label {wrong} but probabilities of {classes} classes",
            expected=f"labels from 0 to {classes - 1}",
            remedy="Add a column of zeros for a class that the model does not know.",
        )
    return array.astype(np.int64)


def as_repeats(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Checked labels int64 [N] and probabilities float64 [R, N, C]; [N, C] becomes one repeat.

    Written answers, object [N] or [R, N], go with what was expected of them, object [N] (see `texts`).

    Raises:
        DataError: shapes that do not fit each other, or probabilities that are not finite or not in 0..1.
    """
    if getattr(probabilities, "dtype", None) == np.dtype(object):
        return _as_written(np.asarray(labels), np.asarray(probabilities))
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim == 2:
        table = table[None]
    if table.ndim != 3 or table.shape[0] == 0 or table.shape[2] == 0:
        raise DataError(f"Probabilities of shape {np.shape(probabilities)}", expected="[examples, classes]")
    known = as_labels(labels, table.shape[2])
    if len(known) != table.shape[1]:
        raise DataError(f"{len(known)} labels but probabilities of {table.shape[1]} examples", expected="one each")
    if not np.isfinite(table).all():
        row = int(np.argwhere(~np.isfinite(table))[0][1])
        raise DataError(f"Example {row}: a probability that is not a number", remedy="Look at the model's output.")
    if table.min() < -TOLERANCE or table.max() > 1 + TOLERANCE:
        raise DataError(
            f"Probabilities from {table.min():.3g} to {table.max():.3g}",
            expected="values from 0 to 1",
            remedy="Apply a softmax to logits first.",
        )
    return known, table


def _as_written(expected: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked answers [R, N] and what was expected [N]."""
    table = answers[None] if answers.ndim == 1 else answers
    if table.ndim != 2 or expected.shape != table.shape[1:] or not table.size:
        raise DataError(f"Answers of shape {answers.shape} to {len(expected)} requests", expected="one answer each")
    wrong = next((i for i in np.ndindex(table.shape) if not isinstance(table[i], str)), None)
    if wrong is not None:
        raise DataError(f"Answer {wrong[1]}: {table[wrong]!r}", expected="a string")
    return expected, table
