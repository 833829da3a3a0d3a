"""Adapters through peft (LoRA, DoRA, (IA)³), on a segment's linear layers, and soft prompts before its texts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import SOFT, Segment

NAME = "transfuse"
PARTS = ("lora_", "ia3_", SOFT)
"""What an adapter's parameters are called, by peft and here."""


def add(segment: Segment, settings: Mapping[str, Any], *, seed: int) -> None:
    """Put adapters on every linear map of the segment's layers, in place.

    Only the adapters train afterwards, and the adapted segment equals the plain one at first.

    Args:
        segment: with layers of its own (``own=True``).
        settings: ``kind``: ``lora`` (Hu et al. 2021, W + (alpha / r) B A), ``dora`` (Liu et al. 2024) or ``ia3``
            (Liu et al. 2022); for the first two ``rank``, ``alpha``, ``dropout``; or ``soft``: ``tokens`` vectors
            before every text, and nothing else (Lester et al. 2021), which begin as the embeddings of random words.
        seed: of A's initial values, and of these words.
    """
    import peft

    segment.requires_grad_(False)
    kind = settings.get("kind", "lora")
    if kind == "soft":
        _add_soft(segment, settings["tokens"], seed)
        return
    common: dict[str, Any] = {
        "target_modules": _linear_names(segment.layers),
        "fan_in_fan_out": any(type(m).__name__ == "Conv1D" for m in segment.layers.modules()),
    }
    config: Any
    if kind == "ia3":
        config = peft.IA3Config(feedforward_modules=[], **common)
    else:
        config = peft.LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            use_dora=kind == "dora",
            **common,
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, segment.layers, adapter_name=NAME)


def _add_soft(segment: Segment, count: int, seed: int) -> None:
    """A prompt of vectors, where peft would wrap the whole model: the segment is one that begins with its layer 0."""
    model: Any = segment.model
    words = model.get_input_embeddings()
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(words.weight.shape[0], (count,), generator=generator)
    with torch.no_grad():
        vectors = words(ids.to(words.weight.device)).float().clone()
    segment.model._parameters = {**segment.model._parameters, SOFT: nn.Parameter(vectors)}


def _linear_names(layers: nn.Module) -> list[str]:
    """The linear maps by their names inside a layer; Conv1D is GPT-2's name for one."""
    linear = (name for name, m in layers.named_modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D")
    return sorted({name.partition(".")[2] for name in linear})


def train(segment: Segment) -> None:
    """Switch on the adapters' own dropout, whatever the layers do with theirs."""
    for name, module in segment.named_modules():
        if name.rpartition(".")[2] == "lora_dropout":
            module.train()


def tensors(segment: Segment) -> dict[str, torch.Tensor]:
    """The adapters' numbers by the names that the segment's model gives them."""
    return {name: p.detach() for name, p in segment.model.named_parameters() if any(x in name for x in PARTS)}


def scaling(segment: Segment) -> float:
    """alpha / r of a segment that is adapted by LoRA."""
    from peft.tuners.lora import LoraLayer

    found: float = next(m.scaling[NAME] for m in segment.layers.modules() if isinstance(m, LoraLayer))
    return found


def mixes(segment: Segment) -> bool:
    """Whether the segment is adapted by LoRA alone, so that several can run as one (`SideBySide`)."""
    names = tensors(segment)
    return bool(names) and all("lora_A" in name or "lora_B" in name for name in names)


class SideBySide(nn.Module):
    """Segments that differ in their adapters alone, run as one: a batch is a slice for each of them.

    y[k] = W x[k] + (alpha / r) B_k A_k x[k]: what they share is computed once over all slices, forward and backward,
    and each slice sees its own adapter. (peft mixes adapters in a batch at inference only.)

    Args:
        segments: of one backbone, the same layers, each with adapters of its own (`add`).
        low: hold the shared weights of the linear maps in bf16, for passes under autocast, which would turn them into
            that in every step.
    """

    def __init__(self, segments: Sequence[Segment], *, low: bool = False) -> None:
        super().__init__()
        from peft.tuners.tuners_utils import BaseTunerLayer

        first = segments[0]
        self._slices: list[tuple[int, int, int]] = []
        self.segment = copy.deepcopy(first, {id(p): p for p in first.parameters()})
        for name, module in list(self.segment.layers.named_modules()):
            if isinstance(module, BaseTunerLayer):
                branches = [segment.layers.get_submodule(name) for segment in segments]
                parent = self.segment.layers.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], _Mixed(branches, self._slices, low))

    def forward(self, which: Sequence[int], given: Sequence[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
        """The states after each of the chosen segments.

        Args:
            which: positions of the segments.
            given: the batch of each: states [B, T, D] or ids [B, T], and mask [B, T], of any B and T.

        Returns:
            [B, T, D] of each.
        """
        width = max(mask.shape[1] for _, mask in given)
        values, mask = (torch.cat([_widened(pair[i], width) for pair in given]) for i in (0, 1))
        ends = np.cumsum([len(mask) for _, mask in given]).tolist()
        self._slices[:] = zip(which, [0, *ends[:-1]], ends, strict=True)
        hidden = self.segment(values if values.dim() == 2 else values.float(), mask)
        return [hidden[a:b, : m.shape[1]] for (_, a, b), (_, m) in zip(self._slices, given, strict=True)]


def _widened(x: torch.Tensor, width: int) -> torch.Tensor:
    """Padded with zeros at the end of the second dimension."""
    return nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, width - x.shape[1]))


