"""A student made of its teacher: the same model with some of its layers, or of its heads, left out."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import at
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.saving import write_tokenizer
from transfuse.errors import BackboneError

POOLING = Path("1_Pooling") / "config.json"


def spread(layers: int, count: int) -> list[int]:
    """Which of ``layers`` stay when ``count`` are to: evenly spread, the first and the last among them.

    Reduces to: all of them where ``count`` is ``layers``.
    Reference: Sanh et al. 2019 (every other layer); Jiao et al. 2020 (uniform).
    """
    return sorted({int(i) for i in np.linspace(0, layers - 1, count).round()}) if count > 1 else [layers - 1]


def shrunk(backbone: Backbone, keep: Sequence[int], heads: int | None = None) -> Any:
    """A copy of a model with some of its layers, in float32.

    Args:
        backbone: an encoder or a decoder.
        keep: indices of the layers that stay, in their order.
        heads: groups of attention heads that stay in each layer, those with the largest weights; None for all. A group
            is the heads that share a key and a value.

    Raises:
        BackboneError: an encoder-decoder, a family that is not known, or one whose heads cannot be left out.
    """
    if backbone.crosses:
        raise BackboneError(
            f"{backbone.reference}: an encoder-decoder cannot be shrunk", expected="an encoder or a decoder"
        )
    network = copy.deepcopy(backbone.network("fp32"))
    base = network.base_model
    *parents, last = backbone.anatomy.layers.split(".")
    holder = at(base, ".".join(parents)) if parents else base
    setattr(holder, last, nn.ModuleList(getattr(holder, last)[i] for i in keep))
    config = network.config
    config.num_hidden_layers = len(keep)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in keep]
    if heads is not None:
        _leave_out_heads(backbone, getattr(holder, last), config, heads)
    return network


@torch.no_grad()
def _leave_out_heads(backbone: Backbone, layers: nn.ModuleList, config: Any, heads: int) -> None:
    groups = getattr(config, "num_key_value_heads", None)
    width = getattr(config, "head_dim", None)
    if not groups or not width or not all(hasattr(layer, "self_attn") for layer in layers):
        raise BackboneError(
            f"{backbone.reference}: models of type '{backbone.family}' have heads of a fixed share of their width",
            expected="a family whose heads have a width of their own, such as Llama, Qwen or Gemma",
            remedy="Leave layers out instead.",
        )
    if not 0 < heads <= groups:
        raise BackboneError(f"heads: {heads}", expected=f"from 1 to {groups}, the groups of {backbone.reference}")
    share = config.num_attention_heads // groups
    for layer in layers:
        attention: Any = layer.self_attn
        size = attention.o_proj.weight.view(-1, groups, share * width).square().sum((0, 2))
        kept = size.topk(heads).indices.sort().values
        asked = torch.cat([torch.arange(width * share) + int(g) * width * share for g in kept])
        answered = torch.cat([torch.arange(width) + int(g) * width for g in kept])
        for name, rows in (("q_proj", asked), ("k_proj", answered), ("v_proj", answered)):
            _keep_rows(getattr(attention, name), rows)
        attention.o_proj.weight = nn.Parameter(attention.o_proj.weight[:, asked].clone(), requires_grad=False)
    config.num_key_value_heads, config.num_attention_heads = heads, heads * share


def _keep_rows(linear: Any, rows: torch.Tensor) -> None:
    linear.weight = nn.Parameter(linear.weight[rows].clone(), requires_grad=False)
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias[rows].clone(), requires_grad=False)


def write_shrunk(backbone: Backbone, folder: Path, keep: Sequence[int], heads: int | None = None) -> None:
    """Write the smaller model with its tokenizer, as a folder that is a backbone like any other."""
    network = shrunk(backbone, keep, heads)
    network.save_pretrained(folder)
    write_tokenizer(backbone.tokenizer, folder, backbone.max_tokens)
    if (backbone.folder / POOLING).exists():
        (folder / POOLING.parent).mkdir()
        shutil.copyfile(backbone.folder / POOLING, folder / POOLING)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = [type(network).__name__]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
