"""The loss of foretold words through a frozen head over all of them, in bounded memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from transfuse.backbones.huggingface import Backbone


def logits_of(network: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Float32 logits [B, V] of normed states [B, D], softly capped where the family does so (Gemma 2)."""
    logits: torch.Tensor = network.get_output_embeddings()(hidden).float()
    extra = getattr(network, "final_logits_bias", None)  # of the BART family
    logits = logits if extra is None else logits + extra[0]
    cap = getattr(network.config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits


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
    network = backbone.network("fp32")
    head: nn.Module = network.get_output_embeddings()
    cap = getattr(network.config, "final_logit_softcapping", None)
    weight = backbone.network("bf16" if low else "fp32").get_output_embeddings().weight
    apply: Any = _HeadLoss.apply
    extra = getattr(network, "final_logits_bias", None)
    bias = getattr(head, "bias", None) if extra is None else extra[0]
    total: torch.Tensor = apply(hidden, weight, bias, targets, weights, cap)
    return total / weights.sum()


PART = 512
"""Positions whose logits are held at once."""


class _HeadLoss(torch.autograd.Function):
    """Cross-entropy through a frozen matrix; the gradient is made with the loss, so that no logits are kept."""

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        weights: torch.Tensor,
        cap: float | None,
    ) -> torch.Tensor:
        """The weighted sum over positions."""
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), PART):
            part = slice(start, start + PART)
            logits = nn.functional.linear(hidden[part].to(weight.dtype), weight).float()
            if bias is not None:
                logits = logits + bias
            slope = None
            if cap:
                bent = torch.tanh(logits / cap)
                logits, slope = bent * cap, 1 - bent.square()
            shares = torch.log_softmax(logits, 1)
            total = total - (weights[part] * shares.gather(1, targets[part, None])[:, 0]).sum()
            shares = shares.exp_()
            shares.scatter_add_(1, targets[part, None], torch.full_like(shares[:, :1], -1.0))
            shares.mul_(weights[part, None])
            if slope is not None:
                shares.mul_(slope)
            gradient[part] = (shares.to(weight.dtype) @ weight).to(hidden.dtype)
        context.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(context: Any, *outer: torch.Tensor) -> Any:
        """The kept gradient, scaled."""
        (gradient,) = context.saved_tensors
        return gradient * outer[0], None, None, None, None, None
