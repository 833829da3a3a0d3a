"""How tokens relate inside a teacher's last layer, beside a student that learns it while it trains."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.taps import Tap, tapped
from transfuse.engine.inner import relation_loss
from transfuse.errors import RecipeError
from transfuse.fitted.head import HeadPath

MOST_HEADS = 16
"""Relation heads at most; so many as divide both widths."""


class Inside:
    """MiniLMv2's loss (Wang et al. 2021) between the last layers that teacher and student read.

    The teacher reads each batch again as the student comes to it: what all its heads say of every pair of tokens would
    not fit anywhere.

    Args:
        student: the layers that train; hooks stay in them until `close`.
        teacher: a fitted model with a head.
        texts: of all rows.
        lengths: tokens of each row as the student reads it, int [N].

    Raises:
        RecipeError: the teacher cuts the texts into other tokens.
        BackboneError: a family whose queries, keys and values are not known.

    Cost: a pass of the teacher for every batch; B·R·T² numbers.
    """

    def __init__(self, student: Segment, teacher: HeadPath, texts: Sequence[str], lengths: np.ndarray) -> None:
        tokens = teacher.backbone.tokens(texts, teacher.template, teacher.limit)
        if [len(row) for row in tokens] != [int(length) for length in lengths]:
            raise RecipeError(
                f"distill.relations: {teacher.backbone.reference} cuts texts into other tokens than its student",
                expected="a teacher of the student's family, such as one that the student was shrunk from",
                remedy="Set `relations: 0`, or use `hidden`, which needs no common tokens.",
            )
        self._states, self._teacher = teacher.backbone.begun(tokens), teacher.whole()
        self._open = contextlib.ExitStack()
        self._own = self._open.enter_context(tapped(student, [student.stop]))
        self._theirs = self._open.enter_context(tapped(self._teacher, [self._teacher.stop]))

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        """Of the rows that the student has just read: queries, keys and values each, summed."""
        values, mask = (x.to(next(self._teacher.parameters()).device) for x in self._states.batch(rows))
        with torch.no_grad(), torch.autocast(mask.device.type, enabled=False):
            self._teacher(values, mask)
        (own,), (theirs,) = self._own.values(), self._theirs.values()
        return sum(
            (relation_loss(a.float(), b.float(), mask, _heads(a, b)) for a, b in _pairs(own, theirs)),
            mask.new_zeros(()),
        )

    def close(self) -> None:
        """Take the hooks out."""
        self._open.close()


def _pairs(own: Tap, theirs: Tap) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(own.query, theirs.query), (own.key, theirs.key), (own.value, theirs.value)]


def _heads(one: torch.Tensor, other: torch.Tensor) -> int:
    """The largest number of relation heads that divides both widths."""
    both = math.gcd(one.shape[1] * one.shape[3], other.shape[1] * other.shape[3])
    return max(n for n in range(1, MOST_HEADS + 1) if both % n == 0)
