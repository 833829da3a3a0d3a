"""Traces to learn from: each request several times, some of them branching off from others half-way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from transfuse.teams.contract import REQUEST
from transfuse.teams.decoders import Writes
from transfuse.teams.message import USER, Message
from transfuse.teams.role import Role
from transfuse.teams.team import Team
from transfuse.teams.traces import Trace, Traces


def writers(team: Team) -> dict[str, Writes]:
    """The roles that write with a decoder on this machine, by name: those that learn from traces."""
    return {name: role.speaker for name, role in team.roles.items() if isinstance(role.speaker, Writes)}


def warmed(team: Team, temperature: float) -> Team:
    """The same team, whose writing roles sample: those without a temperature get this one."""
    roles: list[Role] = []
    for name, speaker in writers(team).items():
        decoding = speaker.path.decoding
        if decoding.temperature == 0:
            path = speaker.path.with_decoding(dataclasses.replace(decoding, temperature=temperature))
            roles.append(dataclasses.replace(team.roles[name], speaker=dataclasses.replace(speaker, path=path)))
    return team.replaced(*roles)


def sampled(
    team: Team,
    requests: Sequence[str],
    store: Traces,
    samples: int,
    note: Callable[[str], None] = lambda text: None,
) -> list[list[Trace]]:
    """Several traces of each request; what is in the store already is not asked again.

    Half of them are fresh. The others keep the beginning of a fresh one and go on anew from a later turn, so that
    later roles, too, have siblings that were told the same. Where one role speaks alone, all are fresh.

    Args:
        team: it must sample, see `warmed`.
        requests: N texts.
        store: where traces are kept.
        samples: of each request.
        note: told what is done now.

    Returns:
        the traces of each request.
    """
    fresh = -(-samples // 2)
    found: list[list[Trace]] = [[] for _ in requests]
    for sample in range(samples):
        note(f"sample {sample + 1}/{samples}")
        ids = [f"{place}-{sample}" for place in range(len(requests))]
        if sample >= fresh:
            for place, id in enumerate(ids):
                _branch(found[place][sample - fresh], id, sample - fresh, team, store)
        team.ask_all(requests, store, ids)
        for place, id in enumerate(ids):
            found[place].append(store.trace(id))
    return found


def in_order(messages: Sequence[Message], roles: Mapping[str, Role]) -> tuple[Message, ...]:
    """Messages whose fields stand in the order in which their roles were shown them; a store keeps them sorted."""
    known, out = [REQUEST], []
    for message in messages:
        role = roles.get(message.sender)
        if role is not None:
            order = dict.fromkeys((*(known if role.input is None else role.input), *message.given))
            given = {name: message.given[name] for name in order if name in message.given}
            message = dataclasses.replace(message, given=given)
            known += [name for name in role.output.fields if name not in known]
        out.append(message)
    return tuple(out)


def _branch(trunk: Trace, id: str, number: int, team: Team, store: Traces) -> None:
    """Keep the first messages of a trace as those of a new exchange, which then goes on from there."""
    said = [message for message in trunk.messages if message.sender != USER]
    if len(said) < 2:
        return
    turn = 1 + number % (len(said) - 1)
    store.begin(id, trunk.request, team.name, team.fingerprint, team.seed, [id])
    for message in trunk.messages[: turn + 1]:
        store.append(dataclasses.replace(message, exchange=id))
