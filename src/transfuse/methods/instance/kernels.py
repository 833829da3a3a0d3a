"""Gaussian kernels, and the widths that suit some rows."""

from __future__ import annotations

import numpy as np

MOST_PAIRS = 1000
"""Rows by which the median distance is taken."""


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a_i - b_j‖², float64 [N, M], never negative."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    found: np.ndarray = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T, 0.0)
    return found


def gaussian(a: np.ndarray, b: np.ndarray, width: float) -> np.ndarray:
    """exp(-‖a_i - b_j‖² / (2 width²)), float64 [N, M]."""
    found: np.ndarray = np.exp(-squared_distances(a, b) / (2 * width**2))
    return found


def median_distance(x: np.ndarray) -> float:
    """The median distance between two different rows of the first thousand: a width that is seldom far off.

    1 where rows do not differ.
    """
    some = x[:MOST_PAIRS]
    pairs = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    median = float(np.sqrt(np.median(pairs))) if len(pairs) else 0.0
    return median if median > 0 else 1.0
