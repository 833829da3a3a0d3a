"""What a teacher has answered, kept as new training data: a line a text, on the disk before anyone relies on it."""

from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.errors import OutputError
from transfuse.evaluation import as_answers

FILE = "kept.jsonl"
USE, VALIDATION = "use", "validation"
"""What a text was answered for: for whoever asked, or to judge by (a threshold, a test), which no student may learn."""
SMALLEST = 1e-30
"""Stands for a probability of 0."""


class Kept:
    """The answers of one teacher, each text once; answers of other teachers in the same file are left alone.

    A line is a JSON object: ``text``; ``label`` and ``probabilities``, or ``answer``; ``teacher`` and ``about`` (its
    fingerprint); ``time`` (UTC); ``confidence`` of the student, None where it was not asked; ``seconds`` that the
    answer took; ``for`` (`USE` or `VALIDATION`). A line that a kill has torn is passed over, and its text asked again.

    Args:
        path: the file; None keeps the answers in memory.
        teacher: its name, for people.
        about: its fingerprint.
        labels: the task's, in the order of probabilities; empty where answers are written.
    """

    def __init__(self, path: Path | None, teacher: str, about: str, labels: Sequence[str] = ()) -> None:
        self.path, self.teacher, self.about, self.labels = path, teacher, about, tuple(labels)
        self._lines: dict[str, dict[str, Any]] = {}
        self._read = 0
        self.refresh()

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, text: object) -> bool:
        return text in self._lines

    def refresh(self) -> None:
        """Read what has been appended since, by this process or another."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new.rfind(b"\n") + 1  # what stands behind is being written, or torn
        self._read += whole
        for line in new[:whole].split(b"\n"):
            entry = self._entry(line)
            if entry is not None:
                self._lines.setdefault(entry["text"], entry)

    def _entry(self, line: bytes) -> dict[str, Any] | None:
        """A line as it was written; None where it is torn, empty, or another teacher's."""
        try:
            entry = json.loads(line.decode("utf-8", "surrogatepass"))
            ours = entry["about"] == self.about and isinstance(entry["text"], str)
            if ours and self.labels:
                [float(entry["probabilities"][label]) for label in self.labels]
            elif ours:
                str(entry["answer"])
        except (ValueError, KeyError, TypeError):
            return None
        return dict(entry) if ours else None

    def add(
        self,
        texts: Sequence[str],
        says: np.ndarray,
        confidence: np.ndarray,
        seconds: float,
        purpose: str = USE,
        *,
        write: bool = True,
    ) -> None:
        """Keep some answers; they are on the disk when this returns.

        Args:
            texts: M texts, each once.
            says: log-probabilities [M, C] or answers, object [M].
            confidence: of the student, float64 [M]; not a number where it was not asked.
            seconds: that all of them took.
            purpose: `USE` or `VALIDATION`.
            write: whether they go to the file, or stay in memory.

        Raises:
            OutputError: the file cannot be written.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        entries = []
        for text, said, sure in zip(texts, says, confidence, strict=True):
            entries.append(
                {
                    "text": text,
                    **self._said(said),
                    "teacher": self.teacher,
                    "about": self.about,
                    "time": now,
                    "confidence": None if math.isnan(sure) else float(f"{sure:.6g}"),
                    "seconds": float(f"{seconds / len(texts):.3g}"),
                    "for": purpose,
                }
            )
        if write:
            self._append(entries)
        for entry in entries:
            self._lines.setdefault(str(entry["text"]), entry)

    def _said(self, said: Any) -> dict[str, Any]:
        if not self.labels:
            return {"answer": str(said)}
        shares = np.exp(np.asarray(said, dtype=np.float64))
        named = {label: float(f"{p:.7g}") for label, p in zip(self.labels, shares, strict=True)}
        return {"label": self.labels[int(shares.argmax())], "probabilities": named}

    def _append(self, entries: Sequence[dict[str, Any]]) -> None:
        """All lines in one write at the end of the file, and down to the disk."""
        if self.path is None:
            return
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        try:
            with self.path.open("ab", buffering=0) as file:
                torn = file.tell() > 0 and not self._ends_well()
                file.write((b"\n" if torn else b"") + lines.encode("utf-8", "surrogatepass"))
                os.fsync(file.fileno())
        except OSError as error:
            raise self._refused(error) from error

    def _ends_well(self) -> bool:
        assert self.path is not None
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path}: {error.strerror or error}",
            expected="a file that can be written: what the teacher answers is kept there",
            remedy="Free the disk or move the folder; what was answered before is kept.",
        )

    def ready(self) -> None:
        """Refuse a place that cannot be written, before a teacher is asked and paid.

        Raises:
            OutputError: the file cannot be opened.
        """
        if self.path is None:
            return
        try:
            with self.path.open("ab"):
                pass
        except OSError as error:
            raise self._refused(error) from error

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """What was answered: log-probabilities float64 [M, C], or answers, object [M]; all texts must be kept."""
        if not self.labels:
            return as_answers([str(self._lines[text]["answer"]) for text in texts])
        rows = [[self._lines[text]["probabilities"][label] for label in self.labels] for text in texts]
        shares = np.maximum(np.array(rows, dtype=np.float64).reshape(-1, len(self.labels)), SMALLEST)
        return np.asarray(np.log(shares / shares.sum(axis=1, keepdims=True)))

    def seconds(self, texts: Sequence[str]) -> float:
        """That the answers to these texts took, in the mean."""
        return float(np.mean([float(self._lines[text].get("seconds") or 0) for text in texts]))

    def texts(self, purpose: str | None = None) -> tuple[str, ...]:
        """Texts that were answered, in the order of the file, for one purpose or for any."""
        return tuple(text for text, entry in self._lines.items() if purpose in (None, entry.get("for")))

    def copied(self, path: Path) -> Kept:
        """The same answers in a file; those that it holds already are not written again."""
        other = Kept(path, self.teacher, self.about, self.labels)
        new = [entry for text, entry in self._lines.items() if text not in other]
        if new:
            other._append(new)
            other.refresh()
        return other
