"""Encoder-decoders: the encoder, and what of the decoder is frozen, are a prefix like any other.

A row holds a request and what the decoder has read so far. Its token ids are the encoder's, then the decoder's, these
as negative numbers (`inner`), so that a row stays a list of numbers; its states are the encoder's last ones, then those
of the decoder after some layers. A mask has 1 at the first and 2 at the second, and a segment is some layers of the
decoder, which attend to the encoder's states.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import Anatomy, Segment, at
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.tokens import INNER, Passing, States, batches, closing, inner, opening, outer, pad
from transfuse.errors import BackboneError


class Stack(NamedTuple):
    """Where the decoder of a family is.

    Args:
        path: from the whole model to it.
        anatomy: of it.
        scale: the attribute by which it multiplies what it is given, or None.
    """

    path: str
    anatomy: Anatomy
    scale: str | None = None


_T5 = Stack("decoder", Anatomy("block", norm="final_layer_norm"))
_EMBEDDED = {"added": "embed_positions", "dropped": "layernorm_embedding"}

STACKS = {
    "t5": _T5,
    "mt5": _T5,
    "bart": Stack("model.decoder", Anatomy("layers", **_EMBEDDED)),
    "mbart": Stack("model.decoder", Anatomy("layers", norm="layer_norm", **_EMBEDDED)),
    "m2m_100": Stack("model.decoder", Anatomy("layers", norm="layer_norm", added="embed_positions")),
    "marian": Stack("model.decoder", Anatomy("layers", added="embed_positions"), scale="embed_scale"),
}


class EncoderDecoder(Backbone):
    """A pretrained encoder-decoder; see `Backbone`, and above for what its rows are.

    ``layers`` are the decoder's. Read as a feature, a text is what the decoder's first token makes of it.
    """

    crosses = True

    def __init__(self, *, reference: str, **other: Any) -> None:
        super().__init__(reference=reference, **other)
        self.layers = len(at(self.base(), self.anatomy.layers))
        self.poolings = ("last",)
        config = self.network().config
        start = getattr(config, "decoder_start_token_id", None)
        if start is None:
            raise BackboneError(
                f"{reference}: config.json names no decoder_start_token_id",
                expected="the token that every answer of an encoder-decoder begins behind",
                remedy="Save the model with the configuration that it was trained with.",
            )
        self.start = int(start)

    @property
    def _stack(self) -> Stack:
        if self.family not in STACKS:
            raise BackboneError(
                f"{self.reference}: encoder-decoders of type '{self.family}' cannot be cut into layers",
                expected=f"one of {', '.join(sorted(STACKS))}",
                remedy="Choose another backbone, or add the family's Stack to backbones/crossing.py.",
            )
        return STACKS[self.family]

    @property
    def anatomy(self) -> Anatomy:
        """Where the decoder's layers are, below `base`."""
        return self._stack.anatomy

    @property
    def stack(self) -> str:
        """From the whole model to the decoder."""
        return self._stack.path

    def base(self, precision: str = "fp32") -> Any:
        """The decoder."""
        return at(self.network(precision), self.stack)

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """As the head reads it: the decoder's final norm, scaled where the family does so."""
        found = super().normed(hidden)
        scaled = getattr(self.network().config, "scale_decoder_outputs", False)
        return found * self.width**-0.5 if scaled else found

    def segment(
        self,
        start: int,
        stop: int,
        *,
        precision: str = "fp32",
        own: bool = False,
        shared: bool = False,
        states: bool | None = None,
    ) -> Segment:
        """Layers of the decoder, which always take states: the embeddings and the encoder are frozen."""
        return CrossSegment(self.base(precision), self._stack, start, stop, own=own, shared=shared).eval()

    def tokens(self, texts: Sequence[str], template: str | None, limit: int) -> list[list[int]]:
        """Rows of each text alone: the encoder's ids, and the token that the decoder begins with."""
        return [[*row, inner(self.start)] for row in super().tokens(texts, template, limit)]

    def requests(self, form: Form, texts: Sequence[str], limit: int) -> list[list[int]]:
        """What the encoder reads, with the tokens that close it."""
        end = closing(self.tokenizer)
        return [[*row, *end] for row in form.requests(self.tokenizer, texts, limit)]

    def replies(self, form: Form, texts: Sequence[str], most: int) -> list[list[int]]:
        """What the decoder writes, with the token that ends it unless it is cut."""
        end = self.tokenizer.eos_token_id
        rows = self.tokenizer(text_target=list(texts))["input_ids"] if texts else []
        first = opening(self.tokenizer)
        out = []
        for row in rows:
            bare = row[len(first) :] if row[: len(first)] == first else row
            out.append([*self._forced, *(bare[: bare.index(end)] if end in bare else bare), end][:most])
        return out

    def inputs(self, request: Sequence[int], reply: Sequence[int]) -> list[int]:
        """The row by which a reply is foretold: the request, the first token, and all of the reply but its last."""
        return [*request, inner(self.start), *map(inner, reply[:-1])]

    @property
    def _forced(self) -> list[int]:
        """The token that every answer begins with where the model's makers force one (the target language)."""
        forced = getattr(self.network().generation_config, "forced_bos_token_id", None)
        return [] if forced is None else [int(forced)]

    @property
    def beginning(self) -> dict[str, Any]:
        """How generation begins."""
        forced = self._forced
        return {"decoder_start_token_id": self.start, "forced_bos_token_id": forced[0] if forced else None}

    def begun(self, tokens: list[list[int]], precision: str = "fp32") -> States:
        """The encoder's states and the decoder's embeddings."""
        return Passing.through(lambda rows: self.states(rows, 0, precision), tokens)

    @torch.inference_mode()
    def features(self, tokens: list[list[int]], layers: Sequence[int], precision: str = "fp32") -> np.ndarray:
        """States of the row's last token after several layers of the decoder, float32 [N, layers, 1, width]."""
        out = np.empty((len(tokens), len(layers), 1, self.width), dtype=np.float32)
        for chosen, _, _, seen, lengths in self._passes(tokens, layers, precision):
            rows = torch.arange(len(chosen))
            for number, layer in enumerate(layers):
                last = seen[layer][rows, torch.tensor(lengths) - 1]
                out[chosen, number, 0] = self.normed(last).cpu().numpy()
        return out

    @torch.inference_mode()
    def states(self, tokens: list[list[int]], cut: int, precision: str = "fp32") -> torch.Tensor:
        """States of every row: the encoder's last, then the decoder's after ``cut`` layers; see `Backbone.states`."""
        lengths = [len(row) for row in tokens]
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        values = torch.empty((sum(lengths), self.width), dtype=dtype)
        places = torch.split(values, lengths)
        for chosen, encoded, before, seen, after in self._passes(tokens, [cut], precision):
            for row, i in enumerate(chosen):
                both = [encoded[row, : before[row]], seen[cut][row, : after[row]]]
                places[i].copy_(torch.cat(both).to(device="cpu", dtype=dtype))
        return values

    def _passes(self, tokens: Sequence[Sequence[int]], layers: Sequence[int], precision: str) -> Any:
        """Batches: positions, the encoder's states and lengths, the decoder's after each layer and lengths."""
        segment = Segment(self.base(precision), self.anatomy, 0, max(max(layers), 1), states=False).eval()
        seen: dict[int, torch.Tensor] = {}
        hooks = self._record(segment, layers, seen)
        encoder = self.network(precision).get_encoder()
        try:
            for chosen in batches(np.array([len(row) for row in tokens]), BATCH_TOKENS):
                sides = [outer(tokens[i]) for i in chosen]
                (ids, mask), (own, own_mask) = (
                    [x.to(self.device) for x in pad([side[n] for side in sides], self._filler)] for n in (0, 1)
                )
                encoded = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                segment.model(
                    input_ids=own,
                    attention_mask=own_mask,
                    encoder_hidden_states=encoded,
                    encoder_attention_mask=mask,
                    use_cache=False,
                )
                yield chosen, encoded, mask.sum(1).tolist(), seen, own_mask.sum(1).tolist()
        finally:
            for hook in hooks:
                hook.remove()


