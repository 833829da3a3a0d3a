"""Where the layers of a Hugging Face model are, and a model cut down to some of them.

A cut model runs the family's *own* forward with fewer layers, so masks, rotary positions and layer types stay the
family's business. What feeds the layers (embeddings, learned positions, dropout before the first layer) is replaced by
a pass-through when the input is a cached state.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Dotted paths inside a base model (what ``AutoModel`` loads).

    Args:
        layers: the ModuleList of transformer layers.
        norm: the norm after the last layer, or None where each layer normalises itself (post-norm encoders).
        whole: the module that turns token ids *and* given states into the first layer's input (encoders).
        added: what the forward adds to given states: learned positions, made zero when replaying.
        dropped: what else the forward does to given states before the first layer (dropout, a projection), made an
            identity when replaying.
        unused: modules that only serve other heads, such as BERT's pooler.
    """

    layers: str
    norm: str | None = None
    whole: str | None = None
    added: str | None = None
    dropped: str | None = None
    unused: str | None = None


_BERT = Anatomy("encoder.layer", whole="embeddings", unused="pooler")
_LLAMA = Anatomy("layers", norm="norm")

ANATOMIES: dict[str, Anatomy] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": Anatomy("encoder.layer", whole="embeddings", dropped="embeddings_project"),
    "distilbert": Anatomy("transformer.layer", whole="embeddings"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "phi3": _LLAMA,
    "gpt2": Anatomy("h", norm="ln_f", added="wpe", dropped="drop"),
    "gpt_neox": Anatomy("layers", norm="final_layer_norm", dropped="emb_dropout"),
}


SOFT = "soft_prompt"
"""The parameter of a segment's model that is one."""


