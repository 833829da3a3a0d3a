"""What is wrong with a recipe, in words: every problem at once, with the line, the key and what was expected."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from transfuse.data.located import KeyPath, Located
from transfuse.errors import RecipeError, nearest

CUSTOM = "recipe"
"""The type of the errors that the recipe's own validators raise; their message is complete."""


def explain(error: ValidationError, model: type[BaseModel], located: Located) -> RecipeError:
    """One error that lists all problems, in the order of their lines.

    Args:
        error: what pydantic found.
        model: the model that was validated, for its keys and their descriptions.
        located: what was validated, and where its keys stand.
    """
    lines = []
    for item in error.errors(include_url=False):
        path = _path(item["loc"])
        lines.append((located.line(path) or 0, f"{located.at(path)}: {_problem(item, path, model)}"))
    return RecipeError("\n".join(dict.fromkeys(text for _, text in sorted(lines, key=lambda line: line[0]))))


def _path(loc: Sequence[str | int]) -> KeyPath:
    """Where the value stands in the recipe; the names of a union's branches, ``<like this>``, stand nowhere."""
    return tuple(part for part in loc if isinstance(part, int) or not part.startswith("<"))


def _problem(item: Mapping[str, Any], path: KeyPath, model: type[BaseModel]) -> str:
    section, expected = _look_up(model, path)
    if item["type"] == CUSTOM:
        return str(item["msg"])
    if item["type"] == "extra_forbidden":
        return _unknown_key(str(path[-1]), path, section, model)
    if item["type"] == "missing":
        return f"missing. Expected: {expected}."
    return f"found {shown(item['input'])}. Expected: {expected or item['msg']}."


def _unknown_key(key: str, path: KeyPath, section: type[BaseModel], model: type[BaseModel]) -> str:
    known = list(section.model_fields)
    hint = nearest(key, known)
    homes = [".".join(home) or "the top level" for home, keys in _sections(model) if key in keys]
    if not hint and homes:
        hint = f" It belongs under {' or '.join(homes)}."
    return f"unknown key.{hint} Valid keys: {', '.join(known)}."


def shown(value: object) -> str:
    """A value as a message shows it: short, and nothing of what it holds inside."""
    if value is None:
        return "nothing"
    if isinstance(value, BaseModel | Mapping):
        return "keys and values"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "...'"


def _look_up(model: type[BaseModel], path: KeyPath) -> tuple[type[BaseModel], str]:
    """The section that a path lies in, and the description of the deepest field on the way."""
    section, expected = model, ""
    for index, part in enumerate(path):
        if isinstance(part, int) or part not in section.model_fields:
            continue
        field = section.model_fields[part]
        expected = field.description or expected
        inner = nested(field.annotation)
        if inner is None or index == len(path) - 1:
            break
        section = inner
    return section, expected


def nested(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``tuple[Source, ...]`` or ``str | Split``, or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in typing.get_args(annotation) if (inner := nested(part))), None)


def _sections(model: type[BaseModel], home: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every section of the model: its path and its keys."""
    yield home, set(model.model_fields)
    for name, field in model.model_fields.items():
        inner = nested(field.annotation)
        if inner is not None:
            yield from _sections(inner, (*home, name))
