"""How several models of one origin become one: pure functions of their tensors, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

Tensors = Mapping[str, torch.Tensor]


def average(models: Sequence[Tensors], weights: Sequence[float] | None = None) -> dict[str, torch.Tensor]:
    """Σ_k w_k θ_k, w by default equal (Wortsman et al. 2022, uniform soup). One model: itself.

    Raises:
        ValueError: there is no model.
    """
    if not models:
        raise ValueError("no model to average; expected one or more")
    shares = [1 / len(models)] * len(models) if weights is None else list(weights)
    return {
        name: sum((share * model[name] for share, model in zip(shares, models, strict=True)), torch.zeros(()))
        for name in models[0]
    }


def interpolate(origin: Tensors, tuned: Tensors, alpha: float) -> dict[str, torch.Tensor]:
    """(1 - α) θ_0 + α θ_1 (Wortsman et al. 2022, WiSE-FT, equation 1): α 0 is the origin, 1 the tuned model."""
    return {name: torch.lerp(origin[name], tuned[name], alpha) for name in origin}


def side_by_side(adapters: Sequence[Tensors], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    """One adapter that changes a map by Σ_k w_k B_k A_k, exactly: the ranks of all stand side by side.

    The mean of the factors themselves would be another map: (B_1 + B_2)(A_1 + A_2) has the products of each with each.

    Args:
        adapters: of each, A [r_k, D_in] under names with ``lora_A`` and B [D_out, r_k] under names with ``lora_B``.
        weights: w_k, with the scaling alpha_k / r_k of each in it.

    Returns:
        the same names with A [Σ r_k, D_in] and B [D_out, Σ r_k], for a scaling of 1.
    """
    return {
        name: torch.cat([one[name] for one in adapters])
        if "lora_A" in name
        else torch.cat([weight * one[name] for weight, one in zip(weights, adapters, strict=True)], 1)
        for name in adapters[0]
    }


def task_vectors(origin: Tensors, models: Sequence[Tensors]) -> list[dict[str, torch.Tensor]]:
    """τ_k = θ_k - θ_0."""
    return [{name: model[name] - origin[name] for name in origin} for model in models]


def task_arithmetic(origin: Tensors, models: Sequence[Tensors], scale: float = 1.0) -> dict[str, torch.Tensor]:
    """θ_0 + λ Σ_k τ_k (Ilharco et al. 2023); λ = 1/K is the average, λ = 0 the origin."""
    vectors = task_vectors(origin, models)
    return {name: origin[name] + scale * torch.stack([v[name] for v in vectors]).sum(0) for name in origin}


def ties(
    origin: Tensors, models: Sequence[Tensors], *, keep: float = 0.2, scale: float = 1.0
) -> dict[str, torch.Tensor]:
    """Trim, elect signs, merge (Yadav et al. 2023): what models agree on, without what is small or contradicted.

    Of each task vector's tensor the ``keep`` share of largest values stays; the sign with more mass is elected; the
    mean of the values that have it is added to the origin, times ``scale``.

    Args:
        origin: θ_0.
        models: θ_k.
        keep: share of a tensor's values that stays.
        scale: λ.

    Reduces to: the tuned model where there is one and all stays.
    Departure: trimmed a tensor, as mergekit and peft do, not over all tensors at once.
    """
    vectors = task_vectors(origin, models)
    return {
        name: origin[name] + scale * _elected(torch.stack([trim(v[name], keep) for v in vectors])) for name in origin
    }


def trim(vector: torch.Tensor, keep: float) -> torch.Tensor:
    """The ``keep`` share of values that are largest in size; the others 0."""
    count = int(keep * vector.numel())
    if count >= vector.numel():
        return vector
    kept = torch.zeros(vector.numel(), dtype=torch.bool, device=vector.device)
    kept[vector.abs().flatten().topk(max(count, 1)).indices] = True
    return torch.where(kept.view(vector.shape), vector, torch.zeros_like(vector))


def _elected(vectors: torch.Tensor) -> torch.Tensor:
    """The mean over models [K, ...] of the values that have the elected sign."""
    sign = torch.sign(vectors.sum(0))
    sign = torch.where(sign == 0, torch.ones_like(sign), sign)
    agree = (torch.sign(vectors) == sign).to(vectors.dtype)
    return (vectors * agree).sum(0) / agree.sum(0).clamp_min(1)


def dare(
    origin: Tensors, models: Sequence[Tensors], *, drop: float = 0.9, scale: float = 1.0, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Drop values of each task vector at random and rescale the rest by 1 / (1 - p) (Yu et al. 2024), then add them.

    Its expectation is `task_arithmetic`; with ``drop`` 0 it is that.

    Args:
        origin: θ_0.
        models: θ_k.
        drop: p, the share of values that is dropped, at least 0 and below 1.
        scale: λ.
        seed: of what is dropped; the draws are a CPU's, so that they are the same on every device.

    Raises:
        ValueError: another ``drop``; with 1 nothing is left to rescale.
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop: {drop}; expected 0 or more, and below 1")
    generator = torch.Generator().manual_seed(seed)
    vectors = task_vectors(origin, models)
    merged = {}
    for name in origin:
        stay = [torch.rand(v[name].shape, generator=generator) >= drop for v in vectors]
        kept = [v[name] * s.to(v[name]) / (1 - drop) for v, s in zip(vectors, stay, strict=True)]
        merged[name] = origin[name] + scale * torch.stack(kept).sum(0)
    return merged


def greedy_soup(
    models: Sequence[Tensors], score: Callable[[dict[str, torch.Tensor]], float]
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Average models in the order of their own scores, each only if the average's score does not fall.

    Args:
        models: of one origin.
        score: of held-out rows, higher is better; called once a model and once an attempt.

    Returns:
        The soup, and the positions of the models in it.

    Reference: Wortsman et al. 2022, recipe 1.
    """
    scores = [score(dict(model)) for model in models]
    order = sorted(range(len(models)), key=lambda i: -scores[i])
    taken, best = [order[0]], scores[order[0]]
    for candidate in order[1:]:
        found = score(average([models[i] for i in (*taken, candidate)]))
        if found >= best:
            taken, best = [*taken, candidate], found
    return average([models[i] for i in taken]), taken


