"""What is asked of a remote model, and what comes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

MESSAGE_TOKENS, REQUEST_TOKENS = 16, 64
"""Tokens that services add around a message and around a request, more than any of them does."""
BYTES_A_TOKEN = 4
"""Bytes of usual text in a token; a bound that no tokenizer exceeds is one byte."""


class Message(NamedTuple):
    """One turn of a conversation.

    Args:
        role: ``system``, ``user`` or ``assistant``.
        text: what was said.
    """

    role: str
    text: str


class Token(NamedTuple):
    """A token of an answer.

    Args:
        text: as it stands in the answer.
        logprob: its log-probability.
        top: the likeliest tokens at its place with theirs, itself among them where it is one of them.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Request:
    """One question.

    Args:
        messages: the conversation, the last turn the user's.
        max_tokens: longest answer, thoughts included.
        temperature: of sampling; 0 takes the likeliest token.
        sample: tells repeated questions apart: the same question with another number is asked, and paid, again.
        seed: of sampling, where the service takes one; the sample's number is added to it.
        choices: texts of which the answer must be one, or None.
        schema: a JSON schema that the answer must follow, or None; not beside ``choices``.
        stop: texts before which an answer ends.
        logprobs: so many of the likeliest tokens at each place are wanted with their log-probabilities; 0 for none.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    sample: int = 0
    seed: int | None = None
    choices: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    logprobs: int = 0

    def key(self, service: str, model: str) -> str:
        """SHA-256 of all that decides the answer; equal for questions of which one answer serves all."""
        plain = json.dumps([service, model, dataclasses.asdict(self)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(plain.encode("utf-8", errors="surrogatepass")).hexdigest()

    @property
    def bytes(self) -> int:
        """Bytes of all that is sent as text."""
        form = json.dumps([self.choices, self.schema], ensure_ascii=False) if self.choices or self.schema else ""
        texts = (*(message.text for message in self.messages), form)
        return sum(len(text.encode("utf-8", errors="surrogatepass")) for text in texts)

    @property
    def most_input_tokens(self) -> int:
        """More tokens than any tokenizer makes of the question: one a byte, and what services add."""
        return self.bytes + MESSAGE_TOKENS * len(self.messages) + REQUEST_TOKENS

    @property
    def likely_input_tokens(self) -> int:
        """Tokens of the question, if its text is as usual."""
        return self.bytes // BYTES_A_TOKEN + 4 * len(self.messages) + 1


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer.

    Args:
        text: the answer, or what was said in its place.
        finish: ``stop``; ``length``, cut at the longest answer; or ``refused``.
        input_tokens, output_tokens: as the service counts them, thoughts included; None where it does not say.
        tokens: of the answer with their log-probabilities; None where they are not offered.
        picodollars: what it cost, in 10⁻¹² US dollars; 0 where no price is known.
        cached: whether it was paid before.
    """

    text: str
    finish: str
    input_tokens: int | None
    output_tokens: int | None
    tokens: tuple[Token, ...] | None = None
    picodollars: int = 0
    cached: bool = False

    def to_json(self) -> str:
        """For the cache."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "cached"}
        return json.dumps(fields, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Reply:
        """The inverse of `to_json`, marked as cached."""
        fields = json.loads(text)
        tokens = fields.pop("tokens")
        if tokens is not None:
            tokens = tuple(Token(t, p, tuple((a, b) for a, b in top)) for t, p, top in tokens)
        return Reply(**fields, tokens=tokens, cached=True)
