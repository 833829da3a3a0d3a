"""The path through a backbone: template → layers → pooling → scaling → linear head → temperature."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.int8 import INT8, Int8
from transfuse.backbones.tokens import States
from transfuse.fitted import difference
from transfuse.fitted.paths import Loader, log_softmax

_HEAD = ("mean", "scale", "weight", "bias")
FAR = 1e-9
"""Share of a class none of whose rows is near."""


@dataclasses.dataclass
class Head:
    """A linear head on standardised features: logits = ((x - mean) / scale) Wᵀ + b, with x / ‖x‖ for x if asked.

    Args:
        mean: float32 [D].
        scale: float32 [D], standard deviations, never 0.
        weight: float32 [C, D].
        bias: float32 [C].
        normalise: divide each feature vector by its length first.
        owner: float32 [M, C], the class of each of M rows that are remembered, ``weight`` being [M, D] then and
            ``bias`` [M]: a class's logit is log Σ exp over its own rows. None for a linear head.
        nearest: of these rows those with the largest products count alone; 0 for all.
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    normalise: bool = False
    owner: np.ndarray | None = None
    nearest: int = 0

    @staticmethod
    def empty(width: int, classes: int) -> Head:
        """A head that gives every class the logit 0."""
        return Head.plain(np.zeros((classes, width)), np.zeros(classes))

    @staticmethod
    def plain(weight: np.ndarray, bias: np.ndarray) -> Head:
        """A head [C, D] and [C] without scaling."""
        width = weight.shape[1]
        zeros, ones = np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32)
        return Head(zeros, ones, weight.astype(np.float32), bias.astype(np.float32))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float64 [N, C] from features [N, D]."""
        weight, bias = self.folded()
        features = np.asarray(features, dtype=np.float64)
        logits: np.ndarray = (unit(features) if self.normalise else features) @ weight.T + bias
        return logits if self.owner is None else by_class(logits, self.owner, self.nearest)

    def folded(self) -> tuple[np.ndarray, np.ndarray]:
        """The same head without the scaling: float64 weight [C, D] and bias [C]."""
        weight = self.weight.astype(np.float64) / self.scale
        return weight, self.bias.astype(np.float64) - weight @ self.mean


def by_class(rows: np.ndarray, owner: np.ndarray, nearest: int = 0) -> np.ndarray:
    """log Σ exp of rows' figures [N, M] over the rows of each class, float64 [N, C]; see `Head` for the others."""
    if 0 < nearest < rows.shape[1]:
        least = np.partition(rows, -nearest, axis=1)[:, [-nearest]]
        rows = np.where(rows >= least, rows, -np.inf)
    most = rows.max(axis=1, keepdims=True)
    shares = np.exp(rows - most) @ owner.astype(np.float64)
    found: np.ndarray = np.log(np.maximum(shares, FAR)) + most
    return found


def unit(features: np.ndarray) -> np.ndarray:
    """Each row [D] divided by its length."""
    long: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
    return long


