"""uLSIF: the density ratio by least squares, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.methods.closed import ClosedForm, weighted
from transfuse.methods.instance.kernels import gaussian, median_distance
from transfuse.methods.instance.ratio import mean_one

CENTRES = 100
WIDTHS = (0.25, 0.5, 1.0, 2.0)
"""Kernel widths to choose from, as multiples of the median distance."""
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)


def ulsif(
    source: np.ndarray,
    target: np.ndarray,
    *,
    widths: Sequence[float] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> np.ndarray:
    """Weigh source rows by a ratio fitted by least squares; choose it for its speed, and where KLIEP is too sure.

    w(x) = Σ_l α_l k(x, c_l), α = max(0, (H + λ I)⁻¹ h), H = mean_s k(s) k(s)ᵀ, h = mean_t k(t); width and λ by the
    leave-one-out error, which needs no refit.

    Args:
        source: float [N, D].
        target: float [M, D].
        widths: of the Gaussian kernel; by default four around the median distance.
        penalties: λ.
        seed: of the centres, a hundred target rows at most.

    Returns:
        float64 [N] of mean 1.

    Raises:
        ValueError: a feature is not finite.

    Cost: (N + M) · 100 kernel values for each width, and a system of 100 equations for each width and penalty.
    Reduces to: 1 everywhere where the kernel is so wide that it is constant.
    Reference: Kanamori, Hido and Sugiyama 2009, equations 9 and 26.
    """
    generator = np.random.default_rng(seed)
    centres = target[generator.permutation(len(target))[:CENTRES]]
    median = median_distance(np.concatenate([source, target]))
    options = [median * factor for factor in WIDTHS] if widths is None else list(widths)
    best, chosen = np.inf, (options[0], penalties[0])
    for width in options:
        near, far = gaussian(target, centres, width), gaussian(source, centres, width)
        for penalty in penalties:
            error = leave_one_out(far, near, penalty)
            if error < best:
                best, chosen = error, (width, penalty)
    near, far = gaussian(target, centres, chosen[0]), gaussian(source, centres, chosen[0])
    return mean_one(far @ coefficients(far, near, chosen[1]))


def coefficients(source: np.ndarray, target: np.ndarray, penalty: float) -> np.ndarray:
    """max(0, (H + λ I)⁻¹ h) [L] of the kernels [N, L] of the source and [M, L] of the target."""
    gram = source.T @ source / len(source) + penalty * np.eye(source.shape[1])
    found: np.ndarray = np.maximum(np.linalg.solve(gram, target.mean(0)), 0.0)
    return found


def leave_one_out(source: np.ndarray, target: np.ndarray, penalty: float) -> float:
    """The mean of ½ w(s_i)² - w(t_i) where the i-th rows of both were left out of the fit (equation 26).

    Args:
        source: kernels [N, L].
        target: kernels [M, L].
        penalty: λ.
    """
    rows, columns = min(len(source), len(target)), source.shape[1]
    if rows < 2:
        return np.inf
    n, m = len(source), len(target)
    x, y = source[:rows].T, target[:rows].T  # [L, rows]
    base = source.T @ source / n + penalty * (n - 1) / n * np.eye(columns)
    inverse = np.linalg.inv(base)
    solved = inverse @ x
    scale = n - (x * solved).sum(0)
    mean = target.mean(0)[:, None]
    first = inverse @ mean + solved * ((mean * solved).sum(0) / scale)
    second = inverse @ y + solved * ((y * solved).sum(0) / scale)
    alpha = np.maximum((n - 1) / (n * (m - 1)) * (m * first - second), 0.0)
    return float(((x * alpha).sum(0) ** 2).mean() / 2 - (y * alpha).sum(0).mean())


def method() -> ClosedForm:
    """The probe on source rows weighed by uLSIF."""
    return weighted(lambda e: ulsif(e.source.x, e.near, seed=e.seed))
