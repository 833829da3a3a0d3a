"""A message: who says what to whom, what it was said to, and what it cost; equal messages are equal bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

USER, TEAM = "user", "team"
SAID, FAILED = "said", "failed"
"""Outcomes of a message."""
NAMES = (USER, TEAM)
"""What no role may be called."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of an exchange.

    Args:
        exchange: the id of the request.
        turn: its place in the exchange; 0 is the user's.
        sender: ``user``, ``team`` or a role.
        receiver: ``user``, ``team`` or a role.
        content: by the sender's contract; empty where it failed.
        given: what the sender was given: the fields of its input.
        outcome: ``said`` or ``failed``.
        problem: why it failed.
        scores: log-probability of each label, from a role that chooses one.
        prompt_ids: token ids of the prompt, from a role that writes.
        ids: token ids of the answer.
        log_probabilities: of each token of the answer, given all before it, without the contract's constraint.
        read: tokens that were read.
        written: tokens that were written.
        cost: money.
        seed: of the sampling.
        seconds: time that it took; no part of `body`, since no two runs agree on it.
    """

    exchange: str
    turn: int
    sender: str
    receiver: str
    content: Mapping[str, Any]
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outcome: str = SAID
    problem: str = ""
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    prompt_ids: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()
    read: int = 0
    written: int = 0
    cost: float = 0.0
    seed: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.read + self.written

    @property
    def probability(self) -> float | None:
        """The largest probability of a label, from a role that chooses one."""
        return math.exp(max(self.scores.values())) if self.scores else None

    @property
    def body(self) -> str:
        """Everything but the time, as JSON in one normal form: what a replay must give again, byte for byte."""
        fields = dataclasses.asdict(self)
        del fields["seconds"]
        return canonical(fields)

    @staticmethod
    def from_body(body: str, seconds: float = 0.0) -> Message:
        """The inverse of `body`."""
        fields = json.loads(body)
        for name in ("prompt_ids", "ids", "log_probabilities"):
            fields[name] = tuple(fields[name])
        return Message(**fields, seconds=seconds)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def seed_of(*parts: object) -> int:
    """A seed below 2³² that depends on all parts."""
    return int.from_bytes(hashlib.sha256(canonical([str(part) for part in parts]).encode()).digest()[:4], "big")
