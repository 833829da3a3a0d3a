"""Low-rank adapters through peft, on a segment's linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from transfuse.backbones.anatomy import Segment

NAME = "transfuse"


def add(segment: Segment, settings: Mapping[str, Any], *, seed: int) -> None:
    """Put LoRA adapters (Hu et al. 2021, W + (alpha / r) B A) on every linear map of the segment's layers, in place.

    Only the adapters train afterwards; B starts at 0, so that the adapted segment equals the plain one at first.

    Args:
        segment: with layers of its own (``own=True``).
        settings: ``rank``, ``alpha``, ``dropout``.
        seed: of A's initial values.
    """
    import peft

    segment.requires_grad_(False)
    config = peft.LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=_linear_names(segment.layers),
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in segment.layers.modules()),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, segment.layers, adapter_name=NAME)


def _linear_names(layers: nn.Module) -> list[str]:
    """The linear maps by their names inside a layer; Conv1D is GPT-2's name for one."""
    linear = (name for name, m in layers.named_modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D")
    return sorted({name.partition(".")[2] for name in linear})


def tensors(segment: Segment) -> dict[str, torch.Tensor]:
    """The adapters' numbers by the names that the segment's model gives them."""
    return {name: p.detach() for name, p in segment.model.named_parameters() if "lora_" in name}


def merged(layer: nn.Module) -> nn.Module:
    """The layer with its adapters added into its weights and peft's wrappers gone, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(layer.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent = layer.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    return layer
