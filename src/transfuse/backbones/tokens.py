"""From texts to token ids: the template, truncation that spares the template, batches by length."""

from __future__ import annotations

import bisect
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

TEXT = "{text}"
INNER = 2
"""In a mask, a token that the decoder of an encoder-decoder reads; 1 is any other, 0 padding."""
MOST_PADDING = 0.03
"""Share of a full batch that may be padding."""


def inner(token: int) -> int:
    """A token of the decoder in a row that begins with the encoder's: a negative number (see `crossing`)."""
    return -1 - token


def outer(row: Sequence[int]) -> tuple[list[int], list[int]]:
    """The encoder's ids and the decoder's in a row."""
    return [token for token in row if token >= 0], [-1 - token for token in row if token < 0]


def fill(template: str | None, text: str) -> str:
    """Put a text into a template; nothing else in the template is interpreted, nor are braces in the text."""
    return text if template is None else template.replace(TEXT, text)


def tokenize(
    tokenizer: Any, texts: Sequence[str], template: str | None, limit: int, *, special: bool = True, before: str = ""
) -> list[list[int]]:
    """Token ids of each text inside its template, at most ``limit`` a text, special tokens included if asked.

    A text that is too long loses its end; the template around it, and what stands ``before`` it, stay whole.

    Cost: one pass of the tokenizer; two for the texts that are too long.
    """
    ids: list[list[int]] = tokenizer([before + fill(template, t) for t in texts], add_special_tokens=special)[
        "input_ids"
    ]
    for i, row in enumerate(ids):
        if len(row) > limit:
            ids[i] = _truncated(tokenizer, texts[i], template, limit, len(row), special, before)
        elif not row:  # a tokenizer without special tokens gives an empty text no token at all
            ids[i] = [any_token(tokenizer)]
    return ids


def shortened(tokenizer: Any, text: str, limit: int) -> str:
    """The text without what stands behind its first ``limit`` tokens."""
    if not tokenizer.is_fast:  # a tokenizer in Python knows no offsets: the longest beginning that fits
        return text[: bisect.bisect_right(range(len(text) + 1), limit, key=lambda n: _count(tokenizer, text[:n])) - 1]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text if len(offsets) <= limit else text[: offsets[limit - 1][1]]


