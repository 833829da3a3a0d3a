"""The probabilities of label words by a remote model: from its log-probabilities, or from answers drawn repeatedly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.labels import label_of, shares, word_probabilities
from transfuse.backbones.remote.model import RemoteModel, Tick
from transfuse.backbones.remote.requests import Reply, Request

TOP = 20
"""Likeliest tokens that are asked for at each place."""
FORM_TOKENS = 24
"""Tokens of what stands around a word in an answer."""


class RemoteScorer:
    """Scores label words by asking which of them is the answer.

    Where the service offers log-probabilities, one answer at temperature 0 tells all words' (`word_probabilities`).
    Where it does not, answers are drawn at temperature 1 and counted (`shares`). Answers that are refused, or are none
    of the words, say nothing: without any other the words are equally probable.

    Args:
        model: is asked.
        conversation: how a text is shown.
        words: the C label words.

    Attributes:
        refused, unreadable: answers so far that were refused, and that were none of the words.
        tokens: texts so far, and tokens read and written for them, int64 [3].
    """

    def __init__(self, model: RemoteModel, conversation: Conversation, words: Sequence[str]) -> None:
        self.model, self.conversation, self.words = model, conversation, tuple(words)
        self.refused, self.unreadable = 0, 0
        self.tokens = np.zeros(3, dtype=np.int64)

    def requests(self, texts: Sequence[str]) -> list[Request]:
        """What is asked for N texts, as far as it is known what the service offers: one question each, or several."""
        if self._by_logprobs:
            return [self._request(text, 0.0, 0) for text in texts]
        drawn = range(self.model.settings.samples)
        return [self._request(text, 1.0, number) for text in texts for number in drawn]

    def requests_at_worst(self, texts: Sequence[str]) -> list[Request]:
        """The same, but several questions each, and the first one, where it is not known yet what is offered."""
        if not self._by_logprobs or "logprobs" in self.model.offered:
            return self.requests(texts)
        drawn = range(self.model.settings.samples)
        asked = [self._request(text, 1.0, number) for text in texts for number in drawn]
        return [*(self._request(text, 0.0, 0) for text in texts[:1]), *asked]

    def score(self, texts: Sequence[str], tick: Tick = lambda share: None) -> np.ndarray:
        """Log-probabilities of the words, float64 [N, C] of N texts.

        Raises:
            BackboneError: there is no answer, or the budget ends; see `RemoteModel.complete`.
        """
        self._learn(texts)
        replies = self.model.complete(self.requests(texts), tick)
        self._count(len(texts), replies)
        if self._by_logprobs:
            found = [self._of_tokens(reply) for reply in replies]
        else:
            each = self.model.settings.samples
            labels = [self._label(reply) for reply in replies]
            found = [shares(labels[i : i + each], len(self.words)) for i in range(0, len(labels), each)]
        scores: np.ndarray = np.log(np.array(found).reshape(len(texts), len(self.words)))
        return scores

    @property
    def _by_logprobs(self) -> bool:
        return "logprobs" not in self.model.unoffered

    def _learn(self, texts: Sequence[str]) -> None:
        """Find out by the first answer whether log-probabilities are offered."""
        for text in texts:
            if "logprobs" in self.model.offered or not self._by_logprobs:
                return
            (reply,) = self.model.complete([self._request(text, 0.0, 0)])
            if reply.finish != "refused":
                (self.model.offered if reply.tokens else self.model.unoffered).add("logprobs")

    def _request(self, text: str, temperature: float, sample: int) -> Request:
        longest = max(len(word.encode("utf-8", errors="replace")) for word in self.words)
        return Request(
            self.conversation.messages(text),
            FORM_TOKENS + longest + self.model.settings.thinking_tokens,
            temperature=temperature,
            sample=sample,
            seed=0 if temperature else None,
            choices=self.words,
            logprobs=0 if temperature else TOP,
        )

    def _of_tokens(self, reply: Reply) -> np.ndarray:
        label = self._label(reply)
        found = word_probabilities(reply.tokens, self.words) if label is not None and reply.tokens else None
        return shares([label], len(self.words)) if found is None else found

    def _label(self, reply: Reply) -> int | None:
        label = None if reply.finish == "refused" else label_of(reply.text, self.words)
        self.refused += reply.finish == "refused"
        self.unreadable += label is None and reply.finish != "refused"
        return label

    def _count(self, texts: int, replies: Sequence[Reply]) -> None:
        read, written = (sum(r.input_tokens or 0 for r in replies), sum(r.output_tokens or 0 for r in replies))
        self.tokens += np.array([texts, read, written], dtype=np.int64)
