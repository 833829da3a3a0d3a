"""Training on answers: the rows, the loss, and what is held back to stop by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import head_loss, token_log_probabilities
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.packing import packed, places
from transfuse.backbones.tokens import States, batches
from transfuse.engine.answers import Pairs

if TYPE_CHECKING:
    from transfuse.engine.across import Across
    from transfuse.engine.lessons import Foretold

MICRO_TOKENS = 4096
"""Padded tokens of which a step computes gradients at once; a larger batch is accumulated."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """Token ids of requests with their answers.

    Args:
        tokens: N rows, the answer and the token that ends it behind the request.
        starts: int64 [N], where each answer begins.
        weights: float64 [N].
        inputs: N rows, what the backbone reads to foretell them.
        ahead: how many places before a token the state stands that foretells it.
        taught: what a teacher foretells of the answers, token by token or by groups of them, or None.
        pack: most tokens of a row in which several examples stand (see `packing`); 0 gives each its own.
    """

    tokens: Sequence[Sequence[int]]
    starts: np.ndarray
    weights: np.ndarray
    inputs: Sequence[Sequence[int]]
    ahead: int
    taught: Foretold | Across | None = None
    pack: int = 0

    @staticmethod
    def of(parts: Sequence[tuple[Pairs, Form]], backbone: Backbone, limit: int, most: int) -> Answers:
        """The rows of some pairs.

        Args:
            parts: requests and answers, with how they are shown.
            backbone: gives the tokenizer and the context's length.
            limit: most tokens of a request.
            most: most tokens of an answer.
        """
        rows, starts, inputs = [], [], []
        most = min(most, max(backbone.max_tokens // 2, 1))
        for pairs, form in parts:
            room = backbone.max_tokens - most - len(form.prefix_ids(backbone.tokenizer))
            requests = backbone.requests(form, pairs.texts, max(min(limit, room), 1))
            answers = backbone.replies(form, pairs.answers, most)
            rows += [[*request, *answer] for request, answer in zip(requests, answers, strict=True)]
            inputs += [backbone.inputs(request, answer) for request, answer in zip(requests, answers, strict=True)]
            starts += [len(request) for request in requests]
        weights = np.concatenate([pairs.weights for pairs, _ in parts])
        return Answers(rows, np.array(starts, dtype=np.int64), weights, inputs, 0 if backbone.crosses else 1)

    @property
    def counted(self) -> np.ndarray:
        """Tokens of each answer, its end included, int64 [N]."""
        counted: np.ndarray = np.array([len(row) for row in self.tokens], dtype=np.int64) - self.starts
        return counted

    def parts(self, chosen: np.ndarray, most: int = MICRO_TOKENS) -> list[np.ndarray]:
        """Rows of a batch in parts of bounded size; what shares a packed row is in one."""
        lengths = self._lengths(chosen)
        rows, _ = places(lengths, self.pack)
        widths = np.bincount(rows, lengths).astype(np.int64)
        if len(widths) * widths.max() <= most:
            return [chosen]
        return [chosen[np.concatenate([np.flatnonzero(rows == r) for r in part])] for part in batches(widths, most)]

    def laid(self, chosen: np.ndarray, values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the layers are given: the chosen rows as they are padded, or `packed`."""
        return packed(values, mask, *places(self._lengths(chosen), self.pack)) if self.pack else (values, mask)

    def _lengths(self, chosen: np.ndarray) -> np.ndarray:
        return np.array([len(self.tokens[i]) for i in chosen], dtype=np.int64)

    def loss(self, backbone: Backbone, hidden: torch.Tensor, chosen: np.ndarray, low: bool) -> torch.Tensor:
        """Mean loss of the answers' tokens, each counted as its row is; 0 where nothing counts.

        Args:
            backbone: gives the final norm and the head.
            hidden: states [B, T, D] after the last layer, of what `laid` gave.
            chosen: the B rows.
            low: whether products run in bf16.
        """
        where, targets, weights = self._targets(chosen)
        if not weights.sum() > 0:
            return hidden.sum() * 0.0
        device = hidden.device
        picked = backbone.normed(
            hidden.flatten(0, 1)[torch.from_numpy(where[0] * hidden.shape[1] + where[1]).to(device)]
        )
        counted = torch.from_numpy(weights).float().to(device)
        aims = torch.from_numpy(targets).to(device)
        if self.taught is None:
            return head_loss(backbone, picked, aims, counted, low)
        return self.taught.loss(backbone, picked, chosen, aims, counted, low)

    def likelihoods(self, backbone: Backbone, hidden: torch.Tensor, chosen: np.ndarray, low: bool) -> torch.Tensor:
        """Log-likelihood of each of the B chosen answers, [B], the sum over its tokens; see `loss`."""
        where, targets, _ = self._targets(chosen)
        device = hidden.device
        rows, at = (torch.from_numpy(part).to(device) for part in where)
        picked = backbone.normed(hidden.flatten(0, 1)[rows * hidden.shape[1] + at])
        found = token_log_probabilities(backbone, picked, torch.from_numpy(targets).to(device), low)
        owners = torch.from_numpy(np.repeat(np.arange(len(chosen)), self.counted[chosen])).to(device)
        return torch.zeros(len(chosen), device=device).index_add(0, owners, found)

    def _targets(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places [2, M] of the states that foretell each answer token, these tokens [M], and their weights [M]."""
        own, begins = places(self._lengths(chosen), self.pack)
        rows: list[int] = []
        at: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        for i, row_of, begin in zip(chosen, own.tolist(), begins.tolist(), strict=True):
            start, row = int(self.starts[i]), self.tokens[i]
            rows += [row_of] * (len(row) - start)
            at += range(begin + start - self.ahead, begin + len(row) - self.ahead)
            targets += row[start:]
            weights += [float(self.weights[i])] * (len(row) - start)
        return np.array([rows, at]), np.array(targets), np.array(weights)


@dataclasses.dataclass
class Held:
    """Rows that are not learnt from, whose loss says when to stop.

    Args:
        answers: the rows.
        states: the frozen prefix's states of them, or their ids.
        patience: epochs without a lower loss that are borne.
    """

    answers: Answers
    states: States
    patience: int

    def batches(self) -> Iterator[np.ndarray]:
        """Positions in batches of similar length."""
        yield from batches(self.states.lengths, MICRO_TOKENS)
