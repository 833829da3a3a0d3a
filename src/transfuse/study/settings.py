"""The settings of a recipe's methods against the signatures of the methods, before any data is read."""

from __future__ import annotations

import itertools
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transfuse.data.problems import shown
from transfuse.errors import RecipeError
from transfuse.methods import bounds
from transfuse.methods.catalogue import LABELS, method, of_kind, settings
from transfuse.study.recipe import Recipe, check_methods

MOST_CHOICES = 64
"""Combinations of one method's settings; more are a slip."""

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def known_methods(recipe: Recipe) -> None:
    """Refuse methods and settings that do not exist, and values of the wrong kind.

    Raises:
        RecipeError: all of them at once, each with its line.
    """
    kind = recipe.task.kind
    check_methods(recipe, {name: settings(name, kind) for name in of_kind(kind)})
    if isinstance(recipe.methods, str):
        return
    problems = [
        f"{recipe.at('methods', index, named.name, key)}: found {shown(value)}. Expected: {wanted}."
        for index, named in enumerate(recipe.methods)
        for key, values in named.settings.items()
        for value in choices(named.name, key, values, kind)
        if (wanted := expected(named.name, key, value, kind))
    ]
    problems += [
        f"{recipe.at('methods', index)}: {count} combinations of settings. Expected: at most {MOST_CHOICES}."
        for index, named in enumerate(recipe.methods)
        if (count := math.prod(len(choices(named.name, k, v, kind)) for k, v in named.settings.items())) > MOST_CHOICES
    ]
    if problems:
        raise RecipeError("\n".join(problems), remedy="Correct the settings; docs/methods.md lists them.")


def choices(name: str, key: str, value: Any, kind: str = LABELS) -> list[Any]:
    """The values of a setting that are tried: those of a list, where the method itself takes one value."""
    hint = typing.get_type_hints(method(name, kind).plan, include_extras=True)[key]
    takes_list = any(typing.get_origin(part) is Sequence for part in (hint, *typing.get_args(hint)))
    return [value] if takes_list or not isinstance(value, list) or not value else list(value)


def combinations(name: str, settings: Mapping[str, Any], kind: str = LABELS) -> Iterator[Mapping[str, Any]]:
    """``{learning_rate: [1e-4, 3e-4]}`` as two settings, to be compared on validation; all pairs of several lists."""
    values = [choices(name, key, value, kind) for key, value in settings.items()]
    for combined in itertools.product(*values):
        yield dict(zip(settings, combined, strict=True))


def wanted(recipe: Recipe) -> list[tuple[str, Mapping[str, Any]]] | None:
    """The methods of a recipe, each with its settings; None for ``auto``."""
    if isinstance(recipe.methods, str):
        return None
    return [
        (m.name, settings) for m in recipe.methods for settings in combinations(m.name, m.settings, recipe.task.kind)
    ]


def place(recipe: Recipe, name: str, settings: Mapping[str, Any]) -> str:
    """Where in the recipe a method with some settings stands."""
    named, kind = enumerate(() if isinstance(recipe.methods, str) else recipe.methods), recipe.task.kind
    found = (i for i, m in named if m.name == name and dict(settings) in combinations(name, m.settings, kind))
    index = next(found, None)
    return recipe.origin if index is None else recipe.at("methods", index)


def expected(name: str, key: str, value: object, kind: str = LABELS) -> str:
    """What a setting of a method takes, in words; empty where the value is that."""
    from pydantic import TypeAdapter, ValidationError

    hint = typing.get_type_hints(method(name, kind).plan, include_extras=True)[key]
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        return in_words(hint)
    if outside := bounds.wanted(key, value):
        return outside
    negative = isinstance(value, int | float) and value < 0
    return f"{in_words(hint)}, not below 0" if negative else ""


def in_words(hint: Any) -> str:
    """``int | str | None`` as *a whole number, text or null*."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = ", ".join(str(limit) for limit in arguments[1:])
        return f"{in_words(arguments[0])} ({limits})"
    if origin in (typing.Union, types.UnionType):
        *most, last = (in_words(argument) for argument in arguments)
        return f"{', '.join(most)} or {last}"
    if origin is Sequence:
        return f"a list of {'whole numbers' if arguments[0] is int else 'texts'}"
    if origin is Mapping:
        return "keys and values"
    return _WORDS.get(hint, str(hint))
