"""Kernel mean matching: weights under which the source's mean in a kernel's space is the target's."""

from __future__ import annotations

import numpy as np

from transfuse.methods.closed import ClosedForm, weighted
from transfuse.methods.instance.kernels import gaussian, median_distance
from transfuse.methods.instance.ratio import mean_one

STEPS, TOLERANCE = 2000, 1e-7


def kernel_mean_matching(
    source: np.ndarray,
    target: np.ndarray,
    *,
    width: float | None = None,
    most: float = 1000.0,
    slack: float | None = None,
) -> np.ndarray:
    """Weigh source rows so that their mean matches the target's in feature space; choose it for some thousand rows.

    min over w of ½ wᵀ K w - κᵀ w with K = k(source, source), κ_i = (n_s / n_t) Σ_j k(source_i, target_j),
    0 <= w_i <= ``most`` and |Σ w - n_s| <= n_s ``slack``, by projected accelerated gradients.

    Args:
        source: float [N, D].
        target: float [M, D].
        width: of the Gaussian kernel; by default the median distance.
        most: B, the largest weight.
        slack: ε; by default (√N - 1) / √N.

    Returns:
        float64 [N] of mean 1.

    Raises:
        ValueError: a feature is not finite.

    Cost: N² kernel values and up to two thousand products with them.
    Reduces to: 1 everywhere where the target is the source.
    Reference: Huang, Smola, Gretton, Borgwardt and Schölkopf 2007, equation 12. Departure: scaled to mean 1.
    """
    count = len(source)
    width = median_distance(np.concatenate([source, target])) if width is None else width
    slack = (np.sqrt(count) - 1) / np.sqrt(count) if slack is None else slack
    kernel = gaussian(source, source, width)
    towards = gaussian(source, target, width).sum(1) * (count / len(target))
    low, high = count * (1 - slack), count * (1 + slack)
    step = 1.0 / float(np.linalg.eigvalsh(kernel)[-1])
    weights = ahead = np.ones(count)
    momentum = 1.0
    for _ in range(STEPS):
        moved = project(ahead - step * (kernel @ ahead - towards), most, low, high)
        change = moved - weights
        if float((ahead - moved) @ change) > 0:  # the way leads up again: start its momentum anew
            momentum = 1.0
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = moved + (momentum - 1) / grown * change
        weights, momentum = moved, grown
        if np.abs(change).max() < TOLERANCE:
            break
    return mean_one(weights)


def project(point: np.ndarray, most: float, low: float, high: float) -> np.ndarray:
    """The nearest point with entries in 0..most and a sum in low..high."""
    inside: np.ndarray = np.clip(point, 0.0, most)
    total = inside.sum()
    if low <= total <= high:
        return inside
    wanted = low if total < low else high
    left, right = float(point.min()) - most, float(point.max())
    for _ in range(100):
        middle = (left + right) / 2
        if np.clip(point - middle, 0.0, most).sum() > wanted:
            left = middle
        else:
            right = middle
    nearest: np.ndarray = np.clip(point - (left + right) / 2, 0.0, most)
    return nearest


def method() -> ClosedForm:
    """The probe on source rows weighed by kernel mean matching."""
    return weighted(lambda e: kernel_mean_matching(e.source.x, e.near))
