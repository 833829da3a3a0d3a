"""How far apart two domains are; these only warn, since near is not the same as useful."""

from __future__ import annotations

import numpy as np

MOST = 1000
"""Rows of each side that are enough."""


def proxy_a(source: np.ndarray, target: np.ndarray, *, seed: int = 0) -> float:
    """The proxy A-distance 2 (1 - 2 error) of a cross-validated linear classifier of the domain.

    Args:
        source: float [N, D].
        target: float [M, D].
        seed: of the folds.

    Returns:
        0 where nothing tells them apart, 2 where everything does.

    Reference: Ben-David, Blitzer, Crammer and Pereira 2007.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    a, b = source[:MOST], target[:MOST]
    if min(len(a), len(b)) < 5:
        return float("nan")
    x, domain = np.concatenate([a, b]), np.arange(len(a) + len(b)) >= len(a)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, class_weight="balanced"))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    right = float(cross_val_score(model, x, domain, cv=folds, scoring="balanced_accuracy").mean())
    return 2 * max(2 * right - 1, 0.0)


def mean_discrepancy(source: np.ndarray, target: np.ndarray) -> float:
    """The squared maximum mean discrepancy under a Gaussian kernel of the median width, unbiased.

    Args:
        source: float [N, D].
        target: float [M, D].

    Returns:
        About 0 where both are alike; may be slightly below; nan where a side has fewer than two rows.

    Reference: Gretton, Borgwardt, Rasch, Schölkopf and Smola 2012, lemma 6.
    """
    from transfuse.methods.instance.kernels import gaussian, median_distance

    a, b = source[:MOST], target[:MOST]
    if min(len(a), len(b)) < 2:
        return float("nan")
    width = median_distance(np.concatenate([a[: MOST // 2], b[: MOST // 2]]))
    within = [(gaussian(x, x, width).sum() - len(x)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(within[0] + within[1] - 2 * gaussian(a, b, width).mean())
