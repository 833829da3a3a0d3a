"""Soft losses on logits: how far a student's distribution is from its teacher's, at a temperature."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from transfuse.engine.losses import cross_entropy

FLOOR = -1e4
"""Least log-probability that counts: its exponential is 0, and products with it are no NaN."""


def log_shares(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log softmax(z / T) over the last dimension, in float32 at least, never below `FLOOR`.

    Args:
        logits: float [..., C]; -inf forbids a class.
        temperature: T.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(wide / temperature, -1).clamp_min(FLOOR)


def divergence(student: torch.Tensor, teacher: torch.Tensor, beta: float = 0.0) -> torch.Tensor:
    """How far each row's q is from p: KL(p‖q), KL(q‖p), or a Jensen-Shannon divergence between both.

    JSD(β) = β·KL(p‖m) + (1-β)·KL(q‖m), m = βp + (1-β)q. It vanishes for β → 0 and β → 1, and so do its gradients;
    divided by β it tends to KL(p‖q), by 1-β to KL(q‖p): these two stand at the ends. With r = log q - log p,
    log(m/p) = log1p((1-β)·expm1(r)) for r ≤ 0 and log(m/q) = log1p(β·expm1(-r)) for r > 0: nothing overflows.

    Args:
        student: float [..., C], log q; exp(log q) sums to 1, as what `log_shares` gives.
        teacher: float [..., C], log p; gets no gradient.
        beta: β in [0, 1]: 0 is forward KL (the student covers what the teacher does), 1 is reverse KL (it does
            nothing that the teacher does not).

    Returns:
        float [...], in nats, never below 0.

    Cost: a few passes over [..., C].
    Reduces to: exactly 0 where both are equal.
    Reference: Agarwal et al. 2024 (GKD), equation 1 and section 3.1; Hinton, Vinyals and Dean 2015 for β = 0.
    Departures: the ends are the limits named above, where the formula gives 0.
    """
    assert 0 <= beta <= 1, f"beta is in [0, 1], not {beta}"
    teacher = teacher.detach()
    gap = student - teacher
    if beta == 0:
        return _relative(teacher, student, gap)
    if beta == 1:
        return _relative(student, teacher, -gap)
    zero = gap.new_zeros(())
    low, high = torch.minimum(gap, zero), torch.maximum(gap, zero)
    mixed = torch.log1p((1 - beta) * torch.expm1(low)) + torch.log1p(beta * torch.expm1(-high))
    m = torch.maximum(student, teacher) + mixed
    return beta * _relative(teacher, m, mixed + high) + (1 - beta) * _relative(student, m, mixed - low)


def _relative(first: torch.Tensor, second: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """KL(a‖b) from log a, log b and r = log b - log a, as Σ a (e^r - 1 - r): it is -Σ a r, since Σ b = Σ a.

    No term is below 0 and an r of 0 costs nothing, so a small divergence has all its digits, where -Σ a r would be a
    difference of large terms.
    """
    share = first.exp()
    near = share * (torch.expm1(gap.clamp(max=1.0)) - gap)
    far = second.exp() - share * (1 + gap)
    return torch.where(gap < 1, near, far).sum(-1)


def soft_loss(
    student: torch.Tensor, teacher: torch.Tensor, weights: torch.Tensor, temperature: float = 2.0, beta: float = 0.0
) -> torch.Tensor:
    """Weighted mean over rows of T²·D(p_T, q_T) from logits: what a student learns from its teacher's every class.

    Gradients of D fall as 1/T²; the factor keeps their size, and with it the meaning of a blend's α. This T is the
    loss's and has nothing to do with one at which answers are drawn.

    Args:
        student: float [B, C].
        teacher: float [B, C]; gets no gradient.
        weights: float [B], not all 0.
        temperature: T of both softmaxes.
        beta: which D, see `divergence`.

    Reduces to: 0, without a gradient, where both say the same.
    Reference: Hinton, Vinyals and Dean 2015, section 2.1, for β = 0.
    """
    each = divergence(log_shares(student, temperature), log_shares(teacher, temperature), beta)
    return temperature**2 * weighted_mean(each, weights)


def soft_cross_entropy(
    student: torch.Tensor, teacher: torch.Tensor, weights: torch.Tensor, temperature: float = 2.0
) -> torch.Tensor:
    """Weighted mean over rows of -T² Σ_c p_T(c) log q_T(c).

    Its gradient is that of forward KL; its least value is T² times the teacher's entropy, and not 0.

    Args:
        student, teacher, weights, temperature: as of `soft_loss`.
    """
    p = log_shares(teacher.detach(), temperature).exp()
    return -(temperature**2) * weighted_mean((p * log_shares(student, temperature)).sum(-1), weights)


def blended(hard: torch.Tensor, soft: torch.Tensor, alpha: float) -> torch.Tensor:
    """(1-α)·hard + α·soft: α is the share of the teacher, 0 for none of it and 1 for no labels."""
    return (1 - alpha) * hard + alpha * soft


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
    beta: float = 0.0,
) -> torch.Tensor:
    """(1-α)·CE(labels) + α·T²·D(p_T, q_T), a weighted mean over rows.

    Args:
        student, teacher: float [B, C].
        labels: int64 [B].
        weights: float [B], not all 0.
        temperature, beta: as of `soft_loss`.
        alpha: share of the teacher.

    Reduces to: `losses.cross_entropy` at α = 0.
    Reference: Hinton, Vinyals and Dean 2015, section 2.
    """
    soft = soft_loss(student, teacher, weights, temperature, beta)
    return blended(cross_entropy(student, labels, weights), soft, alpha)


def mutual_losses(peers: Sequence[torch.Tensor], weights: torch.Tensor, temperature: float = 1.0) -> list[torch.Tensor]:
    """What each of several students that learn together has to learn from the others.

    L_k = 1/(K-1) Σ_{l≠k} T²·KL(p_l‖p_k), p_l without gradient; each peer adds the loss of its labels.

    Args:
        peers: K ≥ 2 times float [B, C].
        weights: float [B], not all 0.
        temperature: T.

    Returns:
        K scalars; their sum trains all at once.

    Cost: K² divergences.
    Reduces to: 0 where all peers say the same.
    Reference: Zhang, Xiang, Hospedales and Lu 2018, equations 3 to 8.
    Departures: all peers step at once, where the paper takes turns.
    """
    shares = [log_shares(peer, temperature) for peer in peers]
    found = []
    for k, own in enumerate(shares):
        others = torch.stack([divergence(own, other) for at, other in enumerate(shares) if at != k])
        found.append(temperature**2 * weighted_mean(others.mean(0), weights))
    return found


def weighted_mean(each: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ w_i x_i / Σ w_i of rows [B]; padding weighs 0."""
    return (each * weights).sum() / weights.sum()
