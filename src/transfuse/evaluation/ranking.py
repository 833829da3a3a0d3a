"""Does a score rank what belongs above what does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from transfuse.errors import DataError


def auroc(scores_in: ArrayLike, scores_out: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an example that belongs scores above one that does not.

    Formula: P(s_in > s_out) + P(s_in = s_out) / 2, the Mann-Whitney statistic over all pairs.

    Args:
        scores_in: float [N], scores (say, the model's confidence) of examples that belong.
        scores_out: float [M], scores of examples that do not, such as texts out of scope.

    Returns:
        0..1; 0.5 for a score that says nothing.

    Raises:
        DataError: no scores on one side, or scores that are not numbers.

    Cost: O((N + M) log M).
    Reference: Hanley and McNeil (1982), Radiology 143(1).
    """
    inside, outside = (np.asarray(s, dtype=np.float64).ravel() for s in (scores_in, scores_out))
    if not len(inside) or not len(outside):
        raise DataError(f"{len(inside)} scores that belong and {len(outside)} that do not", expected="some of both")
    if np.isnan(inside).any() or np.isnan(outside).any():
        raise DataError("Scores that are not numbers", remedy="Look at the model's output.")
    outside = np.sort(outside)
    below = np.searchsorted(outside, inside, side="left") + np.searchsorted(outside, inside, side="right")
    return float(below.mean() / (2 * len(outside)))
