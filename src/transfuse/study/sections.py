"""The parts of a recipe: their keys, their defaults, and what is refused in each.

The description of a field is what a message says was expected; docs/recipe.md explains every key.
"""

from __future__ import annotations

import json
import os
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from transfuse.data import catalog
from transfuse.data.references import parse_hub
from transfuse.errors import TransfuseError, nearest
from transfuse.evaluation import TEXT_METRICS
from transfuse.study.problems import CUSTOM, shown
from transfuse.tasks.writing import KINDS, SURFACE

LATER_BACKBONES = ("openai:", "google:")


def wrong(message: str) -> PydanticCustomError:
    """An error whose message is complete; braces in it are the user's."""
    return PydanticCustomError(CUSTOM, "{message}", {"message": message})


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _known(kind: str, reference: str) -> str:
    """Check what can be known of a reference without its data: that the catalog has it, that ``hub:`` has the form."""
    if reference.startswith("catalog:"):
        name, known = reference.removeprefix("catalog:"), catalog.names(kind)
        if name not in known:
            raise wrong(
                f"the catalog has no {kind} '{name}'.{nearest(name, known)} It has: {', '.join(catalog.told(kind))}."
            )
    elif reference.startswith("hub:"):
        try:
            parse_hub(reference)
        except TransfuseError as error:
            raise wrong(f"{error.found}. Expected: {error.expected}.") from error
    elif reference.startswith(LATER_BACKBONES):
        raise wrong(f"'{reference}': models behind an API come in a later version.")
    return reference


def _data_reference(reference: str) -> str:
    return _known("data", reference)


def _backbone_reference(reference: str) -> str:
    return _known("backbone", reference)


def _rows(value: Any) -> int | float:
    """A number of rows, or a share of them."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not (isinstance(value, int) and value >= 1) and not 0 < value < 1:
        raise ValueError("neither a number of rows nor a share")
    return value


_Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
Reference = Annotated[_Text, AfterValidator(_data_reference)]
BackboneReference = Annotated[_Text, AfterValidator(_backbone_reference)]
Column = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]
Rows = Annotated[int | float, PlainValidator(_rows)]
Switch = Annotated[bool, Field(strict=True)]
Minutes = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]

_A_REFERENCE = "a path, catalog:NAME or hub:OWNER/NAME[:CONFIG][@REVISION][#SPLIT]"
_A_SPLIT = f"{_A_REFERENCE}, or rows to hold out: {{rows: 1500, seed: 0}}"
A_SEED = "a seed, a whole number from 0"


class Section(BaseModel):
    """A part of the recipe: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Section):
    """Rows to hold out of the target's data, stratified by label, by a seed."""

    rows: Rows = Field(description="how many rows to hold out, a whole number of at least 1, or a share such as 0.2")
    seed: Seed = Field(0, description=A_SEED)
    group: Column | None = Field(None, description="the column whose equal values stay on one side")


def _split_or_reference(value: Any) -> str:
    return "<split>" if isinstance(value, Mapping | Split) else "<reference>"


