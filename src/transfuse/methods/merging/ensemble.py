"""Candidates that answer together: the mean of what they say, weighed so that held-out rows are most likely."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Job, TransferData
from transfuse.errors import RecipeError

PRIOR = 1.0
"""Rows that each member is taken to have foretold as well as the others, beside the real ones."""
ROUNDS = 200


def stacking_weights(said: np.ndarray, labels: np.ndarray, prior: float = PRIOR) -> np.ndarray:
    """The weights of a linear pool under which the labels are most likely; choose it to let models answer as one.

    maximise Σ_i log Σ_k w_k p_k(y_i | x_i) + a Σ_k log w_k over weights w ≥ 0 with the sum 1, by expectation
    maximisation: r_ik = w_k p_k(y_i) / Σ_j w_j p_j(y_i), w_k = (Σ_i r_ik + a) / (N + K a). The first term is concave in
    w, the second pulls towards equal weights, so the answer is the only one.

    Args:
        said: log-probabilities float64 [K, R, N, C] of K members in R repeats, of rows that they were not fitted on.
        labels: int64 [N].
        prior: a, in rows; without bound it gives equal weights.

    Returns:
        float64 [K], above 0, with the sum 1.

    Cost: O(rounds · K · R · N).
    Reduces to: equal weights for members that say the same; a row that no member thinks possible speaks for none.
    Reference: Yao, Vehtari, Simpson and Gelman 2018, Using stacking to average Bayesian predictive distributions,
        equation 4 (logarithmic score). Departure: the pull towards equal weights, since few rows say little of weights.
    """
    members, repeats, rows = said.shape[:3]
    own = said[:, :, np.arange(rows), labels].reshape(members, -1)  # [K, R N]
    best = own.max(axis=0)
    share = np.where(np.isfinite(best), np.exp(own - np.where(np.isfinite(best), best, 0.0)), 1.0)
    weights = np.full(members, 1 / members)
    for _ in range(ROUNDS):
        part = weights[:, None] * share
        counted = (part / part.sum(axis=0)).sum(axis=1) / repeats
        weights = (counted + prior) / (rows + members * prior)
    return weights


class Ensemble:
    """Several candidates of a study as one; a study with ``methods: auto`` makes them of what it has fitted.

    Choose it for quality where some milliseconds more a text are no matter. It costs what its members cost.
    """

    family, reads, uses_sources, counterpart = "merging", "nothing", True, None
    uses_related, weighs, alone = True, True, None

    def plan(self, task: Any, backbone: Backbone | None, data: TransferData, seed: int) -> Job:
        """There is nothing to plan: its members have been."""
        raise RecipeError(
            "ensemble: it is made of other candidates",
            expected="`methods: auto`, with which a study makes its ensembles itself",
            remedy="Leave `ensemble` out of the methods.",
        )
