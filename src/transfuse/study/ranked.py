"""Which backbone and source is tried first: the larger one, as named, unless frozen probes promise more of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from transfuse.advice.candidates import PROBE, Candidate
from transfuse.engine.ledger import Ledger
from transfuse.evaluation import compare, metric_of
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
        validated = data.train.take(validation_rows(data))
        self._labels, self._groups = data.task.encode(validated), validated.groups
        self._metric, self._seed = data.task.metric, seed
        self._answers: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
        for c in candidates:
            which = (c.backbone, c.sources)
            if c.method == PROBE and which not in self._answers and ledger.has_predictions(c.id):
                found = answers(ledger.read_predictions(c.id), data)
                assert found is not None
                self._answers[which] = data.task.judged(found)

    def behind(self, backbone: str) -> int:
        """How many backbones have a probe that is shown to be better."""
        own = self._answers.get((backbone, ()))
        others = [a for (other, sources), a in self._answers.items() if other != backbone and not sources]
        return 0 if own is None else sum(self._better(a, own) for a in others)

    def _better(self, one: np.ndarray, other: np.ndarray) -> bool:
        found = compare(self._labels, one, other, metric=self._metric, seed=self._seed, groups=self._groups)
        return found.verdict == "helps"

    def figure(self, backbone: str, sources: tuple[str, ...]) -> float:
        """The metric of the probe with some sources, turned so that more is better; least where it has not run."""
        found = self._answers.get((backbone, sources))
        if found is None:
            return -np.inf
        metric, greater = metric_of(self._metric)
        sums = sum(metric.statistics(self._labels, repeat).sum(axis=0) for repeat in found)
        return float(metric.combine(np.asarray(sums)[None])[0]) * (1 if greater else -1)
