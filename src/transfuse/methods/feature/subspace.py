"""Subspace alignment: the source's principal directions are turned onto the target's."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.fitted.head import Head
from transfuse.methods.closed import ClosedForm, Solution, joint_head


def principal(x: np.ndarray, components: int) -> np.ndarray:
    """The first principal directions, orthonormal columns [D, K]; each column's largest entry is positive."""
    centred = np.asarray(x - x.mean(0), dtype=np.float64)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:components].T
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])])
    return directions * np.where(signs == 0, 1.0, signs)


def subspace_alignment(source: np.ndarray, target: np.ndarray, *, components: int = 64) -> tuple[np.ndarray, ...]:
    """Maps of both domains into one space; choose it where the target's variance lies in few directions.

    z_s = (x - μ_s) P_s P_sᵀ P_t and z_t = (x - μ_t) P_t, with P the first K principal directions of each.

    Args:
        source: float [N, D].
        target: float [M, D], unlabelled rows will do.
        components: K, at most what both have.

    Returns:
        The source in the common space, float64 [N, K], and the target's mean [D] and directions [D, K], by which
        target rows come there.

    Cost: two singular value decompositions.
    Reduces to: principal components where the target is the source.
    Reference: Fernando, Habrard, Sebban and Tuytelaars 2013, equation 3.
    """
    count = max(min(components, source.shape[1], len(source) - 1, len(target) - 1), 1)
    ours, theirs = principal(source, count), principal(target, count)
    return (source - source.mean(0)) @ (ours @ (ours.T @ theirs)), target.mean(0, dtype=np.float64), theirs


def method() -> ClosedForm:
    """A head in the space where the source's principal directions lie on the target's."""

    def solve(found: Evidence, target_share: float) -> Solution:
        mapped, mean, directions = subspace_alignment(found.source.x, found.near)
        target = dataclasses.replace(found.target, x=((found.target.x - mean) @ directions).astype(np.float32))
        inner = joint_head(dataclasses.replace(found, target=target), mapped, found.source.weights, target_share)
        weight, bias = inner.folded()
        weight = weight @ directions.T
        return Head.plain(weight, bias - weight @ mean), None

    return ClosedForm("feature", solve)
