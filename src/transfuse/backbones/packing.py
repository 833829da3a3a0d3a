"""Several short texts in one row of a decoder, each of which sees itself alone and begins at position 0."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.attention import NAME
from transfuse.backbones.huggingface import Backbone

MASKED = ("eager", "sdpa", NAME)
"""The kinds of attention that are given a whole mask."""
BY_LENGTH = ("dynamic", "longrope")
"""In the names of rotary positions, those whose angles depend on how long the longest text beside is."""


def packs(backbone: Backbone, segment: Segment) -> bool:
    """Whether texts that share a row of a segment give what each gives alone.

    They do where attention is causal and takes a mask, and where a token's position is all that its angles depend on.
    They do not behind an encoder, behind a soft prompt, which stands before a row and not before a text, and where a
    text sees what follows it.
    """
    config: Any = segment.model.config
    rotary = getattr(config, "rope_parameters", None) or {}
    nested = [part for part in rotary.values() if isinstance(part, dict)]  # of families with one kind a layer type
    kinds = [str(part.get("rope_type")) for part in (rotary, *nested)]
    causal = getattr(config, "is_causal", True) and not getattr(config, "use_bidirectional_attention", False)
    alone = backbone.decoder and not backbone.crosses and segment.soft is None
    by_length = any(name in kind for kind in kinds for name in BY_LENGTH)
    return bool(alone and causal and config._attn_implementation in MASKED and not by_length)


def places(lengths: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which row each of N texts stands in, and where it begins there: int64 [N] both.

    Of all numbers of rows the one that leaves the least padding, and of equals the one with the shortest rows. In each,
    longest first, a text goes into the emptiest row (Graham 1969: the fullest is at most a third longer than need be).
    As many rows as texts are one of the choices, so there is never more padding than without packing.

    Args:
        lengths: int [N], tokens a text.
        most: tokens of a row of several texts; a longer text has one of its own. 0 gives each its own, in their order.

    Cost: N² log N steps at most.
    """
    count, longest = len(lengths), int(lengths.max(initial=0))
    best, padded = (np.arange(count), np.zeros(count, dtype=np.int64)), count * longest
    if not most:
        return best
    order = np.argsort(-lengths, kind="stable")
    for number in range(count - 1, 0, -1):
        if number * max(most, longest) < lengths.sum():
            break
        found = _balanced(lengths, order, number, most)
        if found is not None and number * found[2] < padded:
            best, padded = found[:2], number * found[2]
    return best


def _balanced(
    lengths: np.ndarray, order: np.ndarray, number: int, most: int
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Rows and beginnings of texts in so many rows, and the tokens of the fullest; None where they do not fit."""
    rows, begins = np.zeros_like(order), np.zeros_like(order)
    taken = [(0, row) for row in range(number)]
    for i in order:
        used, row = taken[0]
        if used and used + int(lengths[i]) > most:
            return None
        rows[i], begins[i] = row, used
        heapq.heapreplace(taken, (used + int(lengths[i]), row))
    return rows, begins, max(used for used, _ in taken)


def packed(
    values: torch.Tensor, mask: torch.Tensor, rows: np.ndarray, begins: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts that are padded, each in a row of its own, laid out by `places`.

    Args:
        values: states [N, T, D] or ids [N, T].
        mask: int64 [N, T] of ones and zeros.
        rows, begins: int64 [N], see `places`.

    Returns:
        Values [R, W, D] or [R, W], and mask int64 [R, W]: the number of a token's text in its row, from 1 on; 0 at
        padding. Where no row has two texts, that is the mask of ones and zeros.
    """
    lengths = mask.sum(1).tolist()
    shape = (int(rows.max()) + 1, max(int(b) + n for b, n in zip(begins, lengths, strict=True)))
    laid, numbers = values.new_zeros(*shape, *values.shape[2:]), mask.new_zeros(shape)
    seen = [0] * shape[0]
    for i in np.argsort(begins, kind="stable"):
        row, begin, length = int(rows[i]), int(begins[i]), lengths[i]
        seen[row] += 1
        laid[row, begin : begin + length] = values[i, :length]
        numbers[row, begin : begin + length] = seen[row]
    return laid, numbers
