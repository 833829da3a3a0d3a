"""Tasks whose answer is text: what they have in common, and what each kind adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from transfuse.data.examples import Examples
from transfuse.errors import DataError
from transfuse.evaluation import as_answers, as_expected

MAX_TOKENS, MAX_NEW_TOKENS = 256, 128
"""Tokens of a request and of an answer, where the recipe says nothing."""


class Kind(NamedTuple):
    """What a kind of task is by default.

    Args:
        template: how a request is shown where a model has no chat template, or the kind wants none.
        chat: whether a model's own chat template is used where it has one.
        metrics: what its answers are measured by; the first one decides.
        no_transfer: the method that uses the target's rows alone.
    """

    template: str
    chat: bool
    metrics: tuple[str, ...]
    no_transfer: str


SURFACE = ("placeholders", "numbers", "distinct_2", "repetition")
KINDS: Mapping[str, Kind] = {
    "generate": Kind("Request: {text}\nReply:", True, ("chrf", "bleu", "rouge_1", "rouge_2", "rouge_l"), "lookup"),
    "translate": Kind("{source}: {text}\n{target}:", False, ("chrf", "bleu", "bleu_zh", "ter"), "copy"),
    "code": Kind("{text}", False, ("pass_1", "chrf"), "lookup"),
    "answer": Kind("{text}\nAnswer:", False, ("f1", "exact_match", "chrf"), "lookup"),
}


@dataclasses.dataclass(frozen=True)
class Writing:
    """A task whose answer is text.

    Args:
        kind: ``generate`` (a request to a reply), ``translate`` (a text into another language), ``answer`` (a
            question about a passage) or ``code`` (the beginning of a program to its end, which tests judge).
        template: how a request is shown, with ``{text}`` once; None for the kind's own, or the model's chat template.
        metric: what candidates are chosen by; empty for the kind's first.
        max_tokens: longest request, in tokens of the backbone.
        max_new_tokens: longest answer.
        languages: of a translation, by their names: from, to.
        stop: where one of these stands, an answer ends.
        input, label: what the user calls the columns of requests and answers.
        runs: whether there are tests of programs, and they may be run; without it programs are compared with the
            known ones.
    """

    kind: str
    template: str | None = None
    metric: str = ""
    max_tokens: int = MAX_TOKENS
    max_new_tokens: int = MAX_NEW_TOKENS
    languages: tuple[str, str] = ("Source", "Translation")
    stop: tuple[str, ...] = ()
    input: str = "text"
    label: str = "answer"
    runs: bool = False

    labels = ()
    """There are no classes."""

    def __post_init__(self) -> None:
        for name in ("languages", "stop"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "metric", self.metric or self._known[0])

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that answers are measured by, the deciding one first."""
        return tuple(dict.fromkeys((self.metric, *self._known, *(SURFACE if self.kind != "code" else ()))))

    def measured(self, expected: np.ndarray) -> tuple[str, ...]:
        """Those of `metrics` that can be measured of what is expected, object [N]: `pass_1` needs tests."""
        tested = all(one.check for one in expected)
        return tuple(name for name in self.metrics if tested or name != "pass_1")

    @property
    def _known(self) -> tuple[str, ...]:
        return tuple(name for name in KINDS[self.kind].metrics if self.runs or name != "pass_1")

    def shown(self) -> str:
        """The template with ``{text}`` once, where a model's chat template is not used."""
        if self.template is not None:
            return self.template
        source, target = self.languages
        return KINDS[self.kind].template.replace("{source}", source).replace("{target}", target)

    @property
    def chats(self) -> bool:
        """Whether a model's own chat template is used where it has one."""
        return self.template is None and KINDS[self.kind].chat

    def encode(self, examples: Examples) -> np.ndarray:
        """What is expected of the answers to some examples, object [N].

        Raises:
            DataError: there are no answers, or no tests although they decide.
        """
        if examples.labels is None:
            raise DataError(f"{examples.origin}: no answers", expected=f"a column '{self.label}'")
        if examples.checks is None and self.metric == "pass_1":
            raise DataError(
                f"{examples.origin}: no tests",
                expected="a program that tests each answer, since 'pass_1' decides",
                remedy="Fit the model again by a recipe that names their column: task: {tests: COLUMN}.",
            )
        further = examples.further or ((),) * len(examples)
        accepted = [(answer, *more) for answer, more in zip(examples.labels, further, strict=True)]
        return as_expected(examples.texts, accepted, examples.checks)

    def judged(self, answers: np.ndarray) -> np.ndarray:
        """What metrics take: the answers themselves."""
        return answers

    def empty(self, *shape: int) -> np.ndarray:
        """Room for answers."""
        return np.full(shape, "", dtype=object)

    def columns(self, answers: np.ndarray) -> dict[str, Any]:
        """Answers [M] as a column of a table."""
        return {"answer": list(answers)}

    def from_columns(self, columns: Mapping[str, Any]) -> np.ndarray:
        """The inverse of `columns`, object [M]."""
        return as_answers([str(answer) for answer in columns["answer"]])

    def to_dict(self) -> dict[str, Any]:
        """For manifest.json and report.json."""
        return {**dataclasses.asdict(self), "languages": list(self.languages), "stop": list(self.stop), "labels": []}

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Writing:
        """The inverse of `to_dict`; keys that other parts of the program add are left alone."""
        names = {f.name for f in dataclasses.fields(Writing)}
        return Writing(**{k: v for k, v in fields.items() if k in names})
