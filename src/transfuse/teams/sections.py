"""The parts of a team's file that say how roles learn: labelled data, knowledge from elsewhere, outcome checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from transfuse.data.fields import A_REFERENCE, ModelFolder, Reference, Section, wrong
from transfuse.data.problems import shown

A_METHOD = "a method's name, or a name with settings: {lora: {epochs: 3}}"
A_SOURCE = "a source: {data: FILE}, {traces: FILE}, {model: FOLDER} or {role: NAME}"

DONE = {"copy": "", "merge": " merged", "distill": " distilled"}
"""How a source is taken over, behind its name."""

_Text = Annotated[str, Field(min_length=1)]


class SourceSection(Section):
    """What a role may know before it learns from its own data; one of data, traces, model and role."""

    name: _Text | None = Field(None, description="a name, for the verdict")
    data: Reference | None = Field(None, description=f"labelled rows of another domain: {A_REFERENCE}")
    traces: _Text | None = Field(None, description="traces of a team in which a teacher played this role: a file")
    model: ModelFolder | None = Field(None, description="a fitted model's folder, relative to the team's file")
    role: _Text | None = Field(None, description="another role of this team, that trains too")
    how: Literal["copy", "merge", "distill"] = Field(
        "copy",
        description="copy (start from its layers), merge (add half of its layers' change to half of what this role "
        "has learnt) or distill (learn what it says of this role's requests)",
    )

    @model_validator(mode="after")
    def _one(self) -> SourceSection:
        given = [key for key in ("data", "traces", "model", "role") if getattr(self, key) is not None]
        if len(given) != 1:
            raise wrong(f"found {' and '.join(given) or 'none of them'}. Expected: {A_SOURCE}.")
        if self.how != "copy" and given[0] in ("data", "traces"):
            raise wrong(
                f"found how: {self.how} of {given[0]}. Expected: a model or a role, which has layers and answers."
            )
        return self

    @property
    def told(self) -> str:
        """Its name, or what it is."""
        if self.name:
            return self.name
        key = next(key for key in ("data", "traces", "model", "role") if getattr(self, key) is not None)
        return f"{key} {getattr(self, key)}" + DONE[self.how]


class TrainSection(Section):
    """How a role is trained on labelled data, by ``transfuse team train``."""

    data: Reference = Field(description=f"rows with columns of the role's input and output: {A_REFERENCE}")
    method: Any = Field(None, description=A_METHOD)
    sources: tuple[SourceSection, ...] = Field((), description=f"a list; each item is {A_SOURCE}")

    @field_validator("method")
    @classmethod
    def _method(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, settings),) = value.items()
            if isinstance(name, str) and (settings is None or isinstance(settings, Mapping)):
                return {name: dict(settings or {})}
        raise wrong(f"found {shown(value)}. Expected: {A_METHOD}.")

    def chosen(self, default: str) -> tuple[str, dict[str, Any]]:
        """The method's name and its settings.

        Args:
            default: the method where the file names none.
        """
        if isinstance(self.method, Mapping):
            ((name, settings),) = self.method.items()
            return name, dict(settings)
        return self.method or default, {}


A_CHECK = "numbers, placeholders, equals, {matches: PATTERN}, {classifier: FOLDER, label: LABEL} or {judge: ROLE}"


class LearnSection(Section):
    """What ``transfuse team learn`` selects traces by, and what it grades the team by: never the same."""

    selects: Any = Field(description=f"a check or a list of them: {A_CHECK}")
    grades: Any = Field(description=f"a check or a list of them, none of which selects: {A_CHECK}")
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="the least outcome that is kept, a number above 0 and at most 1"
    )
