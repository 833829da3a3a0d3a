"""The trunk of a study: what a frozen backbone says of a text is computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import States

CHUNK = 512
"""Texts that are encoded together; a chunk is computed whole or not at all."""


@dataclasses.dataclass
class Trunk:
    """A backbone with the memory of what it has computed.

    Texts are known in chunks, in the order in which they were first registered, and a chunk is always encoded whole:
    so a figure never depends on what was computed before it, on the folds, or on a resume.

    Args:
        backbone: the pretrained model.
        precision: of all passes.
        limit: most tokens a text.
        note: told of each chunk that is encoded: texts done.
    """

    backbone: Backbone
    precision: str
    limit: int
    note: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self._chunks: list[tuple[str, ...]] = []
        self._place: dict[str, tuple[int, int]] = {}
        self._tokens: dict[tuple[str | None, int], list[list[int]]] = {}
        self._features: dict[tuple[str | None, tuple[int, ...], int], np.ndarray] = {}
        self._states: dict[tuple[str | None, int, int], States] = {}

    def register(self, texts: Sequence[str]) -> None:
        """Make texts known, in this order; those known already keep their places."""
        new = list(dict.fromkeys(text for text in texts if text not in self._place))
        for start in range(0, len(new), CHUNK):
            chunk = tuple(new[start : start + CHUNK])
            for position, text in enumerate(chunk):
                self._place[text] = (len(self._chunks), position)
            self._chunks.append(chunk)

    def _where(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        self.register(texts)
        return [self._place[text] for text in texts]

    def tokens(self, template: str | None, chunk: int) -> list[list[int]]:
        """Token ids of a chunk's texts in a template, made once."""
        key = (template, chunk)
        if key not in self._tokens:
            self._tokens[key] = self.backbone.tokens(self._chunks[chunk], template, self.limit)
        return self._tokens[key]

    def features(self, texts: Sequence[str], template: str | None, layers: Sequence[int] | None = None) -> np.ndarray:
        """Pooled states, float32 [N, layers, poolings, D]; all layers from 0 on where none are named.

        Cost: one pass for each chunk not seen before with this template, however many layers are read.
        """
        every = tuple(range(self.backbone.layers + 1))
        wanted = every if layers is None else tuple(layers)
        where = self._where(texts)
        if not where:
            return np.empty((0, len(wanted), len(self.backbone.poolings), self.backbone.width), dtype=np.float32)
        rows: dict[int, np.ndarray] = {}
        for chunk in sorted({c for c, _ in where}):
            whole = self._features.get((template, every, chunk))
            if whole is None or wanted == every:
                rows[chunk] = self._encode(template, wanted, chunk)
            else:
                rows[chunk] = whole[:, list(wanted)]
        return np.stack([rows[c][i] for c, i in where])

    def _encode(self, template: str | None, layers: tuple[int, ...], chunk: int) -> np.ndarray:
        key = (template, layers, chunk)
        if key not in self._features:
            self._features[key] = self.backbone.features(self.tokens(template, chunk), layers, self.precision)
            self.note(len(self._chunks[chunk]))
        return self._features[key]

    def states(self, texts: Sequence[str], template: str | None, cut: int, *, ids: bool = False) -> States:
        """The frozen prefix's states of N texts at layer ``cut``; with ``ids`` the token ids, nothing being frozen.

        Cost: one pass up to ``cut`` for each chunk not seen before with this template and cut.
        """
        where = self._where(texts)
        used = sorted({c for c, _ in where})
        parts = [self._prefix(template, -1 if ids else cut, chunk) for chunk in used]
        order = {chunk: i for i, chunk in enumerate(used)}
        return States.join(parts, [(order[c], i) for c, i in where])

    def _prefix(self, template: str | None, cut: int, chunk: int) -> States:
        key = (template, cut, chunk)
        if key not in self._states:
            tokens = self.tokens(template, chunk)
            if cut < 0:
                self._states[key] = States.of_ids(tokens)
            else:
                self._states[key] = self.backbone.states(tokens, cut, self.precision)
                self.note(len(tokens))
        return self._states[key]
