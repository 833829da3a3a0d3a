"""Choosing among a source's rows by the gradients of layers that train: the stage, described."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transfuse.engine.jobs import Rows, Stage


@dataclasses.dataclass(frozen=True)
class Select:
    """Weighs a source's rows by their gradients through adapters that were warmed up, and goes on with what is left.

    The adapters of the warm-up are thrown away: what follows begins as if there had been none.

    Args:
        source: N rows to choose among.
        target: the rows that they are to serve.
        warm: stages of a branch of its own; they end with adapters that were trained, and a head.
        weigh: weights [N] of mean 1 from the agreement [N] of the source's rows with the target's (see
            `gradients.agreement`).
        then: the stages that follow, from these weights; rows of weight 0 are left out of them.
    """

    source: Rows
    target: Rows
    warm: tuple[Stage, ...]
    weigh: Callable[[np.ndarray], np.ndarray]
    then: Callable[[np.ndarray], tuple[Stage, ...]]