class HeadPath:
    """Predicts with a backbone, whose upper layers may be replaced or adapted, and a linear head.

    Args:
        loader: gives the backbone when it is needed.
        layer: the layer that is read.
        pooling: how its tokens become one vector.
        template: how a text is shown, or None.
        limit: most tokens a text.
        head: the linear head.
        cut: the freezing point; layers up to it are the backbone's own.
        trained: layers ``cut`` to ``layer`` after training, or None where nothing but the head was fitted.
        adapter: the adapter's settings where ``trained`` holds adapted layers; None where the layers were trained.
        temperature: what logits are divided by.
    """

    kind = "head"

    def __init__(
        self,
        loader: Loader,
        *,
        layer: int,
        pooling: str,
        template: str | None,
        limit: int,
        head: Head,
        cut: int | None = None,
        trained: Segment | None = None,
        adapter: Mapping[str, Any] | None = None,
        temperature: float = 1.0,
    ) -> None:
        self._loader = loader
        self._whole: dict[str, Segment] = {}
        self.layer, self.pooling, self.template, self.limit = layer, pooling, template, limit
        self.head, self.temperature = head, temperature
        self.cut = layer if cut is None else cut
        self.trained, self.adapter = trained, adapter

    @property
    def backbone(self) -> Backbone:
        """The backbone, loaded now if it was not yet."""
        return self._loader()

    @property
    def trainable_parameters(self) -> int:
        """Numbers that differ from the backbone's, the head's included."""
        return difference.count(self.trained, self.adapter) + self.head.weight.size + self.head.bias.size

    def from_features(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities [N, C] from features [N, D] at ``layer`` and ``pooling``, where no layer was trained."""
        return log_softmax(self.head.logits(features) / self.temperature)

    def from_states(self, states: States, precision: str) -> np.ndarray:
        """Log-probabilities [N, C] from the frozen prefix's states at ``cut``."""
        assert self.trained is not None
        features = self.backbone.pooled(self.trained, states, self.pooling, precision)
        return log_softmax(self.head.logits(features) / self.temperature)

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """The head's logits [N, C] of N texts, by the whole path."""
        return self.head.logits(self.features(texts, precision))

    def features(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """What the head sees of N texts, float32 [N, D]: pooled states of the layer that is read."""
        tokens = self.backbone.tokens(texts, self.template, self.limit)
        segment = self._int8 if precision == INT8 else self.whole(precision)
        return self.backbone.pooled(segment, self.backbone.begun(tokens, precision), self.pooling, precision)

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts, by the whole path."""
        return log_softmax(self.logits(texts, precision) / self.temperature)

    @functools.cached_property
    def _int8(self) -> Int8:
        return Int8(self.whole())

    def whole(self, precision: str = "fp32") -> Segment:
        """All layers up to the one that is read, the trained ones in their places."""
        if precision not in self._whole:
            segment = self.backbone.segment(0, self.layer, precision=precision)
            if self.trained is not None:
                for i, layer in enumerate(self.trained.layers):
                    segment.layers[self.cut + i] = layer
                _share_embeddings(self.trained, segment)
            self._whole[precision] = segment
        return self._whole[precision]

    def describe(self) -> dict[str, Any]:
        """Everything but the numbers."""
        return {
            "kind": self.kind,
            "template": self.template,
            "max_tokens": self.limit,
            "pooling": self.pooling,
            **difference.described(self.cut, self.layer, self.trained, self.adapter),
            "normalise": self.head.normalise,
            "nearest": self.head.nearest,
            "temperature": self.temperature,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """``head.*`` [D] and [C, D], and the trained layers or adapters under ``difference.``."""
        named = {f"head.{name}": torch.tensor(getattr(self.head, name)) for name in _HEAD}
        if self.head.owner is not None:
            named["head.owner"] = torch.tensor(self.head.owner)
        return named | difference.tensors(self.trained, self.adapter)

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> HeadPath:
        """From `describe` and `tensors`; loads the backbone where layers were trained."""
        assert loader is not None
        mean, scale, weight, bias = (tensors[f"head.{name}"].numpy() for name in _HEAD)
        owner = tensors["head.owner"].numpy() if "head.owner" in tensors else None
        head = Head(mean, scale, weight, bias, fields["normalise"], owner, fields.get("nearest", 0))
        return HeadPath(
            loader,
            layer=fields["layer"],
            pooling=fields["pooling"],
            template=fields["template"],
            limit=fields["max_tokens"],
            head=head,
            cut=fields["cut"],
            trained=difference.restored(fields, tensors, loader()) if fields["difference"] else None,
            adapter=fields["adapter"],
            temperature=fields["temperature"],
        )


def _share_embeddings(source: Segment, target: Segment) -> None:
    """Where embeddings were trained too (the segment takes token ids), the whole path uses the trained ones."""
    if source.takes_states:
        return
    for name, module in source.model._modules.items():
        if module is not source.layers and name not in ("encoder", "transformer"):
            target.model._modules[name] = module
