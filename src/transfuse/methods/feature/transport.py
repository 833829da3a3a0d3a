"""Optimal transport: each source row moves to where its mass goes in the target."""

from __future__ import annotations

import numpy as np

from transfuse.methods.closed import ClosedForm, moved
from transfuse.methods.instance.kernels import squared_distances


def transported(source: np.ndarray, target: np.ndarray, *, regularisation: float = 0.05) -> np.ndarray:
    """Map source rows by entropic optimal transport; choose it where the shift is not the same for all rows.

    x_i → Σ_j P_ij t_j / Σ_j P_ij, with P the cheapest plan between equal masses under squared distances (divided by
    their mean) and an entropy of weight ``regularisation``.

    Args:
        source: float [N, D].
        target: float [M, D], unlabelled rows will do.
        regularisation: of the entropy; larger is smoother.

    Returns:
        float64 [N, D], inside the target's hull.

    Cost: N · M distances and some hundred products with them.
    Reduces to: all rows at the target's mean as ``regularisation`` grows.
    Reference: Courty, Flamary, Tuia and Rakotomamonjy 2017, equations 11 and 14; computed by POT.
    """
    import ot

    cost = squared_distances(source, target)
    cost /= max(float(cost.mean()), 1e-300)
    ours, theirs = np.full(len(source), 1 / len(source)), np.full(len(target), 1 / len(target))
    plan = ot.sinkhorn(ours, theirs, cost, regularisation, method="sinkhorn_log", numItermax=500, warn=False)
    mapped: np.ndarray = (plan / np.maximum(plan.sum(1, keepdims=True), 1e-300)) @ target
    return mapped


def method() -> ClosedForm:
    """The probe on source rows moved by entropic optimal transport."""
    return moved(lambda e: transported(e.source.x, e.near))
