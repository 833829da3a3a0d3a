"""One trunk: heads over one backbone read a text's frozen prefix once, and branch above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones import adapters
from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import BATCH_TOKENS, Backbone
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States, batches
from transfuse.fitted.head import HeadPath

Key = tuple[str | None, int]
"""Template and most tokens: texts that are shown alike."""


class SharedTrunk:
    """Reads texts for several heads of one backbone.

    Each text goes once through the layers that are frozen for all (in batches over all texts, whoever asked), on
    through frozen layers only as far as someone reads them, and from there into each role's own layers. Adapters of the
    same layers run as one batch, each row with its own.

    Args:
        backbone: loaded once, whatever the number of roles.

    Attributes:
        paths: the heads that read it.
        encoded: texts that went through the first frozen layers so far.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.paths: list[HeadPath] = []
        self.encoded = 0
        self._kept: dict[tuple[Key, int], dict[str, torch.Tensor]] = {}
        self._mixed: dict[Any, tuple[list[HeadPath], adapters.SideBySide]] = {}

    def add(self, path: HeadPath) -> None:
        """Make a head known; it must be of this backbone."""
        self.paths.append(path)
        self._mixed = {}

    def forget(self) -> None:
        """Drop the states of the texts that were read."""
        self._kept = {}

    @staticmethod
    def suits(path: Any) -> bool:
        """Whether a path branches from frozen states; one whose embeddings were trained reads texts by itself."""
        return isinstance(path, HeadPath) and (path.trained is None or path.trained.takes_states)

    @torch.inference_mode()
    def log_probabilities(self, paths: Sequence[HeadPath], texts: Sequence[str]) -> list[np.ndarray]:
        """What head i says of text i: log-probabilities [C_i], as `HeadPath.log_probabilities` gives them.

        Cost: the frozen layers once a text, each head's own layers once for each of its texts.
        """
        out: list[np.ndarray] = [np.empty(0)] * len(paths)
        for key in dict.fromkeys((path.template, path.limit) for path in paths):
            places = [i for i, path in enumerate(paths) if (path.template, path.limit) == key]
            self._read(key, {i: (paths[i], texts[i]) for i in places})
            for cut in sorted({paths[i].cut for i in places}):
                here = [i for i in places if paths[i].cut == cut]
                self._branch(key, cut, {i: (paths[i], texts[i]) for i in here}, out)
        return out

    def _read(self, key: Key, asked: Mapping[int, tuple[HeadPath, str]]) -> None:
        """Bring all texts that are asked for to the freezing points at which their heads branch."""
        cuts = sorted({path.cut for path in self.paths if (path.template, path.limit) == key})
        below: int | None = None
        for cut in cuts:
            wanted = dict.fromkeys(text for path, text in asked.values() if path.cut >= cut)
            kept = self._kept.setdefault((key, cut), {})
            new = [text for text in wanted if text not in kept]
            if new:
                rows = self._first(key, cut, new) if below is None else self._on(key, below, cut, new)
                kept.update(zip(new, rows, strict=True))
            below = cut

    def _first(self, key: Key, cut: int, texts: list[str]) -> list[torch.Tensor]:
        tokens = self.backbone.tokens(texts, *key)
        self.encoded += len(texts)
        states = States.of(self.backbone.states(tokens, cut), tokens)
        return [states.row(i) for i in range(len(texts))]

    def _on(self, key: Key, below: int, cut: int, texts: list[str]) -> list[torch.Tensor]:
        """From one freezing point to the next, through layers that are frozen, too."""
        before = _states([self._kept[key, below][text] for text in texts])
        found = self._through(self.backbone.segment(below, cut, states=True), before)
        return found

    def _through(self, segment: Segment, before: States) -> list[torch.Tensor]:
        rows: list[torch.Tensor] = [torch.empty(0)] * len(before)
        for chosen in batches(before.lengths, BATCH_TOKENS):
            values, mask = (x.to(self.backbone.device) for x in before.batch(chosen))
            hidden = segment(values.float(), mask).cpu()
            for row, i in enumerate(chosen):
                rows[i] = hidden[row, : before.lengths[i]]
        return rows

    def _branch(self, key: Key, cut: int, asked: Mapping[int, tuple[HeadPath, str]], out: list[np.ndarray]) -> None:
        """Each head's own layers over its texts' states; adapters of the same layers together."""
        kept = self._kept[key, cut]
        own: dict[int, tuple[HeadPath, list[int]]] = {}
        for i, (path, _) in asked.items():
            own.setdefault(id(path), (path, []))[1].append(i)
        groups: dict[Any, list[tuple[HeadPath, list[int]]]] = {}
        for path, places in own.values():
            groups.setdefault(_alike(path) or id(path), []).append((path, places))
        for alike, group in groups.items():
            states = [_states([kept[asked[i][1]] for i in places]) for _, places in group]
            features = self._features(alike, [path for path, _ in group], states)
            for (path, places), found in zip(group, features, strict=True):
                for i, row in zip(places, path.from_features(found), strict=True):
                    out[i] = row

    def _features(self, alike: Any, paths: list[HeadPath], states: list[States]) -> list[np.ndarray]:
        """Pooled states [N_k, D] of each head's own texts after its own layers."""
        if len(paths) > 1:
            return self._side_by_side(alike, paths, states)
        (path,) = paths
        segment = path.trained or self.backbone.segment(path.cut, path.cut, states=True)
        return [self.backbone.pooled(segment, states[0], path.pooling)]

    def _side_by_side(self, alike: Any, paths: list[HeadPath], states: list[States]) -> list[np.ndarray]:
        """The same of heads that differ in their adapters alone: a batch holds rows of several of them."""
        if alike not in self._mixed:
            members = [path for path in self.paths if _alike(path) == alike]
            segments = [path.trained for path in members if path.trained is not None]
            self._mixed[alike] = (members, adapters.SideBySide(segments).eval())
        members, mixed = self._mixed[alike]
        order = [next(k for k, member in enumerate(members) if member is path) for path in paths]
        rows = [(number, i) for number, one in enumerate(states) for i in range(len(one))]
        lengths = np.concatenate([one.lengths for one in states])
        out = [np.empty((len(one), self.backbone.width), dtype=np.float32) for one in states]
        for chosen in batches(lengths, BATCH_TOKENS):
            here: dict[int, list[int]] = {}
            for row in sorted(int(c) for c in chosen):
                here.setdefault(rows[row][0], []).append(rows[row][1])
            given = [self._placed(states[n], some) for n, some in here.items()]
            found = mixed([order[n] for n in here], given)
            for (n, some), hidden, (_, mask) in zip(here.items(), found, given, strict=True):
                out[n][some] = pool(self.backbone.normed(hidden), mask, paths[n].pooling).cpu().numpy()
        return out

    def _placed(self, states: States, rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch on the backbone's device."""
        values, mask = states.batch(rows)
        return values.to(self.backbone.device), mask.to(self.backbone.device)


def _alike(path: HeadPath) -> Any:
    """What heads have in common whose adapters can run as one; None where a head's layers run by themselves."""
    trained = path.trained
    if trained is None or path.adapter is None or trained.soft is not None or not adapters.mixes(trained):
        return None
    return (path.cut, path.layer, tuple(sorted(adapters.tensors(trained))))


def _states(rows: Sequence[torch.Tensor]) -> States:
    """The states of some texts, given each one's."""
    starts = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    places = np.arange(len(rows))
    where = np.stack([np.zeros_like(places), places], axis=1)
    return States([(torch.cat(list(rows)), starts)], where)
