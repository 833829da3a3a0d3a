"""The path of a prediction: one class a kind, found by its name in a manifest.

A path turns texts into log-probabilities, or requests into answers. It names itself (`describe`, JSON), gives its
numbers (`tensors`), and is built again from both. A path that reads a backbone gets it through `Loader`, and only when
it is first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone

Loader = Callable[[], Backbone]

PATHS = {
    "majority": "transfuse.fitted.text:Majority",
    "tfidf": "transfuse.fitted.text:Tfidf",
    "ensemble": "transfuse.fitted.ensemble:EnsemblePath",
    "head": "transfuse.fitted.head:HeadPath",
    "prompt": "transfuse.fitted.prompted:PromptPath",
    "retrieved": "transfuse.fitted.retrieved:RetrievedPath",
    "copy": "transfuse.fitted.recalled:CopyPath",
    "lookup": "transfuse.fitted.recalled:LookupPath",
    "span": "transfuse.fitted.spans:SpanPath",
    "writer": "transfuse.fitted.writer:WriterPath",
    "remote_labels": "transfuse.fitted.remote:RemoteLabelsPath",
    "remote_writer": "transfuse.fitted.remote:RemoteWriterPath",
}
"""Kind of path -> where its class is."""


class AnyPath(Protocol):
    """What every path offers."""

    kind: str

    @property
    def trainable_parameters(self) -> int:
        """Numbers that were fitted."""
        ...

    def describe(self) -> dict[str, Any]:
        """Everything but the numbers, as JSON."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """The difference from the backbone, by name."""
        ...


class WrittenPath(AnyPath, Protocol):
    """What a path that writes offers beside."""

    def answers(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Answers to N requests, object [N]."""
        ...


class Path(AnyPath, Protocol):
    """What a path to labels offers beside."""

    temperature: float

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """What the classes score before the temperature, float64 [N, C] of N texts."""
        ...

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Logits by the temperature, normalised over the classes: float64 [N, C] of N texts."""
        ...


def build(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> Path | WrittenPath:
    """The path that `describe` and `tensors` came from."""
    module, _, name = PATHS[fields["kind"]].partition(":")
    path: Path | WrittenPath = getattr(importlib.import_module(module), name).restore(fields, tensors, loader)
    return path


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise, float64 [N, C]."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(1, keepdims=True)
    normal: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normal


def energy(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """T log Σ_c exp(logit_c / T), the negative energy, float64 [N]: low where no class fits a text.

    Args:
        logits: float [N, C].
        temperature: T, above 0.

    Reduces to: the largest logit as T falls to 0.
    Reference: Liu, Wang, Owens and Li 2020.

    Example:
        >>> energy(np.array([[4.0, 0.0], [0.1, 0.0]])).round(2).tolist()
        [4.02, 0.74]
    """
    from scipy.special import logsumexp

    return np.asarray(temperature * logsumexp(np.asarray(logits, dtype=np.float64) / temperature, axis=1))
