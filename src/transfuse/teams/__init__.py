"""Teams: several fitted models that answer together; roles, protocols, limits and traces."""

from transfuse.teams.answer import Answer, OnFailure
from transfuse.teams.contract import Contract
from transfuse.teams.exchange import Exchange, Failed, Limits, Refused, Stopped
from transfuse.teams.message import Message
from transfuse.teams.protocols import best_of, draft_judge_revise, pipeline, protocol, route, vote
from transfuse.teams.replay import replay
from transfuse.teams.role import Asked, Reply, Role
from transfuse.teams.team import Team
from transfuse.teams.traces import Trace, Traces

__all__ = [
    "Answer",
    "Asked",
    "Contract",
    "Exchange",
    "Failed",
    "Limits",
    "Message",
    "OnFailure",
    "Refused",
    "Reply",
    "Role",
    "Stopped",
    "Team",
    "Trace",
    "Traces",
    "best_of",
    "draft_judge_revise",
    "pipeline",
    "protocol",
    "replay",
    "route",
    "vote",
]
