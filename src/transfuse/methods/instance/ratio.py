"""The density ratio by a classifier that tells the target's texts from the source's."""

from __future__ import annotations

import numpy as np

from transfuse.methods.closed import ClosedForm, weighted

COMPONENTS, CLIP, FOLDS = 64, 0.99, 5


def effective_size(weights: np.ndarray) -> float:
    """Kish's effective sample size (Σ w)² / Σ w²: how many equal rows the weighted ones are worth."""
    return float(weights.sum() ** 2 / max((weights**2).sum(), 1e-300))


def mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights scaled to mean 1; ones where all are 0."""
    mean = weights.mean()
    return weights / mean if mean > 0 else np.ones_like(weights)


def domain_ratio(source: np.ndarray, target: np.ndarray, *, c: float = 1.0, seed: int = 0) -> np.ndarray:
    """Weigh source rows by p_target(x) / p_source(x), estimated by logistic regression; choose it first of its kind.

    w = (n_s / n_t) p(target | x) / p(source | x), each row judged by a classifier that has not seen it, cut at the
    highest percent, scaled to mean 1.

    Args:
        source: float [N, D].
        target: float [M, D], unlabelled rows will do.
        c: inverse strength of the classifier's penalty.
        seed: of the folds.

    Returns:
        float64 [N] of mean 1.

    Raises:
        ValueError: a feature is not finite.

    Cost: five logistic regressions on N + M rows of 64 components.
    Reduces to: about 1 everywhere where source and target are alike.
    Reference: Bickel, Brückner and Scheffer 2007. Departures: principal components, cross-fitting, the cut.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(len(source), len(target)) < FOLDS:
        return np.ones(len(source))
    x = np.concatenate([source, target]).astype(np.float64)
    domain = np.arange(len(x)) >= len(source)
    components = min(COMPONENTS, x.shape[1], (len(x) * (FOLDS - 1)) // FOLDS - 1)
    model = make_pipeline(StandardScaler(), PCA(components, random_state=seed), LogisticRegression(C=c, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with np.errstate(invalid="ignore"):  # rows that are all equal have no variance of which components explain a share
        odds = cross_val_predict(model, x, domain, cv=folds, method="decision_function")[: len(source)]
    ratio = np.exp(np.clip(odds, -30, 30)) * len(source) / len(target)
    return mean_one(np.minimum(ratio, np.quantile(ratio, CLIP)))


def method() -> ClosedForm:
    """The probe on source rows weighed by a classifier of the domain."""
    return weighted(lambda e: domain_ratio(e.source.x, e.near, seed=e.seed))
