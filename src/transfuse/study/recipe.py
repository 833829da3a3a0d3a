"""The recipe: what is asked, what there is to transfer from, and how long it may take.

docs/recipe.md explains every key. Reading is strict: an unknown key, a key that stands twice or a wrong value is an
error with its line, and all problems are reported at once. Of data and models only the names are looked at: those of
the catalog, and the form of a hub's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from transfuse.backbones.remote import is_remote
from transfuse.data.fields import A_BACKBONE, A_SEED, BackboneReference, Section, Seed, Switch, wrong
from transfuse.data.located import KeyPath, Located, dump, parse, read_file
from transfuse.data.problems import explain, shown
from transfuse.data.remote_keys import Remote
from transfuse.errors import RecipeError, nearest
from transfuse.methods.catalogue import unsuited
from transfuse.study.asked import Task, TaskOverrides
from transfuse.study.sections import Budget, Method, Methods, Source, Split, Target, Validation

__all__ = [
    "VERSION",
    "Budget",
    "Method",
    "Recipe",
    "Source",
    "Split",
    "Target",
    "Task",
    "TaskOverrides",
    "Validation",
    "check_methods",
]

VERSION = 1


class Recipe(Section):
    """What a study is made from; ``Recipe.from_file`` reads one, or give the same keys as arguments.

    Attributes:
        base: the folder that relative paths are relative to: that of the file, else the working folder.
        text: the recipe as YAML in one normal form, defaults included.
        origin: the file as the user named it, for messages.

    Raises:
        RecipeError: anything that is wrong, all of it at once, by line and key.

    Example:
        >>> recipe = Recipe.from_text('''
        ... task: {kind: classify, input: text, label: label}
        ... target: {train: train.csv, test: test.csv}
        ... methods: [tfidf]
        ... ''', base=Path("."))
        >>> recipe.task.metric, recipe.methods[0].name
        ('accuracy', 'tfidf')
    """

    version: int = Field(VERSION, description=f"the version of the recipe's format, {VERSION}")
    name: Annotated[str, Field(min_length=1, max_length=100)] = Field("study", description="a name, one line")
    task: Task = Field(description="the task: {kind: classify, input: COLUMN, label: COLUMN}")
    target: Target = Field(description="the target: {data: REFERENCE, test: {rows: 1500}} or train and test")
    sources: tuple[Source, ...] = Field((), description="a list of {name: NAME, data: REFERENCE}")
    backbones: tuple[BackboneReference, ...] = Field((), description=f"a list of backbones, each {A_BACKBONE}")
    methods: Methods = Field("auto", description="auto, or a list of methods: [probe, {finetune: {train_layers: 2}}]")
    budget: Budget = Field(Budget(), description="the budget: {minutes: 8}")
    remote: Remote | None = Field(
        None, validate_default=True, description="how remote models are asked: {budget: {money: 1.00}}"
    )
    validation: Validation | None = Field(None, description="cross-validation: {folds: 5, repeats: 2}")
    gate: Literal["default", "strict"] = Field("default", description="default or strict")
    ensembles: Switch | None = Field(None, description="true or false")
    seed: Seed = Field(0, description=A_SEED)
    allow_overlap: Switch = Field(False, description="true or false")
    allow_unsafe_weights: Switch = Field(False, description="true or false")

    _located: Located = PrivateAttr(default=Located({}, {}, "Recipe"))
    _base: Path = PrivateAttr(default_factory=Path.cwd)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a recipe from a YAML file; without ``name`` it is named after the file."""
        file = Path(path)
        return cls._read(read_file(file), origin=str(path), base=file.absolute().parent, name=file.stem)

    @classmethod
    def from_text(cls, text: str, base: str | Path, origin: str = "recipe") -> Self:
        """Read a recipe from YAML; relative paths in it are relative to ``base``."""
        return cls._read(text, origin=origin, base=Path(base).absolute(), name="study")

    @classmethod
    def _read(cls, text: str, *, origin: str, base: Path, name: str) -> Self:
        located = parse(text, origin)
        located.data.setdefault("name", name)
        recipe = cls.model_validate(located.data, context=located)
        recipe._located, recipe._base = located, base
        return recipe

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        located = info.context if isinstance(info.context, Located) else Located({}, {}, "Recipe")
        _check_version(data, located)
        try:
            return handler(data)
        except ValidationError as error:
            raise explain(error, cls, located) from None

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name.strip() or "\n" in name:
            raise wrong(f"found {shown(name)}. Expected: a name on one line.")
        return name

    @field_validator("sources")
    @classmethod
    def _named_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise wrong(f"two sources named '{twice[0]}'. Expected: a name of its own for each.")
        return sources

    @field_validator("backbones")
    @classmethod
    def _backbones_once(cls, backbones: tuple[str, ...]) -> tuple[str, ...]:
        for reference in backbones:
            if backbones.count(reference) > 1:
                raise wrong(f"'{reference}' stands twice. Keep one.")
        return backbones

    @field_validator("remote")
    @classmethod
    def _limited(cls, remote: Remote | None, info: ValidationInfo) -> Remote | None:
        teachers = [source.teacher for source in info.data.get("sources", ()) if source.teacher]
        costly = [reference for reference in (*info.data.get("backbones", ()), *teachers) if is_remote(reference)]
        if costly and (remote is None or remote.budget is None):
            raise wrong(
                f"no budget, and '{costly[0]}' may cost money. Expected: {{budget: {{money: 1.00}}}} or tokens."
            )
        return remote

    @field_validator("validation")
    @classmethod
    def _one_validation(cls, validation: Validation | None, info: ValidationInfo) -> Validation | None:
        target = info.data.get("target")
        if validation and isinstance(target, Target) and target.validation is not None:
            raise wrong("stands beside 'target.validation'. Expected: one of the two ways to choose, not both.")
        return validation

    @property
    def base(self) -> Path:
        """The folder that relative paths are relative to."""
        return self._base

    @property
    def origin(self) -> str:
        """The file as the user named it, for messages."""
        return self._located.origin

    @property
    def text(self) -> str:
        """The recipe as YAML in one normal form, defaults included; reading it gives an equal fingerprint."""
        return dump(self.model_dump(mode="json", exclude_none=True))

    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the study; neither the name nor comments nor the order of keys do."""
        plain = self.model_dump(mode="json", exclude={"name"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def at(self, *path: str | int) -> str:
        """``"reviews.yaml, line 12, key 'target.shots'"``: how a message names a key of this recipe."""
        return self._located.at(path)

    def task_of(self, source: Source) -> Task:
        """The task of a source: the target's, with what the source says differs."""
        overrides = source.task.model_dump() if source.task else {}
        return self.task.model_copy(update=overrides)


