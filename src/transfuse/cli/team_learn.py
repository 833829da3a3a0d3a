"""``transfuse team learn``: the roles of a team learn from its own traces."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from transfuse.cli import terminal


class How(StrEnum):
    """What is learnt of traces."""

    REJECTION = "rejection"
    VALUES = "values"


def learn(
    team: Annotated[
        Path, typer.Argument(metavar="TEAM", help="A team's folder with team.yaml, or its file.", show_default=False)
    ],
    requests: Annotated[
        str, typer.Argument(metavar="REQUESTS", help="A file with a column `request`.", show_default=False)
    ],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of sampling and training.")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="Traces of each request in a round.")] = 4,
    temperature: Annotated[float, typer.Option(min=0.01, max=10, help="Of roles that have none.")] = 0.7,
    how: Annotated[
        How, typer.Option(help="Learn what stands in accepted traces, or what each message was worth.")
    ] = How.REJECTION,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over what is learnt.", show_default="the method's")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Sample traces, keep what the team's check accepts, train the roles on it, and grade what came of it.

    The team's file says `learn: {selects: CHECK, grades: CHECK}`. One adapter a role and one for all are both trained
    and compared, on requests that were held out; TEAM/learnt/team.yaml is what was best there.

    Example: transfuse team learn runs/desk requests.csv --rounds 1 --samples 4
    """
    from transfuse.teams.learning import LEARNT, RECORD
    from transfuse.teams.learning import learn as learn_from_traces
    from transfuse.teams.training import FILE

    told, console = terminal.stderr(), terminal.stdout()
    record = learn_from_traces(
        team,
        requests,
        rounds=rounds,
        samples=samples,
        temperature=temperature,
        how=how.value,
        settings={} if epochs is None else {"epochs": epochs},
        seed=seed,
        note=lambda text: told.print(f"{text} ...", soft_wrap=True),
    )
    for number, one in enumerate(record["rounds"], 1):
        learnt = ", ".join(f"{role} {counts['pairs']}" for role, counts in one["roles"].items())
        console.print(f"round {number}: {one['traces']} traces, outcome {one['outcome']:.2f}; kept: {learnt}")
    for name, found in record["outcomes"].items():
        console.print(f"{name}: {found['accepted']:.0%} accepted, outcome {found['mean']:.2f}")
    for one in record["compared"]:
        difference = one["difference"]
        console.print(
            f"{one['a']} against {one['b']}: {one['verdict']}, {difference['value']:+.2f} "
            f"({difference['low']:+.2f} to {difference['high']:+.2f}, {one['n']} requests held out)",
            soft_wrap=True,
        )
    folder = team.parent if team.is_file() else team
    console.print(f"Best: {record['uses']}. {folder / RECORD}", soft_wrap=True)
    console.print(f"transfuse team run {folder / LEARNT / FILE}", soft_wrap=True)