def mixed(origin: Tensors, models: Sequence[Tensors], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    """θ_0 + Σ_k w_k τ_k: each change by a weight of its own."""
    vectors = task_vectors(origin, models)
    return {
        name: origin[name] + sum((w * v[name] for w, v in zip(weights, vectors, strict=True)), torch.zeros(()))
        for name in origin
    }


def mixture(
    origin: Tensors,
    models: Sequence[Tensors],
    score: Callable[[dict[str, torch.Tensor]], float],
    *,
    shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    sweeps: int = 2,
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """θ_0 + Σ_k w_k τ_k with weights found without gradients: one after another, the best of ``shares``.

    Args:
        origin: θ_0.
        models: θ_k.
        score: of held-out rows, higher is better; ties go to what was there before.
        shares: what a weight may be.
        sweeps: times that every weight is gone over.

    Returns:
        The merged tensors, and the weights. It begins at the average, and is never worse than it by ``score``.

    Cost: sweeps · K · shares calls of ``score``.

    Reference: Huang et al. 2024 (LoraHub) mixes adapters so, by another search without gradients.
    """
    weights = [1 / len(models)] * len(models)
    best = score(mixed(origin, models, weights))
    for _ in range(sweeps):
        for k in range(len(models)):
            for share in shares:
                tried = [*weights[:k], share, *weights[k + 1 :]]
                found = score(mixed(origin, models, tried))
                if found > best:
                    weights, best = tried, found
    return mixed(origin, models, weights), weights
