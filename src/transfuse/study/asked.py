"""The task of a recipe: its columns, its labels, its metric, and which keys which kind has."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from transfuse.data.fields import (
    Column,
    Count,
    EncoderReference,
    Section,
    Switch,
    wrong,
)
from transfuse.data.problems import shown
from transfuse.errors import nearest
from transfuse.evaluation import TEXT_METRICS
from transfuse.tasks.writing import KINDS, SURFACE


class _Foreign:
    """Stands in for a value whose key belongs to another kind of task."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


Languages = Annotated[tuple[Column, Column], Field()]
LANGUAGES = "the two languages by name, from and to: [English, Chinese]"


class TaskOverrides(Section):
    """Where a source's task differs from the target's: each key given here replaces the target's, null clears it."""

    input: Column | None = Field(None, description="the column of texts")
    label: Column = Field("", description="the column of labels")
    bins: dict[str, str] | None = Field(
        None, min_length=2, description='two labels or more, each with a range: {negative: "< -0.5", positive: "> 0.5"}'
    )
    weight: Column | None = Field(None, description="the column of weights, numbers from 0")
    output: Column | None = Field(None, description="the column of answers, of a task that writes")
    context: Column | None = Field(None, description="the column of passages, of questions")
    languages: Languages | None = Field(None, description=LANGUAGES)

    @model_serializer
    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


OWN_KEYS = {
    "label": ("classify",),
    "bins": ("classify",),
    "labels": ("classify",),
    "words": ("classify",),
    "output": tuple(KINDS),
    "context": ("answer",),
    "languages": ("translate",),
    "tests": ("code",),
    "entry": ("code",),
    "run_code": ("code",),
    "samples": ("code",),
    "max_new_tokens": tuple(KINDS),
    "similarity": tuple(KINDS),
    "stop": tuple(KINDS),
}
"""The keys of a task that some kinds alone have."""

LABEL_METRICS = ("accuracy", "macro_f1", "macro_precision", "macro_recall", "mcc")
DECIDING = tuple(name for name, (_, greater) in TEXT_METRICS.items() if greater and name not in SURFACE)
"""Metrics that may decide where the answer is a label, and where it is text; of all of them more is better."""


class Task(Section):
    """What is asked: the columns, the labels, and the metric that decides."""

    kind: Literal["classify", "generate", "translate", "answer", "code"] = Field(
        description="the kind of task: classify, generate, translate, answer or code"
    )
    input: Column | None = Field(None, description="the column of texts")
    label: str = Field("", validate_default=True, description="the column of labels")
    bins: dict[str, str] | None = Field(
        None, min_length=2, description='two labels or more, each with a range: {negative: "< -0.5", positive: "> 0.5"}'
    )
    weight: Column | None = Field(None, description="the column of weights, numbers from 0")
    labels: tuple[Column, ...] | None = Field(
        None, min_length=2, description="all labels, those without an example too: [refund, delivery, complaint]"
    )
    template: str | None = Field(None, description="a prompt with {text} where the text goes")
    words: dict[str, Column] | None = Field(
        None, min_length=1, description="the word that stands for a label in a prompt: {neg: bad, pos: good}"
    )
    output: Column | None = Field(None, description="the column of answers")
    context: Column | None = Field(None, description="the column of passages that questions are about")
    languages: Languages | None = Field(None, description=LANGUAGES)
    tests: Column | None = Field(None, description="the column of programs that test an answer")
    entry: Column | None = Field(None, description="the column of the names of the functions that are tested")
    run_code: Switch | None = Field(None, description="true or false")
    samples: Count | None = Field(None, description="programs drawn for each test row, a whole number of at least 1")
    stop: tuple[Column, ...] | None = Field(None, description='texts at which an answer ends: ["\\n\\n"]')
    max_new_tokens: Count | None = Field(None, description="tokens of the longest answer, a whole number of at least 1")
    similarity: EncoderReference | None = Field(
        None, description="an encoder that measures how near answers are in meaning: catalog:minilm-l6"
    )
    metric: str = Field("", description="the metric that decides, such as accuracy, chrf or f1")
    max_tokens: Count | None = Field(None, description="tokens kept of a text, a whole number of at least 1")

    @model_validator(mode="before")
    @classmethod
    def _own_keys(cls, task: Any) -> Any:
        """A key of another kind becomes a mark, which its own validator refuses by name; each kind has its metric."""
        kind = task.get("kind") if isinstance(task, Mapping) else None
        if kind not in ("classify", *KINDS):
            return task
        runs = kind != "code" or task.get("run_code")
        usual = "accuracy" if kind == "classify" else KINDS[str(kind)].metrics[0 if runs else 1]
        task = {**task, "metric": usual if task.get("metric") is None else task["metric"]}
        foreign = [key for key, kinds in OWN_KEYS.items() if kind not in kinds and task.get(key) not in (None, "")]
        return {**task, **{key: _Foreign(str(kind)) for key in foreign}}

    @field_validator(*OWN_KEYS, mode="before")
    @classmethod
    def _not_foreign(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, _Foreign):
            kinds = ", ".join(OWN_KEYS[str(info.field_name)])
            raise wrong(f"belongs to tasks of kind {kinds}, and this one is '{value.kind}'. Leave it out.")
        return value

    @field_validator("label")
    @classmethod
    def _labels_column(cls, label: str, info: ValidationInfo) -> str:
        if not label and info.data.get("kind") == "classify":
            raise wrong("missing. Expected: the column of labels.")
        return label

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: str, info: ValidationInfo) -> str:
        known = DECIDING if info.data.get("kind") in KINDS else LABEL_METRICS
        if metric not in known:
            raise wrong(f"found {shown(metric)}.{nearest(metric, list(known))} Expected: {', '.join(known)}.")
        if metric == "pass_1" and not (info.data.get("run_code") and info.data.get("tests")):
            raise wrong("'pass_1' runs programs. Expected beside it: tests: COLUMN, and run_code: true.")
        return metric

    @field_validator("samples")
    @classmethod
    def _run(cls, samples: int | None, info: ValidationInfo) -> int | None:
        if samples is not None and not (info.data.get("run_code") and info.data.get("tests")):
            raise wrong("programs that are drawn are run. Expected beside it: tests: COLUMN, and run_code: true.")
        return samples

    @property
    def tested(self) -> bool:
        """Whether answers are programs that are run to test them: there are tests, and they may run."""
        return bool(self.run_code and self.tests)

    @field_validator("template")
    @classmethod
    def _one_text(cls, template: str | None) -> str | None:
        if template is None:
            return None
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        except ValueError:
            fields = []
        if fields != ["text"]:
            raise wrong(
                f"found {shown(template)}. Expected: a prompt with {{text}} once, where the text goes, "
                "and every other brace doubled."
            )
        return template

    @field_validator("words")
    @classmethod
    def _of_known_labels(cls, words: dict[str, str] | None, info: ValidationInfo) -> dict[str, str] | None:
        bins = info.data.get("bins")
        foreign = sorted(set(words or ()) - set(bins)) if bins else []
        if foreign:
            raise wrong(
                f"a word for the label '{foreign[0]}', which no bin has.{nearest(foreign[0], list(bins or ()))} "
                f"Labels: {', '.join(bins or ())}."
            )
        if words and len(set(words.values())) < len(words):
            raise wrong("one word for two labels. Expected: a different word for each label.")
        return words
