"""Class centroids, with the labels' words as prototypes where examples are few."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.engine.logistic import ABSENT
from transfuse.fitted.head import Head, unit
from transfuse.fitted.paths import log_softmax
from transfuse.methods.closed import ClosedForm, Solution, labelled
from transfuse.methods.feature.filling import ROWS, filled

SHARPNESS = (5.0, 10.0, 20.0, 40.0)
"""What cosines are multiplied by before the softmax; chosen by leaving each row out of its own centroid."""


def centroids(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    names: np.ndarray | None = None,
    *,
    weights: np.ndarray | None = None,
    kappa: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Means of unit rows by class, a class's name counting as ``kappa`` rows of it.

    prototype_c = (κ e(name_c) + Σ_{i in c} w_i x_i) / (κ + n_c), n_c = Σ_{i in c} w_i (relation R1; κ = 0 or no names:
    plain means).

    Args:
        features: float [N, D], of unit length and centred as the names are.
        labels: int [N] in 0..C-1.
        classes: C.
        names: float [C, D] or None.
        weights: float [N], or None for ones.
        kappa: rows of weight 1 that a name is worth.

    Returns:
        float64 [C, D], and the weight of the rows in each [C], names included.

    Reference: Snell, Swersky and Zemel 2017, equation 1.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    sums, counts = np.zeros((classes, features.shape[1])), np.zeros(classes)
    np.add.at(sums, labels, np.asarray(features, dtype=np.float64) * weights[:, None])
    np.add.at(counts, labels, weights)
    if names is not None:
        sums, counts = sums + kappa * names, counts + kappa
    return sums / np.maximum(counts, 1e-12)[:, None], counts


def centroid_head(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    names: np.ndarray | None = None,
    *,
    weights: np.ndarray | None = None,
    kappa: float = 1.0,
    unlabelled: np.ndarray | None = None,
) -> Head:
    """The most similar centroid; choose it for one to five rows a class, where a regression has little to go by.

    logit_c = s · cos(x - m, prototype_c) with m the mean of all rows, 0 while fewer than two classes have any: the mean
    of one class is its prototype, from which nothing is left; s by leave-one-out log loss.

    Args:
        features: float [N, D].
        labels, classes, names: as in `centroids`; a class with neither a row nor a name is ruled out.
        weights: float [N], scaled to mean 1; None for equal ones. Rows of weight 0 are left out.
        kappa: rows of mean weight that a name is worth.
        unlabelled: float [U, D], rows that stand in for what a class lacks to two (see `filled`), or None.

    Returns:
        A `Head` on features of unit length.

    Cost: N · C products.
    Reduces to: the similarity to the labels' words where there is no row.
    """
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    features, labels, weights = (side[weights > 0] for side in (features, labels, weights))
    rows = unit(np.asarray(features, dtype=np.float64))
    words = None if names is None else unit(np.asarray(names, dtype=np.float64))
    several = len(np.unique(labels)) > 1
    mean = np.average(rows, axis=0, weights=weights) if several else np.zeros(rows.shape[1])
    weights = weights / weights.mean() if len(weights) else weights
    rows = unit(rows - mean)
    words = None if words is None else unit(words - mean)
    prototypes, counts = centroids(rows, labels, classes, words, weights=weights, kappa=kappa)
    if unlabelled is not None:
        lacks = np.maximum(ROWS - np.bincount(labels, weights, classes), 0.0)
        others = unit(unit(np.asarray(unlabelled, dtype=np.float64)) - mean)
        prototypes, counts = filled(prototypes, counts, lacks, others)
    sharpness = _sharpness(rows, labels, weights, prototypes, counts)
    weight = (sharpness * unit(prototypes)).astype(np.float32)
    bias = np.where(counts > 0, 0.0, ABSENT).astype(np.float32)
    return Head(mean.astype(np.float32), np.ones(len(mean), np.float32), weight, bias, normalise=True)


def _sharpness(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, prototypes: np.ndarray, counts: np.ndarray
) -> float:
    """The factor with the least log loss of rows that are taken out of their own centroids."""
    own = counts[labels] > weights * (1 + 1e-9)
    if not own.any():
        return SHARPNESS[1]
    cosine = rows @ unit(prototypes).T
    without = prototypes[labels] * counts[labels, None] - rows * weights[:, None]
    cosine[np.arange(len(rows)), labels] = (rows * unit(without)).sum(1)
    cosine = np.where(counts > 0, cosine, -1.0)
    losses = [-log_softmax(s * cosine)[np.arange(len(rows)), labels][own] @ weights[own] for s in SHARPNESS]
    return SHARPNESS[int(np.argmin(losses))]


def method() -> ClosedForm:
    """The most similar centroid; a label's words count as one row of its class."""

    def solve(found: Evidence, target_share: float) -> Solution:
        x, labels, weights = labelled(found, target_share)
        names = found.names if len(found.names) else None
        return centroid_head(x, labels, found.classes, names, weights=weights, unlabelled=found.unlabelled), None

    return ClosedForm("feature", solve, needs_source=False, reads_names=True, fills=True)
