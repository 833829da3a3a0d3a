"""One vector from the states of a text's tokens."""

from __future__ import annotations

import torch

POOLINGS = ("mean", "first", "last")


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool the states of the real tokens; right for padding on either side.

    Args:
        hidden: float [B, T, D].
        mask: [B, T], above 0 at real tokens and 0 at padding; each row has at least one real token.
        pooling: ``mean`` over the real tokens, the ``first`` real token (BERT's [CLS]) or the ``last`` one (decoders,
            whose last token alone has seen the whole text).

    Returns:
        float32 [B, D].
    """
    if pooling == "mean":
        weights = (mask > 0).unsqueeze(-1).to(torch.float32)
        return (hidden.float() * weights).sum(1) / weights.sum(1)
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    real = mask.bool()
    if pooling == "first":
        index = positions.masked_fill(~real, mask.shape[1]).amin(1)
    elif pooling == "last":
        index = positions.masked_fill(~real, -1).amax(1)
    else:
        raise ValueError(f"pooling {pooling!r}: expected one of {', '.join(POOLINGS)}")
    return hidden[torch.arange(len(hidden), device=hidden.device), index].float()
