"""Quality against the number of labels: how many labels a transfer is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def labels_for(labels: Sequence[int], figures: Sequence[float], figure: float) -> float | None:
    """The number of labels with which a curve reaches a figure, on a logarithmic scale; more is better.

    The curve is made to rise (a running maximum) and read along straight lines between its points.

    Args:
        labels: numbers of labels, rising, each above 0.
        figures: what each number reaches.
        figure: what is to be reached.

    Returns:
        The number of labels, the first of ``labels`` where that is enough already, which then means so many or fewer;
        None where all are too few.

    Example:
        >>> labels_for([8, 32, 128], [0.6, 0.7, 0.8], 0.75)
        64.0
    """
    rising = np.maximum.accumulate(np.asarray(figures, dtype=np.float64))
    if figure > rising[-1]:
        return None
    at = int(np.argmax(rising >= figure))
    if at == 0:
        return float(labels[0])
    share = (figure - rising[at - 1]) / (rising[at] - rising[at - 1])
    low, high = np.log(labels[at - 1]), np.log(labels[at])
    return round(float(np.exp(low + share * (high - low))), 6)
