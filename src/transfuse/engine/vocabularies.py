"""Teachers whose vocabulary is not the student's: shared tokens, and distributions compared by their shape alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from transfuse.engine.divergences import log_shares, weighted_mean
from transfuse.errors import BackboneError


def same_ids(student: Mapping[str, int], teacher: Mapping[str, int]) -> torch.Tensor:
    """The ids that stand for the same token in two vocabularies of one family, int64 [U] in order.

    Padding to a round number, and tokens that one member of the family adds, are left out.

    Args:
        student, teacher: ids by token, as ``tokenizer.get_vocab()`` gives them.

    Raises:
        BackboneError: less than nine tenths of the smaller vocabulary are shared: they are no family.
    """
    found = sorted(token for name, token in student.items() if teacher.get(name) == token)
    smaller = min(len(student), len(teacher))
    if len(found) < 0.9 * smaller:
        raise BackboneError(
            f"student and teacher give {len(found):,} of {smaller:,} tokens the same id",
            expected="one vocabulary, but for padding and a few added tokens",
            remedy="Choose a teacher of the student's family, or learn across tokenizers (engine/alignment.py).",
        )
    return torch.tensor(found, dtype=torch.long)


def trimmed(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Logits [..., U] of the shared tokens; a softmax of them is made to sum to 1 over these, on either side.

    Args:
        logits: float [..., V].
        ids: int64 [U] in order; the first U tokens are not copied.
    """
    count = len(ids)
    if count and int(ids[0]) == 0 and int(ids[-1]) == count - 1:
        return logits[..., :count]
    return logits[..., ids.to(logits.device)]


def common_tokens(
    student: Sequence[bytes | None], teacher: Sequence[bytes | None], also: Sequence[tuple[int, int]] = ()
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids, in two vocabularies of any kind, of tokens that stand for the same bytes.

    Args:
        student, teacher: the bytes of each token by its id, None for special ones (see `byte_ends.token_bytes`).
        also: pairs of ids that mean the same, as what ends an answer.

    Returns:
        int64 [U] twice; no id comes twice. Of several tokens of the same bytes the last counts: SentencePiece's
        single bytes, which stand in for what it does not know, come before its own tokens.
    """
    ours, theirs = ({name: token for token, name in enumerate(names) if name} for names in (student, teacher))
    pairs = [(own, theirs[name]) for name, own in ours.items() if name in theirs]
    found = np.array([*pairs, *also], dtype=np.int64).reshape(-1, 2)
    return torch.from_numpy(found[:, 0].copy()), torch.from_numpy(found[:, 1].copy())


ROUNDING = 1e-5
"""Share of a probability within which two are the same."""


def universal_loss(
    student: torch.Tensor, teacher: torch.Tensor, weights: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Weighted mean over rows of Σ_i |p_(i) - q_(i)|, both sorted: needs no shared token, and knows no token's name.

    The Wasserstein distance of two distributions where every token is as far from every other; the shorter vocabulary
    is filled with zeros. It is added to the cross-entropy of the right tokens, with λ = 1.5.

    Args:
        student: float [M, V], logits of M positions.
        teacher: float [M, W], of the positions that are compared with them; gets no gradient.
        weights: float [M], not all 0.
        temperature: of both softmaxes.

    Returns:
        A scalar between 0 and 2.

    Cost: sorts of [M, V] and [M, W].
    Reduces to: 0 where both have the same shares in whatever order.
    Reference: Boizard et al. 2024 (universal logit distillation).
    """
    q, p = (log_shares(one, temperature).exp().sort(-1, descending=True).values for one in (student, teacher.detach()))
    return weighted_mean(sorted_distances(q, p), weights)


def sorted_distances(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Σ_i |p_(i) - q_(i)| of each row, float [M], of shares in order, float [M, V] and [M, W].

    A difference within rounding is none: its sign, which is all that the gradient has of it, would be chance.
    """
    width = max(student.shape[-1], teacher.shape[-1])
    q, p = (functional.pad(one, (0, width - one.shape[-1])) for one in (student, teacher))
    each = (p - q).abs()
    return torch.where(each <= ROUNDING * p, 0.0 * each, each).sum(-1)
