"""What happens inside a teacher's layers, beside a student that learns it while it trains."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.taps import Tap, passed, tapped
from transfuse.engine.inner import attention_loss, hidden_loss, layer_map, relation_loss
from transfuse.engine.terms import Inner
from transfuse.errors import BackboneError, RecipeError
from transfuse.fitted.head import HeadPath

MOST_HEADS = 16
"""Relation heads at most; so many as divide both widths."""


class Inside:
    """Losses between the layers of a teacher and those of a student that train, each beside one of the teacher's.

    How tokens relate in the last layers that are read (MiniLMv2, Wang et al. 2021); the distributions of attention and
    the tokens' states in all layers that are paired (TinyBERT, Jiao et al. 2020, equations 7 and 8), these by their
    direction, through one learnt map where the widths differ. The teacher reads each batch again as the student comes
    to it: what all its heads say of every pair of tokens would not fit anywhere.

    Args:
        how: the teacher, a fitted model with a head, and the weights.
        student: the layers that train; hooks stay in them until `close`.
        width: of the student's states.
        texts: of all rows.
        lengths: tokens of each row as the student reads it, int [N].
        seed: of the map.

    Attributes:
        map: the learnt map, to be trained with the student and thrown away.

    Raises:
        RecipeError: the teacher cuts the texts into other tokens, has another number of heads where attention is
            compared, or fewer layers than such a way of pairing needs.
        BackboneError: a family whose queries, keys and values are not known.

    Cost: a pass of the teacher for every batch; B·R·T² numbers for relations, B·H·T² a layer for attention.
    Reduces to: 0 for a student equal to its teacher.
    Departures: means over layers, where TinyBERT sums, so that weights mean the same at every depth; layers that are
        frozen are left out, and so are the embeddings.
    """

    def __init__(
        self, how: Inner, student: Segment, width: int, texts: Sequence[str], lengths: np.ndarray, seed: int = 0
    ) -> None:
        teacher: HeadPath = how.teacher
        tokens = teacher.backbone.tokens(texts, teacher.template, teacher.limit)
        if [len(row) for row in tokens] != [int(length) for length in lengths]:
            raise RecipeError(
                f"distill.{_named(how)}: {teacher.backbone.reference} cuts texts into other tokens than its student",
                expected="a teacher of the student's family, such as one that the student was shrunk from",
                remedy=f"Set `{_named(how)}: 0`, or use `hidden`, which needs no common tokens.",
            )
        self._how, self._causal = how, teacher.backbone.decoder
        self._states, self._teacher = teacher.backbone.begun(tokens), teacher.whole()
        self.pairs = _paired(how, student, self._teacher)
        self.map = _map(width, teacher.backbone.width if how.states else width, seed).to(teacher.backbone.device)
        if how.attention:
            _same_heads(student, self._teacher)
        self._ends = student.stop, self._teacher.stop
        looked = [*([self._ends] if how.relations else []), *(self.pairs if how.attention else [])]
        followed = self.pairs if how.states else []
        self._open, sides = contextlib.ExitStack(), (student, self._teacher)
        self._taps = [self._look(tapped, looked, k, side) for k, side in enumerate(sides)] if looked else [{}, {}]
        self._after = [self._look(passed, followed, k, side) for k, side in enumerate(sides)]

    def _look(self, how: Any, pairs: Sequence[tuple[int, int]], side: int, segment: Segment) -> dict[int, Any]:
        found: dict[int, Any] = self._open.enter_context(how(segment, sorted({pair[side] for pair in pairs})))
        return found

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        """Of the rows that the student has just read, each part by its weight."""
        how, pairs = self._how, self.pairs
        values, mask = (x.to(next(self._teacher.parameters()).device) for x in self._states.batch(rows))
        with torch.no_grad(), torch.autocast(mask.device.type, enabled=False):
            self._teacher(values, mask)
        total = torch.zeros((), device=mask.device)
        if how.relations:
            own, theirs = (_vectors(taps[end]) for taps, end in zip(self._taps, self._ends, strict=True))
            for a, b in zip(own, theirs, strict=True):
                total = total + how.relations * relation_loss(a, b, mask, _heads(a, b))
        if how.attention:
            taps = [(_vectors(self._taps[0][s]), _vectors(self._taps[1][t])) for s, t in pairs]
            each = [attention_loss(own[:2], theirs[:2], mask, causal=self._causal) for own, theirs in taps]
            total = total + how.attention * torch.stack(each).mean()
        if how.states:
            weight = self.map.weight if isinstance(self.map, nn.Linear) else None
            after = [(self._after[0][s].float(), self._after[1][t]) for s, t in pairs]
            each = [hidden_loss(own, theirs, mask, weight, cosine=True) for own, theirs in after]
            total = total + how.states * torch.stack(each).mean()
        return total

    def close(self) -> None:
        """Take the hooks out."""
        self._open.close()


def _named(how: Inner) -> str:
    """The first setting that asks for a look inside."""
    return next(name for name in ("relations", "attention", "states") if getattr(how, name))


def _paired(how: Inner, student: Segment, teacher: Segment) -> list[tuple[int, int]]:
    """The layers that train, each with the teacher's that it learns from."""
    try:
        every = layer_map(student.stop, teacher.stop, how.layer_map)
    except BackboneError as error:
        raise RecipeError(
            f"distill.layer_map: {error.found}",
            expected="a student of at most as many layers as its teacher",
            remedy="Set `layer_map: uniform`, or choose a deeper teacher.",
        ) from None
    return [(s, t) for s, t in every if s > student.start]


def _same_heads(student: Segment, teacher: Segment) -> None:
    configs: list[Any] = [one.model.config for one in (student, teacher)]
    own, theirs = (config.num_attention_heads for config in configs)
    if own != theirs:
        raise RecipeError(
            f"distill.attention: a student of {own} heads a layer, and a teacher of {theirs}",
            expected="as many heads, of which each learns from one",
            remedy="Set `attention: 0` and use `relations`, which needs no equal heads.",
        )


def _map(width: int, other: int, seed: int) -> nn.Module:
    if width == other:
        return nn.Identity()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(width, other, bias=False)


def _vectors(tap: Tap) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tap.query.float(), tap.key.float(), tap.value.float()


def _heads(one: torch.Tensor, other: torch.Tensor) -> int:
    """The largest number of relation heads that divides both widths."""
    both = math.gcd(one.shape[1] * one.shape[3], other.shape[1] * other.shape[3])
    return max(n for n in range(1, MOST_HEADS + 1) if both % n == 0)