class _Mixed(nn.Module):
    """One linear map with K adapters, each on its slice of the batch.

    All A lie in one matrix, all B in another; between them each row keeps the ranks of its own adapter alone. So two
    thin products serve any number of slices of any size.
    """

    def __init__(self, branches: Sequence[Any], slices: list[tuple[int, int, int]], low: bool) -> None:
        super().__init__()
        self.base = branches[0].get_base_layer()
        if low:
            rounded = {id(p): nn.Parameter(p.to(torch.bfloat16), False) for p in self.base.parameters()}
            self.base = copy.deepcopy(self.base, rounded)
        self._slices = slices
        self.down, self.up, self.dropout = (
            nn.ModuleList(getattr(branch, name)[NAME] for branch in branches)
            for name in ("lora_A", "lora_B", "lora_dropout")
        )
        rows = [torch.full_like(b.lora_A[NAME].weight.detach()[:, :1], b.scaling[NAME]).float().T for b in branches]
        self._scaling: torch.Tensor = torch.block_diag(*rows)  # type: ignore[no-untyped-call]  # [K, ranks of all]

    @property
    def weight(self) -> torch.Tensor:
        """Of the map itself, of which some families look up the type (T5)."""
        found: torch.Tensor = self.base.weight
        return found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, ..., D_in] to [B, ..., D_out]."""
        down = torch.cat([one.get_parameter("weight") for one in self.down])
        up = torch.cat([one.get_parameter("weight") for one in self.up], 1)
        which = torch.tensor([k for k, a, b in self._slices for _ in range(b - a)])
        own = self._scaling[which].to(x.device)
        thin = nn.functional.linear(self._dropped(x), down)
        thin = thin * own.view(len(x), *([1] * (x.dim() - 2)), -1).to(thin.dtype)
        mixed: torch.Tensor = self.base(x) + nn.functional.linear(thin, up)
        return mixed

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if not any(isinstance(one, nn.Dropout) and one.training for one in self.dropout):
            return x
        return torch.cat([self.dropout[k](x[a:b]) for k, a, b in self._slices])


def merged(layer: nn.Module) -> nn.Module:
    """The layer with its adapters added into its weights and peft's wrappers gone, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(layer.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent = layer.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    return layer
