"""Pure losses of the training loop; those that relate rows to each other are in `relations`."""

from __future__ import annotations

import math
from typing import Any

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


WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernels of `mmd`, as multiples of the mean squared distance."""


def mmd(source: torch.Tensor, target: torch.Tensor, widths: tuple[float, ...] = WIDTHS) -> torch.Tensor:
    """Squared maximum mean discrepancy between two sets of features, by a sum of Gaussian kernels.

    MMD² = mean k(s, s') + mean k(t, t') - 2 mean k(s, t), k(a, b) = mean over widths w of exp(-‖a - b‖² / (w σ²)), with
    σ² the mean squared distance of the pooled rows, through which no gradient flows.

    Args:
        source: float [N, D].
        target: float [M, D].
        widths: multiples of σ².

    Returns:
        A scalar, never below 0 but for rounding; 0 where both sets are equal.

    Reference: Gretton et al. 2012, equation 5 (the biased estimate); Long et al. 2015 for the use on upper layers.
    """
    both = torch.cat([source, target]).float()
    square = (both[:, None, :] - both[None, :, :]).square().sum(2)
    scale = square.detach().mean().clamp_min(1e-12)
    kernel = torch.stack([torch.exp(-square / (w * scale)) for w in widths]).mean(0)
    n = len(source)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, strength: float) -> torch.Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse(x: torch.Tensor, strength: float) -> torch.Tensor:
    """x itself, whose gradient is turned round and multiplied by ``strength`` (Ganin et al. 2016, equation 17)."""
    found: torch.Tensor = _Reverse.apply(x, strength)  # type: ignore[no-untyped-call]
    return found


def adversary_strength(progress: float) -> float:
    """2 / (1 + exp(-10 p)) - 1: an adversary that is still learning has no say (Ganin et al. 2016, section 5.2.2)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def domain_loss(logits: torch.Tensor, sources: int) -> torch.Tensor:
    """Cross-entropy of a classifier of domains, both counting alike however many rows each has.

    Args:
        logits: float [N + M], above 0 for the target.
        sources: N, the first rows.
    """
    return (functional.softplus(logits[:sources]).mean() + functional.softplus(-logits[sources:]).mean()) / 2


def prototypical(shown: torch.Tensor, asked: torch.Tensor, temperature: float = 0.05) -> torch.Tensor:
    """Cross-entropy of queries by their distance to the mean of each class's examples, all of unit length.

    p(c | x) ∝ exp(-‖x - mean_c‖² / (2 τ)).

    Args:
        shown: float [ways, shots, D].
        asked: float [ways, queries, D].
        temperature: τ.

    Reference: Snell, Swersky and Zemel 2017, equations 1 and 2.
    """
    means = functional.normalize(shown, dim=2).mean(1)
    queries = functional.normalize(asked, dim=2).flatten(0, 1)
    square = (queries[:, None, :] - means[None, :, :]).square().sum(2)
    return functional.cross_entropy(-square / (2 * temperature), _classes(asked))


def anil(shown: torch.Tensor, asked: torch.Tensor, steps: int, rate: float = 10.0) -> torch.Tensor:
    """Cross-entropy of queries under a head that took gradient steps on the examples, from 0; features of unit length.

    W ← W - rate · ∂CE(W; examples)/∂W, ``steps`` times; the gradient of the queries' loss goes through these steps into
    the features: they are made to be learnt from.

    Args:
        shown: float [ways, shots, D].
        asked: float [ways, queries, D].
        steps: of the head.
        rate: of the head; large, since features have length 1.

    Reduces to: log(ways) with 0 steps.
    Reference: Raghu et al. 2020 (almost no inner loop); the head starts at 0 here, for any number of classes.
    """
    examples, queries = (functional.normalize(x, dim=2).flatten(0, 1) for x in (shown, asked))
    centre = examples.mean(0)
    examples, queries = examples - centre, queries - centre
    labels, weight = _classes(shown), examples.new_zeros(len(shown), shown.shape[2])
    truth = functional.one_hot(labels, len(shown)).to(examples.dtype)
    for _ in range(steps):
        error = torch.softmax(examples @ weight.T, 1) - truth
        weight = weight - rate * error.T @ examples / len(examples)
    return functional.cross_entropy(queries @ weight.T, _classes(asked))


def _classes(rows: torch.Tensor) -> torch.Tensor:
    """The class of each of the rows [ways, k, D], one after another."""
    return torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])
