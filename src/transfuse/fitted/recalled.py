"""Answers without a model: the request itself, or the answer to the most similar request that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.evaluation import as_answers
from transfuse.fitted.paths import Loader
from transfuse.fitted.text import vectorizer

CANDIDATES = 8
"""Known requests, for each that is wanted, among which those unlike each other are looked for."""


class CopyPath:
    """The request is its own answer: what a text untranslated is worth."""

    kind = "copy"
    trainable_parameters = 0

    def answers(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """The N texts, object [N]."""
        return as_answers(list(texts))

    def describe(self) -> dict[str, Any]:
        """The kind."""
        return {"kind": self.kind}

    def tensors(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> CopyPath:
        """From `describe`."""
        return CopyPath()


class LookupPath:
    """The answer to the known request whose words are most like those of the new one (TF-IDF, cosine).

    Args:
        texts: N known requests.
        known: their answers.
    """

    kind = "lookup"
    trainable_parameters = 0

    def __init__(self, texts: Sequence[str], known: Sequence[str]) -> None:
        self.texts, self.known = tuple(texts), tuple(known)
        self._vectorizer = vectorizer()
        try:
            self._rows = self._vectorizer.fit_transform(list(self.texts))
        except ValueError:  # scikit-learn: empty vocabulary
            self._rows = None

    def answers(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Answers to N requests, object [N]; the first known answer where no word is known."""
        if self._rows is None or not len(texts):
            return as_answers([self.known[0]] * len(texts))
        similar = self._vectorizer.transform(list(texts)) @ self._rows.T
        nearest = np.asarray(similar.argmax(axis=1)).ravel()
        return as_answers([self.known[i] for i in nearest])

    def nearest(self, texts: Sequence[str], count: int, spread: float = 0.0) -> list[list[tuple[str, str]]]:
        """The known requests that are most like each of N others, with their answers; the first that is chosen last.

        A known request that says the same as one before it is left out, so that those that are shown differ.

        Args:
            texts: N requests.
            count: so many of each; fewer where there are fewer.
            spread: what being unlike those already chosen counts, beside being like the request: maximal marginal
                relevance (Carbonell and Goldstein 1998) among the most similar `CANDIDATES` times ``count``.
        """
        if self._rows is None or not len(texts):
            return [[] for _ in texts]
        similar = np.asarray((self._vectorizer.transform(list(texts)) @ self._rows.T).todense())
        return [[(self.texts[i], self.known[i]) for i in self._chosen(row, count, spread)[::-1]] for row in similar]

    def _chosen(self, similar: np.ndarray, count: int, spread: float) -> list[int]:
        """Positions of known requests that differ, the best first."""
        differing: dict[str, int] = {}
        for i in np.argsort(-similar, kind="stable"):
            differing.setdefault(self.texts[i].casefold(), int(i))
            if len(differing) == (CANDIDATES * count if spread else count):
                break
        left = list(differing.values())
        chosen: list[int] = []
        if not spread:
            return left
        assert self._rows is not None
        among = np.asarray((self._rows[left] @ self._rows[left].T).todense())
        nearest = np.zeros(len(left))
        gain = (1 - spread) * similar[left]
        while len(chosen) < min(count, len(left)):
            scores = gain - spread * nearest
            scores[chosen] = -np.inf
            best = int(scores.argmax())
            chosen.append(best)
            nearest = np.maximum(nearest, among[best])
        return [left[i] for i in chosen]

    def describe(self) -> dict[str, Any]:
        """What is known."""
        return {"kind": self.kind, "texts": list(self.texts), "answers": list(self.known)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> LookupPath:
        """From `describe`."""
        return LookupPath(fields["texts"], fields["answers"])
