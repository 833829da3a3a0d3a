"""What comes of a request: an answer, what stands in for it, or a refusal that says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transfuse.teams.message import Message
from transfuse.teams.traces import Trace, text_of


@dataclasses.dataclass(frozen=True)
class OnFailure:
    """What a team does where a role has failed; a limit that is reached leads to ``answer`` or to a refusal.

    Args:
        answer: a fixed answer, or None.
        role: a role that is asked for the answer instead, or None.
        passing: a role that fails is passed over where the protocol can go on without it.
    """

    answer: str | None = None
    role: str | None = None
    passing: bool = False


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came of a request.

    Args:
        id: of the request.
        outcome: ``answered``, ``stood_in`` (a fixed answer, or another role's) or ``refused``.
        content: fields of the answer; None for a refusal.
        reason: why it was refused, or why something stands in.
        messages: who said what.
    """

    id: str
    outcome: str
    content: Mapping[str, Any] | None
    reason: str
    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """The answer as people read it; of a refusal, that the team cannot answer, and why."""
        return text_of(self.content) if self.content else f"The team cannot answer: {self.reason}."

    @staticmethod
    def of(trace: Trace) -> Answer:
        """The answer that was recorded."""
        return Answer(trace.id, trace.outcome, trace.answer, trace.reason, trace.messages)
