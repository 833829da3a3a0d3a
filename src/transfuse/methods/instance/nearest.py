"""Source rows by their nearness to the target's."""

from __future__ import annotations

import numpy as np

from transfuse.methods.closed import ClosedForm, weighted
from transfuse.methods.instance.ratio import mean_one


def nearest_target(source: np.ndarray, target: np.ndarray, *, neighbours: int = 5) -> np.ndarray:
    """Weigh a source row by how many target rows count it among their nearest; choose it for few, scattered rows.

    w_i = |{t : s_i is among the ``neighbours`` nearest source rows of t}|, scaled to mean 1: with one neighbour the
    nearest-neighbour estimate of the density ratio (Loog 2012).

    Args:
        source: float [N, D].
        target: float [M, D].
        neighbours: k.

    Returns:
        float64 [N] of mean 1; most are 0 where the source is larger than the target.

    Cost: N · M distances.
    Reduces to: 1 everywhere where the target is the source and k is 1.
    """
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(neighbours, len(source))).fit(source).kneighbors(target)[1]
    return mean_one(np.bincount(near.ravel(), minlength=len(source)).astype(np.float64))


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mean cosine of each source row to its five nearest target rows, float64 [N]: what a curriculum goes by."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (source, target))
    cosine = a.astype(np.float64) @ b.T
    count = min(5, cosine.shape[1])
    found: np.ndarray = np.partition(cosine, -count, axis=1)[:, -count:].mean(1)
    return found


def round_robin(source: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    """Choose ``count`` source rows: target rows take turns, each takes its most similar row that is left (RDS+).

    Args:
        source: float [N, D], mean-pooled states.
        target: float [M, D].
        count: how many to take.

    Returns:
        int64 [count], positions in the order in which they were taken.

    Cost: N · M cosines, sorted.
    Reference: Ivison et al. 2025 (RDS+), section 3. Departure: plain means, not position-weighted ones.
    """
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (source, target))
    ranked = np.argsort(-(b @ a.T), axis=1, kind="stable")
    free, at = np.ones(len(source), dtype=bool), np.zeros(len(target), dtype=np.int64)
    taken: list[int] = []
    while len(taken) < min(count, len(source)):
        for turn in range(len(target)):
            while at[turn] < len(source) and not free[ranked[turn, at[turn]]]:
                at[turn] += 1
            if at[turn] < len(source) and len(taken) < count:
                free[ranked[turn, at[turn]]] = False
                taken.append(int(ranked[turn, at[turn]]))
    return np.array(taken, dtype=np.int64)


def method() -> ClosedForm:
    """The probe on source rows weighed by how many target rows they are nearest to."""
    return weighted(lambda e: nearest_target(e.source.x, e.near))
