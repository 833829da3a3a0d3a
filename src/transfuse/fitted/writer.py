"""The path of an answer: a request in its form, a decoder whose upper layers may be others, decoding."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.decoding import Decoding, Written
from transfuse.backbones.form import Form
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.writing import Writer
from transfuse.evaluation import as_answers
from transfuse.fitted import difference
from transfuse.fitted.paths import Loader
from transfuse.fitted.recalled import LookupPath


class WriterPath:
    """Answers with a decoder.

    Args:
        loader: gives the decoder when it is needed.
        form: how requests are shown.
        decoding: how answers are searched for.
        limit: most tokens of a request.
        cut: the freezing point, where layers were trained.
        trained: layers ``cut`` to the last after training, or None.
        adapter: the adapter's settings where ``trained`` holds adapted layers.
        memory: known requests and answers, of which the most similar ones are shown before each request; None shows
            what the form says.
        shots: so many of these.
        spread: how much they should differ, see `LookupPath.nearest`.
        chat_template: hash of the chat template that shows requests, see `template_hash`; empty where none does.

    Attributes:
        looped: how many answers so far were stopped because they went in circles.
        tokens: answers so far, tokens of their prompts, and tokens written.
        lean: whether adapters stay beside the backbone's own weights, see `Writer`; to be set before the first answer.
    """

    kind = "writer"

    def __init__(
        self,
        loader: Loader,
        *,
        form: Form,
        decoding: Decoding,
        limit: int,
        cut: int = 0,
        trained: Segment | None = None,
        adapter: Mapping[str, Any] | None = None,
        memory: LookupPath | None = None,
        shots: int = 0,
        spread: float = 0.0,
        chat_template: str = "",
    ) -> None:
        self._loader = loader
        self._writers: dict[str, Writer] = {}
        self.form, self.decoding, self.limit = form, decoding, limit
        self.cut, self.trained, self.adapter = cut, trained, adapter
        self.memory, self.shots, self.spread = memory, shots, spread
        self.chat_template = chat_template
        self.looped = 0
        self.tokens = np.zeros(3, dtype=np.int64)
        self.lean = False

    @property
    def backbone(self) -> Backbone:
        """The decoder, loaded now if it was not yet."""
        return self._loader()

    @property
    def trainable_parameters(self) -> int:
        """Numbers that differ from the backbone's."""
        return difference.count(self.trained, self.adapter)

    def write(self, texts: Sequence[str], precision: str = "fp32", first: int = 0) -> Written:
        """Answers to N requests, with what is known of how they came about; ``first`` as of `Writer.write`."""
        return self.writer(precision).write(texts, self.decoding, self._shown(texts), first=first)

    def stream(self, text: str, precision: str = "fp32") -> Iterator[str]:
        """The answer to one request in pieces, see `Writer.stream`."""
        yield from self.writer(precision).stream(text, self.decoding, self._shown([text]))

    def bits(self, texts: Sequence[str], answers: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Bits by which N known answers are foretold, and their bytes, float64 [N, 2]."""
        return self.writer(precision).bits(texts, answers, self._shown(texts))

    def sureness(self, texts: Sequence[str], answers: Sequence[str], precision: str = "fp32") -> np.ndarray:
        """Mean log-likelihood of a token of N answers, float64 [N]: how sure the decoder is of what it wrote."""
        return self.writer(precision).sureness(texts, answers, self._shown(texts))

    def _shown(self, texts: Sequence[str]) -> list[list[tuple[str, str]]] | None:
        """The demonstrations of each request's own, where it has some."""
        return None if self.memory is None else self.memory.nearest(texts, self.shots, self.spread)

    def writer(self, precision: str) -> Writer:
        """The decoder with its trained layers, ready to write."""
        if precision not in self._writers:
            lean = self.lean and self.adapter is not None
            layers = (self.trained, self.cut)
            self._writers[precision] = Writer(self.backbone, self.form, self.limit, precision, *layers, lean)
        return self._writers[precision]

    def with_decoding(self, decoding: Decoding) -> WriterPath:
        """The same decoder, searching in another way."""
        other = copy.copy(self)
        other.decoding, other.tokens = decoding, self.tokens.copy()
        return other

    def with_form(self, form: Form) -> WriterPath:
        """The same decoder, shown requests in another form."""
        other = copy.copy(self)
        other.form, other._writers = form, {}
        return other

    def answers(self, texts: Sequence[str], precision: str = "fp32", first: int = 0) -> np.ndarray:
        """Answers to N requests, object [N]; ``first`` as of `Writer.write`."""
        written = self.write(texts, precision, first)
        self.looped += int(written.looped.sum())
        self.tokens += np.array([len(texts), written.read.sum(), written.tokens.sum()], dtype=np.int64)
        return as_answers(written.texts)

    def describe(self) -> dict[str, Any]:
        """Everything but the numbers."""
        return {
            "kind": self.kind,
            "form": self.form.to_dict(),
            "decoding": self.decoding.to_dict(),
            "max_tokens": self.limit,
            "memory": None if self.memory is None else self.memory.describe(),
            "shots": self.shots,
            "spread": self.spread,
            **({"chat_template": self.chat_template} if self.chat_template else {}),
            **difference.described(self.cut, self.cut + self._layers, self.trained, self.adapter),
        }

    @property
    def _layers(self) -> int:
        return 0 if self.trained is None else len(self.trained.layers)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The trained layers or adapters under ``difference.``."""
        return difference.tensors(self.trained, self.adapter)

    @staticmethod
    def restore(fields: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], loader: Loader | None) -> WriterPath:
        """From `describe` and `tensors`; loads the backbone where layers were trained."""
        assert loader is not None
        return WriterPath(
            loader,
            form=Form(**fields["form"]),
            decoding=Decoding.from_dict(fields["decoding"]),
            limit=fields["max_tokens"],
            cut=fields["cut"],
            trained=difference.restored(fields, tensors, loader()) if fields["difference"] else None,
            adapter=fields["adapter"],
            memory=LookupPath.restore(fields["memory"], {}, None) if fields["memory"] else None,
            shots=fields["shots"],
            spread=fields.get("spread", 0.0),
            chat_template=fields.get("chat_template", ""),
        )