class _GivenStates(nn.Module):
    """Stands where the embeddings were and returns the states that were given instead."""

    def forward(self, *args: Any, inputs_embeds: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Return ``inputs_embeds`` [B, T, D] as they are."""
        given = inputs_embeds if inputs_embeds is not None else args[1]
        assert isinstance(given, torch.Tensor)
        return given


class _NothingAdded(nn.Module):
    """Stands where learned positions were, which the cached states already hold."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return a zero that broadcasts over any state."""
        return torch.zeros(())  # without a dimension, so that it may stay on the processor


def at(module: nn.Module, path: str) -> Any:
    """The submodule at a dotted path, or None where the model was built without it."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _shallow(module: nn.Module) -> nn.Module:
    clone = copy.copy(module)
    clone.__dict__["_modules"] = dict(module._modules)
    return clone


def _put(root: nn.Module, path: str, new: nn.Module | None) -> None:
    """Replace a submodule of a shallow clone without touching the model that it was cloned from."""
    *parents, last = path.split(".")
    for name in parents:
        child = _shallow(getattr(root, name))
        root._modules[name] = child
        root = child
    root._modules[last] = new


class Segment(nn.Module):
    """Layers ``start`` to ``stop`` of a base model as a module of its own, without the final norm.

    Args:
        base: the model as ``AutoModel`` gives it; its parameters are shared, not copied.
        anatomy: where its parts are.
        start: index of the first layer; with ``start=0`` the input is token ids unless ``states`` is set.
        stop: index after the last layer.
        own: deep-copy the layers (and the embeddings where the input is token ids), so that training them leaves the
            base model alone; what is copied requires gradients.
        shared: with ``own``, the modules are its own and their parameters the base model's, frozen: what adapters need.
        states: take states even at ``start=0`` (the embeddings' output is cached and frozen).
    """

    def __init__(
        self,
        base: nn.Module,
        anatomy: Anatomy,
        start: int,
        stop: int,
        *,
        own: bool = False,
        shared: bool = False,
        states: bool | None = None,
    ) -> None:
        super().__init__()
        self.start, self.stop = start, stop
        self.takes_states = start > 0 if states is None else states
        clone = _shallow(base)
        if own and not self.takes_states:
            layered = anatomy.layers.partition(".")[0]  # the layers are copied below, and only those that are used
            for name, child in clone._modules.items():
                if name != layered:
                    clone._modules[name] = copy.deepcopy(child).requires_grad_(True) if child is not None else None
        layers = at(base, anatomy.layers)[start:stop]
        if own and shared:
            layers = copy.deepcopy(layers, {id(p): p for p in layers.parameters()})
        elif own:
            layers = copy.deepcopy(layers).requires_grad_(True)
        _put(clone, anatomy.layers, layers)
        if anatomy.norm:
            _put(clone, anatomy.norm, nn.Identity())
        if anatomy.unused and at(base, anatomy.unused) is not None:
            _put(clone, anatomy.unused, None)
        if self.takes_states:
            for path, stand_in in (
                (anatomy.whole, _GivenStates()),
                (anatomy.added, _NothingAdded()),
                (anatomy.dropped, nn.Identity()),
            ):
                if path:
                    _put(clone, path, stand_in)
        config: Any = copy.deepcopy(base.config)
        config.num_hidden_layers = stop - start
        if getattr(config, "layer_types", None):
            config.layer_types = list(config.layer_types[start:stop])
        clone.__dict__["config"] = config
        self.model = clone
        self.layers = at(clone, anatomy.layers)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, T] or states [B, T, D], with mask [B, T], to states [B, T, D].

        The mask is 0 at padding and 1 elsewhere; where a row holds several texts (see `packing`), it is the number of
        each token's text, and each text sees itself alone.
        """
        if len(self.layers) == 0 and self.takes_states:
            return inputs
        given = {"inputs_embeds": inputs} if self.takes_states else {"input_ids": inputs}
        if self.soft is not None:
            before = self.soft.to(inputs.dtype).expand(len(inputs), -1, -1)
            given = {"inputs_embeds": torch.cat([before, inputs], 1)}
            mask = torch.cat([mask.new_ones(before.shape[:2]), mask], 1)
        if (own := _positions(mask)) is None:
            given["attention_mask"] = mask
        else:  # positions that begin anew are how transformers knows the texts of a row
            given["position_ids"] = own
        output = self.model(use_cache=False, **given)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden if self.soft is None else hidden[:, len(self.soft) :]

    @property
    def soft(self) -> torch.Tensor | None:
        """A soft prompt [tokens, D] before every text (see `adapters.add`), or None."""
        return self.model._parameters.get(SOFT)

    def standalone(self, base: nn.Module, anatomy: Anatomy, plain: Callable[[nn.Module], nn.Module]) -> Any:
        """A model of the family with these layers, the base model's final norm and its own ``save_pretrained``.

        Args:
            base: the model that the segment was cut from.
            anatomy: where its parts are.
            plain: turns a copy of a layer into one of the family's own (takes adapters out).
        """
        clone = _shallow(self.model)
        _put(clone, anatomy.layers, nn.ModuleList(plain(copy.deepcopy(layer)) for layer in self.layers))
        for path in (anatomy.norm, anatomy.unused):
            if path:
                _put(clone, path, at(base, path))
        clone.__dict__["config"] = copy.deepcopy(self.model.config)
        return clone


def _positions(mask: torch.Tensor) -> torch.Tensor | None:
    """Each token's place in its text, int64 [B, T], 0 at padding; None where no row holds several texts.

    Args:
        mask: int64 [B, T], the number of each token's text in its row, from 1 on; 0 at padding.
    """
    if torch.compiler.is_compiling() or not (mask > 1).any():  # an exported graph knows no packed rows
        return None
    here = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    new = torch.diff(mask, dim=1, prepend=mask.new_zeros(len(mask), 1)) != 0
    begin = torch.where(new, here, 0).cummax(1).values
    return torch.where(mask > 0, here - begin, 0)


def assembled(network: Any, stack: str, anatomy: Anatomy, cut: int, layers: Sequence[nn.Module]) -> Any:
    """The whole model, below any head and with it, whose layers from ``cut`` on are others; the rest is shared.

    Args:
        network: what transformers loaded; it is left alone.
        stack: dotted path from it to the module that ``anatomy`` describes.
        anatomy: where its layers are.
        cut: index of the first layer that is replaced.
        layers: those that take the places from there on; none leaves all as they are.
    """
    clone: Any = _shallow(network)
    place = f"{stack}.{anatomy.layers}"
    own = list(at(network, place))
    own[cut : cut + len(layers)] = layers
    _put(clone, place, nn.ModuleList(own))
    return clone.eval()
