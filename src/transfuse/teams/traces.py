"""Traces: every message on disk before it is passed on, in SQLite; a killed process leaves a whole prefix."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfuse.errors import OutputError, TeamError
from transfuse.teams.message import Message, canonical

ANSWERED, STOOD_IN, REFUSED, OPEN = "answered", "stood_in", "refused", "open"
OUTCOMES = (ANSWERED, STOOD_IN, REFUSED, OPEN)
"""Of an exchange: the protocol's answer, one in its place (a fixed one, or another role's), none, not ended yet."""

_TABLES = """
create table if not exists exchanges (
    id text primary key, team text not null, fingerprint text not null, seed integer not null,
    company text not null, request text not null, began real not null,
    outcome text not null default 'open', answer text, reason text, ended real
);
create table if not exists messages (
    exchange text not null references exchanges (id), turn integer not null, sender text not null,
    outcome text not null, body text not null, seconds real not null, at real not null,
    primary key (exchange, turn)
);
create index if not exists by_sender on messages (sender);
"""


@dataclasses.dataclass(frozen=True)
class Trace:
    """One exchange as it was recorded.

    Args:
        id: of the request.
        team, fingerprint: the team's name, and the hash of all that decides what it says.
        seed: of the team.
        company: ids of the exchanges that were answered together with this one, itself included, in order.
        request: the user's text.
        messages: in order, the user's first.
        outcome: see `OUTCOMES`.
        answer: the content of the answer; None for a refusal, or none yet.
        reason: why it was refused, or why something else stands in.
        began, ended: seconds since 1970; None while it is open.
        times: when each message was recorded.
    """

    id: str
    team: str
    fingerprint: str
    seed: int
    company: tuple[str, ...]
    request: str
    messages: tuple[Message, ...]
    outcome: str
    answer: Mapping[str, Any] | None
    reason: str
    began: float
    ended: float | None
    times: tuple[float, ...]


class Traces:
    """The traces of a team's exchanges.

    Args:
        path: of the file; made if it is missing. None keeps them in memory.
        told: hears each message once it is kept.

    Raises:
        OutputError: the file cannot be written, or is no store of traces.
    """

    def __init__(self, path: str | Path | None = None, *, told: Callable[[Message], None] | None = None) -> None:
        self.path, self._told = None if path is None else Path(path), told
        self._lock = threading.RLock()
        with self._writing():
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # Threads take turns by the lock; a transaction is committed when its `with` ends.
            self._base = sqlite3.connect(self.path or ":memory:", check_same_thread=False, timeout=30.0)
            self._base.execute("pragma journal_mode = wal")
            self._base.execute("pragma synchronous = normal")  # a power cut may cost the last messages, a kill none
            with self._base:
                self._base.executescript(_TABLES)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def begin(self, id: str, request: str, team: str, fingerprint: str, seed: int, company: Sequence[str]) -> None:
        """Open an exchange; one that is open already goes on, one that has ended stays as it is.

        Raises:
            TeamError: the id belongs to another request, or to a team that would answer otherwise.
        """
        with self._lock, self._writing(), self._base:
            found = self._base.execute("select request, fingerprint, seed from exchanges where id = ?", [id]).fetchone()
            if found is None:
                self._base.execute(
                    "insert into exchanges (id, team, fingerprint, seed, company, request, began)"
                    " values (?,?,?,?,?,?,?)",
                    [id, team, fingerprint, seed, canonical(list(company)), request, time.time()],
                )
            elif tuple(found) != (request, fingerprint, seed):
                what = "another request" if found[0] != request else "another team or seed"
                raise TeamError(
                    f"{self.path or 'traces'}: the id '{id}' belongs to {what}",
                    expected="an id of its own for each request, and one team in a file of traces",
                    remedy="Use another id, or another file.",
                )

    def append(self, message: Message) -> Message:
        """Keep a message, on disk when this returns; one that is kept at its place already stays, and is given back."""
        with self._lock, self._writing(), self._base:
            place = [message.exchange, message.turn]
            kept = self._base.execute("select body, seconds from messages where exchange = ? and turn = ?", place)
            found = kept.fetchone()
            if found is not None:
                return Message.from_body(*found)
            row = [*place, message.sender, message.outcome, message.body, message.seconds, time.time()]
            self._base.execute("insert into messages values (?,?,?,?,?,?,?)", row)
        if self._told is not None:
            self._told(message)
        return message

    def end(self, id: str, outcome: str, answer: Mapping[str, Any] | None, reason: str) -> None:
        """Keep what an exchange came to; the first end stays."""
        text = None if answer is None else canonical(dict(answer))
        with self._lock, self._writing(), self._base:
            self._base.execute(
                "update exchanges set outcome = ?, answer = ?, reason = ?, ended = ? where id = ? and outcome = 'open'",
                [outcome, text, reason, time.time(), id],
            )

    def trace(self, id: str) -> Trace:
        """One exchange.

        Raises:
            TeamError: there is none of that id.
        """
        found = self.search(id=id)
        if not found:
            raise TeamError(f"{self.path or 'traces'}: no exchange '{id}'", remedy="List them without an id.")
        return found[0]

    def search(
        self,
        *,
        id: str | None = None,
        role: str | None = None,
        text: str | None = None,
        outcome: str | None = None,
        since: float | None = None,
        until: float | None = None,
        most: int | None = None,
    ) -> list[Trace]:
        """Exchanges, in the order in which they began.

        Args:
            id: of one.
            role: a role that has said something in it.
            text: stands in what somebody said in it, the user too (what the role said, with ``role``).
            outcome: see `OUTCOMES`; or ``failed`` for those in which a role (the one named) failed.
            since, until: when it began, seconds since 1970.
            most: the last so many.
        """
        inner, values = ["m.exchange = e.id"], []
        for column, value in (("m.sender = ?", role), ("m.outcome = ?", outcome if outcome == "failed" else None)):
            if value is not None:
                inner.append(column)
                values.append(value)
        if text is not None:
            said = "select 1 from json_tree(m.body, '$.content') v where instr(lower(v.atom), lower(?)) > 0"
            inner.append(f"exists ({said})")
            values.append(text)
        where = [f"exists (select 1 from messages m where {' and '.join(inner)})"] if len(inner) > 1 else []
        plain = [("e.id = ?", id), ("e.began >= ?", since), ("e.began < ?", until)]
        plain.append(("e.outcome = ?", outcome if outcome != "failed" else None))
        for column, given in plain:
            if given is not None:
                where.append(column)
                values.append(given)  # type: ignore[arg-type]
        order = f"select rowid, * from exchanges e where {' and '.join(where) or '1'} order by rowid desc limit ?"
        with self._lock:
            rows = self._base.execute(order, [*values, -1 if most is None else most]).fetchall()
            return [self._trace(row[1:]) for row in reversed(rows)]

    def __len__(self) -> int:
        with self._lock:
            return int(self._base.execute("select count(*) from exchanges").fetchone()[0])

    def _trace(self, row: Sequence[Any]) -> Trace:
        id, team, fingerprint, seed, company, request, began, outcome, answer, reason, ended = row
        found = self._base.execute("select body, seconds, at from messages where exchange = ? order by turn", [id])
        messages = found.fetchall()
        return Trace(
            id,
            team,
            fingerprint,
            seed,
            tuple(json.loads(company)),
            request,
            tuple(Message.from_body(body, seconds) for body, seconds, _ in messages),
            outcome,
            None if answer is None else json.loads(answer),
            reason or "",
            began,
            ended,
            tuple(at for _, _, at in messages),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutputError(
                f"{self.path or 'traces'}: cannot be written: {error}",
                expected="a file of traces on a disk with room, in a folder that can be written",
                remedy="Choose another file, or free the disk; the same command then goes on.",
            ) from error


def text_of(content: Mapping[str, Any] | None) -> str:
    """A content as people read it: the text or label where it is one, else JSON."""
    if not content:
        return ""
    values = list(content.values())
    return values[0] if len(values) == 1 and isinstance(values[0], str) else json.dumps(content, ensure_ascii=False)
