"""How well features suit labels, before anything is trained; the higher the better."""

from __future__ import annotations

import numpy as np

from transfuse.engine.logistic import standardise

LEAST_SHRUNK = 1e-9
"""Shrinkage below which it cannot give a covariance an inverse that it has not got."""


def z_scored(features: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1, float64 [N, D]: without it a decoder's few large dimensions decide."""
    mean, scale = standardise(features, np.ones(len(features)))
    scored: np.ndarray = (features.astype(np.float64) - mean) / scale
    return scored


def nearest_neighbours(features: np.ndarray, labels: np.ndarray, *, neighbours: int = 3) -> float:
    """Leave-one-out accuracy of k nearest neighbours by cosine on z-scored features; the best below five a class.

    The nearest row alone decides ties among the votes.

    Args:
        features: float [N, D].
        labels: int [N].
        neighbours: k.

    Returns:
        0..1.

    Cost: N² products.
    Reference: docs/benchmarks.md compares it with all others here.
    """
    return voted(nearest(features, neighbours), labels)


def nearest(features: np.ndarray, neighbours: int = 3) -> np.ndarray:
    """The other rows that are nearest to each by cosine on z-scored features, the nearest first, int [N, k]."""
    x = z_scored(features)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, : min(neighbours, len(x) - 1)]


def voted(neighbours: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy of what the neighbours [N, k] of each row vote for; labels int [N]."""
    near = labels[neighbours]
    votes = np.stack([(near == label).sum(1) for label in np.unique(labels)], axis=1).astype(float)
    votes[np.arange(len(near)), np.searchsorted(np.unique(labels), near[:, 0])] += 0.5
    return float((np.unique(labels)[votes.argmax(1)] == labels).mean())


def log_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME: the mean log evidence of Bayesian linear regressions on one-hot labels, in its stable form.

    Per class t ~ N(0, b⁻¹ (I + F Fᵀ / λ)); with singular values s_i, x = Uᵀ t and r = ‖t‖² - ‖x‖²,
    b is profiled out and ½ [log 2π + (1/N) Σ log(1 + s_i² / λ) + log(q / N) + 1] with
    q(λ) = Σ x_i² λ / (λ + s_i²) + r is minimised over log λ.

    Args:
        features: float [N, D].
        labels: int [N].

    Returns:
        Nats a row and class; free of the features' scale. Of features that are all 0 that of none: the spread of the
        labels alone.

    Cost: one singular value decomposition.
    Reference: You, Liu, Wang and Long 2021. Departure: no fixed point, which ranks by width where N < D.
    """
    from scipy.optimize import minimize_scalar

    x = features.astype(np.float64)
    left, singular, _ = np.linalg.svd(x, full_matrices=False)
    kept = singular > 1e-10 * max(float(singular[0]), 1e-300)
    left, power = left[:, kept], singular[kept] ** 2
    power = power / power[:1]
    count, total, classes = len(x), 0.0, np.unique(labels)
    for label in classes:
        t = (labels == label).astype(np.float64)
        projected = (left.T @ t) ** 2
        rest = max(float(t.sum()) - float(projected.sum()), 0.0)

        def loss(log_penalty: float, projected: np.ndarray = projected, rest: float = rest) -> float:
            penalty = np.exp(log_penalty)
            left_over = float((projected * penalty / (penalty + power)).sum()) + rest
            spread = np.log1p(power / penalty).sum() / count
            return float(0.5 * (np.log(2 * np.pi) + spread + np.log(max(left_over, 1e-300) / count) + 1))

        total -= float(minimize_scalar(loss, bounds=(-25.0, 25.0), method="bounded").fun)
    return total / len(classes)


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """tr(Σ⁻¹ Σ_between) with Ledoit and Wolf's shrinkage, which also weighs the numerator.

    Args:
        features: float [N, D].
        labels: int [N].

    Returns:
        0 to about C - 1; 0 of features that never differ, nan where so few rows differ that nothing is shrunk and
        the covariance has no inverse.

    Cost: one system of D equations for C right-hand sides.
    Reference: Bao et al. 2019; Ibrahim, Ponomareva and Mazumder 2022 (shrunk).
    """
    from sklearn.covariance import ledoit_wolf

    x = features.astype(np.float64)
    x = x - x.mean(0)
    if not x.any():
        return 0.0
    covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
    if shrinkage < LEAST_SHRUNK and np.linalg.matrix_rank(covariance, hermitian=True) < x.shape[1]:
        return float("nan")
    classes, counts = np.unique(labels, return_counts=True)
    means = np.stack([x[labels == c].mean(0) for c in classes]) * np.sqrt(counts / len(x))[:, None]
    return float((1 - shrinkage) * (np.linalg.solve(covariance, means.T) * means.T).sum())


def trans_rate(features: np.ndarray, labels: np.ndarray, *, eps: float = 1e-4) -> float:
    """R(Z) - Σ_c n_c / N R(Z_c), R = ½ log det(I + Zᵀ Z / (N ε)): what knowing the class saves in coding the features.

    Args:
        features: float [N, D].
        labels: int [N].
        eps: ε, the squared distortion.

    Cost: C + 1 singular value decompositions.
    Reference: Huang, Huang, Rong, Yang and Wei 2022, equation 4. Departure: classes weighted by their size, as in the
        text and unlike its listing.
    """
    x = features.astype(np.float64)
    x = x - x.mean(0)
    x /= max(float(np.sqrt((x**2).sum() / len(x))), 1e-300)
    whole = _coding_rate(x, eps)
    return whole - sum(float((labels == c).mean()) * _coding_rate(x[labels == c], eps) for c in np.unique(labels))


def _coding_rate(x: np.ndarray, eps: float) -> float:
    singular = np.linalg.svd(x, compute_uv=False)
    return float(0.5 * np.log1p(singular**2 / (len(x) * eps)).sum())


def bhattacharyya(features: np.ndarray, labels: np.ndarray, *, components: int = 64) -> float:
    """GBC: -Σ_{i≠j} exp(-D_B(i, j)), classes as spherical Gaussians in the first principal components.

    D_B = ‖μ_i - μ_j‖² / 8 v̄ + (D / 2) log(v̄ / √(v_i v_j)), v̄ the mean of both variances.

    Args:
        features: float [N, D]; classes of one row have the least variance.
        labels: int [N].
        components: of the principal components.

    Returns:
        0 at best.

    Reference: Pándy et al. 2022, equation 3, spherical.
    """
    x = features.astype(np.float64)
    x = x - x.mean(0)
    count = max(min(components, *x.shape), 1)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:count].T
    classes = np.unique(labels)
    means = np.stack([x[labels == c].mean(0) for c in classes])
    variances = np.array([x[labels == c].var(0).mean() for c in classes])
    variances = np.maximum(variances, 1e-4 * max(float(x.var(0).mean()), 1e-140))
    middle = (variances[:, None] + variances[None, :]) / 2
    apart = ((means[:, None] - means[None]) ** 2).sum(2)
    distance = apart / (8 * middle) + count / 2 * np.log(middle / np.sqrt(variances[:, None] * variances[None, :]))
    overlap = np.exp(-distance)
    return float(-(overlap.sum() - np.trace(overlap)))