def _count(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def any_token(tokenizer: Any) -> int:
    """A token that stands for nothing, where a row would have none."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if token is not None:
            return int(token)
    return 0


def _truncated(
    tokenizer: Any, text: str, template: str | None, limit: int, length: int, special: bool, before: str
) -> list[int]:
    keep = max(_count(tokenizer, text) - (length - limit), 1)
    while True:
        cut = shortened(tokenizer, text, keep)
        ids: list[int] = tokenizer(before + fill(template, cut), add_special_tokens=special)["input_ids"]
        if len(ids) <= limit or keep <= 1:
            return ids[:limit]
        keep = max(keep - (len(ids) - limit), 1)


def opening(tokenizer: Any) -> list[int]:
    """The special tokens that a tokenizer puts before every text (not those after it, which would end the prompt)."""
    bare, full = (list(tokenizer("x", add_special_tokens=special)["input_ids"]) for special in (False, True))
    starts = [i for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return full[: starts[0]] if starts else []


def closing(tokenizer: Any) -> list[int]:
    """The special tokens that a tokenizer puts behind every text."""
    bare, full = (list(tokenizer("x", add_special_tokens=special)["input_ids"]) for special in (False, True))
    ends = [i + len(bare) for i in range(len(full)) if full[i : i + len(bare)] == bare]
    return full[ends[0] :] if ends else []


def batches(lengths: np.ndarray, budget: int, most: int = 256, *, equal: bool = False) -> Iterator[np.ndarray]:
    """Positions in batches of similar length, longest first, at most ``budget`` padded tokens each.

    A batch ends where lengths fall off, rather than being filled with padding, once it has a quarter of its tokens.

    The batches depend on ``lengths`` alone, so the same texts are always computed in the same company.

    Args:
        lengths: int [N], tokens a text.
        budget: padded tokens a batch.
        most: texts a batch.
        equal: texts of one length alone share a batch, so that there is no padding at all.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        company = lengths[order[start : start + min(max(budget // longest, 1), most)]]
        counts = np.arange(1, len(company) + 1)
        if equal:
            size = int((company == company[0]).sum())
        else:
            fits = (np.cumsum(company) >= (1 - MOST_PADDING) * longest * counts) | (longest * counts <= budget / 4)
            size = int(counts[fits][-1])
        yield order[start : start + size]
        start += size


def pad(rows: Sequence[Sequence[int]], filler: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask, both int64 [B, T], whatever side the tokenizer would pad."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return ids, mask


@dataclasses.dataclass
class States:
    """What a frozen prefix gives: the states of all tokens of N texts, without padding.

    Nothing is copied before a batch is made, so the values may lie on disk.

    Args:
        parts: values [tokens, D] of some texts one after another, or their int64 [tokens] ids where nothing is frozen,
            each with int64 [texts + 1], where its texts begin.
        where: int64 [N, 2]: the part of each text, and its place there.
        borders: of each part, int64 [texts], how many of a text's tokens are an encoder's, where the rest are a
            decoder's; empty where all are of one kind.
    """

    parts: Sequence[tuple[torch.Tensor, np.ndarray]]
    where: np.ndarray
    borders: Sequence[np.ndarray] = ()

    def __len__(self) -> int:
        return len(self.where)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Tokens a text, int64 [N]."""
        if not self.parts:
            return np.zeros(0, dtype=np.int64)
        first = np.cumsum([0, *(len(starts) - 1 for _, starts in self.parts)])
        every: np.ndarray = np.concatenate([np.diff(starts) for _, starts in self.parts])
        lengths: np.ndarray = every[first[self.where[:, 0]] + self.where[:, 1]]
        return lengths

    def row(self, index: int) -> torch.Tensor:
        """The states [T, D] or ids [T] of one text, a view."""
        part, place = self.where[index]
        values, starts = self.parts[part]
        row: torch.Tensor = values[starts[place] : starts[place + 1]]
        return row

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The chosen texts right-padded with zeros: values [B, T] or [B, T, D], and mask int64 [B, T].

        The mask is 1 at a text's tokens, `INNER` at those of them that are a decoder's behind an encoder's.
        """
        rows = [self.row(int(i)) for i in indices]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        places = torch.arange(padded.shape[1])[None, :]
        mask = (places < lengths[:, None]).long()
        if self.borders:
            border = torch.tensor([int(self.borders[part][place]) for part, place in self.where[np.asarray(indices)]])
            mask[(places >= border[:, None]) & (mask == 1)] = INNER
        return padded, mask

    @staticmethod
    def of(values: torch.Tensor, tokens: Sequence[Sequence[int]]) -> States:
        """The states [tokens, D] of N texts one after another, given the token ids that they are of."""
        starts = np.cumsum([0, *(len(row) for row in tokens)], dtype=np.int64)
        places = np.arange(len(tokens))
        where = np.stack([np.zeros_like(places), places], axis=1)
        border = np.array([sum(token >= 0 for token in row) for row in tokens], dtype=np.int64)
        return States([(values, starts)], where, [border] if (border < np.diff(starts)).any() else ())

    @staticmethod
    def of_ids(tokens: Sequence[Sequence[int]]) -> States:
        """Token ids of N texts."""
        flat = np.fromiter((token for row in tokens for token in row), dtype=np.int64)
        return States.of(torch.from_numpy(flat), tokens)

    @staticmethod
    def join(parts: Sequence[States], where: np.ndarray) -> States:
        """Some texts of several: ``where`` int64 [N, 2] names the part and the text in it."""
        assert all(len(one.parts) == 1 for one in parts)
        return States([one.parts[0] for one in parts], where, [border for one in parts for border in one.borders])


@dataclasses.dataclass
class Passing(States):
    """States that are computed when a batch asks for them, for rows whose states would not fit.

    Args:
        parts, where, borders: as of `States`, of the rows' token ids.
        compute: gives the states [tokens, D] of some rows of token ids, one after another.
    """

    compute: Callable[[list[list[int]]], torch.Tensor] | None = None

    @staticmethod
    def through(compute: Callable[[list[list[int]]], torch.Tensor], rows: Sequence[Sequence[int]]) -> Passing:
        """The states of N rows of token ids."""
        ids = States.of_ids(rows)
        return Passing(ids.parts, ids.where, ids.borders, compute)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """As of `States`; costs a pass over the chosen rows."""
        assert self.compute is not None
        rows = [[int(token) for token in self.row(int(i))] for i in indices]
        return States.of(self.compute(rows), rows).batch(range(len(rows)))
