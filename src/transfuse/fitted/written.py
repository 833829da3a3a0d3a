"""A fitted model whose answers are text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.errors import ModelError
from transfuse.fitted import trial
from transfuse.fitted.base import Fitted
from transfuse.fitted.parts import parts, refuse_what_is_no_text
from transfuse.fitted.paths import WrittenPath
from transfuse.fitted.remote import RemoteWriterPath
from transfuse.fitted.trial import Trial
from transfuse.fitted.writer import WriterPath
from transfuse.tasks.writing import Writing

PRECISIONS = ("fp32", "bf16")


class FittedWriter(Fitted[Writing, WrittenPath]):
    """What a method returns for a task that writes: it answers, saves, loads, and makes a bundle.

    See `Fitted` for the arguments and attributes.
    """

    labels: tuple[str, ...] = ()

    def predict(
        self,
        texts: Sequence[str],
        *,
        precision: str = "fp32",
        beams: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        max_new_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        constraint: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> list[str]:
        """The answer to each text.

        Args:
            texts: N requests.
            precision: ``fp32`` or ``bf16``.
            beams, temperature, top_p, max_new_tokens, stop, constraint, seed: of the decoding, where they shall differ
                from those that the model was judged with; see `Decoding`.

        Returns:
            N answers.

        Raises:
            ModelError: an item is no string, an unknown precision, or settings of decoding for a model without a
                decoder.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"precision '{precision}'", expected=f"{' or '.join(PRECISIONS)} for {self.method}")
        refuse_what_is_no_text(texts)
        asked = {
            "beams": beams,
            "temperature": temperature,
            "top_p": top_p,
            "max_new_tokens": max_new_tokens,
            "stop": None if stop is None else tuple(stop),
            "constraint": constraint,
            "seed": seed,
        }
        path = self._decoding({name: value for name, value in asked.items() if value is not None})
        found, first = [], 0
        for part in parts(texts):
            counted = {"first": first} if isinstance(path, WriterPath) else {}
            found.append(path.answers(part, precision, **counted))
            first += len(part)
        return [str(answer) for answer in np.concatenate(found)] if found else []

    def stream(self, text: str, *, precision: str = "fp32") -> Iterator[str]:
        """The answer that `predict` gives to one text, piece by piece as it is written; by beams in one piece.

        Raises:
            ModelError: no text, an unknown precision, or a model without a decoder.
        """
        if precision not in PRECISIONS or not isinstance(self.path, WriterPath):
            raise ModelError(
                f"stream in '{precision}' with method '{self.method}'",
                expected=f"{' or '.join(PRECISIONS)}, and a model with a decoder",
            )
        refuse_what_is_no_text([text])
        yield from self.path.stream(text, precision)

    def fastest(self, texts: Sequence[str]) -> Trial:
        """The precision in which this machine answers fastest, tried on some real texts: see `Trial`.

        Cost: three times the answers in each precision.
        """
        refuse_what_is_no_text(texts)
        return trial.fastest(trial.trials(self.path, texts))

    def _decoding(self, changed: dict[str, object]) -> WrittenPath:
        """The path with another way of decoding."""
        if not changed:
            return self.path
        if not isinstance(self.path, WriterPath | RemoteWriterPath):
            raise ModelError(
                f"{', '.join(changed)}: a model of method '{self.method}' has no decoder",
                expected="no settings of decoding",
                remedy="Leave them out.",
            )
        return self.path.with_decoding(dataclasses.replace(self.path.decoding, **changed))  # type: ignore[arg-type]

    def bundle(self, folder: str | Path) -> Path:
        """Write a folder that plain transformers loads, with predict.py that shows how.

        Raises:
            ModelError: the model has no backbone.
            OutputError: the place cannot be written.
        """
        from transfuse.fitted.bundle import write

        return write(self, Path(folder))
