"""Answers and what they cost, in one SQLite file: no answer is lost after it is paid, and none is paid twice.

A call is written down, with its worst case, before it is sent; its answer and its price are written in one transaction
when it comes. A process that is killed in between leaves a call that counts at its worst case from then on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import psutil

from transfuse.backbones.remote.purse import Amount, OverBudget, Purse, Spent
from transfuse.backbones.remote.requests import Reply
from transfuse.data.catalog import cache_root
from transfuse.errors import OutputError

FILE = "answers.sqlite"
PATIENT = 60.0
"""Seconds that a process waits for another one's transaction."""
SAME_SECONDS = 2.0
"""Two processes of one number are one if they began so near to each other."""
TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, service TEXT NOT NULL, model TEXT NOT NULL, reply TEXT NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_of_model ON answers (service, model);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, purse TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, picodollars INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_of_purse ON calls (purse);
CREATE INDEX IF NOT EXISTS calls_of_key ON calls (key, state);
"""


class Answers:
    """The answers of all remote models, and the calls that were made for them.

    A call is ``open`` while it is under way, then ``paid``, ``doubtful``, or gone where nothing was billed.

    Args:
        file: the database; CACHE/answers.sqlite by default.

    Raises:
        OutputError: the file cannot be opened or written, or is no such database.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or cache_root() / FILE
        self._lock = threading.Lock()
        with self._told():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.file, timeout=PATIENT, isolation_level=None, check_same_thread=False)
            self.close = weakref.finalize(self, self._database.close)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(TABLES)

    def get(self, key: str) -> Reply | None:
        """The answer to a question, if it is known."""
        with self._told(), self._lock:
            found = self._database.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
        return None if found is None else Reply.from_json(found[0])

    def claim(self, key: str, purse: Purse, tokens: tuple[int, int], picodollars: int, what: str) -> Reply | int | None:
        """Reserve a call's worst case, unless its answer is known or on its way.

        Args:
            key: of the question.
            purse: what pays for it.
            tokens: most tokens of question and answer.
            picodollars: most money.
            what: the call, for messages.

        Returns:
            The answer where it is known; the number of the call; or None where it is being asked already, here or in
            another process, or where it may fit when the calls that are under way have come back.

        Raises:
            OverBudget: it does not fit.
        """
        with self._transaction() as database:
            found = database.execute("SELECT reply FROM answers WHERE key = ?", (key,)).fetchone()
            if found is not None:
                return Reply.from_json(found[0])
            if _under_way(database, "key", key):
                return None
            try:
                purse.refuse(self._spent(database, purse.name).whole, Amount(sum(tokens), picodollars), what)
            except OverBudget:
                if _under_way(database, "purse", purse.name):
                    return None
                raise
            row = (purse.name, key, "open", _myself(), *tokens, picodollars)
            return database.execute(f"INSERT INTO calls VALUES (NULL{', ?' * 7})", row).lastrowid

    def settle(self, call: int, key: str, service: str, model: str, reply: Reply, seconds: float) -> None:
        """Keep an answer and what it really cost."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (key, service, model, reply.to_json(), seconds)
            )
            database.execute(
                "UPDATE calls SET state = 'paid', input_tokens = ?, output_tokens = ?, picodollars = ? WHERE id = ?",
                (reply.input_tokens, reply.output_tokens, reply.picodollars, call),
            )

    def release(self, call: int) -> None:
        """A call that was not billed."""
        with self._transaction() as database:
            database.execute("DELETE FROM calls WHERE id = ?", (call,))

    def doubt(self, call: int) -> None:
        """A call without an answer that may have been billed: it goes on counting at its worst case."""
        with self._transaction() as database:
            database.execute("UPDATE calls SET state = 'doubtful' WHERE id = ?", (call,))

    def spent(self, purse: str) -> Spent:
        """What was spent from a purse; calls that are under way count as doubtful."""
        with self._told(), self._lock:
            return self._spent(self._database, purse)

    def seconds(self, service: str, model: str) -> float | None:
        """Mean seconds of the answers of a model so far, or None."""
        question = "SELECT AVG(seconds) FROM answers WHERE service = ? AND model = ?"
        with self._told(), self._lock:
            (mean,) = self._database.execute(question, (service, model)).fetchone()
        return None if mean is None else float(mean)

    @staticmethod
    def _spent(database: sqlite3.Connection, purse: str) -> Spent:
        question = (
            "SELECT COUNT(*), COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0), "
            "COALESCE(SUM(picodollars), 0) FROM calls WHERE purse = ? AND (state = 'paid') = ?"
        )
        (calls, read, written, money), (doubtful, may_read, may_write, may_cost) = (
            database.execute(question, (purse, flag)).fetchone() for flag in (1, 0)
        )
        return Spent(calls, read, written, money, doubtful, may_read + may_write, may_cost)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one writer at a time, in this process and among others."""
        with self._told(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutputError(
                f"{self.file}: the cache of answers cannot be used: {error}",
                expected="a database that can be written, on a disk of this machine",
                remedy="Make room, or choose another folder with TRANSFUSE_CACHE.",
            ) from error


def _myself() -> str:
    """This process, told apart from a later one of the same number."""
    return f"{os.getpid()} {psutil.Process().create_time():.2f}"


def _under_way(database: sqlite3.Connection, column: str, value: str) -> bool:
    """Whether a process that lives has sent a call of this key, or from this purse."""
    question = f"SELECT DISTINCT holder FROM calls WHERE {column} = ? AND state = 'open'"
    return any(_alive(holder) for (holder,) in database.execute(question, (value,)).fetchall())


def _alive(holder: str) -> bool:
    """Whether the process that began a call is still there; clocks that were set meanwhile are forgiven a little."""
    number, _, created = holder.partition(" ")
    try:
        return bool(abs(psutil.Process(int(number)).create_time() - float(created)) < SAME_SECONDS)
    except psutil.Error:
        return False
