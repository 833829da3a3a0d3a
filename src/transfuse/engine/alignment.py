"""Two tokenizations of one text, cut into groups that end at the same bytes, and what a student learns from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from transfuse.engine.divergences import FLOOR, divergence, log_shares, weighted_mean

CERTAIN = 1e-6
"""Nats that every group is made less likely, so that no likelihood is 1 and all have a gradient."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """G groups of tokens that stand for the same bytes on both sides, in order.

    Args:
        student, teacher: int64 [G, 2], the first token of each group and the one after its last.
    """

    student: np.ndarray
    teacher: np.ndarray

    def __len__(self) -> int:
        return len(self.student)

    @property
    def single(self) -> np.ndarray:
        """Which groups are one token on both sides, bool [G]."""
        found: np.ndarray = (np.diff(self.student, axis=1) == 1)[:, 0] & (np.diff(self.teacher, axis=1) == 1)[:, 0]
        return found


def align(student: np.ndarray, teacher: np.ndarray) -> Groups:
    """The smallest groups of tokens that end at the same bytes.

    A group runs up to the first token, on each side, that ends at a byte at which a token ends on the other side, too.
    Tokens before the text (end 0) belong to no group, nor do those behind the last common end.

    Args:
        student: int64 [S], ends of the student's tokens (see `byte_ends`), -1 where not known.
        teacher: int64 [T], of the teacher's.

    Cost: S + T, sorted.
    Reduces to: a group for each token where both are equal.
    """
    common = np.intersect1d(student, teacher)
    common = common[common > 0]
    return Groups(_spans(student, common), _spans(teacher, common))


def _spans(ends: np.ndarray, common: np.ndarray) -> np.ndarray:
    values, first = np.unique(ends, return_index=True)
    last = first[np.searchsorted(values, common)]
    before = np.flatnonzero(ends == 0)
    begin = int(before[-1]) + 1 if len(before) else 0
    starts = np.concatenate([[begin], last[:-1] + 1]) if len(last) else last
    return np.stack([starts, last + 1], axis=1).astype(np.int64).reshape(-1, 2)


def group_log_shares(each: torch.Tensor, spans: np.ndarray) -> torch.Tensor:
    """log P(group) = Σ log P(token | all before it) of the group's actual tokens: its bytes' likelihood, cut as it is.

    Args:
        each: float [T], the log-probability of each token.
        spans: int64 [G, 2].

    Returns:
        float [G]; their sum is that of all grouped tokens.
    """
    lengths = spans[:, 1] - spans[:, 0]
    places = np.concatenate([np.arange(0), *(np.arange(a, b) for a, b in spans)])
    owner = torch.from_numpy(np.repeat(np.arange(len(spans)), lengths)).to(each.device)
    chosen = each[torch.from_numpy(places).to(each.device)]
    return torch.zeros(len(spans), dtype=each.dtype, device=each.device).index_add(0, owner, chosen)


def single_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    groups: Groups,
    shared: tuple[torch.Tensor, torch.Tensor],
    temperature: float = 2.0,
    beta: float = 0.0,
) -> torch.Tensor:
    """Mean T²·D over the groups of one token on both sides, between distributions over the tokens that both have.

    Both are made to sum to 1 over the shared tokens. Elsewhere one side stands in the middle of what the other
    foretells, and distributions cannot be compared: see `group_loss`.

    Args:
        student: float [S, V], row t the logits that foretell token t.
        teacher: float [T, W], in the same way.
        groups: of both texts.
        shared: int64 [U] twice: the student's and the teacher's ids of the same tokens (see `vocabularies`).
        temperature, beta: as of `divergences.soft_loss`.

    Returns:
        A scalar, 0 where there is no such group.

    Reduces to: `soft_loss` with one tokenizer on both sides.
    """
    chosen = np.flatnonzero(groups.single)
    ours = student[torch.from_numpy(groups.student[chosen, 0]).to(student.device)][:, shared[0]]
    theirs = teacher[torch.from_numpy(groups.teacher[chosen, 0]).to(teacher.device)][:, shared[1]]
    if not len(chosen):
        return student.sum() * 0.0
    each = divergence(log_shares(ours, temperature), log_shares(theirs, temperature), beta)
    return temperature**2 * each.mean()


def group_loss(
    student: torch.Tensor, teacher: torch.Tensor, weights: torch.Tensor, temperature: float = 1.0, beta: float = 0.0
) -> torch.Tensor:
    """Weighted mean over groups of D between how likely each side holds the group's bytes, against all others.

    D over the two outcomes (P, 1-P), P = exp(log P(group) / τ): a lower bound of D over all byte strings, which need
    not be counted. A large τ makes unlikely groups count, too.

    Args:
        student, teacher: float [G], `group_log_shares` of both.
        weights: float [G], not all 0.
        temperature: τ.
        beta: as of `divergences.divergence`.

    Reduces to: 0 where both hold every group equally likely.
    Reference: Minixhofer, Vulić and Ponti 2025 (approximate likelihood matching), the binarised divergence.
    Departures: groups are not chosen or weighed by how much their tokenizers bias them; every P is `CERTAIN` less.
    """
    return weighted_mean(group_divergences(student, teacher, temperature, beta), weights)


def group_divergences(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0, beta: float = 0.0
) -> torch.Tensor:
    """D of each group as in `group_loss`, float [G]."""
    return divergence(_outcomes(student, temperature), _outcomes(teacher, temperature), beta)


def _outcomes(log_share: torch.Tensor, temperature: float) -> torch.Tensor:
    """log P and log(1 - P) as [..., 2]."""
    likely = (log_share - CERTAIN) / temperature
    return torch.stack([likely, torch.log(-torch.expm1(likely))], -1).clamp_min(FLOOR)
