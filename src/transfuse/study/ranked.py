"""Which backbone is tried first: the larger one, unless the frozen probes have shown another to be better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfuse.advice.candidates import Candidate
from transfuse.engine.ledger import Ledger
from transfuse.evaluation import compare
from transfuse.study.fits import probabilities
from transfuse.study.prepare import StudyData
from transfuse.study.workshop import validation_rows

FROZEN = "probe"
"""The method whose validation ranks backbones: docs/benchmarks.md, *How far to trust rank*."""


def by_evidence(candidates: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> list[Candidate]:
    """The candidates in their order, but each method comes later with a backbone than with one whose probe is better.

    Better is what the paired comparison of the probes without sources on the validation rows calls *helps*; where it
    says nothing, or the probes have not run, the order stays.

    Args:
        candidates: in the order of their promise.
        data: of the study.
        ledger: knows the probes that have run.
        seed: of the comparison.
    """
    behind = _behind(candidates, data, ledger, seed)
    groups: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        groups.setdefault(f"{candidate.method} {sorted(candidate.settings.items())}", []).append(place)
    out = list(candidates)
    for places in groups.values():
        members = sorted((candidates[i] for i in places), key=lambda c: behind.get(c.backbone, 0))
        for place, candidate in zip(places, members, strict=True):
            out[place] = candidate
    return out


def _behind(candidates: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> dict[str, int]:
    """How many backbones have a probe that is shown to be better, by backbone."""
    probes: dict[str, str] = {}
    for c in candidates:
        if c.method == FROZEN and not c.sources and ledger.has_predictions(c.id):
            probes.setdefault(c.backbone, c.id)
    found = {b: probabilities(ledger.read_predictions(identifier), data) for b, identifier in probes.items()}
    answers = {backbone: np.exp(log_p) for backbone, log_p in found.items() if log_p is not None}
    labels = data.task.encode([(data.train.labels or ())[i] for i in validation_rows(data)])

    def better(one: str, other: str) -> bool:
        judged = compare(labels, answers[one], answers[other], metric=data.task.metric, seed=seed)
        return judged.verdict == "helps"

    return {b: sum(better(other, b) for other in answers if other != b) for b in answers}
