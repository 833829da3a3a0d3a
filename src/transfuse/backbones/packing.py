"""Several short texts in one row of a decoder, each of which sees itself alone and begins at position 0."""

from __future__ import annotations

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

    Longest first, each in the first row that has room for it (first-fit decreasing, which takes at most 11/9 of the
    least number of rows, and one more; Johnson 1973). A text longer than ``most`` has a row of its own.

    Args:
        lengths: int [N], tokens a text.
        most: tokens of a row; 0 gives each text its own, in their order.

    Cost: N times the number of rows.
    """
    rows, begins = np.arange(len(lengths)), np.zeros(len(lengths), dtype=np.int64)
    if not most:
        return rows, begins
    taken: list[int] = []
    for i in np.argsort(-lengths, kind="stable"):
        length = int(lengths[i])
        row = next((r for r, used in enumerate(taken) if used + length <= most), len(taken))
        taken += [0] if row == len(taken) else []
        rows[i], begins[i] = row, taken[row]
        taken[row] += length
    return rows, begins


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
