"""Losses of foretold words through a frozen head over all of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from transfuse.backbones.huggingface import Backbone


def logits_of(network: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Float32 logits [B, V] of normed states [B, D], softly capped where the family does so (Gemma 2)."""
    logits: torch.Tensor = network.get_output_embeddings()(hidden).float()
    extra = getattr(network, "final_logits_bias", None)  # of the BART family
    logits = logits if extra is None else logits + extra[0]
    cap = getattr(network.config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits


Part = Callable[[torch.Tensor, slice], tuple[torch.Tensor, torch.Tensor]]
"""From float32 logits [m, V] and the positions that they are of: a sum over these, and its gradient [m, V]."""
PART = 128
"""Positions whose logits are held at once: of 49,152 words 24 MiB, which the allocator keeps; larger ones are new pages
each time, a quarter of the time of a head on two cores."""


def head_loss(
    backbone: Backbone, hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, low: bool
) -> torch.Tensor:
    """Σ w_i (-log p(target_i | hidden_i)) / Σ w_i through the frozen head of the model, in parts of bounded memory.

    Args:
        backbone: a decoder.
        hidden: float [T, D], normed states.
        targets: int64 [T].
        weights: float [T].
        low: whether products run in bf16.
    """

    def part(logits: torch.Tensor, at: slice) -> tuple[torch.Tensor, torch.Tensor]:
        return cross_entropy_of(logits, targets[at], weights[at])

    return through_head(backbone, hidden, part, low) / weights.sum()


def token_log_probabilities(backbone: Backbone, hidden: torch.Tensor, targets: torch.Tensor, low: bool) -> torch.Tensor:
    """log p(target_i | hidden_i), [T], through the frozen head, in parts of bounded memory; gradients reach states.

    For losses that are no sum over positions; the logits of a part are computed again for its gradient.

    Args:
        backbone: a decoder.
        hidden: float [T, D], normed states.
        targets: int64 [T].
        low: whether products run in bf16.
    """
    network = backbone.network("bf16" if low else "fp32")
    dtype = network.get_output_embeddings().weight.dtype

    def part(states: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(logits_of(network, states.to(dtype)), 1).gather(1, aims[:, None])[:, 0]

    found = [
        checkpoint(part, hidden[at : at + PART], targets[at : at + PART], use_reentrant=False, preserve_rng_state=False)
        for at in range(0, len(hidden), PART)
    ]
    return torch.cat(found)


def cross_entropy_of(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ w_i (-log p(target_i)) of logits [m, V], and its gradient [m, V]."""
    shares = torch.log_softmax(logits, 1)
    total = -(weights * shares.gather(1, targets[:, None])[:, 0]).sum()
    shares = shares.exp_()
    shares.scatter_add_(1, targets[:, None], torch.full_like(shares[:, :1], -1.0))
    return total, shares.mul_(weights[:, None])


def through_head(backbone: Backbone, hidden: torch.Tensor, part: Part, low: bool) -> torch.Tensor:
    """A sum over positions of any loss of their logits, through the frozen head of the model; gradients reach states.

    The gradient is made with the loss, so that the logits of `PART` positions are held at once and none is kept.

    Args:
        backbone: a decoder.
        hidden: float [T, D], normed states.
        part: the loss of some positions' logits, with its gradient.
        low: whether products run in bf16.

    Cost: two products of [T, D] with [D, V]; [PART, V] floats, and what ``part`` makes of them.
    """
    network = backbone.network("fp32")
    head: nn.Module = network.get_output_embeddings()
    cap = getattr(network.config, "final_logit_softcapping", None)
    weight = backbone.network("bf16" if low else "fp32").get_output_embeddings().weight
    apply: Any = _ThroughHead.apply
    extra = getattr(network, "final_logits_bias", None)
    bias = getattr(head, "bias", None) if extra is None else extra[0]
    total: torch.Tensor = apply(hidden, weight, bias, cap, part)
    return total


class _ThroughHead(torch.autograd.Function):
    """A loss of the logits of a frozen matrix, with the gradient of the states before it."""

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        cap: float | None,
        part: Part,
    ) -> torch.Tensor:
        """The sum over positions."""
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), PART):
            at = slice(start, start + PART)
            logits = nn.functional.linear(hidden[at].to(weight.dtype), weight).float()
            if bias is not None:
                logits = logits + bias
            slope = None
            if cap:
                bent = torch.tanh(logits / cap)
                logits, slope = bent * cap, 1 - bent.square()
            sum_here, slopes = part(logits, at)
            total = total + sum_here
            if slope is not None:
                slopes.mul_(slope)
            gradient[at] = (slopes.to(weight.dtype) @ weight).to(hidden.dtype)
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> Any:
        """The kept gradient, scaled."""
        (gradient,) = context.saved_tensors
        return gradient * outer[0], None, None, None, None
