"""The path of a prompt: demonstrations, the query in its template, the likelihood of each label word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.scoring import LabelScorer
from transfuse.fitted.paths import Loader, log_softmax

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Inputs without content, whose label probabilities show the prompt's own bias (Zhao et al. 2021, section 5)."""


class PromptPath:
    """Predicts by the likelihood of label words after a prompt, corrected for the prompt's own bias.

    score(y | x) = log p(word_y | x) - log p̄(word_y), where p̄ is the mean over content-free inputs (contextual
    calibration, Zhao et al. 2021, equation 2 with W = diag(p̄)⁻¹ and b = 0).

    Args:
        loader: gives the decoder.
        prefix: the demonstrations, as text.
        template: how a query is shown.
        words: the label words, in the order of the task's labels.
        limit: most tokens of a query.
        bias: float64 [C], log p̄; zeros where not calibrated; None computes it now.
        free: the texts that p̄ is the mean over, where it is computed: inputs without content, or texts of the task
            (batch calibration, Zhou et al. 2024, equation 3).
        temperature: what scores are divided by.
    """

    kind = "prompt"
    trainable_parameters = 0

    def __init__(
        self,
        loader: Loader,
        *,
        prefix: str,
        template: str,
        words: Sequence[str],
        limit: int,
        bias: np.ndarray | None,
        precision: str = "fp32",
        temperature: float = 1.0,
        free: Sequence[str] = CONTENT_FREE,
    ) -> None:
        self._loader = loader
        self._scorers: dict[str, LabelScorer] = {}
        self.prefix, self.template, self.words, self.limit = prefix, template, tuple(words), limit
        self.temperature = temperature
        if bias is None:
            shares = np.exp(log_softmax(self._scorer(precision).score(free)))
            bias = np.log(np.maximum(shares.mean(0), 1e-12))
        self.bias = np.asarray(bias, dtype=np.float64)

    @property
    def backbone(self) -> Backbone:
        """The decoder, loaded now if it was not yet."""
        return self._loader()

    def _scorer(self, precision: str) -> LabelScorer:
        if precision not in self._scorers:
            self._scorers[precision] = LabelScorer(
                self._loader(), self.prefix, self.template, self.words, self.limit, precision
            )
        return self._scorers[precision]

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-likelihoods of the label words less the prompt's own bias, [N, C]."""
        scores: np.ndarray = self._scorer(precision).score(texts) - self.bias
        return scores

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts."""
        return log_softmax(self.logits(texts, precision) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """The prompt, word by word."""
        return {
            "kind": self.kind,
            "prefix": self.prefix,
            "template": self.template,
            "words": list(self.words),
            "max_tokens": self.limit,
            "temperature": self.temperature,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """``bias`` [C]."""
        return {"bias": torch.tensor(self.bias)}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> PromptPath:
        """From `describe` and `tensors`."""
        assert loader is not None
        return PromptPath(
            loader,
            prefix=fields["prefix"],
            template=fields["template"],
            words=fields["words"],
            limit=fields["max_tokens"],
            bias=tensors["bias"].numpy(),
            temperature=fields["temperature"],
        )
