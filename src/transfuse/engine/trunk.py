"""The trunk of a study: what a frozen backbone says of a text is computed once."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import Passing, States
from transfuse.engine.store import Store

CHUNK = 512
"""Texts that are encoded together; a chunk is computed whole or not at all."""

MOST = 2 << 30
"""Bytes of the states of rows that are held at once."""

Key = tuple[str | None, int | tuple[int, ...], int]
"""Template, the freezing point or the layers that are pooled, chunk."""


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
        store: keeps activations on disk, for a resume and for other studies; None keeps them in memory.
        keep: whether anything is kept at all; without it every request computes anew (to measure what keeping gains).
        most: bytes of the states of rows that are held at once; a set of rows that needs more is computed anew batch
            by batch, in every pass.

    Attributes:
        anew: of each such set, its tokens and the bytes that it would have needed.
        unpacked: whether texts should have shared rows and could not (see `packing.packs`).
    """

    backbone: Backbone
    precision: str
    limit: int
    note: Callable[[int], None] = lambda _: None
    store: Store | None = None
    keep: bool = True
    most: int = MOST

    def __post_init__(self) -> None:
        self._chunks: list[tuple[str, ...]] = []
        self._place: dict[str, tuple[int, int]] = {}
        self._tokens: dict[tuple[str | None, int], tuple[np.ndarray, np.ndarray]] = {}
        self._kept: dict[Key, np.ndarray] = {}
        self._rows: dict[tuple[str, int], np.ndarray] = {}
        self.anew: list[tuple[int, int]] = []
        self.unpacked = False

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
            made = self.backbone.tokens(self._chunks[chunk], template, self.limit)
            self._tokens[key] = (
                np.array([t for row in made for t in row], np.int32),
                np.array([len(row) for row in made]),
            )
        flat, lengths = self._tokens[key]
        return [row.tolist() for row in np.split(flat, np.cumsum(lengths)[:-1])]

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
            whole = self._kept.get((template, every, chunk))
            if whole is None or wanted == every:
                rows[chunk] = self._features(template, wanted, chunk)
            else:
                rows[chunk] = whole[:, list(wanted)]
        return np.stack([rows[c][i] for c, i in where])

    def _features(self, template: str | None, layers: tuple[int, ...], chunk: int) -> np.ndarray:
        return self._once(
            (template, layers, chunk),
            lambda: self.backbone.features(self.tokens(template, chunk), layers, self.precision),
        )

    def _once(self, key: Key, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What was computed before, in this process or by any other that shares the store; else compute and keep."""
        found = self._kept.get(key)
        if found is not None:
            return found
        name = self._name(key) if self.store and self.keep else ""
        found = self.store.get(name) if self.store and self.keep else None
        if found is None:
            found = compute()
            self.note(len(self._chunks[key[2]]))
            if self.store and self.keep:
                found = self.store.put(name, found)
        if self.keep:
            self._kept[key] = found
        return found

    def _name(self, key: Key) -> str:
        """Everything that the numbers depend on: weights, tokenizer, arithmetic, versions, layers and texts."""
        template, what, chunk = key
        return self._named((template, what, hashlib.sha256(json.dumps(self._chunks[chunk]).encode()).hexdigest()))

    def _named(self, what: tuple[object, ...]) -> str:
        arithmetic = (self.precision, self.backbone.device.type, torch.get_num_threads(), torch.__version__)
        versions = importlib.metadata.version("transformers")
        return repr((self.backbone.revision, arithmetic, versions, self.limit, *what))

    def states(self, texts: Sequence[str], template: str | None, cut: int, *, ids: bool = False) -> States:
        """The frozen prefix's states of N texts at layer ``cut``; with ``ids`` the token ids, nothing being frozen.

        Cost: one pass up to ``cut`` for each chunk not seen before with this template and cut.
        """
        where = np.array(self._where(texts), dtype=np.int64).reshape(-1, 2)
        used, parts = np.unique(where[:, 0], return_inverse=True)
        found = [self._states(template, -1 if ids else cut, int(chunk)) for chunk in used]
        return States.join(found, np.stack([parts, where[:, 1]], axis=1))

    def states_of(self, tokens: Sequence[Sequence[int]], cut: int, *, ids: bool = False) -> States:
        """The frozen prefix's states of rows of token ids at layer ``cut``, or the ids where nothing is frozen.

        The rows are kept as a whole: the same rows in the same order are computed once.

        Cost: one pass up to ``cut``; one in every pass over the rows where their states would need too much room.
        """
        if ids or not tokens:
            return States.of_ids(tokens)
        rows = [list(row) for row in tokens]
        count = sum(map(len, rows))
        size = count * self.backbone.width * (2 if self.precision == "bf16" else 4)
        if size > self.most:
            self.anew.append((count, size))
            return Passing.through(lambda some: self.backbone.states(some, cut, self.precision), rows)
        key = hashlib.sha256(json.dumps(rows).encode()).hexdigest()

        def compute() -> np.ndarray:
            return _plain(self.backbone.states(rows, cut, self.precision))

        if (key, cut) not in self._rows:
            name = self._named(("rows", cut, key)) if self.store and self.keep else ""
            found = self.store.get(name) if self.store and self.keep else None
            if found is None:
                found = compute()
                self.note(len(rows))
                if self.store and self.keep:
                    found = self.store.put(name, found)
            held = self._rows if self.keep else {}
            while held and sum(a.nbytes for a in held.values() if not isinstance(a, np.memmap)) + size > self.most:
                held.pop(next(iter(held)))  # the oldest
            self._rows = {**held, (key, cut): found}
        return States.of(_tensor(self._rows[key, cut]), rows)

    def _states(self, template: str | None, cut: int, chunk: int) -> States:
        tokens = self.tokens(template, chunk)
        if cut < 0:
            return States.of_ids(tokens)

        def compute() -> np.ndarray:
            return _plain(self.backbone.states(tokens, cut, self.precision))

        return States.of(_tensor(self._once((template, cut, chunk), compute)), tokens)


def _plain(values: torch.Tensor) -> np.ndarray:
    """For a file; bf16 as the integers of its bits."""
    plain: np.ndarray = (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()
    return plain


def _tensor(values: np.ndarray) -> torch.Tensor:
    """The inverse of `_plain`."""
    found = torch.from_numpy(values)
    return found.view(torch.bfloat16) if found.dtype == torch.int16 else found
