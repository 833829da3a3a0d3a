"""Queries, keys and values of chosen layers while a model runs, and the states after them, by hooks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from transfuse.backbones.anatomy import Segment, at
from transfuse.errors import BackboneError


@dataclasses.dataclass
class Tap:
    """What a layer's projections gave in the last pass: before positions turn queries and keys (RoPE), and their norms.

    Args:
        query: [B, H, T, D].
        key, value: [B, H / groups, T, D].
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


@dataclasses.dataclass(frozen=True)
class Projections:
    """Where a family's layer makes queries, keys and values.

    Args:
        paths: dotted paths inside a layer, of three projections or of one that makes all three.
        by_head: whether one that makes all three has each head's query, key and value side by side; otherwise all
            queries come first, then all keys, then all values.
    """

    paths: tuple[str, ...]
    by_head: bool = False


_BERT = Projections(("attention.self.query", "attention.self.key", "attention.self.value"))
_LLAMA = Projections(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"))

PROJECTIONS: dict[str, Projections] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": Projections(("attention.q_lin", "attention.k_lin", "attention.v_lin")),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "phi3": Projections(("self_attn.qkv_proj",)),
    "gpt2": Projections(("attn.c_attn",)),
    "gpt_neox": Projections(("attention.query_key_value",), by_head=True),
}


@contextlib.contextmanager
def tapped(segment: Segment, layers: Sequence[int]) -> Iterator[dict[int, Tap]]:
    """Within this context every pass of a segment leaves its queries, keys and values in what is given.

        with tapped(segment, [6]) as taps:
            hidden = segment(ids, mask)
        taps[6].query  # [B, H, T, D], with the graph of the pass

    Args:
        segment: layers of a model, with adapters or without.
        layers: counted as everywhere: layer l is the one whose output is the state after l layers, from 1 on.

    Raises:
        BackboneError: a family whose projections are not known, or a layer that is not the segment's.
    """
    config: Any = segment.model.config
    if config.model_type not in PROJECTIONS:
        raise BackboneError(
            f"models of type '{config.model_type}': where queries, keys and values are made is not known",
            expected=f"one of {', '.join(sorted(PROJECTIONS))}",
            remedy="Match states or logits, or add the family's Projections to backbones/taps.py.",
        )
    known = PROJECTIONS[config.model_type]
    taps: dict[int, Tap] = {}
    hooks = []
    try:
        for layer in layers:
            if not segment.start < layer <= segment.stop:
                raise BackboneError(
                    f"layer {layer} of a segment of layers {segment.start + 1} to {segment.stop}",
                    expected="one of these",
                    remedy="Choose a layer that runs in the segment.",
                )
            made: dict[str, torch.Tensor] = {}
            for path in known.paths:
                projection: nn.Module = at(segment.layers[layer - 1 - segment.start], path)
                hooks.append(projection.register_forward_hook(_gather(taps, layer, made, path, known, config)))
        yield taps
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def passed(segment: Segment, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Within this context every pass of a segment leaves the states [B, T, D] after some layers in what is given.

    Args:
        segment, layers: as in `tapped`; any family.
    """
    states: dict[int, torch.Tensor] = {}

    def after(layer: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            states[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [segment.layers[layer - 1 - segment.start].register_forward_hook(after(layer)) for layer in layers]
    try:
        yield states
    finally:
        for one in hooks:
            one.remove()


def _gather(
    taps: dict[int, Tap], layer: int, made: dict[str, torch.Tensor], path: str, known: Projections, config: Any
) -> Callable[..., None]:
    """A hook that keeps what a projection gives, and the layer's tap once all of its projections have run."""

    def hook(_module: nn.Module, _given: Any, output: torch.Tensor) -> None:
        made[path] = output
        if len(made) == len(known.paths):
            taps[layer] = _tap([made[one] for one in known.paths], config, known.by_head)
            made.clear()

    return hook


def _tap(made: Sequence[torch.Tensor], config: Any, by_head: bool) -> Tap:
    """Split what the projections gave into heads."""
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    whole = made[0]
    if by_head:
        query, key, value = _heads(whole, heads).chunk(3, dim=3)
        return Tap(query, key, value)
    if len(made) == 1:
        width = whole.shape[2] // (heads + 2 * shared)
        made = torch.split(whole, [heads * width, shared * width, shared * width], dim=2)
    query, key, value = made
    return Tap(_heads(query, heads), _heads(key, shared), _heads(value, shared))


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, T, H·D] as [B, H, T, D]."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
