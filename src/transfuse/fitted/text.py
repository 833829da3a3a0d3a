"""Paths without a backbone: the majority class, and TF-IDF with a linear model, which is *no transfer*."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.fitted.paths import Loader, log_softmax

TOKENS = r"(?u)[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
"""A word is a run of word characters; Chinese and Japanese characters and Korean syllables stand alone, so that pairs
of them act as words."""


class Majority:
    """The share of each class in the training labels, whatever the text.

    Args:
        log_priors: float64 [C].
        temperature: what they are divided by.
    """

    kind = "majority"
    trainable_parameters = 0

    def __init__(self, log_priors: np.ndarray, temperature: float = 1.0) -> None:
        self.log_priors, self.temperature = np.asarray(log_priors, dtype=np.float64), temperature

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """The same row [C] for each of the N texts."""
        return np.tile(self.log_priors, (len(texts), 1))

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """The same row [C] for each of the N texts."""
        return log_softmax(self.logits(texts) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """The kind and the temperature."""
        return {"kind": self.kind, "temperature": self.temperature}

    def tensors(self) -> dict[str, torch.Tensor]:
        """``log_priors`` [C]."""
        return {"log_priors": torch.tensor(self.log_priors)}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> Majority:
        """From `describe` and `tensors`."""
        return Majority(tensors["log_priors"].numpy(), fields["temperature"])


class Tfidf:
    """TF-IDF of words and pairs of words, then logistic regression.

    Args:
        vocabulary: term -> column.
        idf: float64 [V].
        weight: float64 [C, V].
        bias: float64 [C].
        temperature: what logits are divided by.
    """

    kind = "tfidf"

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        idf: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        temperature: float = 1.0,
    ) -> None:
        self.temperature = temperature
        self.vocabulary, self.idf = dict(vocabulary), np.asarray(idf)
        self.weight, self.bias = np.asarray(weight), np.asarray(bias)
        self.trainable_parameters = self.weight.size + self.bias.size
        self._vectorizer = vectorizer(self.vocabulary)
        self._vectorizer.idf_ = self.idf

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """The regression's logits [N, C]."""
        logits: np.ndarray = self._vectorizer.transform(list(texts)) @ self.weight.T + self.bias
        return logits

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C]."""
        return log_softmax(self.logits(texts) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """The kind, the temperature, and the vocabulary in the order of its columns."""
        terms = sorted(self.vocabulary, key=self.vocabulary.__getitem__)
        return {"kind": self.kind, "temperature": self.temperature, "vocabulary": json.dumps(terms)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """``idf`` [V], ``weight`` [C, V], ``bias`` [C]."""
        return {name: torch.tensor(np.ascontiguousarray(getattr(self, name))) for name in ("idf", "weight", "bias")}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> Tfidf:
        """From `describe` and `tensors`."""
        vocabulary = {term: i for i, term in enumerate(json.loads(fields["vocabulary"]))}
        idf, weight, bias = (tensors[name].numpy() for name in ("idf", "weight", "bias"))
        return Tfidf(vocabulary, idf, weight, bias, fields["temperature"])


def vectorizer(vocabulary: Mapping[str, int] | None = None) -> Any:
    """The one TF-IDF of the project: sublinear counts of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKENS, vocabulary=vocabulary)
