"""What a fitted model has beyond its backbone's weights: trained layers or adapters, as tensors and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone

NAME = "difference."


def numbers(trained: Segment, adapter: Mapping[str, Any] | None) -> dict[str, torch.Tensor]:
    """The adapters' parameters where there are adapters, else those that trained, by name."""
    if adapter:
        return adapters.tensors(trained)
    return {name: p.detach() for name, p in trained.model.named_parameters() if p.requires_grad}


def count(trained: Segment | None, adapter: Mapping[str, Any] | None) -> int:
    """Numbers that differ from the backbone's."""
    return 0 if trained is None else sum(t.numel() for t in numbers(trained, adapter).values())


def described(cut: int, layer: int, trained: Segment | None, adapter: Mapping[str, Any] | None) -> dict[str, Any]:
    """The part of a path's description that `restored` reads."""
    return {
        "cut": cut,
        "layer": layer,
        "difference": None if trained is None else ("adapter" if adapter else "layers"),
        "takes_states": None if trained is None else trained.takes_states,
        "adapter": dict(adapter) if adapter else None,
    }


def tensors(trained: Segment | None, adapter: Mapping[str, Any] | None) -> dict[str, torch.Tensor]:
    """For a file, under names that begin with ``difference.``"""
    if trained is None:
        return {}
    return {f"{NAME}{k}": v.contiguous().cpu() for k, v in numbers(trained, adapter).items()}


def restored(fields: Mapping[str, Any], found: Mapping[str, torch.Tensor], backbone: Backbone) -> Segment:
    """The trained layers that `described` and `tensors` tell of."""
    kept = bool(fields["adapter"])  # beside adapters the weights stay the backbone's, in its memory
    trained = backbone.segment(fields["cut"], fields["layer"], own=True, shared=kept, states=fields["takes_states"])
    if fields["adapter"]:
        adapters.add(trained, fields["adapter"], seed=0)
    with torch.no_grad():
        for name, parameter in trained.model.named_parameters():
            if f"{NAME}{name}" in found:
                parameter.data = found[f"{NAME}{name}"].to(parameter.device)
                parameter.requires_grad_(True)
    return trained
