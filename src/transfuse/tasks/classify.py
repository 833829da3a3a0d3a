"""Classification: one label of a fixed set for each text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.errors import DataError, nearest
from transfuse.evaluation import METRICS

MAX_TOKENS = 256
"""Tokens a text, template included, where the recipe says nothing."""


@dataclasses.dataclass(frozen=True)
class Classify:
    """A classification task.

    Args:
        labels: the C classes; their order is the order of all probabilities.
        template: how a text is shown to a decoder, with ``{text}`` once; None asks for the default (see `shown`).
        words: the word by which a prompt names a label; a label without one is named by itself.
        metric: what candidates are chosen by.
        max_tokens: longest input, in tokens of the backbone, template included.
        input, label: what the user calls the texts and the labels; the default template says it.
    """

    labels: tuple[str, ...]
    template: str | None = None
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)
    metric: str = "accuracy"
    max_tokens: int = MAX_TOKENS
    input: str = "text"
    label: str = "label"
    kind: str = "classify"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        unknown = [label for label in self.words if label not in self.labels]
        if unknown:
            raise DataError(
                f"task.words: '{unknown[0]}' is no label.{nearest(unknown[0], self.labels)}",
                expected=f"labels among {', '.join(self.labels[:10])}",
                remedy="Name each word under a label of the data.",
            )

    def word(self, label: str) -> str:
        """The word by which a prompt names a label: ``card_arrival`` becomes ``card arrival``."""
        return self.words.get(label) or label.replace("_", " ").replace("-", " ").strip()

    def shown(self) -> str:
        """The template for decoders: the recipe's own, else the names of the columns, as in ``Text: {text}\\nLabel:``.

        It does not list the answers: that made a small decoder's states worse (docs/log.md).
        """
        if self.template is not None:
            return self.template
        names = (name.replace("_", " ").strip().capitalize() for name in (self.input, self.label))
        return "{}: {{text}}\n{}:".format(*names)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that answers are measured by."""
        return tuple(METRICS)

    def measured(self, expected: np.ndarray) -> tuple[str, ...]:
        """Those of `metrics` that can be measured of what is expected: all."""
        return self.metrics

    def encode(self, examples: Examples | Sequence[str]) -> np.ndarray:
        """Labels, or those of examples, as int64 [N], positions in ``self.labels``.

        Raises:
            DataError: a label that the task does not have.
        """
        labels = (examples.labels or ()) if isinstance(examples, Examples) else examples
        position = {label: i for i, label in enumerate(self.labels)}
        try:
            return np.array([position[label] for label in labels], dtype=np.int64)
        except KeyError as error:
            name = str(error.args[0])
            raise DataError(
                f"label '{name}' is not one of the task's labels.{nearest(name, self.labels)}",
                expected=", ".join(self.labels[:20]),
                remedy="Correct the label, or add training rows that have it.",
            ) from error

    def judged(self, answers: np.ndarray) -> np.ndarray:
        """What metrics take: probabilities [..., C] of log-probabilities."""
        return np.asarray(np.exp(answers))

    def empty(self, *shape: int) -> np.ndarray:
        """Room for answers: log-probabilities of the C classes."""
        return np.empty((*shape, len(self.labels)))

    def columns(self, answers: np.ndarray) -> dict[str, Any]:
        """Log-probabilities [M, C] as columns of a table, one a class."""
        return {f"log_p {label}": answers[:, i] for i, label in enumerate(self.labels)}

    def from_columns(self, columns: Mapping[str, Any]) -> np.ndarray:
        """The inverse of `columns`, float64 [M, C]."""
        return np.stack([np.asarray(columns[f"log_p {label}"]) for label in self.labels], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """For manifest.json and report.json."""
        return {**dataclasses.asdict(self), "labels": list(self.labels), "words": dict(self.words)}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Classify:
        """The inverse of `to_dict`; keys that other parts of the program add are left alone."""
        names = {f.name for f in dataclasses.fields(Classify)}
        return Classify(**{k: v for k, v in fields.items() if k in names})
