"""Intents without a single example (CLINC150): their words, what other domains' intents teach, unlabelled texts."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import clinc
from benchmarks.common import keep
from transfuse.data.examples import Examples
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.methods.catalogue import method
from transfuse.tasks.classify import Classify

BACKBONE = "catalog:minilm-l6"
NOTHING = Examples((), ())
FIGURES = ("names", "matching", "names_texts", "matching_texts", "matching_skewed")


def run() -> None:
    """Hold out each pair of neighbouring domains, learn on the other eight, and name the 30 intents of the pair.

    Without more, and with unlabelled texts of the pair from the training rows: all intents equally frequent, or skewed,
    the k-th of a random order with a share of 1/k of the first one's.
    """
    started = time.perf_counter()
    train, test = clinc.read("train.csv"), clinc.read("test.csv")
    domains = sorted({domain for _, _, domain in train})
    trunk = clinc.trunk(BACKBONE, train)
    rows = []
    for first in range(0, len(domains), 2):
        held = domains[first : first + 2]
        asked = clinc.examples([row for row in test if row[2] in held])
        task = Classify(asked.classes())
        found = {"domains": held, "intents": len(task.labels), "rows": len(asked)}
        engine, other = Engine(trunk, len(task.labels)), {"other": clinc.others(train, held)}
        own = clinc.examples([row for row in train if row[2] in held])
        even, skewed = _texts(own, seed=first), _texts(own, seed=first, skewed=True)
        for name, related, unlabelled in zip(
            FIGURES, ({}, other, {}, other, other), (None, None, even, even, skewed), strict=True
        ):
            start = time.perf_counter()
            plan = method("matching").plan(task, trunk.backbone, TransferData(NOTHING, {}, related, unlabelled), 0)
            answers = engine.predict(engine.fit(plan), asked.texts).argmax(1)
            found[name] = float((answers == task.encode(asked.labels or ())).mean())
            found[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        rows.append(found)
        print(found, flush=True)
    means = {name: float(np.mean([row[name] for row in rows])) for name in FIGURES}
    keep("unseen", "python -m benchmarks unseen", started, rows=rows, means=means)


def _texts(rows: Examples, seed: int, *, skewed: bool = False) -> Examples:
    """The texts alone, shuffled; skewed, a row of the k-th class stays with the probability 1/k."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    labels = rows.labels or ()
    if skewed:
        rank = dict(zip(rows.classes(), generator.permutation(len(rows.classes())) + 1, strict=True))
        order = np.array([i for i in order if generator.random() < 1 / rank[labels[i]]])
    return Examples(tuple(rows.texts[i] for i in order))
