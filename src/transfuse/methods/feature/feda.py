"""FEDA: what is common to both domains and what is each one's own, in one regression."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.engine.jobs import Evidence
from transfuse.fitted.head import Head
from transfuse.methods.closed import ClosedForm, Solution, joint_head


def augmented(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Source rows as [x, x, 0] and target rows as [x, 0, x]; choose it where some labelled target rows exist.

    A linear head on them has weights for what is common, for the source and for the target: the first and the last
    together are the head of the target (Daumé 2007).

    Args:
        source: float [N, D].
        target: float [M, D].

    Returns:
        float [N, 3 D] and [M, 3 D].

    Reduces to: a head on the target's rows alone, with a weaker penalty, where the source has none.
    """
    none, nothing = np.zeros_like(source), np.zeros_like(target)
    return np.hstack([source, source, none]), np.hstack([target, nothing, target])


def method() -> ClosedForm:
    """A head whose weights are partly common to both domains."""

    def solve(found: Evidence, target_share: float) -> Solution:
        source, target = augmented(found.source.x, found.target.x)
        wide = dataclasses.replace(found, target=dataclasses.replace(found.target, x=target))
        weight, bias = joint_head(wide, source, found.source.weights, target_share).folded()
        width = found.target.x.shape[1]
        own = weight[:, :width] + weight[:, 2 * width :]
        return Head.plain(own, bias), None

    return ClosedForm("feature", solve)
