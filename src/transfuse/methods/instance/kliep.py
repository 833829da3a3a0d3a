"""KLIEP: the density ratio as a mixture of kernels that makes the target most likely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.methods.closed import ClosedForm, weighted
from transfuse.methods.instance.kernels import gaussian, median_distance
from transfuse.methods.instance.ratio import mean_one

CENTRES, STEPS, FOLDS = 100, 1000, 5
WIDTHS = (0.25, 0.5, 1.0, 2.0)
"""Kernel widths to choose from, as multiples of the median distance."""


def kliep(
    source: np.ndarray, target: np.ndarray, *, widths: Sequence[float] | None = None, seed: int = 0
) -> np.ndarray:
    """Weigh source rows by a ratio that maximises the target's likelihood; choose it where the ratio is smooth.

    w(x) = Σ_l α_l k(x, c_l), α >= 0, max Σ_t log w(target_t) subject to mean_s w(source_s) = 1; the width by
    cross-validated likelihood over the target's rows.

    Args:
        source: float [N, D].
        target: float [M, D].
        widths: of the Gaussian kernel; by default four around the median distance.
        seed: of the centres (a hundred target rows at most) and of the folds.

    Returns:
        float64 [N] of mean 1.

    Raises:
        ValueError: a feature is not finite.

    Cost: (N + M) · 100 kernel values for each width, and up to a thousand steps on them.
    Reduces to: 1 everywhere where the kernel is so wide that it is constant.
    Reference: Sugiyama, Nakajima, Kashima, von Bünau and Kawanabe 2008. Departure: the optimum by expectation
        maximisation, which needs no step size (skada's stops far below it).
    """
    generator = np.random.default_rng(seed)
    centres = target[generator.permutation(len(target))[:CENTRES]]
    median = median_distance(np.concatenate([source, target]))
    options = [median * factor for factor in WIDTHS] if widths is None else list(widths)
    parts = np.array_split(generator.permutation(len(target)), min(FOLDS, len(target)))
    best, chosen = -np.inf, options[0]
    for width in options if len(options) > 1 and len(parts) > 1 else []:
        near, far = gaussian(target, centres, width), gaussian(source, centres, width).mean(0)
        score = 0.0
        for part in parts:
            kept = np.setdiff1d(np.arange(len(target)), part)
            score += float(np.log(np.maximum(near[part] @ mixture(near[kept], far), 1e-300)).sum())
        if score > best:
            best, chosen = score, width
    kernel = gaussian(source, centres, chosen)
    return mean_one(kernel @ mixture(gaussian(target, centres, chosen), kernel.mean(0)))


def mixture(target: np.ndarray, source_mean: np.ndarray) -> np.ndarray:
    """α >= 0 [L] that maximises Σ log(target @ α) while source_mean @ α = 1, for kernels [M, L] and their means [L]."""
    usable = source_mean > 1e-12
    shape = np.where(usable, target / np.where(usable, source_mean, 1.0), 0.0)  # β_l = α_l mean_l sums to 1
    share = usable / max(usable.sum(), 1)
    for _ in range(STEPS):
        before = share
        share = share * (shape / np.maximum(shape @ share, 1e-300)[:, None]).mean(0)
        share = share / max(share.sum(), 1e-300)
        if np.abs(share - before).max() < 1e-9:
            break
    alpha: np.ndarray = np.where(usable, share / np.where(usable, source_mean, 1.0), 0.0)
    return alpha


def method() -> ClosedForm:
    """The probe on source rows weighed by KLIEP."""
    return weighted(lambda e: kliep(e.source.x, e.near, seed=e.seed))
