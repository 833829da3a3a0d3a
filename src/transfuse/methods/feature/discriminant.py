"""Linear discriminant analysis: features whitened by the covariance within classes, then the nearest mean."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.engine.logistic import ABSENT
from transfuse.fitted.head import Head
from transfuse.methods.closed import ClosedForm, Solution, labelled

ALIKE = 1e-6
"""Share of the total variance under which the variance within classes says nothing of its shape."""
EQUAL = 1e-12
"""Share of the mean square under which the total variance is what rounding leaves: all rows are equal."""


def discriminant(features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray) -> Head:
    """The nearest class mean after whitening; choose it for few rows a class and many classes.

    logit_c = μ_cᵀ Σ⁻¹ x - ½ μ_cᵀ Σ⁻¹ μ_c + log π_c, with Σ the covariance within classes, shrunk as Ledoit and Wolf do.
    Where no class has two different rows, Σ is the mean variance of all rows about their mean, in every direction.

    Args:
        features: float [N, D].
        labels: int [N] in 0..C-1.
        classes: C; those without a row are ruled out.
        weights: float [N], not all 0; they count in means, shares and covariance alike.

    Returns:
        A `Head` without scaling.

    Cost: one system of D equations.
    Reduces to: the nearest class mean where Σ is a multiple of the identity.
    Reference: Ledoit and Wolf 2004; scikit-learn's LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").
    """
    x = np.asarray(features, dtype=np.float64)
    present = np.unique(labels)
    means = np.stack([np.average(x[labels == c], axis=0, weights=weights[labels == c]) for c in present])
    share = np.array([weights[labels == c].sum() for c in present]) / weights.sum()
    covariance = _within(x, x - means[np.searchsorted(present, labels)], weights / weights.mean())
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, ABSENT)
    weight[present] = np.linalg.lstsq(covariance, means.T, rcond=None)[0].T
    bias[present] = np.log(share) - 0.5 * (weight[present] * means).sum(1)
    return Head.plain(weight, bias)


def _within(x: np.ndarray, within: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The covariance [D, D] of rows about their class means, of weights of mean 1."""
    from sklearn.covariance import ledoit_wolf

    width, root = x.shape[1], np.sqrt(weights)[:, None]
    square = float((x**2).sum(1) @ weights)
    total = float(((x - np.average(x, axis=0, weights=weights)) ** 2).sum(1) @ weights)
    if total <= EQUAL * square:
        total = square
    covariance: np.ndarray = np.eye(width) * (total / (len(x) * width))
    if float(((root * within) ** 2).sum()) > ALIKE * total:
        covariance = ledoit_wolf(root * within, assume_centered=True)[0]
    return covariance


def method() -> ClosedForm:
    """The nearest class mean after whitening."""

    def solve(found: Evidence, target_share: float) -> Solution:
        x, labels, weights = labelled(found, target_share)
        return discriminant(x, labels, found.classes, weights), None

    return ClosedForm("feature", solve, needs_source=False)
