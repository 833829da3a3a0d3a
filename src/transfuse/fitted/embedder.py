"""Feature extraction: vectors of texts from a frozen backbone, for use anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from transfuse.backbones import loading, precision
from transfuse.backbones.int8 import INT8, Int8
from transfuse.backbones.pooling import POOLINGS
from transfuse.errors import UsageError
from transfuse.fitted.head import unit
from transfuse.fitted.parts import parts, refuse_what_is_no_text

ARITHMETIC = ("auto", "fp32", "bf16", INT8)


class Embedder:
    """Turns texts into vectors: pooled states of one layer of a pretrained model (sentence embeddings).

    Args:
        backbone: ``catalog:NAME``, ``hub:OWNER/NAME`` or a folder.
        layer: the layer that is read, its final norm applied; by default the last.
        pooling: ``mean``, ``first`` or ``last``; by default what the model was made for.
        template: how a text is shown, with ``{text}``; None shows it as it is.
        max_tokens: most tokens a text, special tokens included; what is longer loses its end.
        normalise: divide each vector by its length, so that a product of two is their cosine.
        arithmetic: ``auto`` takes bf16 where the processor has it, it is faster and it agrees, tried on the first
            texts, and fp32 elsewhere; ``int8`` needs the extra ``onnx`` and a processor (see `Int8`).

    Raises:
        UsageError: an unknown arithmetic, layer or pooling.
        AssetError, BackboneError: the backbone cannot be fetched or loaded.

    Example:
        >>> Embedder("catalog:minilm-l6").encode(["Arrived broken."]).shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(
        self,
        backbone: str,
        *,
        layer: int | None = None,
        pooling: str | None = None,
        template: str | None = None,
        max_tokens: int = 256,
        normalise: bool = False,
        arithmetic: str = "auto",
    ) -> None:
        if arithmetic not in ARITHMETIC:
            raise UsageError(f"arithmetic '{arithmetic}'", expected="one of " + ", ".join(ARITHMETIC))
        self.backbone = loading.load(backbone, base=Path())
        self.layer = self.backbone.layers if layer is None else layer
        self.pooling = pooling or self.backbone.poolings[0]
        if not 1 <= self.layer <= self.backbone.layers:
            raise UsageError(f"layer {layer}", expected=f"1 to {self.backbone.layers}, the layers of {backbone}")
        if self.pooling not in POOLINGS:
            raise UsageError(f"pooling '{pooling}'", expected="one of " + ", ".join(POOLINGS))
        self.template, self.max_tokens, self.normalise = template, max_tokens, normalise
        self.arithmetic = arithmetic
        self._segments: dict[str, nn.Module] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of N texts, float32 [N, width].

        Raises:
            ModelError: an item is not a string.

        Cost: one pass a text up to the layer that is read; memory does not grow with N but by the result.
        """
        refuse_what_is_no_text(texts)
        if not len(texts):
            return np.empty((0, self.backbone.width), dtype=np.float32)
        if self.arithmetic == "auto":
            sample = list(texts[:64])
            self.arithmetic = str(precision.choose(self.backbone, sample, self.max_tokens)["precision"])
        vectors = np.concatenate([self._encode(part) for part in parts(texts)])
        return unit(vectors) if self.normalise else vectors

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self.backbone.tokens(texts, self.template, self.max_tokens)
        return self.backbone.pooled(self._segment(), self.backbone.begun(tokens), self.pooling, self.arithmetic)

    def _segment(self) -> nn.Module:
        if self.arithmetic not in self._segments:
            plain = self.backbone.segment(
                0, self.layer, precision="fp32" if self.arithmetic == INT8 else self.arithmetic
            )
            self._segments[self.arithmetic] = Int8(plain) if self.arithmetic == INT8 else plain
        return self._segments[self.arithmetic]
