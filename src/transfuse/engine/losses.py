"""Pure losses of the training loop."""

from __future__ import annotations

import torch
from torch.nn import functional


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of -log p(y | x): Σ w_i CE_i / Σ w_i.

    Args:
        logits: float [B, C].
        labels: int64 [B].
        weights: float [B], not all 0.
    """
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def supervised_contrastive(
    features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, temperature: float = 0.1
) -> torch.Tensor:
    """Pull rows of one class together and others apart (Khosla et al. 2020, equation 2, L_out).

    L = -Σ_i w_i/|P(i)| Σ_{p in P(i)} log( exp(z_i·z_p/τ) / Σ_{a≠i} exp(z_i·z_a/τ) ) / Σ w_i, with z of unit length and
    P(i) the other rows of i's class; rows that are alone in their class do not count. 0 where no row counts.

    Args:
        features: float [B, D].
        labels: int64 [B].
        weights: float [B].
        temperature: τ.
    """
    z = functional.normalize(features, dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    similarity = (z @ z.T / temperature).masked_fill(itself, -1e9)
    log_share = similarity - similarity.logsumexp(1, keepdim=True)
    same = (labels[:, None] == labels[None, :]) & ~itself
    count = same.sum(1)
    paired = (count > 0) & (weights > 0)
    if not paired.any():
        return features.sum() * 0.0
    each = -(log_share * same).sum(1)[paired] / count[paired]
    return (each * weights[paired]).sum() / weights[paired].sum()


def matching(
    features: torch.Tensor, names: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, temperature: float = 0.05
) -> torch.Tensor:
    """Cross-entropy of each row against the names of all classes: what is learnt holds for names not seen, too.

    p(c | x) ∝ exp(cos(f(x), f(name_c)) / τ), with both sides through the same layers.

    Args:
        features: float [B, D].
        names: float [C, D].
        labels: int64 [B] in 0..C-1.
        weights: float [B], not all 0.
        temperature: τ.

    Reference: Oord, Li and Vinyals 2018 (InfoNCE); Radford et al. 2021, section 2.3, with class names for captions.
    """
    cosine = functional.normalize(features, dim=1) @ functional.normalize(names, dim=1).T
    return cross_entropy(cosine / temperature, labels, weights)
