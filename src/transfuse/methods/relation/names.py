"""What a label's words say of its class, learnt on the source's classes."""

from __future__ import annotations

import numpy as np

from transfuse.fitted.head import unit

LEAST, MOST = 0.25, 16.0
"""Bounds of the rows that a name is worth."""


def name_worth(features: np.ndarray, labels: np.ndarray, names: np.ndarray, weights: np.ndarray | None = None) -> float:
    """How many examples a label's words are worth, κ, by the classes of a source: no target label is needed.

    κ = σ²_within / σ²_name: the mean squared distance of a row to its class mean, over that of a name to it. Classes
    of one row say nothing of the distance within, and are left out; κ is 1 where no other is left.

    Args:
        features: float [N, D] of the source.
        labels: int [N], positions in ``names``.
        names: float [C, D], the features of the source's label words.
        weights: float [N], above 0; None for equal ones.

    Returns:
        κ, within 0.25 and 16.

    Reduces to: the upper bound where every name lies at its class mean.
    Reference: empirical Bayes with a Gaussian prior at the name; docs/methods.md.
    """
    rows, words = unit(np.asarray(features, np.float64)), unit(np.asarray(names, np.float64))
    weights = np.ones(len(rows)) if weights is None else weights
    within, between, several = 0.0, 0.0, np.flatnonzero(np.bincount(labels) > 1)
    for label in several:
        own = rows[labels == label]
        share = weights[labels == label] / weights[labels == label].sum()
        mean, one = share @ own, float(share @ share)  # one row's part: 1/n for n rows of equal weights
        spread = float(share @ ((own - mean) ** 2).sum(1)) / (1 - one)
        within += spread
        between += max(float(((words[label] - mean) ** 2).sum()) - spread * one, 1e-12)
    return float(np.clip(within / between, LEAST, MOST)) if len(several) else 1.0


def offsets(prototypes: np.ndarray, names: np.ndarray, *, penalty: float = 1.0) -> np.ndarray:
    """A linear map from what a label is called to where its class lies, fitted on the source's classes (analogy).

    prototype_c ≈ name_c + A (name_c - m) + b, with A shrunk to 0: b is the mean offset, which all classes share.

    Args:
        prototypes: float [C, D], the source's class means.
        names: float [C, D], the features of their words.
        penalty: of A, as a multiple of the names' mean squared length about m.

    Returns:
        float64 [D + 1, D]: apply to [name - m, 1] after m is appended by `moved`.

    Cost: one system of D equations.
    Reduces to: the mean offset as ``penalty`` grows.
    Reference: Mikolov, Yih and Zweig 2013 (offsets); ridge regression.
    """
    centred = names - names.mean(0)
    change = np.asarray(prototypes - names, dtype=np.float64)
    gram = centred.T @ centred
    scale = penalty * max(float(np.trace(gram)) / len(gram), 1e-12)
    linear = np.linalg.solve(gram + scale * np.eye(len(gram)), centred.T @ (change - change.mean(0)))
    return np.vstack([linear, change.mean(0)])


def moved(names: np.ndarray, mean: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """Where classes of these names are expected: name + [name - mean, 1] · map, float64 [C, D]."""
    found: np.ndarray = names + (names - mean) @ map_[:-1] + map_[-1]
    return found
