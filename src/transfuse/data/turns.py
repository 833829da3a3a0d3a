"""Conversations as one text: lines that people can read, each turn marked so that models get its role back."""

from __future__ import annotations

import re
from collections.abc import Sequence

MARK = "\x1e"
"""A control character (record separator) before each turn: what users write never has it, see `unmarked`."""
USER, ASSISTANT = "user", "assistant"
_TURN = re.compile(rf"\n?{MARK}(User|Assistant): ")

Turn = tuple[str, str]
"""Who speaks, ``user`` or ``assistant``, and what."""


def unmarked(text: str) -> str:
    """The text as people read it."""
    return text.replace(MARK, "")


def conversation(turns: Sequence[Turn]) -> str:
    """What a user says last, behind what was said before it; system messages come first.

    Args:
        turns: the last one is a user's; also of ``system``.
    """
    said = [(role, unmarked(content)) for role, content in turns]
    system = [content for role, content in said if role == "system"]
    others = [(role, content) for role, content in said if role != "system"]
    if len(others) == 1:
        return "\n\n".join([*system, others[0][1]])
    return "\n\n".join([*system, "\n".join(f"{MARK}{role.capitalize()}: {content}" for role, content in others)])


def spoken(text: str) -> list[Turn]:
    """The turns of a text, users and assistants in turn, a user first and last; a text without marks is a user's.

    What a system message says stands before what the user says first, and so does what an assistant says before that;
    several turns of one side become one.
    """
    before, *marked = _TURN.split(text)
    turns: list[Turn] = []
    for role, content in zip(map(str.lower, marked[::2]), marked[1::2], strict=True):
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]}\n{content}")
        else:
            turns.append((role, content))
    if not turns or turns[-1][0] != USER:
        return [(USER, unmarked(text))]
    if turns[0][0] == ASSISTANT:
        (_, greeting), (_, asked), *rest = turns
        turns = [(USER, f"Assistant: {greeting}\nUser: {asked}"), *rest]
    opening = before.rstrip("\n")
    return [(USER, f"{opening}\n\n{turns[0][1]}"), *turns[1:]] if opening else turns
