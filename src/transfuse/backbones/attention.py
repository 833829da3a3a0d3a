"""Attention as a processor computes it fastest on short texts; for all families that take torch's fused attention.

On two cores (docs/log.md) the backward pass of the fused attention in bf16 takes three to ten times as long as plain
products on texts of up to a hundred tokens, and heads that share keys need no copies of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

NAME = "transfuse"

LONGEST, LONGEST_TRAINED = 64, 256
"""Most keys for plain products: in a pass; in training in bf16, where the fused backward pass is slow."""


def quicken(network: Any) -> None:
    """Let a model on a processor use `attend` where it would use torch's fused attention, in place."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if network.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        network.set_attn_implementation(NAME)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **other: Any,
) -> tuple[torch.Tensor, None]:
    """softmax(scaling · Q Kᵀ + mask) V with keys and values shared by groups of heads; a function of transformers.

    Args:
        module: the attention layer; its ``is_causal`` counts where there is no mask.
        query: [B, H, T, D].
        key, value: [B, H / groups, S, D].
        attention_mask: bool (True where seen) or added to the scores, [B or 1, 1, T, S]; None for none.
        dropout: of the weights.
        scaling: by default 1 / √D.
        is_causal: whether a token sees only those before it, where there is no mask.
        other: what a family adds; given on to the library's own function.

    Returns:
        [B, T, H, D], and no weights.
    """
    if torch.compiler.is_compiling() or other.get("position_bias") is not None:  # an exported graph has no fixed length
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **other)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    low = query.dtype == torch.bfloat16 or torch.is_autocast_enabled(query.device.type)
    trained = low and torch.is_grad_enabled() and value.requires_grad
    if dropout or key.shape[2] > (LONGEST_TRAINED if trained else LONGEST):
        groups = query.shape[1] != key.shape[1]
        fused = functional.scaled_dot_product_attention(
            query, key, value, attention_mask, dropout, causal, scale=scaling, enable_gqa=groups
        )
        return fused.transpose(1, 2).contiguous(), None
    if causal:
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    return _plain(query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float | None
) -> torch.Tensor:
    """Plain products, heads of a group side by side; weights in float32. [B, H, T, D]."""
    batch, heads, count, width = query.shape
    shared, keys = key.shape[1:3]
    together = (batch, shared, heads // shared * count)
    scale = width**-0.5 if scaling is None else scaling
    scores = torch.matmul(query.reshape(*together, width) * scale, key.transpose(2, 3))
    scores = scores.view(batch, heads, count, keys).float()
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)  # a padded row may see nothing at all
    elif mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, -1).to(value.dtype).view(*together, keys)
    return torch.matmul(weights, value).view(batch, heads, count, width)
