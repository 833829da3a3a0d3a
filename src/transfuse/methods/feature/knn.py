"""The k nearest neighbours, with the labels' words among them."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.fitted.head import Head, by_class, unit
from transfuse.fitted.paths import log_softmax
from transfuse.methods.closed import ClosedForm, Solution, labelled

NEIGHBOURS = (1, 3, 5, 10, 0)
"""What k may be; 0 stands for all rows."""
SHARPNESS = (10.0, 20.0, 40.0)
"""What cosines may be multiplied by."""


def knn_head(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, classes: int, names: np.ndarray | None = None
) -> Head:
    """Rows vote for their class, the more similar the more; choose it where classes are scattered and rows abound.

    logit_c = log Σ over those i of the k nearest rows that are of class c of w_i exp(s (x - m)·z_i), z_i = x_i - m of
    unit length, x of unit length and m the mean of all rows; k and s by the log loss of each row among the others.

    Args:
        features: float [N, D].
        labels: int [N] in 0..C-1.
        weights: float [N], above 0.
        classes: C.
        names: float [C, D] of the labels' words, each a row of weight 1 of its class, or None.

    Returns:
        A `Head` that remembers the rows, of unit length.

    Cost: N² products to choose; N products a text afterwards.
    Reduces to: the similarity to the labels' words where there is no row.
    Reference: Cover and Hart 1967; Goldberger et al. 2004 for the weights.
    """
    rows = unit(np.asarray(features, dtype=np.float64))
    if names is not None:
        rows = np.concatenate([rows, unit(np.asarray(names, dtype=np.float64))])
        labels = np.concatenate([labels, np.arange(classes)])
        weights = np.concatenate([weights, np.ones(classes)])
    mean = rows.mean(0) if len(rows) > classes else np.zeros(rows.shape[1])
    centred = rows - mean
    rows = unit(centred)
    owner = np.eye(classes, dtype=np.float32)[labels]
    near, voice = centred @ rows.T, np.log(weights)
    np.fill_diagonal(near, -np.inf)
    judged = np.flatnonzero(owner.sum(0)[labels] > 1)[: len(features)]
    sharpness, nearest = SHARPNESS[1], NEIGHBOURS[2]
    if len(judged):
        losses = {
            (s, k): -log_softmax(by_class(s * near[judged] + voice, owner, k))[np.arange(len(judged)), labels[judged]]
            for s in SHARPNESS
            for k in NEIGHBOURS
        }
        sharpness, nearest = min(losses, key=lambda option: float(losses[option] @ weights[judged]))
    ones = np.ones(len(mean), np.float32)
    weight, bias = (sharpness * rows).astype(np.float32), voice.astype(np.float32)
    return Head(mean.astype(np.float32), ones, weight, bias, True, owner, nearest)


def method() -> ClosedForm:
    """The k nearest neighbours; a label's words count as one row of its class."""

    def solve(found: Evidence, target_share: float) -> Solution:
        x, labels, weights = labelled(found, target_share)
        kept = weights > 0
        names = found.names if len(found.names) else None
        return knn_head(x[kept], labels[kept], weights[kept], found.classes, names), None

    return ClosedForm("feature", solve, needs_source=False, reads_names=True)