class CrossSegment(Segment):
    """Layers ``start`` to ``stop`` of a decoder that attends to an encoder; see `Segment`.

    Args:
        base: the decoder.
        stack: of its family.
        start, stop, own, shared: as in `Segment`.
    """

    def __init__(self, base: nn.Module, stack: Stack, start: int, stop: int, *, own: bool, shared: bool) -> None:
        super().__init__(base, stack.anatomy, start, stop, own=own, shared=shared, states=True)
        if stack.scale:
            self.model.__dict__[stack.scale] = 1.0  # the states have been scaled
        attention = getattr(getattr(at(base, stack.anatomy.layers)[0], "layer", [None])[0], "SelfAttention", None)
        if start > 0 and attention is not None and len(self.layers):
            self.layers[0] = _with_positions(self.layers[0], attention)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States [B, T, D], with mask [B, T]: 1 the encoder's, 2 the decoder's; the latter after the layers."""
        if len(self.layers) == 0:
            return inputs
        first, second = mask == 1, mask == INNER
        encoded, encoded_mask = _apart(inputs, first)
        own, own_mask = _apart(inputs, second)
        output = self.model(
            inputs_embeds=own,
            attention_mask=own_mask.long(),
            encoder_hidden_states=encoded,
            encoder_attention_mask=encoded_mask.long(),
            use_cache=False,
        )
        hidden: torch.Tensor = output.last_hidden_state
        whole = inputs.to(hidden.dtype).clone()
        whole[second] = hidden[own_mask]
        return whole


def _apart(inputs: torch.Tensor, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The chosen states of each row, moved to its beginning: [B, t, D], and a mask bool [B, t]."""
    counts = chosen.sum(1)
    mask = torch.arange(max(int(counts.max()), 1), device=inputs.device)[None, :] < counts[:, None]
    moved = inputs.new_zeros(*mask.shape, inputs.shape[2])
    moved[mask] = inputs[chosen]
    return moved, mask


def _with_positions(block: nn.Module, attention: Any) -> nn.Module:
    """A block of T5 that is the first of a segment: the relative positions are those of the decoder's first block."""
    block = copy.copy(block)
    block.__dict__["_forward_pre_hooks"] = type(block._forward_pre_hooks)()

    def lend(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, mask, bias, *rest = given
        if bias is None:
            bias = attention.compute_bias(hidden.shape[1], hidden.shape[1], device=hidden.device)
        return hidden, mask, bias, *rest

    block.register_forward_pre_hook(lend)
    return block
