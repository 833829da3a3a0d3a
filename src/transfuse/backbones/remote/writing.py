"""Answers in words by a remote model."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.backbones.decoding import Decoding, cut
from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.model import RemoteModel, Tick
from transfuse.backbones.remote.requests import Reply, Request

ANSWER = "answer"
"""The field of a reply that is one of several choices."""
MOST_STOPS = 4
"""Texts that end an answer of which services know; all are looked for again when it has come."""

Shots = Sequence[tuple[str, str]]


class RemoteWriter:
    """Writes answers by asking for them.

    Args:
        model: is asked.
        conversation: how a request is shown.
        decoding: length, temperature, stop texts and seed; ``constraint`` may hold ``choices`` or a ``schema``.

    Attributes:
        refused, cut: answers so far that were refused, which are empty, and that were cut at their longest.
        tokens: answers so far, and tokens read and written for them, int64 [3].
    """

    def __init__(self, model: RemoteModel, conversation: Conversation, decoding: Decoding) -> None:
        self.model, self.conversation, self.decoding = model, conversation, decoding
        self.refused, self.cut = 0, 0
        self.tokens = np.zeros(3, dtype=np.int64)

    def requests(self, texts: Sequence[str], shown: Sequence[Shots] | None = None) -> list[Request]:
        """What is asked for N texts, each behind its own examples where they are given."""
        form: Mapping[str, Any] = self.decoding.constraint or {}
        whole = Request(
            (),
            self.decoding.max_new_tokens + self.model.settings.thinking_tokens,
            temperature=self.decoding.temperature,
            seed=self.decoding.seed if self.decoding.temperature else None,
            choices=tuple(form["choices"]) if "choices" in form else None,
            schema=form.get("schema"),
            stop=self.decoding.stop[:MOST_STOPS],
        )
        return [
            dataclasses.replace(whole, messages=self.conversation.messages(text, shown[i] if shown else None))
            for i, text in enumerate(texts)
        ]

    def write(
        self, texts: Sequence[str], shown: Sequence[Shots] | None = None, tick: Tick = lambda share: None
    ) -> list[str]:
        """Answers to N texts; a refused one is empty.

        Raises:
            BackboneError: there is no answer, or the budget ends; see `RemoteModel.complete`.
        """
        replies = self.model.complete(self.requests(texts, shown), tick)
        self.refused += sum(reply.finish == "refused" for reply in replies)
        self.cut += sum(reply.finish == "length" for reply in replies)
        read, written = (sum(r.input_tokens or 0 for r in replies), sum(r.output_tokens or 0 for r in replies))
        self.tokens += np.array([len(texts), read, written], dtype=np.int64)
        return [self.said(reply) for reply in replies]

    def said(self, reply: Reply) -> str:
        """The answer in a reply: empty where it was refused; one of several choices comes as JSON with one field."""
        if reply.finish == "refused":
            return ""
        if "choices" in (self.decoding.constraint or {}):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                return str(json.loads(reply.text)[ANSWER])
        return cut(reply.text, self.decoding)
