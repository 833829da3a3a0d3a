"""The protocol of a team's file: its name, its settings against the function's arguments, its roles."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from transfuse.data.located import KeyPath
from transfuse.data.problems import shown
from transfuse.errors import nearest
from transfuse.teams.protocols import PROTOCOLS, Protocol, protocol

A_PROTOCOL = "a protocol with its settings: {pipeline: [understand, write]}"
STEPS = {("pipeline", "steps"), ("route", "to"), ("route", "otherwise")}
"""Settings that hold roles or protocols."""
ROLES = {
    *(("route", "by"), ("draft_judge_revise", "drafts"), ("draft_judge_revise", "judge")),
    *(("best_of", "drafts"), ("best_of", "judge"), ("vote", "voters")),
}
"""Settings that hold roles."""
COUNTS = {"rounds", "n", "least"}
Problems = list[tuple[KeyPath, str]]


def protocol_of(value: Any, roles: tuple[str, ...], problems: Problems, path: KeyPath = ("protocol",)) -> Any:
    """The protocol that a file names, or None where something is wrong.

    Args:
        value: what stands in the file.
        roles: the team's.
        problems: what is wrong is added here: where, and what.
        path: where the value stands.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        problems.append((path, f"found {shown(value)}. Expected: {A_PROTOCOL}."))
        return None
    ((name, given),) = value.items()
    if name not in PROTOCOLS:
        listed = ", ".join(PROTOCOLS)
        problems.append(((*path, name), f"no protocol '{name}'.{nearest(name, list(PROTOCOLS))} Protocols: {listed}."))
        return None
    arguments = list(inspect.signature(PROTOCOLS[name]).parameters.values())[1:]
    here = (*path, name)
    if isinstance(given, Sequence) and not isinstance(given, str):
        settings: Mapping[str, Any] = {arguments[0].name: given}  # a list is the first setting
        places = {arguments[0].name: here}
    elif isinstance(given, Mapping):
        settings = given
        places = {key: (*here, key) for key in given}
    else:
        problems.append((here, f"found {shown(given)}. Expected: its settings, {_listed(arguments)}."))
        return None
    before = len(problems)
    for argument in arguments:
        if argument.name not in settings and argument.default is inspect.Parameter.empty:
            problems.append((here, f"'{argument.name}' is missing. Settings: {_listed(arguments)}."))
    made = {}
    for key, one in settings.items():
        known = [argument.name for argument in arguments]
        if key not in known:
            problems.append((places[key], f"unknown setting.{nearest(key, known)} Settings: {_listed(arguments)}."))
            continue
        made[key] = _setting(name, key, one, roles, problems, places[key])
    return protocol(name, **made) if len(problems) == before else None


def _setting(name: str, key: str, value: Any, roles: tuple[str, ...], problems: Problems, path: KeyPath) -> Any:
    if (name, key) in STEPS:
        if isinstance(value, Mapping) and key == "to":
            return {label: _step(one, roles, problems, (*path, label)) for label, one in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [_step(one, roles, problems, (*path, i)) for i, one in enumerate(value)]
        return _step(value, roles, problems, path)
    if (name, key) in ROLES:
        several = isinstance(value, Sequence) and not isinstance(value, str)
        if several and key in ("drafts", "voters") and name != "draft_judge_revise":
            return [_role(one, roles, problems, (*path, i)) for i, one in enumerate(value)]
        return _role(value, roles, problems, path)
    if key in COUNTS and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        problems.append((path, f"found {shown(value)}. Expected: a whole number of at least 1."))
    if key == "strict" and not isinstance(value, bool):
        problems.append((path, f"found {shown(value)}. Expected: true or false."))
    if key == "accept":
        return [str(one) for one in (value if isinstance(value, Sequence) and not isinstance(value, str) else [value])]
    return value


def _step(value: Any, roles: tuple[str, ...], problems: Problems, path: KeyPath) -> str | Protocol | None:
    if isinstance(value, Mapping):
        found: Protocol | None = protocol_of(value, roles, problems, path)
        return found
    return _role(value, roles, problems, path)


def _role(value: Any, roles: tuple[str, ...], problems: Problems, path: KeyPath) -> str:
    if not isinstance(value, str) or value not in roles:
        close = nearest(str(value), list(roles))
        problems.append((path, f"no role {shown(value)}.{close} Roles: {', '.join(roles)}."))
    return str(value)


def _listed(arguments: Sequence[inspect.Parameter]) -> str:
    return ", ".join(argument.name for argument in arguments)