def _check_version(data: Any, located: Located) -> None:
    """Refuse a newer recipe before its unknown keys are called mistakes."""
    version = data.get("version", VERSION) if isinstance(data, Mapping) else VERSION
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise RecipeError(
            f"{located.at(('version',))}: {version}, newer than this transfuse reads",
            expected=str(VERSION),
            remedy="Upgrade transfuse, or write the recipe for this version.",
        )
    if version != VERSION or isinstance(version, bool):
        raise RecipeError(f"{located.at(('version',))}: found {shown(version)}", expected=str(VERSION))


def check_methods(recipe: Recipe, known: Mapping[str, Collection[str]]) -> None:
    """Check the names of methods and settings against those that exist.

    Args:
        recipe: what to check; "auto" names no method.
        known: the names of the settings of every method that exists.

    Raises:
        RecipeError: unknown names, all at once, each with its line and the nearest known name.
    """
    if isinstance(recipe.methods, str):
        return
    problems = []
    for index, method in enumerate(recipe.methods):
        path: KeyPath = ("methods", index)
        if method.name not in known:
            why = unsuited(method.name, recipe.task.kind)
            why = why or f"no method '{method.name}'.{nearest(method.name, list(known))}"
            problems.append(f"{recipe.at(*path)}: {why} Methods: {', '.join(known)}.")
            continue
        settings = list(known[method.name])
        for name in method.settings:
            if name not in settings:
                listed = f"Settings: {', '.join(settings)}." if settings else "It has no settings."
                problems.append(
                    f"{recipe.at(*path, method.name, name)}: method '{method.name}' has no setting '{name}'."
                    f"{nearest(name, settings)} {listed}"
                )
    if problems:
        raise RecipeError("\n".join(problems))