SplitOrReference = Annotated[
    Annotated[Split, Tag("<split>")] | Annotated[Reference, Tag("<reference>")], Discriminator(_split_or_reference)
]


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
    stop: tuple[Column, ...] | None = Field(None, description='texts at which an answer ends: ["\\n\\n"]')
    max_new_tokens: Count | None = Field(None, description="tokens of the longest answer, a whole number of at least 1")
    similarity: BackboneReference | None = Field(
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


class Target(Section):
    """The data that the user cares about: what to train on, and what to judge by."""

    data: Reference | None = Field(None, description=_A_REFERENCE)
    train: Reference | None = Field(None, description=_A_REFERENCE)
    test: SplitOrReference = Field(description=_A_SPLIT)
    validation: SplitOrReference | None = Field(None, description=_A_SPLIT)
    unlabelled: Reference | None = Field(None, description=_A_REFERENCE)
    shots: Count | None = Field(None, description="labels kept a class, a whole number of at least 1")
    seed: Seed | None = Field(None, description=A_SEED)
    group: Column | None = Field(
        None, validate_default=True, description="the column whose equal values stay on one side of every split"
    )

    @model_validator(mode="before")
    @classmethod
    def _data_or_train(cls, target: Any) -> Any:
        if isinstance(target, Mapping) and (target.get("data") is None) == (target.get("train") is None):
            return {**target, "train": _Choice(both=target.get("data") is not None)}
        return target

    @field_validator("train", mode="before")
    @classmethod
    def _one_of_two(cls, train: Any) -> Any:
        if isinstance(train, _Choice):
            found = "stands beside 'data'" if train.both else "missing, and 'data' too"
            raise wrong(f"{found}. Expected: one of the two. Rows for test and validation are drawn from either.")
        return train

    @field_validator("group")
    @classmethod
    def _one_group(cls, group: str | None, info: ValidationInfo) -> str | None:
        splits = [info.data.get("test"), info.data.get("validation")]
        named = [group, *(split.group for split in splits if isinstance(split, Split))]
        columns = sorted({column for column in named if column})
        if len(columns) > 1:
            names = ", ".join(f"'{column}'" for column in columns)
            raise wrong(f"more than one group column: {names}. Expected: the same one everywhere.")
        return group

    @property
    def reference(self) -> str:
        """Where the training rows come from: ``data`` or ``train``."""
        return self.data or self.train or ""

    @property
    def group_column(self) -> str | None:
        """The group column, wherever in the target it was named."""
        splits = [split.group for split in (self.test, self.validation) if isinstance(split, Split)]
        return next((column for column in (self.group, *splits) if column), None)


class _Choice:
    """Stands in for ``train`` where ``data`` and ``train`` are both given, or neither is."""

    def __init__(self, both: bool) -> None:
        self.both = both


class Source(Section):
    """Other data, from another task or domain, that may help."""

    name: str = Field(pattern=r"^[\w.-]+$", description="a name of letters, digits, '.', '_' and '-'")
    data: Reference = Field(description=_A_REFERENCE)
    task: TaskOverrides | None = Field(None, description="where the source's task differs: input, label, bins, weight")
    model: Any = Field(None, description="a fitted model (a later version)")
    teacher: Any = Field(None, description="a backbone that teaches (a later version)")

    @field_validator("model", "teacher")
    @classmethod
    def _later(cls, value: Any, info: ValidationInfo) -> None:
        if value is not None:
            raise wrong(f"a source's {info.field_name} comes in a later version. Expected for now: data.")


class Method(Section):
    """A method by name, with the settings that differ from its defaults."""

    name: str
    settings: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _from_item(cls, item: Any) -> Any:
        if isinstance(item, Method):
            return {"name": item.name, "settings": item.settings}
        if isinstance(item, str) and item.strip():
            return {"name": item, "settings": {}}
        if isinstance(item, Mapping) and len(item) == 1:
            ((name, settings),) = item.items()
            settings = {} if settings is None else settings
            if isinstance(name, str) and isinstance(settings, Mapping) and _plain(settings):
                return {"name": name, "settings": dict(settings)}
        found = f"{len(item)} keys in one item" if isinstance(item, Mapping) and len(item) != 1 else shown(item)
        raise wrong(f"found {found}. Expected: a method's name, or a name with settings: {{finetune: {{epochs: 3}}}}.")

    @model_serializer
    def _as_item(self) -> Any:
        return {self.name: self.settings} if self.settings else self.name


def _plain(settings: Mapping[Any, Any]) -> bool:
    """Whether settings hold nothing but what YAML holds."""
    try:
        json.dumps(settings)
    except (TypeError, ValueError):
        return False
    return all(isinstance(key, str) for key in settings)


def _auto_or_list(value: Any) -> str:
    return "<auto>" if isinstance(value, str) else "<list>"


Methods = Annotated[
    Annotated[Literal["auto"], Tag("<auto>")] | Annotated[tuple[Method, ...], Field(min_length=1), Tag("<list>")],
    Discriminator(_auto_or_list),
]


class Budget(Section):
    """How long a study may take."""

    minutes: Minutes = Field(10.0, description="minutes of work, a number over 0")


class Validation(Section):
    """Repeated stratified cross-validation inside the target's labels."""

    folds: Annotated[int, Field(strict=True, ge=2)] = Field(5, description="folds, a whole number of at least 2")
    repeats: Count | None = Field(None, description="repeats, a whole number of at least 1")
