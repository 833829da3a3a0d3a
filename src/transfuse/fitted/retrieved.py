"""The path of a prompt whose demonstrations are looked up for each text: the nearest labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.scoring import LabelScorer
from transfuse.backbones.tokens import fill, shortened
from transfuse.fitted.head import unit
from transfuse.fitted.paths import Loader, log_softmax

DEMONSTRATION_END = "\n\n"
"""Between one demonstration of a prompt and what follows."""


class RetrievedPath:
    """Predicts by the likelihood of label words after a prompt of the text's nearest rows, the nearest one last.

    Rows are compared by the cosine of (h(x) - m) W, with h the pooled states at ``layer``.

    Args:
        loader: gives the decoder.
        layer, pooling: where texts are read to be compared.
        template: how rows and queries are shown.
        words: the label words, in the order of the task's labels.
        limit: most tokens of a text, shown or asked.
        shots: demonstrations a prompt.
        texts: the M rows to choose from.
        labels: int [M], their labels.
        keys: float32 [M, K], (h - m) W of the rows at unit length.
        mean: float32 [D], m.
        metric: float32 [D, K], W.
        temperature: what scores are divided by.
    """

    kind = "retrieved"

    def __init__(
        self,
        loader: Loader,
        *,
        layer: int,
        pooling: str,
        template: str,
        words: Sequence[str],
        limit: int,
        shots: int,
        texts: Sequence[str],
        labels: np.ndarray,
        keys: np.ndarray,
        mean: np.ndarray,
        metric: np.ndarray,
        temperature: float = 1.0,
    ) -> None:
        self._loader = loader
        self._scorers: dict[str, LabelScorer] = {}
        self.layer, self.pooling, self.template, self.words = layer, pooling, template, tuple(words)
        self.limit, self.shots, self.temperature = limit, shots, temperature
        self.texts, self.labels = tuple(texts), np.asarray(labels, dtype=np.int64)
        self.keys, self.mean, self.metric = (np.asarray(x, dtype=np.float32) for x in (keys, mean, metric))

    @property
    def backbone(self) -> Backbone:
        """The decoder, loaded now if it was not yet."""
        return self._loader()

    @property
    def trainable_parameters(self) -> int:
        """Numbers of the metric."""
        return self.metric.size + self.mean.size

    def nearest(self, features: np.ndarray) -> np.ndarray:
        """The rows nearest to texts of these features [N, D], int64 [N, shots], the nearest one last."""
        asked = unit((features - self.mean) @ self.metric)
        order = np.argsort(-(asked @ self.keys.T), axis=1, kind="stable")[:, : self.shots]
        found: np.ndarray = order[:, ::-1]
        return found

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-likelihoods of the label words, [N, C]."""
        backbone = self.backbone
        segment = backbone.segment(0, self.layer, precision=precision)
        tokens = backbone.tokens(texts, None, self.limit)
        features = backbone.pooled(segment, backbone.begun(tokens, precision), self.pooling, precision)
        if precision not in self._scorers:
            self._scorers[precision] = LabelScorer(backbone, "", self.template, self.words, self.limit, precision)
        shown = [[self._shot(i) for i in rows] for rows in self.nearest(features)]
        return self._scorers[precision].score_after(shown, texts)

    def _shot(self, row: int) -> str:
        text = shortened(self.backbone.tokenizer, self.texts[row], self.limit)
        return fill(self.template, text) + f" {self.words[self.labels[row]]}{DEMONSTRATION_END}"

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts."""
        return log_softmax(self.logits(texts, precision) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """The rows to choose from, word by word, and how they are shown."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "pooling": self.pooling,
            "template": self.template,
            "words": list(self.words),
            "max_tokens": self.limit,
            "shots": self.shots,
            "texts": list(self.texts),
            "temperature": self.temperature,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """``labels`` [M], ``keys`` [M, K], ``mean`` [D], ``metric`` [D, K]."""
        return {name: torch.tensor(getattr(self, name)) for name in ("labels", "keys", "mean", "metric")}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> RetrievedPath:
        """From `describe` and `tensors`."""
        assert loader is not None
        labels, keys, mean, metric = (tensors[name].numpy() for name in ("labels", "keys", "mean", "metric"))
        return RetrievedPath(
            loader,
            layer=fields["layer"],
            pooling=fields["pooling"],
            template=fields["template"],
            words=fields["words"],
            limit=fields["max_tokens"],
            shots=fields["shots"],
            texts=fields["texts"],
            labels=labels,
            keys=keys,
            mean=mean,
            metric=metric,
            temperature=fields["temperature"],
        )
