"""The ensembles of a study: what it has fitted answers together, weighed on the validation rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transfuse.advice.candidates import Candidate, may_be_member, short
from transfuse.backbones.remote import is_remote
from transfuse.engine.ledger import Ledger
from transfuse.fitted.ensemble import pooled
from transfuse.methods.merging.ensemble import stacking_weights
from transfuse.study.assess import Assessed
from transfuse.study.choice import barred_by, knowing
from transfuse.study.fits import ending, keep
from transfuse.study.harm import harm_in, shown_to_hurt
from transfuse.study.prepare import StudyData
from transfuse.tasks.classify import Classify

KEY = "ensembles"
"""In plan.json: of each ensemble's id the ids of those that may be its members, as far as there was time for them."""
METHOD = "ensemble"
MOST = 4
"""Members of an ensemble."""
LEAST = 1e-30
"""Of a probability whose logarithm is taken."""
SAME = 1e-5
"""Log-probabilities so near to each other are those of one model, but for rounding."""
PARTS = 5
"""Parts of the validation rows: each is judged by weights that were found on the others."""
Fitted = tuple[Candidate, dict[str, Any], np.ndarray]


def ensembles(
    assessed: Sequence[Assessed], labels: np.ndarray, data: StudyData, ledger: Ledger, room: float, seed: int
) -> list[Fitted]:
    """Ensembles of each backbone's candidates: of those without sources, and with each choice of sources.

    None with a source that is shown to hurt (`shown_to_hurt`): beside members without it, its harm would not show. Nor
    with members that cannot name a label that others can (`knowing`).

    Nothing is fitted for them: their answers to the validation rows are those of their members. The weights that judge
    a row were found without it. Which members there is time to fit once more, should the ensemble be chosen, is decided
    once, and obeyed by every resume.

    Args:
        assessed: candidates with their answers and verdicts; those that hurt are in no ensemble.
        labels: int64 [N], of the validation rows.
        data: of the study.
        ledger: keeps decisions and answers.
        room: seconds that are left.
        seed: of the parts.
    """
    decided = ledger.plan
    if not isinstance(data.task, Classify) or decided is None:
        return []
    done = {
        one.candidate.id: (one.candidate, one.record, np.log(np.maximum(one.probabilities, LEAST)))
        for one in knowing([one for one in assessed if one.probabilities is not None])
        if one.probabilities is not None and not barred_by(one.record["transfer"])
    }
    if KEY not in decided:
        harmful = shown_to_hurt(one.record for one in assessed)
        pools = {
            name: _affordable(pool, mix, labels, room, data)
            for name, mix, pool in _pools(list(done.values()))
            if harm_in(mix, harmful) is None
        }
        decided = {**decided, KEY: {name: ids for name, ids in pools.items() if len(ids) > 1}}
        ledger.keep_plan(decided)
    out = []
    for name, ids in decided[KEY].items():
        if all(i in done for i in ids):
            one = _ensemble(name, [done[i] for i in ids], labels, seed)
            keep(name, one[2], data, ledger)
            out.append(one)
    return out


def _pools(done: Sequence[Fitted]) -> Iterator[tuple[str, tuple[str, ...], list[Fitted]]]:
    """The id of each ensemble, its sources, and what may be in it: with sources, what uses just these, or none."""
    backbones = list(dict.fromkeys(c.backbone for c, _, _ in done if c.backbone and not is_remote(c.backbone)))
    for backbone in backbones:
        for mix in sorted({c.sources for c, _, _ in done if c.backbone == backbone}, key=len):
            name = f"{METHOD}@{short(backbone, backbones)}" + "".join(f"+{source}" for source in mix)
            pool = distinct([one for one in done if may_be_member(one[0], backbone, mix)])
            if pool:
                yield name, mix, pool


def distinct(pool: Sequence[Fitted]) -> list[Fitted]:
    """Those that say something else than all before them: many methods are the same one without a source.

    Copies would have a weight each, and by the pull towards equal weights (`stacking_weights`) more together than one.
    """
    out: list[Fitted] = []
    for one in pool:
        if not any(np.allclose(one[2], other, atol=SAME) for _, _, other in out):
            out.append(one)
    return out


def _affordable(
    pool: Sequence[Fitted], mix: tuple[str, ...], labels: np.ndarray, room: float, data: StudyData
) -> list[str]:
    """The ids of those that are worth most to the labels and can be fitted once more in the time that is left.

    None where all of these leave the sources out: that ensemble is there already.
    """
    weights = stacking_weights(np.stack([said for _, _, said in pool]), labels)
    ids: list[str] = []
    for i in np.argsort(-weights, kind="stable"):
        candidate, record, _ = pool[i]
        seconds = ending(record, data)
        if seconds <= room and len(ids) < MOST:
            ids.append(candidate.id)
            room -= seconds
    return ids if mix in (c.sources for c, _, _ in pool if c.id in ids) else []


def _ensemble(name: str, members: Sequence[Fitted], labels: np.ndarray, seed: int) -> Fitted:
    said = np.stack([s for _, _, s in members])
    weights = stacking_weights(said, labels).round(4)
    weights /= weights.sum()
    first = members[0][0]
    sources = max((c.sources for c, _, _ in members), key=len)
    together = tuple((c, float(w)) for (c, _, _), w in zip(members, weights, strict=True))
    candidate = Candidate(name, "merging", METHOD, first.backbone, sources, {}, members=together)
    return candidate, _record([record for _, record, _ in members]), crossfit(said, labels, seed)


def crossfit(said: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """The pool [R, N, C] of log-probabilities [K, R, N, C], each row by weights that were found without it."""
    out = np.empty(said.shape[1:])
    parts = np.random.default_rng(seed).permutation(len(labels)) % PARTS
    for part in range(PARTS):
        here = parts == part
        weights = stacking_weights(said[:, :, ~here], labels[~here])
        out[:, here] = pooled(list(said[:, :, here]), weights.tolist())
    return out


def _record(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the members took, together."""
    seconds = {name: round(sum(r["seconds"][name] for r in records), 3) for name in records[0]["seconds"]}
    return {
        **{"status": "done", "reason": "", "tokens": None, "room": None, "together": None},
        "seconds": seconds,
        "estimate": sum(r["estimate"] for r in records),
        "peak_memory_mib": max(r["peak_memory_mib"] for r in records),
        "trainable_parameters": sum(r["trainable_parameters"] for r in records),
    }
