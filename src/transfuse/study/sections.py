"""The parts of a recipe: their keys, their defaults, and what is refused in each.

The description of a field is what a message says was expected; docs/recipe.md explains every key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from transfuse.data.fields import (
    A_REFERENCE,
    A_SEED,
    A_SPLIT,
    BackboneReference,
    Column,
    Count,
    Demonstrations,
    Minutes,
    ModelFolder,
    Reference,
    Rows,
    Section,
    Seed,
    Switch,
    wrong,
)
from transfuse.data.problems import shown
from transfuse.study.asked import TaskOverrides


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


class Target(Section):
    """The data that the user cares about: what to train on, and what to judge by."""

    data: Reference | None = Field(None, description=A_REFERENCE)
    train: Reference | None = Field(None, description=A_REFERENCE)
    test: SplitOrReference = Field(description=A_SPLIT)
    validation: SplitOrReference | None = Field(None, description=A_SPLIT)
    unlabelled: Reference | None = Field(None, description=A_REFERENCE)
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
    """Other data, from another task or domain, that may help; or a model that teaches."""

    name: str = Field(pattern=r"^[\w.-]+$", description="a name of letters, digits, '.', '_' and '-'")
    data: Reference | None = Field(None, description=A_REFERENCE)
    task: TaskOverrides | None = Field(None, description="where the source's task differs: input, label, bins, weight")
    model: ModelFolder | None = Field(None, description="a fitted model's folder, relative to the recipe: it teaches")
    teacher: BackboneReference | None = Field(None, description="a backbone that is asked, and so teaches")
    shots: Demonstrations | None = Field(
        None, description="examples from the source's data that its teacher is shown, a whole number from 0"
    )
    draws: Count = Field(1, description="prompts with other examples each, whose answers are averaged, at least 1")

    rationales: Switch = Field(False, description="true or false: whether a teacher also writes why answers are right")

    @model_validator(mode="after")
    def _of_one_kind(self) -> Source:
        if (self.data is None) + (self.teacher is None) + (self.model is None) == 3:
            raise wrong("found no data. Expected: data, a teacher (a backbone) or a model (a fitted model's folder).")
        if self.model is not None and (self.data or self.teacher):
            beside = "data" if self.data else "teacher"
            raise wrong(f"'model' stands beside '{beside}'. Expected: one of them; a fitted model needs no data.")
        if self.shots is not None and self.teacher is None:
            raise wrong("'shots' stands without 'teacher'. Expected: a backbone that is shown so many examples.")
        if self.draws > 1 and (self.data is None or self.shots == 0):
            raise wrong(
                "'draws' stands without examples. Expected: a teacher with data, from which examples are drawn."
            )
        if self.rationales and not self.teaches:
            raise wrong("'rationales' stands without a teacher. Expected: a teacher or a model that writes them.")
        if self.shots and self.data is None:
            raise wrong("'shots' stands without 'data'. Expected: data that examples for the teacher are drawn from.")
        return self

    @property
    def teaches(self) -> bool:
        """Whether this is a teacher rather than data."""
        return self.model is not None or self.teacher is not None


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
