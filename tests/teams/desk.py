"""A small support desk of plain functions, for tests of teams."""

from __future__ import annotations

from typing import Any

from transfuse.teams import Role, Team, protocol

INTENTS = ["refund", "delivery", "other"]


def understands(given: dict[str, Any]) -> str:
    return next((intent for intent in INTENTS if intent in given["request"]), "other")


def writes(given: dict[str, Any]) -> str:
    return f"About your {given['intent']}: {given['request']}"


def role(name: str, function: Any, output: Any = None, **other: Any) -> Role:
    return Role.of(name, function, output or {"reply": "text"}, **other)


UNDERSTAND = role("understand", understands, {"intent": INTENTS}, input=["request"])
WRITE = role("write", writes, input=["request", "intent"])


def desk(*more: Role, steps: Any = ("understand", "write"), **other: Any) -> Team:
    """A pipeline of understanding and writing; ``more`` roles take the place of those of their name."""
    roles = {one.name: one for one in (UNDERSTAND, WRITE, *more)}
    return Team("desk", list(roles.values()), protocol("pipeline", steps=list(steps)), **other)
