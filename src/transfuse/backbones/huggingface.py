"""A pretrained Hugging Face encoder or decoder as a trunk: tokens in, states of any layer out."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from transfuse.backbones.anatomy import ANATOMIES, Anatomy, Segment, at
from transfuse.backbones.attention import quicken
from transfuse.backbones.form import Form
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States, batches, pad, tokenize
from transfuse.errors import BackboneError

BATCH_TOKENS = 1024
"""Padded tokens a batch in a forward pass without gradients: what stays in a processor's cache is a third faster."""


class Backbone:
    """A pretrained model with its tokenizer; its weights never change.

    Layer ``l`` means the state after ``l`` layers: 0 is the embeddings' output, ``layers`` the model's last state. What
    is read from a layer has the model's final norm applied (decoders), so that plain transformers gives the same from a
    model truncated to ``l`` layers.

    Args:
        reference: as the user wrote it.
        folder: holds config.json, safetensors and the tokenizer.
        revision: content hash of the folder.
        licence: the licence's name, empty where unknown.
        network: what ``AutoModel`` or ``AutoModelForCausalLM`` loaded, in float32 and evaluation mode.
        tokenizer: a fast tokenizer of transformers.
        decoder: whether a token sees only those before it.

    Attributes:
        poolings: the poolings worth trying, the best guess first.
        crosses: whether a decoder attends to an encoder (`crossing.EncoderDecoder`).
    """

    crosses = False

    def __init__(
        self,
        *,
        reference: str,
        folder: Path,
        revision: str,
        licence: str,
        network: Any,
        tokenizer: Any,
        decoder: bool,
    ) -> None:
        self.reference, self.folder, self.revision, self.licence = reference, folder, revision, licence
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.poolings = _poolings(folder, decoder)
        self._networks = {"fp32": network.to(self.device).eval().requires_grad_(False)}
        if self.device.type == "cpu":
            if not network.config.is_encoder_decoder:
                quicken(network)
            head = network.get_output_embeddings() if decoder else None
            if head is not None:
                head.register_forward_pre_hook(_in_one_piece)
        config = network.config
        self.family: str = config.model_type
        self.layers: int = config.num_hidden_layers
        self.width: int = config.hidden_size
        positions = getattr(config, "max_position_embeddings", None) or 1 << 20
        if self.family in ("roberta", "xlm-roberta", "camembert"):
            positions -= 2  # these families count positions from the padding index on
        self.max_tokens: int = min(positions, getattr(tokenizer, "model_max_length", None) or positions)
        self.parameters = sum(p.numel() for p in network.parameters())

    def network(self, precision: str = "fp32") -> Any:
        """The whole model with its parameters in ``fp32`` or ``bf16`` (a copy, made once).

        Buffers, such as rotary frequencies, stay as they are: in bf16 they would lose their positions.
        """
        if precision not in self._networks:
            plain = self._networks["fp32"]
            rounded = {id(p): nn.Parameter(p.to(torch.bfloat16), requires_grad=False) for p in plain.parameters()}
            self._networks[precision] = copy.deepcopy(plain, rounded)
        return self._networks[precision]

    def base(self, precision: str = "fp32") -> Any:
        """The model below any language-modelling head."""
        return self.network(precision).base_model

    @property
    def anatomy(self) -> Anatomy:
        """Where the layers are.

        Raises:
            BackboneError: a family whose parts are not known.
        """
        if self.family not in ANATOMIES:
            raise BackboneError(
                f"{self.reference}: models of type '{self.family}' cannot be cut into layers",
                expected=f"one of {', '.join(sorted(ANATOMIES))}",
                remedy="Choose another backbone, or add the family's Anatomy to backbones/anatomy.py.",
            )
        return ANATOMIES[self.family]

    @property
    def stack(self) -> str:
        """Dotted path from the whole model to `base`."""
        return str(self.network().base_model_prefix)

    def requests(self, form: Form, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of whole prompts, see `Form.requests`."""
        return form.requests(self.tokenizer, texts, limit)

    def replies(self, form: Form, texts: Sequence[str], most: int) -> list[list[int]]:
        """Token ids of answers, see `Form.answers`."""
        return form.answers(self.tokenizer, texts, most)

    def inputs(self, request: Sequence[int], reply: Sequence[int]) -> list[int]:
        """The row by which a reply is foretold, token by token, each by the one before it."""
        return [*request, *reply]

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
        """Layers ``start`` to ``stop`` as a module (see `Segment`)."""
        base = self.base(precision)
        return Segment(base, self.anatomy, start, stop, own=own, shared=shared, states=states).eval()

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """The model's final norm over states [B, T, D] in float32; the states themselves where it has none."""
        if self.anatomy.norm is None:
            return hidden.float()
        norm: nn.Module = at(self.base(), self.anatomy.norm)
        normed: torch.Tensor = norm(hidden.float())
        return normed

    def tokens(self, texts: Sequence[str], template: str | None, limit: int) -> list[list[int]]:
        """Token ids of each text in its template, truncated to ``limit`` or the model's own maximum."""
        return tokenize(self.tokenizer, texts, template, min(limit, self.max_tokens))

    def begun(self, tokens: list[list[int]], precision: str = "fp32") -> States:
        """What a segment that begins with layer 0 takes: the token ids."""
        return States.of_ids(tokens)

    @torch.inference_mode()
    def features(self, tokens: list[list[int]], layers: Sequence[int], precision: str = "fp32") -> np.ndarray:
        """Pooled states of several layers from one pass.

        Args:
            tokens: N rows of token ids.
            layers: the layers to read, each between 0 and ``self.layers``.
            precision: of the pass; the result is float32 all the same.

        Returns:
            float32 [N, len(layers), len(self.poolings), width].

        Cost: one forward pass up to the highest layer, whatever the number of layers read.
        """
        segment = self.segment(0, max(max(layers), 1), precision=precision)
        out = np.empty((len(tokens), len(layers), len(self.poolings), self.width), dtype=np.float32)
        lengths = np.array([len(row) for row in tokens])
        seen: dict[int, torch.Tensor] = {}
        hooks = self._record(segment, layers, seen)
        try:
            for chosen in batches(lengths, BATCH_TOKENS):
                ids, mask = (x.to(self.device) for x in pad([tokens[i] for i in chosen], self._filler))
                segment(ids, mask)
                for at_layer, layer in enumerate(layers):
                    hidden = self.normed(seen[layer])
                    for at_pooling, pooling in enumerate(self.poolings):
                        out[chosen, at_layer, at_pooling] = pool(hidden, mask, pooling).cpu().numpy()
        finally:
            for hook in hooks:
                hook.remove()
        return out

    @torch.inference_mode()
    def pooled(self, segment: nn.Module, inputs: States, pooling: str, precision: str = "fp32") -> np.ndarray:
        """Pooled states after a segment, the final norm applied.

        Args:
            segment: takes what ``inputs`` hold, with a mask, and gives states (`Segment`, `Int8`).
            inputs: token ids or states of N texts.
            pooling: see `pool`.
            precision: ``bf16`` computes in it; the result is float32 all the same.

        Returns:
            float32 [N, width].
        """
        out = np.empty((len(inputs), self.width), dtype=np.float32)
        segment.eval()
        for chosen in batches(inputs.lengths, BATCH_TOKENS):
            values, mask = (x.to(self.device) for x in inputs.batch(chosen))
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
                hidden = segment(values if values.dim() == 2 else values.float(), mask)
            out[chosen] = pool(self.normed(hidden), mask, pooling).cpu().numpy()
        return out

    def _record(self, segment: Segment, layers: Sequence[int], seen: dict[int, torch.Tensor]) -> list[Any]:
        """Hooks that keep the states after each wanted layer in ``seen``."""

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen[0] = args[0] if args else kwargs["hidden_states"]

        def after(layer: int) -> Any:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                seen[layer] = output[0] if isinstance(output, tuple) else output

            return hook

        hooks = [segment.layers[layer - 1].register_forward_hook(after(layer)) for layer in layers if layer]
        if 0 in layers:
            hooks.append(segment.layers[0].register_forward_pre_hook(before, with_kwargs=True))
        return hooks

    @property
    def _filler(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    @torch.inference_mode()
    def states(self, tokens: list[list[int]], cut: int, precision: str = "fp32") -> torch.Tensor:
        """The frozen prefix: states of every token after ``cut`` layers, without padding and before the final norm.

        Dropout is off below the freezing point, by definition of frozen.

        Returns:
            [tokens of all rows, width] in bfloat16 or float32, as ``precision`` says; see `States.of`.
        """
        lengths = np.array([len(row) for row in tokens])
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        values = torch.empty((int(lengths.sum()), self.width), dtype=dtype)
        places = torch.split(values, lengths.tolist())
        segment = self.segment(0, max(cut, 1), precision=precision)
        seen: dict[int, torch.Tensor] = {}
        hooks = self._record(segment, [cut], seen)
        try:
            for chosen in batches(lengths, BATCH_TOKENS):
                ids, mask = (x.to(self.device) for x in pad([tokens[i] for i in chosen], self._filler))
                segment(ids, mask)
                hidden = seen[cut].to(device="cpu", dtype=dtype)
                for row, i in enumerate(chosen):
                    places[i].copy_(hidden[row, : lengths[i]])
        finally:
            for hook in hooks:
                hook.remove()
        return values


def _in_one_piece(head: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """What a head over all words reads, contiguous: of a slice torch copies the bf16 weights once a row (a minute)."""
    return (given[0].contiguous(), *given[1:])


def _poolings(folder: Path, decoder: bool) -> tuple[str, ...]:
    """The poolings worth trying, the best guess first.

    A sentence-transformers folder names the one that the model was trained for. A decoder's first token has seen
    nothing but itself.
    """
    if decoder:
        return ("last", "mean")
    file = folder / "1_Pooling" / "config.json"
    if not file.exists():
        return ("mean", "first")
    config = json.loads(file.read_text(encoding="utf-8"))
    for pooling, keys in {
        "mean": ("pooling_mode_mean_tokens", "mean"),
        "first": ("pooling_mode_cls_token", "cls"),
        "last": ("pooling_mode_lasttoken", "lasttoken"),
    }.items():
        if config.get(keys[0]) or config.get("pooling_mode") == keys[1]:
            return (pooling,)
    return ("mean", "first")
