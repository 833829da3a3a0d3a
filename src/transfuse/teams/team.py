"""A team: roles, a protocol among them, limits; it answers, or says that it cannot."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.errors import OutputError, TeamError, nearest
from transfuse.teams.answer import Answer, OnFailure
from transfuse.teams.contract import REQUEST, TEXT, Contract, Kind
from transfuse.teams.desk import Desk
from transfuse.teams.exchange import Exchange, Failed, Limits, Refused, Stopped
from transfuse.teams.message import Message, canonical
from transfuse.teams.protocols import Protocol, describe
from transfuse.teams.role import Lane, Role
from transfuse.teams.traces import ANSWERED, OPEN, REFUSED, STOOD_IN, Traces, text_of
from transfuse.teams.wave import GivenUp, Wave

AT_ONCE = 16
"""Requests that go through a team side by side."""
DEFAULT_LIMITS, REFUSE = Limits(), OnFailure()
PATIENCE = 0.25
"""Share of an exchange's seconds that a protocol may take without asking anyone."""


class Team:
    """Roles that answer together.

    Several threads may ask one team: requests that are answered side by side are one wave, and waves follow each other.
    So a role that asks its own team waits in vain.

    Args:
        name: of the team.
        roles: the roles, each name once.
        protocol: who is asked when; see `protocols`.
        limits: of one exchange.
        on_failure: what is done where a role fails.
        seed: of all sampling.

    Raises:
        TeamError: two roles of one name, or a name that no role has.

    Example:
        >>> shout = Role.of("shout", lambda given: given["request"].upper(), {"reply": "text"})
        >>> Team("loud", [shout], protocol("pipeline", steps=["shout"])).ask("hello").text
        'HELLO'
    """

    def __init__(
        self,
        name: str,
        roles: Sequence[Role],
        protocol: Protocol,
        *,
        limits: Limits = DEFAULT_LIMITS,
        on_failure: OnFailure = REFUSE,
        seed: int = 0,
    ) -> None:
        self.name, self.protocol, self.limits, self.on_failure, self.seed = name, protocol, limits, on_failure, seed
        self.roles = {role.name: role for role in roles}
        names = [role.name for role in roles]
        for role in names:
            if names.count(role) > 1:
                raise TeamError(f"team '{name}': two roles named '{role}'", expected="a name of its own for each")
        for instead in [on_failure.role, *(role.instead for role in roles)]:
            if instead is not None and instead not in self.roles:
                raise TeamError(
                    f"team '{name}': no role '{instead}'.{nearest(instead, names)}", expected=_listed(names)
                )
        self._desk = Desk()
        self._turn = threading.Lock()

    @staticmethod
    def load(path: str | Path) -> Team:
        """A team from its YAML file.

        Raises:
            RecipeError: anything that is wrong with the file, all of it at once, by line and key.
            ModelError, BackboneError, AssetError: a model that a role names cannot be loaded.
        """
        from transfuse.teams.building import build
        from transfuse.teams.recipe import TeamRecipe

        return build(TeamRecipe.from_file(path))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what the team says, the seed aside."""
        plain = {
            "roles": [role.describe() for role in self.roles.values()],
            "protocol": describe(self.protocol),
            "limits": dataclasses.asdict(self.limits),
            "on_failure": dataclasses.asdict(self.on_failure),
        }
        return hashlib.sha256(canonical(plain).encode()).hexdigest()

    def ask(self, request: str, traces: Traces | None = None, id: str | None = None) -> Answer:
        """Answer one request.

        Args:
            request: the user's text.
            traces: where its messages are kept; None keeps them in the answer alone.
            id: of the request; None makes one.
        """
        (answer,) = self.ask_all([request], traces, [id or uuid.uuid4().hex[:12]])
        return answer

    def ask_all(
        self,
        requests: Sequence[str],
        traces: Traces | None = None,
        ids: Sequence[str] | None = None,
        *,
        at_once: int = AT_ONCE,
        note: Callable[[int], None] = lambda done: None,
    ) -> list[Answer]:
        """Answer many requests, some side by side; what is answered in ``traces`` already is not asked again.

        Args:
            requests: the users' texts.
            traces: where messages are kept.
            ids: of the requests; None makes them of place and text, so that the same list goes on where it stopped.
            at_once: requests side by side; the same number gives the same bytes.
            note: told of requests done.

        Raises:
            TeamError: a request that is no text; ids that stand twice, or belong to other requests or another team in
                ``traces``.
        """
        for place, request in enumerate(requests, 1):
            _refuse_what_is_no_text(place, request)
        store = Traces() if traces is None else traces
        names = [_id(i, request) for i, request in enumerate(requests)] if ids is None else list(ids)
        if len(set(names)) < len(requests) or len(names) != len(requests):
            raise TeamError("ids of requests", expected="one for each, none of them twice")
        for start in range(0, len(requests), at_once):
            company = names[start : start + at_once]
            with self._turn:  # what lanes remember is of one wave
                self._wave(dict(zip(company, requests[start : start + at_once], strict=True)), store)
            note(start + len(company))
        answers = [Answer.of(store.trace(name)) for name in names]
        if traces is None:
            store.close()
        return answers

    def _wave(self, requests: Mapping[str, str], store: Traces) -> None:
        fingerprint = self.fingerprint
        for id, request in requests.items():
            store.begin(id, request, self.name, fingerprint, self.seed, list(requests))
        if all(store.trace(id).outcome != OPEN for id in requests):
            return
        for lane in self._lanes():
            lane.forget()
        wave = Wave(self._desk)
        exchanges = [self._exchange(place, id, text, wave, store) for place, (id, text) in enumerate(requests.items())]
        given_up = wave.run(
            [lambda exchange=exchange: self._work(exchange, store) for exchange in exchanges],  # type: ignore[misc]
            self.limits.seconds * PATIENCE,
        )
        for place in given_up:
            exchanges[place].closed = True
            self._end(exchanges[place], store, None, "its protocol took too long between two calls")

    def _exchange(self, place: int, id: str, request: str, wave: Wave, store: Traces) -> Exchange:
        return Exchange(
            id,
            request,
            self.roles,
            limits=self.limits,
            seed=self.seed,
            passing=self.on_failure.passing,
            answer=lambda calls: wave.answer(place, calls),
            record=store.append,
        )

    def _work(self, exchange: Exchange, store: Traces) -> None:
        """The whole exchange, in a thread; it always ends with an answer or a refusal."""
        content: Mapping[str, Any] | None = None
        problem, stopped = "nobody answered", False
        try:
            said = self.protocol(exchange)
            content = _content(said)
        except (GivenUp, OutputError):
            raise
        except Stopped as error:
            problem, stopped = str(error), True
        except (Failed, Refused) as error:
            problem = str(error)
        except BaseException as error:  # noqa: BLE001 - a protocol is anybody's code
            problem = f"the protocol raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if exchange.closed:
            return
        if content:
            store.end(exchange.id, ANSWERED, content, "")
            return
        if self.on_failure.role and not stopped:
            try:
                content = exchange.ask(self.on_failure.role).content
                store.end(exchange.id, STOOD_IN, content, problem)
                return
            except (Failed, Stopped) as error:
                problem = f"{problem}; {error}"
        self._end(exchange, store, None, problem)

    def _end(self, exchange: Exchange, store: Traces, content: Mapping[str, Any] | None, problem: str) -> None:
        fixed = self.on_failure.answer
        if fixed is not None:
            store.end(exchange.id, STOOD_IN, {"answer": fixed}, problem)
        else:
            store.end(exchange.id, REFUSED, content, problem)

    def _lanes(self) -> list[Lane]:
        return list({id(role.speaker.lane): role.speaker.lane for role in self.roles.values()}.values())

    def replaced(self, *roles: Role, seed: int | None = None) -> Team:
        """The same team with other roles in the place of those of their names, to train or to compare one of them."""
        others = {**self.roles, **{role.name: role for role in roles}}
        return Team(
            self.name,
            list(others.values()),
            self.protocol,
            limits=self.limits,
            on_failure=self.on_failure,
            seed=self.seed if seed is None else seed,
        )

    def input_of(self, role: str) -> Contract:
        """The contract of what a role is given: the fields of its input, typed as those who say them say."""
        asked = self.roles[role]
        kinds: dict[str, Kind] = {REQUEST: TEXT}
        for other in self.roles.values():
            kinds |= {name: kind for name, kind in other.output.fields.items() if name not in kinds}
        names = [n for n in kinds if n not in asked.output.fields] if asked.input is None else asked.input
        return Contract({name: kinds[name] for name in names if name in kinds})


def _refuse_what_is_no_text(place: int, request: Any) -> None:
    try:
        whole = isinstance(request, str) and request.encode() is not None
    except UnicodeEncodeError:
        whole = False
    if not whole:
        raise TeamError(f"request {place}: {request!r:.60}", expected="a text", remedy="Convert it, or drop it first.")


def _content(said: Any) -> dict[str, Any] | None:
    """What a protocol gave, as the content of an answer; None for nothing.

    Raises:
        Refused: it is none, or says nothing.
    """
    if said is None:
        return None
    content = {"answer": said} if isinstance(said, str) else said.content if isinstance(said, Message) else said
    try:
        plain: dict[str, Any] = json.loads(canonical(dict(content)).encode())
    except (TypeError, ValueError):
        raise Refused(f"the protocol gave {type(content).__name__}, not a message or fields") from None
    if not text_of(plain).strip():
        raise Refused("the protocol gave an empty answer")
    return plain


def _id(place: int, request: str) -> str:
    return f"{place + 1}-{hashlib.sha256(request.encode()).hexdigest()[:8]}"


def _listed(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"
