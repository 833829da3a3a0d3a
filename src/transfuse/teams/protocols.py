"""Protocols: who is asked when, and whose words are the team's. Each is a function over an exchange.

A new one is such a function, too:

    def debate(exchange, sides, judge, rounds=2):
        for _ in range(rounds):
            for side in sides:
                exchange.ask(side)
        return exchange.ask(judge)

    Team("court", roles, functools.partial(debate, sides=("pro", "con"), judge="judge"))
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from transfuse.teams.exchange import Exchange, Failed, Refused
from transfuse.teams.message import FAILED, TEAM, Message, canonical

Content = Message | Mapping[str, Any]
Protocol = Callable[[Exchange], Content | None]
"""Gives the team's answer: a message, or fields; None where every role of it was passed over."""
Step = str | Protocol
"""A role, or a protocol within a protocol."""


def pipeline(exchange: Exchange, steps: Sequence[Step]) -> Content | None:
    """One after another; the last one's words are the team's.

    Where the last one is a role that was passed over, the latest words with the fields of its contract stand in.
    """
    said: list[Content | None] = []
    for number, step in enumerate(steps):
        following = steps[number + 1] if number + 1 < len(steps) else TEAM
        said.append(take(exchange, step, following if isinstance(following, str) else TEAM))
    last = steps[-1] if steps else None
    if isinstance(last, str) and said[-1] is None:
        fields = set(exchange.roles[last].output.fields)
        return next((one for one in reversed(said) if holds(one, fields)), None)
    return said[-1] if said else None


def route(exchange: Exchange, by: str, to: Mapping[str, Step], otherwise: Step | None = None) -> Content | None:
    """One role chooses a label, which says who answers.

    Args:
        exchange: what to work on.
        by: the role that chooses.
        to: the step of each label.
        otherwise: the step of every other label, and of a choice that failed; None refuses.
    """
    try:
        chosen = exchange.ask(by)
    except Failed:
        if otherwise is None:
            raise
        return take(exchange, otherwise)
    label = str(chosen.content[exchange.roles[chosen.sender].output.labelled or next(iter(chosen.content))])
    step = to.get(label, otherwise)
    if step is None:
        raise Refused(f"role '{by}' chose '{label}', for which nobody answers")
    return take(exchange, step)


def draft_judge_revise(
    exchange: Exchange,
    drafts: str,
    judge: str,
    rounds: int = 2,
    accept: Sequence[str] = (),
    strict: bool = False,
) -> Content | None:
    """A draft is judged, and written again until it is accepted.

    Args:
        exchange: what to work on.
        drafts: the role that writes; it is given what the judge said.
        judge: the role that judges.
        rounds: most drafts.
        accept: labels of the judge that accept a draft; none for the first of its labels.
        strict: refuse where no draft was accepted, rather than answer with the last.
    """
    draft: Message | None = None
    for _ in range(rounds):
        before, draft = draft, exchange.attempt(drafts, to=judge) or draft
        if draft is None or (before is not None and before.content == draft.content):
            break  # the same draft would be judged alike
        verdict = exchange.attempt(judge, to=drafts)
        if verdict is None:
            break  # nobody judges
        if approval(exchange, verdict, accept) > 0:
            return draft
    if strict or draft is None:
        raise Refused(f"role '{judge}' accepted no draft of role '{drafts}'")
    return draft


def best_of(
    exchange: Exchange,
    drafts: str | Sequence[str],
    judge: str,
    n: int = 3,
    accept: Sequence[str] = (),
) -> Content | None:
    """Several drafts, of which the one that the judge likes best is taken; the first among equals.

    Args:
        exchange: what to work on.
        drafts: the role that writes n drafts, or several roles that write n each.
        judge: the role that judges; by the probability of ``accept``, or by a number that it says.
        n: drafts of each role.
        accept: see `draft_judge_revise`.
    """
    writers = [drafts] if isinstance(drafts, str) else list(drafts)
    drafted = exchange.ask_all([(writer, {}) for writer in writers for _ in range(n)], judge)
    said = [message for message in drafted if good(message)]
    if not said:
        raise Failed(drafted[0].sender, drafted[0].problem)
    judged = exchange.ask_all([(judge, draft.content) for draft in said])
    liking = [approval(exchange, one, accept) if good(one) else float("-inf") for one in judged]
    if max(liking) == float("-inf") and not exchange.passing:
        raise Failed(judged[0].sender, judged[0].problem)
    best = said[liking.index(max(liking))]
    exchange.settle(best.content)
    return best


