"""What repeated splits and several comparisons leave of a difference: Nadeau and Bengio's correction, Holm's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.errors import DataError


def corrected(differences: Sequence[float], ratio: float, floor: float = 0.0) -> float:
    """The two-sided p value of a t test over splits whose training sets overlap.

    Formula: t = mean(d) / sqrt(max(s², f²) (1/J + n_test/n_train)), with J - 1 degrees of freedom, s² the variance of
    the J differences with J - 1 below; without the second summand the test rejects a true null two to three times too
    often.

    Args:
        differences: J figures, of one split each.
        ratio: n_test / n_train of a split.
        floor: f, the least deviation of the differences that is believed. Of figures that count rows, give half a row:
            0.5 / n_test. A split of n_test rows tells a difference in steps of 1 / n_test, so that of a few splits all
            may well fall on one step; that says that they differ by less than a step, and not that they do not differ.

    Returns:
        0..1; 1 where the differences are equal and no floor says how finely they are known: nothing tells their spread.

    Raises:
        DataError: fewer than two differences.

    Reduces to: the plain t test with ``ratio`` 0.
    Reference: Nadeau and Bengio 2003, section 5, method 7 (corrected resampled t-test).
    Departures: the floor.

    Example:
        >>> round(corrected([0.1, 0.2, 0.15, 0.12], ratio=0.25), 3)
        0.019
    """
    from scipy import stats

    error = error_over(differences, ratio, floor)
    if error < 1e-15:
        return 1.0
    return float(2 * stats.t.sf(abs(float(np.mean(differences))) / error, len(differences) - 1))


def error_over(differences: Sequence[float], ratio: float, floor: float = 0.0) -> float:
    """The standard error of the mean of differences between splits: what `corrected` divides by; arguments as there."""
    found = np.asarray(differences, dtype=np.float64)
    if len(found) < 2:
        raise DataError(f"{len(found)} differences", expected="one of each of two splits or more")
    return float(np.sqrt(max(found.var(ddof=1), floor**2) * (1 / len(found) + ratio)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p values of several comparisons: each may be read alone, and none is wrong more often than it says.

    Formula: sorted, p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).

    Reference: Holm 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(values[order] * np.arange(len(values), 0, -1), 1.0)
    out = np.empty(len(values))
    out[order] = np.maximum.accumulate(scaled) if len(values) else scaled
    return [float(x) for x in out]
