"""A process that asks a team 200 requests and keeps its traces in the file that is named; to be killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from teams.desk import desk, role

from transfuse.teams import Answer, Team, Traces

REQUESTS = [f"request {i} about a {'refund' if i % 2 else 'delivery'}" for i in range(200)]


def writes(given: dict[str, str], seed: int) -> str:
    """Says something else for each seed; fails for some requests."""
    time.sleep(0.002)
    if "7 about" in given["request"]:
        raise RuntimeError("no seven")
    return f"{given['intent']} {seed}"


def team() -> Team:
    return desk(role("write", writes, input=["request", "intent"], seeded=True), seed=5)


def ask(path: str) -> list[Answer]:
    return team().ask_all(REQUESTS, Traces(path), at_once=8)


if __name__ == "__main__":
    ask(sys.argv[1])
