"""Closed questions about cached features: a logistic head, and which layer to read it from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from transfuse.fitted.head import Head
from transfuse.fitted.paths import log_softmax

PENALTIES = np.array([0.01, 0.1, 1.0, 10.0, 100.0])
"""Ridge penalties, as multiples of the mean squared singular value."""
ABSENT = -30.0
"""Bias of a class without a training row."""
FOLDS = 4
"""Parts of the cross-validation inside one set of training rows that chooses a head's penalty."""


def standardise(features: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of each column, float32 [D]; a constant column has deviation 1."""
    share = weights / weights.sum()
    mean = share @ features
    scale = np.sqrt(share @ (features - mean) ** 2)
    scale[scale <= max(1e-3 * float(np.median(scale)), 1e-12)] = 1.0
    return mean.astype(np.float32), scale.astype(np.float32)


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    c: float,
    weights: np.ndarray | None = None,
    scalar_scale: bool = False,
) -> Head:
    """Multinomial logistic regression on standardised features; choose it wherever the backbone stays frozen.

    min over W, b of Σ_i w_i CE(W z_i + b, y_i) + ‖W‖² / (2 c), with z standardised and w scaled to mean 1.

    Args:
        features: float [N, D].
        labels: int [N] in 0..classes-1.
        classes: C; classes without a row get a bias that rules them out.
        c: inverse strength of the penalty.
        weights: float [N] or None for equal ones.
        scalar_scale: one deviation for all columns, which keeps their proportions (for features of unit length).

    Returns:
        A `Head`.

    Cost: some tens of products [N, D] x [D, C].
    Reference: scikit-learn's LogisticRegression with lbfgs, on which it rests.
    """
    from sklearn.linear_model import LogisticRegression

    weights = np.ones(len(labels)) if weights is None else weights * (len(weights) / weights.sum())
    mean, scale = standardise(features, weights)
    if scalar_scale:
        scale = np.full_like(scale, np.sqrt((scale**2).mean()))
    present = np.unique(labels)
    weight = np.zeros((classes, features.shape[1]), dtype=np.float32)
    bias = np.full(classes, ABSENT, dtype=np.float32)
    if len(present) == 1:
        bias[present] = 0.0
        return Head(mean, scale, weight, bias)
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3)
    model.fit((features - mean) / scale, labels, sample_weight=weights)
    if len(present) == 2:  # scikit-learn keeps one row for two classes: half of it each way is the same model
        weight[present] = np.concatenate([-model.coef_, model.coef_]) / 2
        bias[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weight[present], bias[present] = model.coef_, model.intercept_
    return Head(mean, scale, weight, bias)


def correct_head(head: Head, features: np.ndarray, labels: np.ndarray, *, c: float, weights: np.ndarray) -> Head:
    """A head moved as little as a few rows of another domain ask for; choose it to adapt a source's head.

    min over V, a of Σ_i w_i CE((W + V) z_i + b + a, y_i) + ‖V‖² / (2 c), with the head's own W, b and scaling and w
    scaled to mean 1. As c falls the result tends to the head itself with new intercepts; classes without a row are
    left as they are, since the rows say nothing of them.

    Args:
        head: W [C, D], b [C] and the scaling.
        features: float [N, D], of unit length where the head normalises.
        labels: int [N] in 0..C-1.
        c: inverse strength of the pull towards ``head``.
        weights: float [N], positive.

    Returns:
        A `Head` with the same scaling.

    Cost: some tens of products [N, D] x [D, C].
    Reference: Evgeniou and Pontil 2004 (regularised multi-task learning); Li et al. 2018 (L2-SP).
    """
    from scipy.optimize import minimize

    weights = weights * (len(weights) / weights.sum())
    z = (features.astype(np.float64) - head.mean) / head.scale
    given = z @ head.weight.T.astype(np.float64) + head.bias
    present = np.unique(labels)
    shape, rows = (len(present), z.shape[1]), np.arange(len(labels))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        moved, shift = flat[: -len(present)].reshape(shape), flat[-len(present) :]
        logits = given.copy()
        logits[:, present] += z @ moved.T + shift
        log_p = log_softmax(logits)
        slope = np.exp(log_p)
        slope[rows, labels] -= 1.0
        slope = slope[:, present] * weights[:, None]
        value = -float(weights @ log_p[rows, labels]) + float((moved**2).sum()) / (2 * c)
        return value, np.concatenate([(slope.T @ z + moved / c).ravel(), slope.sum(0)])

    found = minimize(loss, np.zeros(shape[0] * (shape[1] + 1)), jac=True, method="L-BFGS-B").x
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[present] += found[: -len(present)].reshape(shape).astype(np.float32)
    bias[present] += found[-len(present) :].astype(np.float32)
    return dataclasses.replace(head, weight=weight, bias=bias)


def ridge_loo(features: np.ndarray, labels: np.ndarray, classes: int, weights: np.ndarray, judged: np.ndarray) -> float:
    """Leave-one-out squared error of ridge regression on one-hot labels: how well a layer separates the classes.

    e_i = (y_i - ŷ_i) / (1 - h_ii), with an unpenalised intercept, for each penalty of a small grid; the best penalty
    counts. Smooth where accuracy on a few rows is not, and exact without refitting.

    Args:
        features: float [N, D].
        labels: int [N].
        classes: C.
        weights: float [N], positive.
        judged: bool [N], the rows whose error counts.

    Returns:
        Mean squared error a judged row; the chance level is about 1 - 1/C.

    Cost: one eigendecomposition of the smaller of N x N and D x D.
    Reference: Allen 1974 (PRESS); Hastie, Tibshirani and Friedman 2009, equation 7.64.
    """
    mean, scale = standardise(features, weights)
    weights = weights / weights.sum()
    root = np.sqrt(weights)[:, None]
    y = np.eye(classes)[labels]
    y = (y - weights @ y) * root
    left, power = _left_singular((features - mean) / scale * root)
    projected, share = left.T @ y, left**2
    best = np.inf
    for penalty in PENALTIES * power.sum() / len(features):
        shrink = power / np.maximum(power + penalty, 1e-300)  # 0 where the features say nothing
        leverage = share @ shrink + weights  # the intercept's share is the row's weight
        residual = (y - left @ (shrink[:, None] * projected)) / np.maximum(1 - leverage, 1e-6)[:, None]
        error = (residual**2).sum(1) / weights
        best = min(best, float(error[judged].mean()))
    return best


def _left_singular(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors [N, K] and squared singular values [K] of x [N, D], from the smaller Gram matrix."""
    if len(x) <= x.shape[1]:
        power, left = np.linalg.eigh(x @ x.T)
        return left, np.maximum(power, 0.0)
    power, right = np.linalg.eigh(x.T @ x)
    kept = power > 1e-9 * power[-1]
    return x @ right[:, kept] / np.sqrt(power[kept]), power[kept]


def choose_c(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    grid: Sequence[float],
    *,
    weights: np.ndarray,
) -> float:
    """The penalty with the least log loss over folds; rows outside the folds' validation parts only train.

    Args:
        features: float [N, D].
        labels: int [N].
        classes: C.
        folds: pairs of training and validation positions; a fold without training rows says nothing.
        grid: values of c, from strong to weak penalty; the first of equals wins.
        weights: float [N].
    """
    losses = []
    for c in grid:
        loss = 0.0
        for train, validation in folds:
            if not len(train):  # one row a class: nothing to learn from without it
                continue
            head = fit_head(features[train], labels[train], classes, c=c, weights=weights[train])
            logits = head.logits(features[validation])
            top = logits.max(1)
            normal = top + np.log(np.exp(logits - top[:, None]).sum(1))
            loss += float((normal - logits[np.arange(len(validation)), labels[validation]]).sum())
        losses.append(loss)
    return float(grid[int(np.argmin(losses))])


def inner_folds(labels: np.ndarray, target: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds (training rows, judged rows) over the target's rows, or all where there are none of these.

    Args:
        labels: int [N].
        target: bool [N]; the other rows are in every training part.
        seed: of the folds.
    """
    judged = np.flatnonzero(target if target.any() else np.ones(len(target), dtype=bool))
    generator = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=int)
    fold[:] = -1
    for label in np.unique(labels[judged]):
        own = generator.permutation(judged[labels[judged] == label])
        fold[own] = np.arange(len(own)) % FOLDS
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS) if (fold == k).any()]
