"""A team's file: its keys, their defaults, and what is refused in each; nothing is loaded yet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationError, ValidationInfo, field_validator, model_validator

from transfuse.data.fields import A_REFERENCE, A_SEED, BackboneReference, Count, Reference, Section, Seed, wrong
from transfuse.data.located import KeyPath, Located, parse, read_file
from transfuse.data.problems import explain, shown
from transfuse.data.remote_keys import Remote
from transfuse.data.remote_names import is_remote
from transfuse.errors import RecipeError, TeamError, nearest
from transfuse.teams.answer import OnFailure
from transfuse.teams.contract import A_FIELD, LABELS, REQUEST, Contract
from transfuse.teams.exchange import Limits
from transfuse.teams.message import NAMES
from transfuse.teams.protocols import Protocol
from transfuse.teams.sections import LearnSection, TrainSection
from transfuse.teams.wiring import protocol_of

VERSION = 1
A_NAME = "a name of letters, digits and _; not user or team"
A_FAILURE = "refuse, next (pass over who fails), {answer: TEXT} or {role: NAME}"

_Text = Annotated[str, Field(min_length=1)]
_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LimitsSection(Section):
    """What one exchange may take."""

    turns: Count = Field(16, description="calls of roles, a whole number of at least 1")
    tokens: Count | None = Field(None, description="tokens read and written, a whole number of at least 1")
    seconds: _Above = Field(60.0, description="seconds, a number above 0")
    money: _Above | None = Field(None, description="money by the roles' prices, a number above 0")


class Price(Section):
    """What a role costs."""

    read: _Price = Field(0.0, description="money for a million tokens read")
    written: _Price = Field(0.0, description="money for a million tokens written")


class RoleSection(Section):
    """One role."""

    model: _Text | None = Field(
        None,
        description="a fitted model's folder, or a backbone: a path, catalog:NAME, hub:OWNER/NAME[@REVISION], "
        "openai:MODEL or google:MODEL",
    )
    instructions: str = Field("", description="what a model that writes is told before every request, a text")
    input: tuple[_Text, ...] | None = Field(None, description="a list of fields: [request, intent]")
    output: dict[str, Any] = Field(min_length=1, description="what it says: {reply: text}, {verdict: [good, bad]}")
    seconds: _Above | None = Field(None, description="seconds of one call, a number above 0")
    price: Price = Field(Price(), description="{read: MONEY, written: MONEY} for a million tokens")
    temperature: Annotated[float, Field(ge=0, le=10)] | None = Field(None, description="a number from 0 to 10")
    max_new_tokens: Count | None = Field(None, description="tokens of an answer, a whole number of at least 1")
    instead: _Text | None = Field(None, description="the role that is asked where this one fails")
    train: TrainSection | None = Field(None, description="how it is trained: {data: FILE, method: lora}")
    rows: Reference | None = Field(
        None, description=f"labelled rows that `team learn` teaches it again, beside its traces: {A_REFERENCE}"
    )

    @field_validator("output")
    @classmethod
    def _contract(cls, output: dict[str, Any]) -> dict[str, Any]:
        try:
            Contract.of(output, labels=[LABELS], where="output")
        except TeamError as error:
            raise wrong(f"{error.found}. Expected: {error.expected or A_FIELD}.") from error
        return output


class TeamRecipe(Section):
    """What a team is made from; `from_file` reads one.

    Raises:
        RecipeError: anything that is wrong, all of it at once, by line and key.
    """

    version: int = Field(VERSION, description=f"the version of the format, {VERSION}")
    name: Annotated[str, Field(min_length=1, max_length=100)] = Field("team", description="a name, one line")
    backbone: BackboneReference | None = Field(None, description="the backbone of roles that name no model")
    roles: dict[str, RoleSection] = Field(min_length=1, description="roles by name: {write: {output: {reply: text}}}")
    protocol: Any = Field(description="a protocol with its settings: {pipeline: [understand, write]}")
    limits: LimitsSection = Field(LimitsSection(), description="limits: {turns: 8, tokens: 2000, seconds: 60}")
    on_failure: Any = Field("refuse", description=A_FAILURE)
    remote: Remote | None = Field(
        None, validate_default=True, description="how remote models are asked: {budget: {money: 1.00}}"
    )
    seed: Seed = Field(0, description=A_SEED)
    learn: LearnSection | None = Field(None, description="checks: {selects: numbers, grades: {judge: ROLE}}")

    _located: Located = PrivateAttr(default=Located({}, {}, "team"))
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    @staticmethod
    def from_file(path: str | Path) -> TeamRecipe:
        """Read a team's YAML file; without ``name`` it is named after the file's folder or the file."""
        file = Path(path)
        return TeamRecipe.from_text(read_file(file), base=file.absolute().parent, origin=str(path), name=file.stem)

    @staticmethod
    def from_text(text: str, base: str | Path, origin: str = "team", name: str = "team") -> TeamRecipe:
        """Read a team from YAML; relative paths in it are relative to ``base``."""
        located = parse(text, origin)
        located.data.setdefault("name", name)
        try:
            recipe = TeamRecipe.model_validate(located.data)
        except ValidationError as error:
            raise explain(error, TeamRecipe, located) from None
        recipe._located, recipe._base = located, Path(base).absolute()
        problems = _unknown_roles(recipe)
        recipe.wired(problems)
        if problems:
            raise RecipeError("\n".join(f"{recipe.at(*path)}: {what}" for path, what in problems))
        return recipe

    @model_validator(mode="before")
    @classmethod
    def _version(cls, data: Any) -> Any:
        found = data.get("version", VERSION) if isinstance(data, Mapping) else VERSION
        if found != VERSION or isinstance(found, bool):
            raise wrong(f"version {shown(found)}. Expected: {VERSION}; a newer one needs a newer transfuse.")
        return data

    @field_validator("remote")
    @classmethod
    def _limited(cls, remote: Remote | None, info: ValidationInfo) -> Remote | None:
        named = [info.data.get("backbone"), *(role.model for role in info.data.get("roles", {}).values())]
        costly = [reference for reference in named if reference and is_remote(reference)]
        if costly and (remote is None or remote.budget is None):
            raise wrong(
                f"no budget, and '{costly[0]}' may cost money. Expected: {{budget: {{money: 1.00}}}} or tokens."
            )
        return remote

    @field_validator("roles")
    @classmethod
    def _names(cls, roles: dict[str, RoleSection]) -> dict[str, RoleSection]:
        for name in roles:
            if not name.isidentifier() or name in NAMES:
                raise wrong(f"a role named '{name}'. Expected: {A_NAME}.")
        return roles

    @field_validator("on_failure")
    @classmethod
    def _failure(cls, value: Any, info: ValidationInfo) -> Any:
        if value in ("refuse", "next"):
            return value
        if isinstance(value, Mapping) and len(value) == 1:
            ((key, text),) = value.items()
            if key in ("answer", "role") and isinstance(text, str) and text.strip():
                return dict(value)
        raise wrong(f"found {shown(value)}. Expected: {A_FAILURE}.")

    def at(self, *path: str | int) -> str:
        """``"team.yaml, line 12, key 'roles.write'"``: how a message names a key of this file."""
        return self._located.at(path)

    @property
    def purse(self) -> str:
        """The name under which its calls of remote models are counted: that of the file."""
        return f"team {self.name} {self._base}"

    @property
    def base(self) -> Path:
        """The folder that relative paths are relative to."""
        return self._base

    @property
    def written(self) -> dict[str, Any]:
        """What stands in the file, as plain types."""
        return copy.deepcopy(self._located.data)

    def wired(self, problems: list[tuple[KeyPath, str]] | None = None) -> Protocol | None:
        """The protocol; what is wrong with it is added to ``problems``."""
        found: Protocol | None = protocol_of(self.protocol, tuple(self.roles), [] if problems is None else problems)
        return found

    def failure(self) -> OnFailure:
        """What is done where a role fails."""
        if isinstance(self.on_failure, Mapping):
            return OnFailure(**self.on_failure)
        return OnFailure(passing=self.on_failure == "next")

    def limited(self) -> Limits:
        """The limits."""
        return Limits(**self.limits.model_dump())


def _unknown_roles(recipe: TeamRecipe) -> list[tuple[KeyPath, str]]:
    """Roles and fields that are named, and that no role has."""
    names = tuple(recipe.roles)
    found: list[tuple[KeyPath, str]] = []
    if isinstance(recipe.on_failure, Mapping) and recipe.on_failure.get("role", names[0]) not in names:
        found.append((("on_failure", "role"), unknown(recipe.on_failure["role"], names)))
    fields = [REQUEST, *(field for role in recipe.roles.values() for field in role.output)]
    for name, role in recipe.roles.items():
        if role.instead is not None and role.instead not in names:
            found.append((("roles", name, "instead"), unknown(role.instead, names)))
        for place, field in enumerate(role.input or ()):
            if field not in fields:
                known = ", ".join(dict.fromkeys(fields))
                what = f"nobody says '{field}'.{nearest(field, fields)} Fields: {known}."
                found.append((("roles", name, "input", place), what))
    return found


def unknown(name: Any, names: tuple[str, ...]) -> str:
    """That there is no such role."""
    return f"no role {shown(name)}.{nearest(str(name), names)} Roles: {', '.join(names)}."
