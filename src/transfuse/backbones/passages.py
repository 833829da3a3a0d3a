"""Questions with their passages as an encoder reads them: pairs of texts, a long passage in windows that overlap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.backbones.tokens import any_token, shortened
from transfuse.errors import BackboneError

LEAST_PASSAGE = 16
"""Tokens of a passage that a window must have room for."""


@dataclasses.dataclass(frozen=True)
class Windows:
    """M windows over N questions with their passages.

    Args:
        tokens: token ids of each window: the question, then a piece of the passage.
        owner: int64 [M], the question of each window; all windows of one follow each other.
        first: int64 [M], where the piece of the passage begins.
        places: for each token of that piece, where it stands in the passage: int64 [tokens, 2], from and to.
    """

    tokens: Sequence[Sequence[int]]
    owner: np.ndarray
    first: np.ndarray
    places: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.tokens)

    def find(self, window: int, start: int, stop: int) -> tuple[int, int] | None:
        """First and last token of the characters ``start`` to ``stop`` of the passage; None where some lie outside."""
        places, first = self.places[window], int(self.first[window])
        if not len(places) or places[0, 0] > start or places[-1, 1] < stop:
            return None
        inside = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < stop))
        return (first + int(inside[0]), first + int(inside[-1])) if len(inside) else None


def windows(tokenizer: Any, questions: Sequence[str], passages: Sequence[str], limit: int, overlap: int) -> Windows:
    """The windows of each question's passage.

    Args:
        tokenizer: a fast tokenizer of an encoder, which knows how it joins two texts.
        questions, passages: N of each; a question loses what lies behind half of ``limit``.
        limit: most tokens of a window.
        overlap: most tokens of a passage that two windows share.

    Raises:
        BackboneError: ``limit`` leaves no room for a passage beside the longest question.
    """
    room = limit - limit // 2 - tokenizer.num_special_tokens_to_add(pair=True)
    if room < LEAST_PASSAGE:
        raise BackboneError(
            f"a question leaves {max(room, 0)} of {limit} tokens for a passage",
            expected=f"at least {LEAST_PASSAGE}",
            remedy="Use a larger task.max_tokens.",
        )
    if not questions:
        return Windows([], np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), [])
    asked = [shortened(tokenizer, question, limit // 2) for question in questions]
    found = tokenizer(
        asked,
        list(passages),
        truncation="only_second",
        max_length=limit,
        stride=min(overlap, room // 2),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    first, places = [], []
    for i, spans in enumerate(found["offset_mapping"]):
        of_passage = [n for n, side in enumerate(found.sequence_ids(i)) if side == 1]
        first.append(of_passage[0] if of_passage else 0)
        places.append(np.array([spans[n] for n in of_passage], dtype=np.int64).reshape(-1, 2))
    rows = [row or [any_token(tokenizer)] for row in found["input_ids"]]
    owner = np.array(found["overflow_to_sample_mapping"], dtype=np.int64)
    return Windows(rows, owner, np.array(first, dtype=np.int64), places)
