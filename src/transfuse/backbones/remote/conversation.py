"""How a request is shown to a remote model: what it is told, examples as earlier turns, the request in its template."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from transfuse.backbones.remote.requests import BYTES_A_TOKEN, Message
from transfuse.data.turns import spoken

TEXT = "{text}"


@dataclasses.dataclass(frozen=True)
class Conversation:
    """What precedes a request, and how it is shown.

    Args:
        system: what the model is told first; may be empty.
        template: with ``{text}`` once; earlier turns are shown in it too.
        shots: (request, answer) pairs.
        limit: most tokens of a request, at four bytes each, since nobody knows how the service counts.
    """

    system: str
    template: str
    shots: tuple[tuple[str, str], ...]
    limit: int

    def messages(self, text: str, shots: Sequence[tuple[str, str]] | None = None) -> tuple[Message, ...]:
        """The turns up to a request, behind its own examples where it has some."""
        turns = [Message("system", self.system)] if self.system else []
        for known, answer in self.shots if shots is None else shots:
            turns += [*self._turns(known), Message("assistant", answer)]
        return (*turns, *self._turns(text))

    def _turns(self, text: str) -> list[Message]:
        """What a user asks, in the template, behind what was said before it in the same conversation."""
        *earlier, (_, last) = spoken(text)
        before = [Message(role, self._kept(content)) for role, content in earlier]
        return [*before, Message("user", self.template.replace(TEXT, self._kept(last)))]

    def _kept(self, text: str) -> str:
        kept = text.encode("utf-8", errors="replace")[: BYTES_A_TOKEN * self.limit].decode("utf-8", errors="ignore")
        return kept

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {**dataclasses.asdict(self), "shots": [list(pair) for pair in self.shots]}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> Conversation:
        """The inverse of `to_dict`."""
        return Conversation(**{**fields, "shots": tuple((text, answer) for text, answer in fields["shots"])})
