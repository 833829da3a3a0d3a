"""Losses that carry relations among rows, or between labels, from a teacher to a student."""

from __future__ import annotations

import torch
from torch.nn import functional


def distance_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Relational distillation by distances: Huber between the batch's pairwise distances, each by their mean.

    L = mean_ij huber(d(s_i, s_j) / mean d(s), d(t_i, t_j) / mean d(t)); free of width, rotation and scale.

    Args:
        student: float [B, D].
        teacher: float [B, E], without gradients.

    Reduces to: 0 where the student is the teacher, rotated and scaled.
    Reference: Park, Kim, Lu and Cho 2019, equations 4 to 6.
    """
    return functional.smooth_l1_loss(_distances(student), _distances(teacher.detach()))


def _distances(x: torch.Tensor) -> torch.Tensor:
    gram = x @ x.T
    square = gram.diagonal()
    found = (square[:, None] + square[None, :] - 2 * gram).clamp_min(1e-12).sqrt()
    found = found * (1 - torch.eye(len(x), device=x.device, dtype=x.dtype))
    return found / found[found > 0].mean()


def angle_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Relational distillation by angles: Huber between the cosines at every corner of every triangle of the batch.

    Args:
        student: float [B, D].
        teacher: float [B, E], without gradients.

    Cost: B³ numbers.
    Reference: Park, Kim, Lu and Cho 2019, equations 7 and 8.
    """
    return functional.smooth_l1_loss(_angles(student), _angles(teacher.detach()))


def _angles(x: torch.Tensor) -> torch.Tensor:
    sides = functional.normalize(x[None, :, :] - x[:, None, :], dim=2)
    return torch.bmm(sides, sides.transpose(1, 2)).flatten()


def similarity_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 0.05) -> torch.Tensor:
    """KL(softmax(S_T / τ) ‖ softmax(S_S / τ)) between the rows' cosines to each other, themselves left out.

    Args:
        student: float [B, D].
        teacher: float [B, E], without gradients.
        temperature: τ.

    Reduces to: 0 where both have the same cosines.
    """
    shares = [_neighbours(x, temperature) for x in (student, teacher.detach())]
    return functional.kl_div(shares[0], shares[1], log_target=True, reduction="batchmean")


def _neighbours(x: torch.Tensor, temperature: float) -> torch.Tensor:
    z = functional.normalize(x, dim=1)
    others = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    cosine = (z @ z.T)[others].view(len(x), len(x) - 1)
    return torch.log_softmax(cosine / temperature, 1)


def category_relation(
    probabilities: torch.Tensor, labels: torch.Tensor, classes: int, weights: torch.Tensor
) -> torch.Tensor:
    """p(source class | target class): the mean of a source head's probabilities over the rows of each target class.

    R[c, s] = Σ_{i in c} w_i p_s(x_i) / Σ_{i in c} w_i.

    Args:
        probabilities: float [N, S] of the target's rows by the source's classes.
        labels: int64 [N] in 0..C-1.
        classes: C.
        weights: float [N].

    Returns:
        [C, S]; uniform for a class without a row of a weight above 0.

    Reference: You, Kou, Long and Wang 2020 (Co-Tuning), equation 3, the direct estimate.
    """
    weights = weights.to(probabilities.dtype)
    sums = torch.zeros(classes, probabilities.shape[1], dtype=probabilities.dtype)
    sums.index_add_(0, labels, probabilities * weights[:, None])
    counts = torch.bincount(labels, weights, minlength=classes).to(probabilities.dtype)
    uniform = torch.full_like(sums, 1.0 / probabilities.shape[1])
    return torch.where(counts[:, None] > 0, sums / counts.clamp_min(1e-12)[:, None], uniform)


def co_tuning_loss(
    source_logits: torch.Tensor, labels: torch.Tensor, relation: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the source head against what the source's classes say of each row's target label.

    L = -Σ_i w_i Σ_s R[y_i, s] log p_s(x_i) / Σ_i w_i (You et al. 2020, equation 5); added to the target's own loss.

    Args:
        source_logits: float [B, S].
        labels: int64 [B] in 0..C-1.
        relation: float [C, S], as `category_relation` gives it.
        weights: float [B], not all 0.
    """
    losses = -(relation[labels] * torch.log_softmax(source_logits, 1)).sum(1)
    return (losses * weights).sum() / weights.sum()
