"""TrAdaBoost: source rows that a classifier of the target keeps getting wrong lose their weight."""

from __future__ import annotations

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.engine.logistic import fit_head
from transfuse.fitted.head import Head
from transfuse.fitted.paths import log_softmax
from transfuse.methods.closed import ClosedForm, Solution

LEAST, MOST = 1e-3, 0.49
"""Bounds of the target's error: boosting needs it below a half and above nothing."""


def tradaboost(
    source: tuple[np.ndarray, np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: int,
    *,
    rounds: int = 10,
    c: float = 0.01,
) -> tuple[Head, np.ndarray]:
    """Boost on both, forgetting source rows that contradict the target; choose it where part of a source misleads.

    In each round: a head on all rows; e_i = 1 - p(y_i | x_i); ε = Σ_t w_t e_t / Σ_t w_t;
    w_s ← w_s β^{e_s} with β = 1 / (1 + √(2 ln n_s / T)); w_t ← w_t β_t^{-e_t} with β_t = ε / (1 - ε). The last half of
    the rounds votes, each with log 1/β_t.

    Args:
        source: features float [N, D], labels int [N] and weights float [N].
        target: the same [M, D], [M], [M].
        classes: C.
        rounds: T.
        c: inverse strength of each head's penalty.

    Returns:
        The mean of the last half of the heads, and the source rows' last weights, float64 [N] of mean 1.

    Cost: T logistic regressions on N + M rows.
    Reduces to: one head on the target where the source has no rows.
    Reference: Dai, Yang, Xue and Yu 2007, figure 1. Departures: soft errors, since hard ones are 0 on few target rows
        and freeze all weights; a weighted mean of logits in place of the vote.
    """
    x, y = (np.concatenate([source[i], target[i]]) for i in (0, 1))
    count = len(source[1])
    weights = np.concatenate([source[2], target[2]]).astype(np.float64)
    shrink = 1.0 / (1.0 + np.sqrt(2.0 * np.log(max(count, 2)) / rounds))
    weight, bias, total = np.zeros((classes, x.shape[1])), np.zeros(classes), 0.0
    used = weights
    for number in range(rounds):
        used = weights
        head = fit_head(x, y, classes, c=c, weights=weights)
        error = 1.0 - np.exp(log_softmax(head.logits(x))[np.arange(len(y)), y])
        mistaken = float(np.clip(np.average(error[count:], weights=weights[count:]), LEAST, MOST))
        say = float(np.log((1 - mistaken) / mistaken))
        if number >= rounds // 2:
            folded = head.folded()
            weight, bias, total = weight + say * folded[0], bias + say * folded[1], total + say
        weights = weights * np.concatenate([shrink ** error[:count], np.exp(say * error[count:])])
        weights = weights * (len(weights) / weights.sum())
    mean = Head.plain(weight / total, bias / total)
    return mean, used[:count] / max(used[:count].mean(), 1e-300) if count else used[:0]


def method() -> ClosedForm:
    """Boosting that forgets source rows which contradict the target."""

    def solve(found: Evidence, target_share: float) -> Solution:
        source, target = found.source, found.target
        weights = target.weights * (target_share * source.weights.sum() / target.weights.sum())
        ours, theirs = (source.x, source.labels, source.weights), (target.x, target.labels, weights)
        return tradaboost(ours, theirs, found.classes)

    return ClosedForm("instance", solve)
