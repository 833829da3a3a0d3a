"""The fits of a study: each candidate once, kept in the ledger with its predictions."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.advice.planner import Planned
from transfuse.engine.ledger import Ledger
from transfuse.errors import OutputError, TransfuseError
from transfuse.study.prepare import StudyData
from transfuse.study.progress import Progress
from transfuse.study.workshop import Outcome, Workshop, validation_rows


@dataclasses.dataclass
class Fits:
    """The fits of a study: each candidate once, the ledger knows which are done."""

    data: StudyData
    workshop: Workshop
    ledger: Ledger
    progress: Progress
    say: Mapping[str, str]
    tried: set[str] = dataclasses.field(default_factory=set)

    def run(
        self, some: Sequence[Planned], planned: Sequence[Planned]
    ) -> list[tuple[Candidate, dict[str, Any], np.ndarray | None]]:
        """Fit some of what is planned, one candidate after another, unless it was fitted before.

        Returns:
            (candidate, record, answers where there are some) of each.
        """
        running = [p for p in planned if p.room is None]
        out: list[tuple[Candidate, dict[str, Any], np.ndarray | None]] = []
        for one in some:
            estimate = {"estimate": one.seconds, "room": None if one.barred else one.room, "together": one.together}
            if one.room is not None:
                out.append((one.candidate, _record("skipped", one.reason) | estimate, None))
                continue
            record = self.ledger.read(one.candidate.id)
            if record is None or (record["status"] != "done" and one.candidate.id not in self.tried):
                record = self._fit(one, running)
            found = self.ledger.read_predictions(one.candidate.id) if record["status"] == "done" else None
            out.append((one.candidate, record | estimate, answers(found, self.data)))
        return out

    def _fit(self, one: Planned, running: Sequence[Planned]) -> dict[str, Any]:
        """Fit a candidate and tell how far it is, and how far the study is."""
        identifier, ledger, progress = one.candidate.id, self.ledger, self.progress
        left = sum(p.seconds for p in running if ledger.read(p.candidate.id) is None)
        progress.candidate(identifier, running.index(one) + 1, len(running))

        def tell(text: str, share: float) -> None:
            ledger.tick()
            progress.update(text, share, left - one.seconds * share)

        self.workshop.report = tell
        self.tried.add(identifier)
        record = _attempt(one.candidate, self.data, self.workshop, ledger)
        progress.done(identifier, ": ".join(filter(None, (self.say[record["status"]], record["reason"]))))
        for tokens, size in self.workshop.computed_anew(one.candidate.backbone):
            progress.note(self.say["anew"].format(tokens=tokens, gib=size / 2**30))
        if self.workshop.not_packed(one.candidate.backbone):
            progress.note(self.say["unpacked"].format(backbone=one.candidate.backbone))
        return record


def _attempt(candidate: Candidate, data: StudyData, workshop: Workshop, ledger: Ledger) -> dict[str, Any]:
    """Fit one candidate; what goes wrong with it is its own affair, unless nothing can be written at all."""
    try:
        outcome = workshop.validate(candidate)
    except OutputError:
        raise
    except TransfuseError as error:
        record = _record("failed", str(error).replace("\n", " "))
    except MemoryError:
        record = _record("failed", "not enough memory")
    except Exception as error:  # a candidate must not end the study; --debug shows where it came from
        with contextlib.suppress(Exception):
            import os

            if os.environ.get("TRANSFUSE_DEBUG"):
                raise
        record = _record("failed", f"{type(error).__name__}: {error}")
    else:
        keep(candidate.id, outcome.answers, data, ledger)
        record = _record("done", "", outcome)
    ledger.write(candidate.id, record)
    return record


def _record(status: str, reason: str, outcome: Outcome | None = None) -> dict[str, Any]:
    if outcome is None:
        return {
            "status": status,
            "reason": reason,
            "seconds": None,
            "peak_memory_mib": None,
            "trainable_parameters": None,
            "tokens": None,
        }
    return {
        "status": status,
        "reason": reason,
        "seconds": {"fit": round(outcome.fit, 3), "predict_per_1000": round(outcome.predict_per_1000, 3)},
        "peak_memory_mib": round(outcome.peak_memory),
        "trainable_parameters": outcome.trainable_parameters,
        "tokens": outcome.tokens,
    }


def keep(name: str, answers: np.ndarray, data: StudyData, ledger: Ledger) -> None:
    """One row a prediction: repeat, row of the user's file, label, and a log-probability for each class or the text."""
    rows = validation_rows(data)
    repeats = len(answers)
    flat = answers.reshape(repeats * len(rows), *answers.shape[2:])
    columns: dict[str, Any] = {
        "split": ["validation"] * len(flat),
        "repeat": np.repeat(np.arange(repeats), len(rows)),
        "row": np.tile(np.asarray(data.train.rows)[rows], repeats),
        "label": [(data.train.labels or ())[i] for i in rows] * repeats,
    }
    columns |= data.task.columns(flat)
    ledger.write_predictions(name, columns)


def ending(record: Mapping[str, Any], data: StudyData) -> float:
    """Seconds to fit a candidate on all rows, should it be chosen, and to read the test with it.

    Args:
        record: of the candidate, with its ``seconds``.
        data: of the study.
    """
    took = record["seconds"]
    return float(took["fit"] / len(data.splits.fits) + took["predict_per_1000"] * len(data.test) / 1000)


def answers(columns: dict[str, np.ndarray] | None, data: StudyData) -> np.ndarray | None:
    """The log-probabilities [R, N, C], or the texts [R, N], that `_keep` wrote."""
    if columns is None:
        return None
    flat = data.task.from_columns(columns)
    return flat.reshape(data.splits.repeats, -1, *flat.shape[1:])
