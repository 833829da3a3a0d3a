"""Classes of no row or one: unlabelled texts of the target stand in for what they lack."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Rows, TransferData
from transfuse.fitted.head import unit

ROWS = 2.0
"""Rows of a class, in the mean over classes, that labelled and unlabelled ones make together."""
SHARPNESS = 50.0
"""What cosines are multiplied by where a text is shared among the classes."""
ROUNDS = 10
MOST = 512
"""Unlabelled texts that are enough."""


def filling_texts(target: Rows, classes: int, data: TransferData) -> tuple[str, ...]:
    """Unlabelled target texts where some class has fewer rows than `ROWS`; else none, so that none is read."""
    few = np.bincount(target.labels, minlength=classes).min() < ROWS
    return data.unlabelled.texts[:MOST] if few and data.unlabelled is not None else ()


def filled(
    prototypes: np.ndarray, counts: np.ndarray, lacks: np.ndarray, unlabelled: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Prototypes moved by unlabelled rows, each shared among the classes that it is near to.

    p_ic = softmax_c(s · cos(u_i, prototype_c)); prototype_c = (n_c μ_c + v_c Σ_i p_ic u_i) / (n_c + v_c Σ_i p_ic), with
    v_c = lacks_c · C/U, so that a class gets as many rows as it lacks where all are equally frequent; ten times.
    Choose it where labels have one example or none: with two or more, rows of a known class say more.

    Args:
        prototypes: float [C, D], μ; a class of count 0 takes part in nothing.
        counts: float [C], n: what the rows and the name in each weigh.
        lacks: float [C], rows that each class lacks, 0 for none.
        unlabelled: float [U, D], of unit length, centred as the prototypes are.

    Returns:
        float64 [C, D], and what is in each, [C].

    Cost: ten times U · C products.
    Reduces to: the prototypes, without unlabelled rows or where no class lacks any.
    Reference: Ren et al. 2018, Meta-learning for semi-supervised few-shot classification, equation 4 (soft k-means).
        Departure: the rows weigh little and only where a class lacks some, since otherwise rare classes are moved into
        their frequent neighbours (docs/log.md).
    """
    present = counts > 0
    if not len(unlabelled) or not (lacks[present] > 0).any():
        return prototypes, counts
    start, each = prototypes * counts[:, None], lacks * present * present.sum() / len(unlabelled)
    moved, total = prototypes, counts
    for _ in range(ROUNDS):
        cosine = np.where(present, unlabelled @ unit(moved).T, -np.inf)
        share = np.exp(SHARPNESS * (cosine - cosine.max(axis=1, keepdims=True)))
        share /= share.sum(axis=1, keepdims=True)
        total = counts + each * share.sum(axis=0)
        moved = (start + each[:, None] * (share.T @ unlabelled)) / np.maximum(total, 1e-12)[:, None]
    return moved, total
