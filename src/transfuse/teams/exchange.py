"""One request on its way through a team: what is known, who is asked, what it may take, and what went wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from transfuse.errors import TeamError
from transfuse.teams.contract import REQUEST, TEXT, Contract
from transfuse.teams.desk import Call, Heard
from transfuse.teams.message import FAILED, TEAM, USER, Message, seed_of
from transfuse.teams.role import Asked, Role

IN_CIRCLES = "went in circles"
Wanted = tuple[str, Mapping[str, Any]]
"""A role that is asked, with fields that count more than what is known."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one exchange may take; None for no limit.

    Args:
        turns: calls of roles.
        tokens: tokens read and written.
        seconds: time of its calls; of a pass that answers several exchanges, its share.
        money: by the roles' prices.
    """

    turns: int = 16
    tokens: int | None = None
    seconds: float = 60.0
    money: float | None = None


class Failed(Exception):
    """A role failed, and nothing has taken its place."""

    def __init__(self, role: str, problem: str) -> None:
        self.role, self.problem = role, problem
        super().__init__(f"role '{role}' {problem}")


class Stopped(Exception):
    """A limit is reached."""


class Refused(Exception):
    """The protocol itself says that the team cannot answer, and why."""


class Exchange:
    """What a protocol works on.

    Args:
        id: of the request.
        request: the user's text.
        roles: by name.
        limits: see `Limits`.
        seed: of the team.
        passing: whether a role that fails is passed over where the protocol can go on without it.
        answer: answers calls.
        record: keeps a message and gives back the one that is kept at its place.

    Attributes:
        known: what has been said so far, by field; the user's text is ``request``.
        messages: all of them, in order.
    """

    def __init__(
        self,
        id: str,
        request: str,
        roles: Mapping[str, Role],
        *,
        limits: Limits,
        seed: int,
        passing: bool,
        answer: Callable[[Sequence[Call]], Sequence[Heard]],
        record: Callable[[Message], Message],
    ) -> None:
        self.id, self.roles, self.limits, self.seed, self.passing = id, roles, limits, seed, passing
        self._answer, self._record = answer, record
        self._spent = 0.0
        self._on_the_way: list[str] = []
        self.closed = False
        self.known: dict[str, Any] = {REQUEST: request}
        self.messages: list[Message] = [record(Message(id, 0, USER, TEAM, {REQUEST: request}))]

    @property
    def request(self) -> str:
        """The user's text."""
        return str(self.messages[0].content[REQUEST])

    @property
    def seconds_left(self) -> float:
        """Time until the limit."""
        return self.limits.seconds - self._spent

    def ask(self, role: str, content: Mapping[str, Any] | None = None, to: str = TEAM) -> Message:
        """Ask a role; what it says becomes known.

        Args:
            role: its name.
            content: fields that count more than what is known.
            to: who hears it.

        Raises:
            Failed: the role failed, and so did the one instead of it.
            Stopped: a limit is reached.
        """
        (message,) = self.ask_all([(role, content or {})], to)
        if message.outcome == FAILED:
            raise Failed(message.sender, message.problem)
        self.known.update(message.content)
        return message

    def attempt(self, role: str, content: Mapping[str, Any] | None = None, to: str = TEAM) -> Message | None:
        """Ask a role; None where it failed and the team passes over roles that fail."""
        try:
            return self.ask(role, content, to)
        except Failed:
            if not self.passing:
                raise
            return None

    def ask_all(self, asked: Sequence[Wanted], to: str = TEAM) -> list[Message]:
        """Ask several roles at once, or one several times; nothing becomes known.

        Args:
            asked: names of roles, each with fields of its own.
            to: who hears them.

        Returns:
            a message for each, by the role ``instead`` where one failed and has one; ``failed`` ones included. A role
            whose input nobody says is not called: its message says who failed, and is not kept.

        Raises:
            Stopped: a limit is reached.
        """
        asked = list(asked)
        unable: dict[str, Failed] = {}
        said = self._asked(asked, to, unable)
        while again := {place: instead for place, instead in self._instead(asked, said) if instead not in unable}:
            for place, instead in again.items():
                asked[place] = (instead, asked[place][1])
            others = self._asked([asked[place] for place in again], to, unable)
            for place, message in zip(again, others, strict=True):
                said[place] = message
        return said

    def settle(self, content: Mapping[str, Any]) -> None:
        """Make fields known: the draft that was chosen, what the majority said."""
        self.known.update(content)

    def _asked(self, asked: Sequence[Wanted], to: str, unable: dict[str, Failed]) -> list[Message]:
        """A message for each role; ``unable`` gets those that lack what they need, and those that failed to say it."""
        for name, content in asked:
            self._typed(name, content)
            role = self._role(name)
            if name not in unable:
                try:
                    self._provide(role, content, unable)
                except Failed as error:
                    unable[name] = error
        able = [(name, content) for name, content in asked if name not in unable]
        kept = iter(self._called(able, to) if able else [])
        return [self._uncalled(unable[name], to) if name in unable else next(kept) for name, _ in asked]

    def _uncalled(self, error: Failed, to: str) -> Message:
        return Message(self.id, len(self.messages), error.role, to, {}, outcome=FAILED, problem=error.problem)

    def _called(self, asked: Sequence[Wanted], to: str) -> list[Message]:
        """What came of calls that are made at once, as it is kept."""
        first = len(self.messages)
        self._check(len(asked))
        calls = [self._call(self.roles[name], content, first + i) for i, (name, content) in enumerate(asked)]
        heard = self._answer(calls)
        self._spent += _elapsed(calls, heard)
        if self.closed:
            raise Stopped("it has been given up")
        said = [self._message(c, h, first + i, to) for i, (c, h) in enumerate(zip(calls, heard, strict=True))]
        kept = [self._record(message) for message in said]
        self.messages += kept
        return kept

    def _instead(self, asked: Sequence[Wanted], said: Sequence[Message]) -> Iterator[tuple[int, str]]:
        """Places of what failed, each with the role that is asked instead."""
        for place, ((role, _), message) in enumerate(zip(asked, said, strict=True)):
            instead = self.roles[role].instead
            if message.outcome == FAILED and instead is not None:
                yield place, instead

    def _role(self, name: str) -> Role:
        if name not in self.roles:
            raise Failed(name, f"is not in the team, which has {', '.join(self.roles)}")
        return self.roles[name]

    def _typed(self, role: str, content: Mapping[str, Any]) -> None:
        """Refuse fields that no role that says them would say so; what is known has been checked when it was said."""
        for field, value in content.items():
            kinds = [one.output.fields[field] for one in self.roles.values() if field in one.output.fields]
            problem = ""
            for kind in dict.fromkeys([*kinds, *([TEXT] if field == REQUEST else [])]):
                try:
                    Contract({field: kind}).check({field: value}, "was given")
                    problem = ""
                    break
                except TeamError as error:
                    problem = error.found
            if problem:
                raise Failed(role, problem)

    def _provide(self, role: Role, content: Mapping[str, Any], unable: dict[str, Failed]) -> None:
        """Ask first whoever says what this role needs and nobody has said yet; who fails is asked once."""
        for field in role.input or ():
            if field in self.known or field in content:
                continue
            source = next((name for name, other in self.roles.items() if field in other.output.fields), None)
            if source is None or source in (role.name, *self._on_the_way):
                raise Failed(role.name, f"needs '{field}', which nobody has said")
            if source in unable:
                raise unable[source]
            self._on_the_way.append(role.name)
            try:
                self.ask(source, to=role.name)
            except Failed as error:
                unable[source] = error
                raise
            finally:
                self._on_the_way.pop()

    def _check(self, more: int) -> None:
        """Refuse calls beyond a limit."""
        limits, taken = self.limits, [m for m in self.messages if m.sender not in (USER, TEAM)]
        tokens, money = sum(m.tokens for m in taken), sum(m.cost for m in taken)
        if self.closed or self.seconds_left <= 0:
            raise Stopped(f"the limit of {limits.seconds:g} seconds is reached")
        if len(taken) + more > limits.turns:
            raise Stopped(f"the limit of {limits.turns} turns is reached")
        if limits.tokens is not None and tokens >= limits.tokens:
            raise Stopped(f"the limit of {limits.tokens} tokens is reached")
        if limits.money is not None and money >= limits.money:
            raise Stopped(f"the limit of {limits.money:g} in money is reached")

    def _call(self, role: Role, content: Mapping[str, Any], turn: int) -> Call:
        given = role.shown({**self.known, **content})
        seconds = min(self.seconds_left, role.seconds or self.seconds_left / 2)
        return Call(role, Asked(given, seed_of(self.seed, self.id, turn)), seconds)

    def _message(self, call: Call, heard: Heard, turn: int, to: str) -> Message:
        role, reply = call.role, heard.reply
        made = Message(
            self.id, turn, role.name, to, {}, given=call.asked.given, seed=call.asked.seed, seconds=heard.seconds
        )
        if reply is None:
            return dataclasses.replace(made, outcome=FAILED, problem=heard.problem)
        content: dict[str, Any] = {}
        problem = reply.problem or (IN_CIRCLES if reply.looped else "")
        if not problem:
            try:
                read = role.output.read if isinstance(reply.content, str) else role.output.check
                content = read(reply.content, f"role '{role.name}'")  # type: ignore[arg-type]
            except TeamError as error:
                problem = f"broke its contract: {error.found}"
        return dataclasses.replace(
            made,
            content=content,
            outcome=FAILED if problem else made.outcome,
            problem=problem,
            scores={str(label): float(score) for label, score in reply.scores.items()},
            prompt_ids=reply.prompt_ids,
            ids=reply.ids,
            log_probabilities=reply.log_probabilities,
            read=reply.read,
            written=reply.written,
            cost=role.cost(reply),
        )


def _elapsed(calls: Sequence[Call], heard: Sequence[Heard]) -> float:
    """Seconds of calls that were made at once: functions run side by side, models one after another."""
    alone = [call.role.speaker.lane.together == 1 for call in calls]
    shares = sum(h.seconds for h, by_itself in zip(heard, alone, strict=True) if not by_itself)
    return shares + max((h.seconds for h, by_itself in zip(heard, alone, strict=True) if by_itself), default=0.0)
