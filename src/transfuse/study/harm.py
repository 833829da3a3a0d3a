"""Which sources are shown to hurt, over all candidates that use them: harm that one candidate alone may hide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

WITHOUT = "without source"
"""The comparison of a candidate with the same without its sources."""


@dataclasses.dataclass(frozen=True)
class Harm:
    """Sources that are shown to hurt.

    Args:
        sources: used together.
        hurts: candidates with just these sources that are shown to be worse than without them.
        count: candidates with just these sources that were compared.
    """

    sources: tuple[str, ...]
    hurts: int
    count: int


def shown_to_hurt(records: Iterable[Mapping[str, Any]]) -> list[Harm]:
    """The sets of sources that hurt a candidate, help none, and make candidates worse in the mean.

    One verdict alone would be too few: of fifteen comparisons of a source that does nothing, some say *hurts* by luck,
    and a source may harm one method (a probe of all rows together) and serve another (a training that begins with it).
    A majority would be too many: a verdict takes a large difference on few rows, and most of a source's are *no
    evidence*. A source that truly helps would have to be unlucky in the mean, too.

    Args:
        records: of candidates, as in report.json: ``sources``, ``transfer``.
    """
    found: dict[tuple[str, ...], list[tuple[str, float]]] = {}
    for record in records:
        for t in record["transfer"]:
            if t["kind"] == WITHOUT:
                found.setdefault(tuple(record["sources"]), []).append((t["verdict"], t["difference"]["value"]))
    out = []
    for sources, told in found.items():
        verdicts = [verdict for verdict, _ in told]
        if "hurts" in verdicts and "helps" not in verdicts and np.mean([difference for _, difference in told]) < 0:
            out.append(Harm(sources, verdicts.count("hurts"), len(told)))
    return out


def gain(records: Iterable[Mapping[str, Any]], sources: Sequence[str]) -> float:
    """The mean of the log loss that just these sources save candidates that are no ensembles; 0 where none has them."""
    found = [
        t["log_loss"]["difference"]
        for record in records
        if tuple(record["sources"]) == tuple(sources) and not record.get("members")
        for t in record["transfer"]
        if t["kind"] == WITHOUT
    ]
    return float(np.mean(found)) if found else 0.0


def harm_in(sources: Sequence[str], harmful: Sequence[Harm]) -> Harm | None:
    """The first of the harmful sets that lies within some sources."""
    return next((one for one in harmful if set(one.sources) <= set(sources)), None)
