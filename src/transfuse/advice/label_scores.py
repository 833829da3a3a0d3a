"""How well a source head's answers on the target's rows foretell the target's labels; the higher the better."""

from __future__ import annotations

import numpy as np

LEAST_ROWS = 5
"""Rows a class below which a mixture has more components than it has rows for."""


def leep(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """LEEP: mean log Σ_z P(y | z) p(z | x), with P(y, z) the mean over rows.

    Args:
        probabilities: float [N, Z] of the target's rows by the source's classes.
        labels: int [N].

    Returns:
        At most 0; it falls with the number of classes, so compare it within one target.

    Reference: Nguyen, Hassner, Seeger and Archambeau 2020, equation 2. Departure: classes without mass are left out.
    """
    classes, y = np.unique(labels, return_inverse=True)
    joint = np.zeros((len(classes), probabilities.shape[1]))
    np.add.at(joint, y, np.asarray(probabilities, dtype=np.float64) / len(labels))
    mass = joint.sum(0)
    kept = mass > 0
    given = joint[:, kept] / mass[kept]
    expected = (given[y] * probabilities[:, kept]).sum(1)
    return float(np.log(np.maximum(expected, 1e-300)).mean())


def nce(source_labels: np.ndarray, labels: np.ndarray) -> float:
    """NCE: -H(y | z) of the target's labels given the source head's answers (Tran, Nguyen and Hassner 2019)."""
    hard = np.eye(int(source_labels.max()) + 1)[source_labels]
    return leep(hard, labels)


def n_leep(features: np.ndarray, labels: np.ndarray, *, energy: float = 0.8, seed: int = 0) -> float:
    """N-LEEP: LEEP with the clusters of the features in place of a source head's classes.

    Args:
        features: float [N, D].
        labels: int [N], five rows a class or more.
        energy: share of the variance that the principal components keep.
        seed: of the mixture.

    Returns:
        At most 0; -inf with fewer rows a class, where it would mean nothing; of features that never differ that of one
        cluster.

    Reference: Li et al. 2021: five clusters a class.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    if np.unique(labels, return_counts=True)[1].min() < LEAST_ROWS:
        return -np.inf
    if not np.ptp(features, axis=0).any():
        return leep(np.ones((len(labels), 1)), labels)
    reduced = PCA(energy, svd_solver="full", random_state=seed).fit_transform(features.astype(np.float64))
    mixture = GaussianMixture(clusters(labels), covariance_type="diag", reg_covar=1e-3, random_state=seed)
    return leep(mixture.fit(reduced).predict_proba(reduced), labels)


def clusters(labels: np.ndarray) -> int:
    """How many clusters `n_leep` looks for: five a class, at most one for two rows."""
    return min(5 * len(np.unique(labels)), len(labels) // 2)
