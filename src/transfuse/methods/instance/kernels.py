"""Gaussian kernels, and the widths that suit some rows."""

from __future__ import annotations

import numpy as np

MOST_PAIRS = 1000
"""Rows by which the median distance is taken."""
EQUAL = 1e-6
"""Share of the rows' length under which a distance is what rounding leaves: the rows are equal."""


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a_i - b_j‖², float64 [N, M], never negative.

    Raises:
        ValueError: a feature is not finite; the message names the row.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    for rows in (a, b):
        if not np.isfinite(rows).all():
            row = int(np.argmin(np.isfinite(rows).all(axis=1)))
            raise ValueError(f"features of {len(rows)} rows: row {row} has NaN or infinity; expected finite numbers")
    found: np.ndarray = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0.0)
    return found


def gaussian(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """exp(-‖a_i - b_j‖² / (2 width²)), float64 [N, M]."""
    found: np.ndarray = np.exp(-squared_distances(a, b) / (2 * width**2))
    return found


def median_distance(x: np.ndarray) -> float:
    """The median distance between two different rows of a thousand at most: a width that is seldom far off.

    The thousand are taken at even strides, so that of source and target, one behind the other, each has its share.

    Args:
        x: float [N, D].

    Returns:
        Above 0; 1 where rows do not differ.

    Raises:
        ValueError: as `squared_distances`.
    """
    some = x[np.linspace(0, len(x) - 1, min(len(x), MOST_PAIRS)).round().astype(int)]
    pairs = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    median = float(np.sqrt(np.median(pairs))) if len(pairs) else 0.0
    length = float(np.linalg.norm(np.asarray(some, dtype=np.float64), axis=1).mean()) if len(some) else 0.0
    return median if median > EQUAL * length else 1.0
