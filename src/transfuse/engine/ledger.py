"""The ledger of a study: what has been decided and done, so that a kill loses at most what was running."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.errors import OutputError

PLAN, LEDGER, PREDICTIONS = "plan.json", "ledger", "predictions"


class Ledger:
    """A study's folder: every file appears whole, in one step, or not at all.

    Args:
        folder: the output folder; made if it is missing.

    Raises:
        OutputError: the folder cannot be made or written, or another process is running a study in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self._writing(folder):
            for name in (LEDGER, PREDICTIONS):
                (folder / name).mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder / LEDGER / "lock")
        self._spent_before = float((self.read("spent") or {}).get("seconds", 0.0))
        self._began = self._kept = time.monotonic()

    def close(self) -> None:
        """Let other processes, and later runs of this one, have the folder."""
        self._lock.release()

    @property
    def seconds(self) -> float:
        """Time spent on this study, over all resumes."""
        return self._spent_before + time.monotonic() - self._began

    @property
    def trainings(self) -> Path:
        """Where long trainings stand, while they run."""
        return self.folder / LEDGER / "trainings"

    def read(self, name: str) -> dict[str, Any] | None:
        """A record by its name, or None where there is none."""
        return read_json(self.folder / LEDGER / f"{name}.json")

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Keep a record, and the time spent so far."""
        self.write_json(self.folder / LEDGER / f"{name}.json", record)
        self.tick(every=0.0)

    def tick(self, every: float = 2.0) -> None:
        """Keep the time spent so far, at most once in ``every`` seconds, so that a kill does not make it unspent."""
        if time.monotonic() - self._kept >= every:
            self._kept = time.monotonic()
            self.write_json(self.folder / LEDGER / "spent.json", {"seconds": self.seconds})

    @property
    def plan(self) -> dict[str, Any] | None:
        """What was decided before the fits, or None."""
        return read_json(self.folder / PLAN)

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Write plan.json, which every resume obeys."""
        self.write_json(self.folder / PLAN, plan)

    def write_json(self, path: Path, record: dict[str, Any]) -> None:
        """Write JSON in one step."""
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        self._replace(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))

    def write_rows(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows of equal keys as CSV, in one step."""

        def write(scratch: Path) -> None:
            with scratch.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

        self._replace(path, write)

    def write_predictions(self, name: str, columns: dict[str, Any]) -> None:
        """Write predictions/NAME.parquet in one step.

        Args:
            name: the candidate's id.
            columns: equally long lists or arrays by column name.
        """
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table({k: pyarrow.array(v) for k, v in columns.items()})
        self._replace(self._predictions(name), lambda scratch: pyarrow.parquet.write_table(table, scratch))

    def has_predictions(self, name: str) -> bool:
        """Whether predictions of this name were kept."""
        return self._predictions(name).exists()

    def read_predictions(self, name: str) -> dict[str, np.ndarray]:
        """The columns that `write_predictions` kept."""
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(self._predictions(name))
        return {k: table.column(k).to_numpy(zero_copy_only=False) for k in table.column_names}

    def _predictions(self, name: str) -> Path:
        return self.folder / PREDICTIONS / f"{name}.parquet"

    def _replace(self, path: Path, write: Any) -> None:
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        with self._writing(path):
            try:
                write(scratch)
                scratch.replace(path)
            finally:
                scratch.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written: {error.strerror or error}",
                expected="a folder that can be written, on a disk with room",
                remedy="Choose another folder with --out, or free the disk; the same command then goes on.",
            ) from error


def _locked(path: Path) -> Any:
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OutputError(
            f"{path.parent.parent}: another process is running a study here",
            expected="one process for each output folder",
            remedy="Wait for it, or choose another folder with --out.",
        ) from None
    return lock


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file, or None where it is missing.

    Raises:
        OutputError: the file is no JSON.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OutputError(
            f"{path}: not JSON: {error}",
            expected="the file that transfuse wrote",
            remedy="Start again with --fresh, which keeps the folder under another name.",
        ) from error
