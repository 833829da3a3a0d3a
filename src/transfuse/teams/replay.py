"""A recorded exchange is run again, with its company; the same team and seed must say the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from transfuse.errors import TeamError
from transfuse.teams.answer import Answer
from transfuse.teams.message import Message
from transfuse.teams.team import Team
from transfuse.teams.traces import OPEN, Traces

Part = Message | Answer


def replay(team: Team, traces: Traces, id: str) -> list[tuple[Part | None, Part | None]]:
    """Run a recorded exchange again, with its company.

    Returns:
        what differs, as recorded and as now: messages, None where there is none, and last the answers, where their
        content, outcome or reason do.

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
    answers = team.ask_all(requests, again, trace.company, at_once=len(requests))
    again.close()
    then, now = Answer.of(trace), answers[trace.company.index(id)]
    count = max(len(then.messages), len(now.messages))
    both = [(_at(then.messages, i), _at(now.messages, i)) for i in range(count)]
    found: list[tuple[Part | None, Part | None]] = [
        (old, new) for old, new in both if old is None or new is None or old.body != new.body
    ]
    alike = (then.content, then.outcome, then.reason) == (now.content, now.outcome, now.reason)
    return found if alike else [*found, (then, now)]


def _at(messages: Sequence[Message], place: int) -> Message | None:
    return messages[place] if place < len(messages) else None
