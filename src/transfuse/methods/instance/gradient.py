"""LESS: source rows whose gradients point where the target's do."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.engine.logistic import fit_head
from transfuse.fitted.paths import log_softmax
from transfuse.methods.closed import ClosedForm, chosen, weighted

KEEP = 0.5
"""Share of the source that is kept."""
WARM_C = 0.01
"""Penalty of the head, fitted on the target, at which gradients are taken."""


def head_gradients(features: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """The two factors of each row's gradient of the cross-entropy by a linear head: (p - y) [N, C] and x [N, D]."""
    residual = probabilities.copy()
    residual[np.arange(len(labels)), labels] -= 1.0
    return residual, features


def factored_cosine(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> np.ndarray:
    """Cosines [N, M] between gradients r ⊗ x that are given as (r, x): (r·r')(x·x') / (‖r‖‖x‖‖r'‖‖x'‖)."""
    units = [[x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in pair] for pair in (a, b)]
    found: np.ndarray = (units[0][0] @ units[1][0].T) * (units[0][1] @ units[1][1].T)
    return found


def influence(cosines: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """How well each source row serves the group of target rows that it serves best; choose it to pick rows by use.

    score(z) = max over groups g of mean over z' in g of cos(∇ℓ(z), ∇ℓ(z')).

    Args:
        cosines: float [N, M] between the gradients of source and target rows.
        groups: int [M], the target rows' labels: each is a subtask.

    Returns:
        float64 [N] in -1..1; a row below 0 pulls away from every group.

    Reference: Xia, Malladi, Gururangan, Arora and Chen 2024 (LESS), equation 5 with one checkpoint. Departure: plain
        gradients, not Adam's; the groups are classes.
    """
    means = np.stack([cosines[:, groups == group].mean(1) for group in np.unique(groups)], axis=1)
    best: np.ndarray = means.max(1)
    return best


def method() -> ClosedForm:
    """The probe on the half of the source whose gradients serve the target's classes best."""

    def weigh(found: Evidence) -> np.ndarray:
        ours, theirs = found.source, found.target
        head = fit_head(theirs.x, theirs.labels, found.classes, c=WARM_C, weights=theirs.weights)
        pairs = [
            head_gradients((side.x - head.mean) / head.scale, np.exp(log_softmax(head.logits(side.x))), side.labels)
            for side in (ours, theirs)
        ]
        return chosen(influence(factored_cosine(*pairs), theirs.labels), KEEP)

    return weighted(weigh)
