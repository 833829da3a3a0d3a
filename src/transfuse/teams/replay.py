"""A recorded exchange is run again, with its company; the same team and seed must say the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from transfuse.errors import TeamError
from transfuse.teams.message import Message
from transfuse.teams.team import Team
from transfuse.teams.traces import OPEN, Traces


def replay(team: Team, traces: Traces, id: str) -> list[tuple[Message | None, Message | None]]:
    """Run a recorded exchange again, with its company; the messages that differ, as recorded and as now.

    Raises:
        TeamError: the trace is of another team or seed, or its exchange has not ended.
    """
    trace = traces.trace(id)
    if (trace.fingerprint, trace.seed) != (team.fingerprint, team.seed):
        raise TeamError(
            f"exchange '{id}': recorded of another team or seed", expected="the team as it was when it was recorded"
        )
    if trace.outcome == OPEN:
        raise TeamError(f"exchange '{id}': not ended", remedy="Ask the same requests again; it then goes on.")
    again = Traces()
    requests = [traces.trace(other).request for other in trace.company]
    team.ask_all(requests, again, trace.company, at_once=len(requests))
    new = again.trace(id).messages
    again.close()
    count = max(len(new), len(trace.messages))
    both = [(_at(trace.messages, i), _at(new, i)) for i in range(count)]
    return [(old, now) for old, now in both if old is None or now is None or old.body != now.body]


def _at(messages: Sequence[Message], place: int) -> Message | None:
    return messages[place] if place < len(messages) else None
