"""What a message was worth: a tree of the traces of one request, outcomes at its leaves, values backed up from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.teams.contract import REQUEST
from transfuse.teams.message import SAID, USER, Message, canonical


@dataclasses.dataclass
class Node:
    """A message with what followed it.

    Args:
        message: None for the root, the request.
        children: what was said next, by who said what to what.
        outcomes: of the traces that end here.
    """

    message: Message | None = None
    children: dict[str, Node] = dataclasses.field(default_factory=dict)
    outcomes: list[float] = dataclasses.field(default_factory=list)

    @property
    def value(self) -> float:
        """The mean of its branches' values; an end counts as a branch (Motwani et al. 2024, MALT, equation 4)."""
        return float(np.mean([*(child.value for child in self.children.values()), *self.outcomes]))

    def walk(self) -> Iterator[Node]:
        """Itself and all below it, in order."""
        yield self
        for child in self.children.values():
            yield from child.walk()


@dataclasses.dataclass(frozen=True)
class Preference:
    """Two answers of one role to one input.

    Args:
        given: what the role was given.
        better, worse: what it said.
        values: of the two.
    """

    given: Mapping[str, Any]
    better: Mapping[str, Any]
    worse: Mapping[str, Any]
    values: tuple[float, float]


def rests_on(messages: Sequence[Message], answer: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages on which an answer rests: without the drafts and votes that have lost, and what was said of these.

    From the last message to the first, a field holds the value that it has in the answer, or else the one that was
    given to whoever said what is held. Who said another value of such a field has lost; so has who said none of them
    and was given another value of one: a judge of a lost draft. Who revises a field rests on what it was before.

    Args:
        messages: of one exchange, in order.
        answer: its fields; none for an exchange without an answer, in which nobody has lost.
    """
    held, found = dict(answer), []
    for message in reversed(messages):
        said = {name: value for name, value in message.content.items() if name in held}
        told = {name: value for name, value in message.given.items() if name != REQUEST}
        if any(held[name] != value for name, value in (said or told).items() if name in held):
            continue
        for name, value in told.items() if said else ():
            if name in message.content or name not in held:
                held[name] = value
        found.append(message)
    return tuple(reversed(found))


def tree(traces: Sequence[tuple[Sequence[Message], float]]) -> Node:
    """The tree of some traces of one request: traces that begin with the same messages share these.

    Args:
        traces: the messages of each, in order, and its outcome, 0 to 1.
    """
    root = Node()
    for messages, outcome in traces:
        node = root
        for message in messages:
            if message.sender == USER:
                continue
            key = canonical([message.sender, dict(message.given), dict(message.content), message.outcome])
            node = node.children.setdefault(key, Node(message))
        node.outcomes.append(outcome)
    return root


def winners(root: Node, role: str, threshold: float) -> list[Message]:
    """What a role said whose value is at least the threshold: what it should learn to say."""
    return [
        node.message
        for node in root.walk()
        if node.message is not None
        and (node.message.sender, node.message.outcome) == (role, SAID)
        and node.value >= threshold
    ]


def preferences(root: Node, role: str, threshold: float) -> list[Preference]:
    """Pairs of siblings of a role, told the same: one whose value is at least the threshold, and one below it.

    A pair shares its role's exact input, so that nothing but what was said makes the difference.
    """
    found = []
    for parent in root.walk():
        own = [
            (child.message, child.value)
            for child in parent.children.values()
            if child.message is not None and (child.message.sender, child.message.outcome) == (role, SAID)
        ]
        for good, high in own:
            for bad, low in own:
                if high >= threshold > low and good.given == bad.given and good.content != bad.content:
                    found.append(Preference(good.given, good.content, bad.content, (high, low)))
    return found


def kept(traces: Sequence[tuple[Sequence[Message], float]], role: str, threshold: float) -> list[Message]:
    """What a role said in traces whose outcome is at least the threshold, each once (rejection sampling, STaR)."""
    found: dict[str, Message] = {}
    for messages, outcome in traces:
        for message in messages if outcome >= threshold else ():
            if (message.sender, message.outcome) == (role, SAID):
                found.setdefault(canonical([dict(message.given), dict(message.content)]), message)
    return list(found.values())
