"""Out-of-scope detection: does a text belong to any of the classes? By Mahalanobis distance, or by energy."""

from __future__ import annotations

import numpy as np

from transfuse.errors import DataError
from transfuse.fitted.paths import energy

__all__ = ["Mahalanobis", "energy"]


class Mahalanobis:
    """Distance to the nearest class mean under the covariance within classes, on the features of a frozen backbone.

    Formula: score(x) = -min_c (x - μ_c)ᵀ Σ⁻¹ (x - μ_c), with Σ shrunk as Ledoit and Wolf do; relative: plus the same
    for one Gaussian over all rows, (x - μ)ᵀ Σ₀⁻¹ (x - μ), which takes off what makes a text rare in itself.

    Args:
        features: float [N, D] of texts that belong.
        labels: [N], their classes.
        relative: see above.

    Raises:
        DataError: as many labels as rows are needed, and two rows.

    Cost: one or two systems of D equations; then D² products a text.
    Reduces to: minus the squared distance to the nearest class mean where Σ is the identity.
    Reference: Lee, Lee, Lee and Shin 2018; Podolskiy et al. 2021 for texts; Ren et al. 2021 for the relative form.

    Example:
        >>> inside = np.array([[0.0, 1.0], [0.2, 0.8], [1.0, 0.0], [0.8, 0.2]])
        >>> near, far = Mahalanobis(inside, ["a", "a", "b", "b"]).score([[0.1, 0.9], [5.0, 5.0]])
        >>> bool(near > far)
        True
    """

    def __init__(self, features: np.ndarray, labels: object, *, relative: bool = False) -> None:
        x, classes = np.asarray(features, dtype=np.float64), np.asarray(labels)
        if x.ndim != 2 or len(x) < 2 or classes.shape != x.shape[:1]:
            raise DataError(f"features {x.shape} with labels {classes.shape}", expected="[N, D] with [N], two rows")
        names, index = np.unique(classes, return_inverse=True)
        means = np.stack([x[index == c].mean(0) for c in range(len(names))])
        self._nearest = _Gaussians(means, x - means[index])
        self._all = _Gaussians(x.mean(0)[None], x - x.mean(0)) if relative else None

    def score(self, features: np.ndarray) -> np.ndarray:
        """How well each row [N, D] fits, float64 [N]; choose a threshold on texts of your own, below it is outside."""
        x = np.asarray(features, dtype=np.float64)
        found: np.ndarray = -self._nearest.distances(x).min(1)
        return found if self._all is None else found + self._all.distances(x)[:, 0]


class _Gaussians:
    """Means [C, D] that share the covariance of some residuals [N, D]."""

    def __init__(self, means: np.ndarray, residuals: np.ndarray) -> None:
        from sklearn.covariance import ledoit_wolf

        covariance, _ = ledoit_wolf(residuals, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        self._whiten = vectors / np.sqrt(np.maximum(values, max(1e-10 * float(values[-1]), 1e-12)))
        self._means = means @ self._whiten

    def distances(self, x: np.ndarray) -> np.ndarray:
        """Squared, float64 [N, C]."""
        white = x @ self._whiten
        squared = (white**2).sum(1)[:, None] + (self._means**2).sum(1) - 2 * white @ self._means.T
        return np.asarray(np.maximum(squared, 0.0))
