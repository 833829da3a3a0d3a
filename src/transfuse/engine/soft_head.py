"""Learning a teacher's kept outputs through a frozen head over a large vocabulary, in bounded memory."""

from __future__ import annotations

import torch

from transfuse.backbones.head_loss import cross_entropy_of, through_head
from transfuse.backbones.huggingface import Backbone
from transfuse.engine.divergences import divergence, log_shares
from transfuse.engine.topk import NOTHING, TopK


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

    Cost: two products of [M, D] with [D, V], as for a cross-entropy; about three times [512, V] floats.
    Reduces to: `head_loss` at α = 0.
    """
    assert targets is not None or alpha == 1, "a blend needs targets"

    def part(logits: torch.Tensor, at: slice) -> tuple[torch.Tensor, torch.Tensor]:
        counted = weights[at]
        if targets is None:
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

    With u = [z_kept / T, rest(T)], ∂L/∂z is ∂L/∂u / T at the kept tokens, and ∂L/∂rest · exp(z / T - rest) / T in the
    tail; ∂L/∂u comes from a graph over [m, k + 1] alone.

    Args:
        logits: float32 [m, V]; they are overwritten.
        teacher: m distributions.
        weights: float [m].
        temperature, beta: as of `topk_loss`.

    Returns:
        The sum, and float32 [m, V].
    """
    teacher.seen_by(logits.shape[1])
    known = logits[:, : teacher.vocabulary]
    kept = known.gather(1, teacher.ids) / temperature
    known = known.scatter_(1, teacher.ids, NOTHING).div_(temperature)
    rest = known.logsumexp(1, keepdim=True)
    with torch.enable_grad():
        small = torch.cat([kept, rest], 1).requires_grad_()
        each = divergence(log_shares(small), log_shares(teacher.buckets(temperature)), beta)
        total = temperature**2 * (each * weights).sum()
        (slopes,) = torch.autograd.grad(total, small)
    slopes = slopes / temperature
    known.sub_(rest).exp_().mul_(slopes[:, -1:]).scatter_(1, teacher.ids, slopes[:, :-1])
    logits[:, teacher.vocabulary :] = 0
    return total.detach(), logits
