"""Learning a teacher's kept outputs through a frozen head over a large vocabulary, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from transfuse.backbones.head_loss import cross_entropy_of, through_head
from transfuse.backbones.huggingface import Backbone
from transfuse.engine.divergences import divergence, log_shares
from transfuse.engine.topk import NOTHING, TopK, below_highest, tail
from transfuse.engine.vocabularies import sorted_distances


def soft_head_loss(
    backbone: Backbone,
    hidden: torch.Tensor,
    teacher: TopK,
    weights: torch.Tensor,
    low: bool,
    *,
    temperature: float = 2.0,
    beta: float = 0.0,
    targets: torch.Tensor | None = None,
    alpha: float = 1.0,
) -> torch.Tensor:
    """(1-α)·CE(targets) + α·`topk_loss` of the student's logits, which are made in parts and never kept.

    Args:
        backbone: the student, a decoder with a frozen head.
        hidden: float [M, D], its normed states.
        teacher: M distributions.
        weights: float [M], not all 0.
        low: whether products run in bf16.
        temperature, beta: as of `topk_loss`.
        targets: int64 [M], the right tokens; None where the teacher alone is learnt.
        alpha: share of the teacher; 1 without targets.

    Returns:
        A scalar, Σ w_i L_i / Σ w_i. Under accumulation, multiply by this part's Σ w over that of the whole batch.

    Raises:
        UsageError, BackboneError: as of `TopK`.

    Cost: two products of [M, D] with [D, V], as for a cross-entropy; about two times [128, V] floats.
    Reduces to: `head_loss` at α = 0.
    """
    assert targets is not None or alpha == 1, "a blend needs targets"

    def part(logits: torch.Tensor, at: slice) -> tuple[torch.Tensor, torch.Tensor]:
        counted = weights[at]
        if targets is None or alpha == 1:
            return soft_part(logits, teacher.part(at, logits.device), counted, temperature, beta)
        hard, slopes = cross_entropy_of(logits, targets[at], (1 - alpha) * counted)
        if alpha == 0:
            return hard, slopes
        soft, more = soft_part(logits, teacher.part(at, logits.device), alpha * counted, temperature, beta)
        return hard + soft, slopes.add_(more)

    return through_head(backbone, hidden, part, low) / weights.sum()


def soft_part(
    logits: torch.Tensor, teacher: TopK, weights: torch.Tensor, temperature: float, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ w_i T²·D_i of `topk_loss`, and its gradient, without a graph over the vocabulary.

    Args:
        logits: float32 [m, V]; they are overwritten.
        teacher: m distributions.
        weights: float [m].
        temperature, beta: as of `topk_loss`.

    Returns:
        The sum, and float32 [m, V].
    """
    teacher.seen_by(logits.shape[1])
    aims = log_shares(teacher.buckets(temperature))

    def total(small: torch.Tensor) -> torch.Tensor:
        return temperature**2 * (divergence(log_shares(small), aims, beta) * weights).sum()

    found = _through_buckets(logits[:, : teacher.vocabulary], teacher.ids, temperature, total)
    logits[:, teacher.vocabulary :] = 0
    return found, logits


def universal_part(
    logits: torch.Tensor, teacher: TopK, weights: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ w_i Σ_j |p_(j) - q_(j)| of `universal_loss`, and its gradient, without a graph over the vocabulary.

    Both sides keep their k largest shares in order and one tail, so this is never above that of all shares.

    Args:
        logits: float32 [m, V]; they are overwritten.
        teacher: m distributions over any vocabulary.
        weights: float [m].
        temperature: T of both softmaxes.

    Returns:
        The sum, and float32 [m, V].

    Reduces to: `universal_loss` where k is as large as both vocabularies; exactly 0 for a student equal to its teacher.
    """
    ids = logits.topk(min(teacher.ids.shape[1], logits.shape[1]), 1).indices
    aims = log_shares(teacher.buckets(temperature)).exp()

    def total(small: torch.Tensor) -> torch.Tensor:
        q = log_shares(small).exp()
        each = sorted_distances(q[:, :-1], aims[:, :-1]) + sorted_distances(q[:, -1:], aims[:, -1:])
        return (each * weights).sum()

    return _through_buckets(logits, ids, temperature, total), logits


def _through_buckets(
    logits: torch.Tensor, ids: torch.Tensor, temperature: float, total: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """A sum over rows of any loss of u = [z_ids / T, rest(T)]; its gradient takes the place of the logits [m, V].

    ∂L/∂z is ∂L/∂u / T at the named tokens, and ∂L/∂rest · exp(z / T) / Σ exp(z / T) / T in the tail; ∂L/∂u comes from
    a graph over [m, k + 1] alone.
    """
    kept = logits.gather(1, ids) / temperature
    highest, below = below_highest(logits.scatter_(1, ids, NOTHING))
    weight, rest = tail(highest, below.div_(temperature), temperature)
    with torch.enable_grad():
        small = torch.cat([kept, rest], 1).requires_grad_()
        found = total(small)
        (slopes,) = torch.autograd.grad(found, small)
    slopes = slopes / temperature
    below.mul_(slopes[:, -1:] / weight).scatter_(1, ids, slopes[:, :-1])
    return found.detach()