def vote(exchange: Exchange, voters: Sequence[str], least: int = 1) -> Content | None:
    """What most say; among equals what they are surest of, then what was said first. Who fails does not vote.

    Args:
        exchange: what to work on.
        voters: roles with one contract.
        least: votes without which the team refuses.
    """
    votes = [message for message in exchange.ask_all([(voter, {}) for voter in voters]) if good(message)]
    if len(votes) < max(least, 1):
        raise Refused(f"{len(votes)} of {len(voters)} voted; {max(least, 1)} are needed")
    count = Counter(canonical(message.content) for message in votes)
    sure = dict.fromkeys(count, 0.0)
    for message in votes:
        sure[canonical(message.content)] += message.probability or 0.0
    winner = max(votes, key=lambda m: (count[canonical(m.content)], sure[canonical(m.content)]))
    exchange.settle(winner.content)
    return winner.content


PROTOCOLS: dict[str, Callable[..., Content | None]] = {
    "pipeline": pipeline,
    "route": route,
    "draft_judge_revise": draft_judge_revise,
    "best_of": best_of,
    "vote": vote,
}
"""Name in a team's file -> function; its settings are the function's arguments."""


def protocol(name: str, **settings: Any) -> Protocol:
    """A protocol by its name, with its settings."""
    return functools.partial(PROTOCOLS[name], **settings)


def take(exchange: Exchange, step: Step, to: str = TEAM) -> Content | None:
    """What a role or a protocol says."""
    return exchange.attempt(step, to=to) if isinstance(step, str) else step(exchange)


def holds(said: Content | None, fields: Set[str]) -> bool:
    """Whether something has been said that has these fields and no others."""
    content = said.content if isinstance(said, Message) else said
    return isinstance(content, Mapping) and set(content) == fields


def good(message: Message) -> bool:
    """Whether it did not fail."""
    return message.outcome != FAILED


def approval(exchange: Exchange, verdict: Message, accept: Sequence[str] = ()) -> float:
    """How much a judge likes what it judged, above 0 where it accepts.

    A number that it says counts as it is. A label counts by the log-odds of ``accept`` where the judge gives
    probabilities, else 1 or -1.
    """
    output = exchange.roles[verdict.sender].output
    field = next((name for name, kind in output.fields.items() if isinstance(kind, tuple)), None)
    if field is None:
        return float(next((value for value in verdict.content.values() if isinstance(value, int | float)), 0.0))
    accepted = tuple(accept) or (output.fields[field][0],)
    if not verdict.scores:
        return 1.0 if verdict.content[field] in accepted else -1.0
    share = sum(math.exp(score) for label, score in verdict.scores.items() if label in accepted)
    share = min(max(share, 1e-12), 1 - 1e-12)
    odds = math.log(share) - math.log1p(-share)
    chosen = verdict.content[field] in accepted
    return max(odds, 1e-9) if chosen else min(odds, -1e-9)


def describe(step: Any) -> Any:
    """A protocol with its settings as JSON."""
    if isinstance(step, functools.partial):
        return {step.func.__name__: {name: describe(value) for name, value in step.keywords.items()}}
    if isinstance(step, Mapping):
        return {name: describe(value) for name, value in step.items()}
    if isinstance(step, Sequence) and not isinstance(step, str):
        return [describe(value) for value in step]
    return f"{step.__module__}.{step.__qualname__}" if callable(step) else step
