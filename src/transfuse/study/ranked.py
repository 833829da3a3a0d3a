"""Which backbone and source is tried first: the larger one, as named, unless frozen probes promise more of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from transfuse.advice.candidates import PROBE, Candidate
from transfuse.engine.ledger import Ledger
from transfuse.study.assess import Judge
from transfuse.study.fits import answers
from transfuse.study.prepare import StudyData
from transfuse.study.workshop import validation_rows


def by_evidence(candidates: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> list[Candidate]:
    """The candidates in their order, but each method comes first with what frozen probes have shown to promise more.

    A backbone stands behind those whose probe without sources is better: what the paired comparison on the validation
    rows calls *helps*. Of several sources that with the best probe comes first. Where the probes say nothing, or have
    not run, the order stays.

    Args:
        candidates: in the order of their promise.
        data: of the study.
        ledger: knows the probes that have run.
        seed: of the comparison.
    """
    probes = _Probes(candidates, data, ledger, seed)
    groups: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        groups.setdefault(f"{candidate.method} {sorted(candidate.settings.items())}", []).append(place)
    out = list(candidates)
    for places in groups.values():
        _put(out, places, lambda c: probes.behind(c.backbone))
        for backbone in {out[i].backbone for i in places}:
            own = [i for i in places if out[i].backbone == backbone and out[i].sources]
            _put(out, own, lambda c: -probes.figure(c.backbone, c.sources))
    return out


def _put(out: list[Candidate], places: Sequence[int], key: Callable[[Candidate], float]) -> None:
    """Sort the candidates at some places among these places."""
    for place, candidate in zip(places, sorted((out[i] for i in places), key=key), strict=True):
        out[place] = candidate


class _Probes:
    """What the frozen probes that have run say on the validation rows."""

    def __init__(self, candidates: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> None:
        self._judge = _judge(data, seed)
        self._answers: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
        for c in candidates:
            which = (c.backbone, c.sources)
            if c.method == PROBE and which not in self._answers and ledger.has_predictions(c.id):
                self._answers[which] = _said(c, data, ledger)

    def behind(self, backbone: str) -> int:
        """How many backbones have a probe that is shown to be better."""
        own = self._answers.get((backbone, ()))
        others = [a for (other, sources), a in self._answers.items() if other != backbone and not sources]
        return 0 if own is None else sum(self._judge.compare(a, own).verdict == "helps" for a in others)

    def figure(self, backbone: str, sources: tuple[str, ...]) -> float:
        """The metric of the probe with some sources, turned so that more is better; least where it has not run."""
        found = self._answers.get((backbone, sources))
        return -np.inf if found is None else self._judge.figure(found)


def leader(candidates: Sequence[Candidate], data: StudyData, ledger: Ledger, seed: int) -> Candidate | None:
    """Of those that have run the best on the validation rows, or None; of equal ones the first."""
    judge = _judge(data, seed)
    ran = [c for c in candidates if ledger.has_predictions(c.id)]
    return max(ran, key=lambda c: judge.figure(_said(c, data, ledger)), default=None)


def _judge(data: StudyData, seed: int) -> Judge:
    validated = data.train.take(validation_rows(data))
    return Judge(data.task.encode(validated), data.task.metric, seed, groups=validated.groups)


def _said(candidate: Candidate, data: StudyData, ledger: Ledger) -> np.ndarray:
    """The answers of a candidate that has run, as the metric reads them."""
    found = answers(ledger.read_predictions(candidate.id), data)
    assert found is not None
    return data.task.judged(found)
