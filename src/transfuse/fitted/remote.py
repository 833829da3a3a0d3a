"""The paths of remote models: label words that are asked for, and answers. Saved with the prompt, never with a key."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.remote.conversation import Conversation
from transfuse.backbones.remote.model import RemoteModel, Settings, Tick, open_model
from transfuse.backbones.remote.purse import Purse
from transfuse.backbones.remote.requests import Request
from transfuse.backbones.remote.scoring import RemoteScorer
from transfuse.backbones.remote.writing import RemoteWriter
from transfuse.errors import ModelError
from transfuse.evaluation import as_answers
from transfuse.fitted.paths import Loader, log_softmax
from transfuse.fitted.recalled import LookupPath

KEPT = ("concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds", "samples", "thinking_tokens")
"""The settings that a manifest keeps."""


class Asked:
    """A remote model that is opened when it is first asked, with the key and the address of the environment.

    Args:
        reference: ``openai:MODEL`` or ``google:MODEL``.
        settings: how it is asked.
        model: one that is open already.
    """

    def __init__(self, reference: str, settings: Settings, model: RemoteModel | None = None) -> None:
        self.reference, self.settings, self._model = reference, settings, model
        self._purse: Purse | None = None

    @staticmethod
    def of(model: RemoteModel) -> Asked:
        """A model that is open."""
        return Asked(model.reference, model.settings, model)

    @property
    def model(self) -> RemoteModel:
        """The model, opened now if it was not yet."""
        if self._model is None:
            self._model = open_model(self.reference, self._purse, self.settings)
        return self._model

    def limit(self, purse: Purse) -> None:
        """Have a purse pay for all that is asked from now on."""
        self._purse, self._model = purse, None

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        return {"reference": self.reference, "settings": {name: getattr(self.settings, name) for name in KEPT}}

    @staticmethod
    def restore(fields: Mapping[str, Any]) -> Asked:
        """The inverse of `describe`."""
        return Asked(fields["reference"], Settings(**fields["settings"]))


def limit(path: Any, purse: Purse) -> bool:
    """Have a purse pay for all that a path, and all that it is made of, asks of services; whether it asks any."""
    asked = getattr(path, "asked", None)
    if isinstance(asked, Asked):
        asked.limit(purse)
        return True
    members = [limit(member, purse) for member in getattr(path, "members", ())]  # all of them, not only up to one
    return any(members)


class RemoteLabelsPath:
    """Predicts by asking a remote model which label word is the answer; see `RemoteScorer`.

    Args:
        asked: the model.
        conversation: how a text is shown.
        words: the label words, in the order of the task's labels.
        temperature: what log-probabilities are divided by.

    Attributes:
        tick: told of the share that is answered.
    """

    kind = "remote_labels"
    trainable_parameters = 0

    def __init__(
        self, asked: Asked, *, conversation: Conversation, words: Sequence[str], temperature: float = 1.0
    ) -> None:
        self.asked, self.conversation, self.words = asked, conversation, tuple(words)
        self.temperature = temperature
        self.tick: Tick = lambda share: None
        self._scorer: RemoteScorer | None = None

    @property
    def scorer(self) -> RemoteScorer:
        """Asks; made when it is first needed."""
        if self._scorer is None or self._scorer.model is not self.asked.model:
            self._scorer = RemoteScorer(self.asked.model, self.conversation, self.words)
        return self._scorer

    @property
    def tokens(self) -> np.ndarray:
        """Texts so far, tokens of their prompts, and tokens written."""
        return self.scorer.tokens

    def requests(self, texts: Sequence[str]) -> list[Request]:
        """What is asked for N texts, at worst."""
        return self.scorer.requests_at_worst(texts)

    def logits(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities of the label words, [N, C], before the temperature."""
        return self.scorer.score(texts, self.tick)

    def log_probabilities(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Log-probabilities [N, C] of N texts."""
        return log_softmax(self.logits(texts) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """The prompt, word by word."""
        return {
            "kind": self.kind,
            "asked": self.asked.describe(),
            "conversation": self.conversation.to_dict(),
            "words": list(self.words),
            "temperature": self.temperature,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    @staticmethod
    def restore(
        fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None
    ) -> RemoteLabelsPath:
        """From `describe`."""
        return RemoteLabelsPath(
            Asked.restore(fields["asked"]),
            conversation=Conversation.from_dict(fields["conversation"]),
            words=fields["words"],
            temperature=fields["temperature"],
        )


class RemoteWriterPath:
    """Answers requests by asking a remote model; see `RemoteWriter`.

    Args:
        asked: the model.
        conversation: how a request is shown.
        decoding: how long answers are, and how they are drawn.
        memory: known requests with their answers, of which the most similar ones are shown before each request.
        shots: so many of these.
        spread: how much they should differ, see `LookupPath.nearest`.

    Attributes:
        tick: told of the share that is answered.
    """

    kind = "remote_writer"
    trainable_parameters = 0

    def __init__(
        self,
        asked: Asked,
        *,
        conversation: Conversation,
        decoding: Decoding,
        memory: LookupPath | None = None,
        shots: int = 0,
        spread: float = 0.0,
    ) -> None:
        self.asked, self.conversation, self.decoding = asked, conversation, decoding
        self.memory, self.shots, self.spread = memory, shots, spread
        self.tick: Tick = lambda share: None
        self._writer: RemoteWriter | None = None

    @property
    def writer(self) -> RemoteWriter:
        """Asks; made when it is first needed."""
        if self._writer is None or self._writer.model is not self.asked.model:
            self._writer = RemoteWriter(self.asked.model, self.conversation, self.decoding)
        return self._writer

    @property
    def tokens(self) -> np.ndarray:
        """Answers so far, tokens of their prompts, and tokens written."""
        return self.writer.tokens

    def shown(self, texts: Sequence[str]) -> list[list[tuple[str, str]]] | None:
        """The examples before each of N requests, where they differ from request to request."""
        return None if self.memory is None else self.memory.nearest(texts, self.shots, self.spread)

    def requests(self, texts: Sequence[str]) -> list[Request]:
        """What is asked for N requests."""
        return self.writer.requests(texts, self.shown(texts))

    def answers(self, texts: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Answers to N requests, object [N]."""
        return as_answers(self.writer.write(texts, self.shown(texts), self.tick))

    def with_decoding(self, decoding: Decoding) -> RemoteWriterPath:
        """The same model, asked for answers of another length or drawn in another way.

        Raises:
            ModelError: a way of decoding that services do not offer.
        """
        if decoding.beams != 1 or decoding.top_p != 1 or "pattern" in (decoding.constraint or {}):
            raise ModelError(
                "beams, top_p or a pattern: services of remote models do not offer it",
                expected="temperature, max_new_tokens, stop, seed, or a constraint of choices or a schema",
                remedy="Leave it out.",
            )
        other = copy.copy(self)
        other.decoding, other._writer = decoding, None
        return other

    def describe(self) -> dict[str, Any]:
        """The prompt, word by word."""
        return {
            "kind": self.kind,
            "asked": self.asked.describe(),
            "conversation": self.conversation.to_dict(),
            "decoding": self.decoding.to_dict(),
            "memory": None if self.memory is None else self.memory.describe(),
            "shots": self.shots,
            "spread": self.spread,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    @staticmethod
    def restore(
        fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None
    ) -> RemoteWriterPath:
        """From `describe`."""
        return RemoteWriterPath(
            Asked.restore(fields["asked"]),
            conversation=Conversation.from_dict(fields["conversation"]),
            decoding=Decoding.from_dict(fields["decoding"]),
            memory=LookupPath.restore(fields["memory"], {}, None) if fields["memory"] else None,
            shots=fields["shots"],
            spread=fields["spread"],
        )
