"""1,000 requests to a team whose roles raise, hang, never return and talk rubbish, its process killed twice."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common import keep
from transfuse.teams import Answer, Limits, Role, Team, Traces, protocol

REQUESTS = [f"request {i}" for i in range(1000)]
KILLS = (600, 1500)
"""Messages that are kept when the process is killed."""
INTENTS = ["refund", "delivery", "other"]


def _number(given: dict[str, Any]) -> int:
    return int(given["request"].split()[1])


def understands(given: dict[str, Any]) -> Any:
    """One in twenty raises, one in twenty talks rubbish."""
    number = _number(given)
    if number % 20 == 3:
        raise RuntimeError("broken on purpose")
    return {"nonsense": number} if number % 20 == 7 else INTENTS[number % 3]


def writes(given: dict[str, Any], seed: int) -> str:
    """One in fifty takes twenty times what it may, one in fifty says nothing, one in 250 never returns."""
    number = _number(given)
    if number % 250 == 140:
        threading.Event().wait()
    if number % 50 == 11:
        time.sleep(1.0)
    return "" if number % 50 == 21 else f"About your {given['intent']}, {seed}."


def team() -> Team:
    """Understand and write; a role that hangs is given up after 50 ms."""
    roles = [
        Role.of("understand", understands, {"intent": INTENTS}, input=["request"]),
        Role.of("write", writes, {"reply": "text"}, input=["request", "intent"], seeded=True, seconds=0.05),
    ]
    return Team("desk", roles, protocol("pipeline", steps=["understand", "write"]), limits=Limits(seconds=5.0), seed=1)


def ask(path: str) -> list[Answer]:
    """All requests; what has been answered is not asked again."""
    return team().ask_all(REQUESTS, Traces(path), at_once=16)


def run() -> None:
    """Ask, be killed twice, ask again."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.sqlite"
        killed = [_killed(path, messages) for messages in KILLS]
        answers = ask(str(path))
        traces = Traces(path)
        told = {
            "requests": len(REQUESTS),
            "outcomes": dict(Counter(answer.outcome for answer in answers)),
            "without_words": sum(not (answer.content or answer.reason) for answer in answers),
            "traces": len(traces),
            "kept_at_kills": [len(before) for _, before in killed],
            "messages_lost": sum(len(before - _messages(path)) for _, before in killed),
            "messages_twice": _twice(path),
        }
        traces.close()
    keep("team_faults", "python -m benchmarks team_faults", started, **told)


def _killed(path: Path, messages: int) -> tuple[int, set[tuple[str, int, str]]]:
    """The exit code of the process that asks, killed when so many messages are kept, and what is kept then."""
    code = f"from benchmarks.team_faults import ask; ask({str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and len(_messages(path)) < messages:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    return process.wait(), _messages(path)


def _messages(path: Path) -> set[tuple[str, int, str]]:
    return set(_rows(path))


def _rows(path: Path) -> list[tuple[str, int, str]]:
    if not path.exists():
        return []
    try:
        with sqlite3.connect(path) as database:
            return list(database.execute("SELECT exchange, turn, body FROM messages"))
    except sqlite3.OperationalError:  # no tables yet
        return []


def _twice(path: Path) -> int:
    places = Counter((exchange, turn) for exchange, turn, _ in _rows(path))
    return sum(count - 1 for count in places.values())
