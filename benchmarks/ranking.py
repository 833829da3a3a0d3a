"""How far to trust `transfuse rank`: each score against the test accuracy that is reached, after training above all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.common import Parts, keep, spread
from benchmarks.peers import data
from transfuse.advice.label_scores import clusters
from transfuse.advice.rank import MOST_CLUSTERS, SCORES, SLOW, source_score
from transfuse.backbones import loading
from transfuse.backbones import precision as arithmetic
from transfuse.engine.logistic import fit_head
from transfuse.engine.threads import one_blas_thread

BACKBONES = ("catalog:minilm-l6", "catalog:smollm2-135m-instruct")
SHOTS = (3, 8)
TEST = 1000
C = 0.1
ROUNDS = 500
"""Resamples of the combinations."""
SOURCES = ("vader-movie-reviews", "vader-tweets", "vader-nyt")
SOURCE_ROWS, SOURCE_SHOTS, SOURCE_LAYERS = 1000, 32, 6
SOURCE_SCORES = ("transfer", "leep", "proxy_a", "discrepancy")
"""Of the last two the less the better."""
STATIC = ("width", "parameters")
"""What is known of a backbone without any rows: what a score must beat."""


def run() -> None:
    """Score every readout on a few rows a class, fit a probe on the same rows and train on them, read the test."""
    started = time.perf_counter()
    parts = Parts("ranking")
    tuned = [_tuned(row) for row in trained.measured(parts)]
    probes = parts.part("probes", _probes)
    names = {name for row in probes for name in row["scores"]}
    means = {
        n: spread([r["scores"][n]["tau"] for r in probes if n in r["scores"]]) for n in (*SCORES, *STATIC) if n in names
    }
    sources = parts.part("sources", _sources)
    every = {"trained": tuned, "rows": probes, "means": means, "sources": sources}
    keep("ranking", "python -m benchmarks ranking", started, **every, **parts.made)


def _tuned(row: dict[str, Any]) -> dict[str, Any]:
    """What each score foretold of the accuracies after training: of sources, over the combinations with one."""
    every = row["combinations"]
    names = list(dict.fromkeys(name for one in every for name in one["scores"]))
    found = {}
    for name in names:
        some = [one for one in every if name in one["scores"]]
        trust = _trust([one["scores"][name] for one in some], [one["reached"] for one in some])
        if trust is not None:
            found[name] = {**trust, "combinations": len(some)}
    best = max(every, key=lambda one: one["reached"])
    about = {"draw": row["draw"], "combinations": len(every), "best": best["reached"], "scores": found}
    print(about, flush=True)
    return {**about, "layer": best["layer"], "source": best["source"], "each": every}


def _probes() -> list[dict[str, Any]]:
    """Every layer and pooling of both backbones against a probe on the same rows."""
    tasks = []
    for shots in SHOTS:
        tasks.append(("77 intents", shots, *_numbers(*data.intents(shots))))
        tasks.append(("Amazon reviews", 4 * shots, *_numbers(*data.sentiment("vader-amazon-reviews", 8 * shots, TEST))))
    rows = []
    for name, shots, texts, labels, asked, truth in tasks:
        taken = [score for score in SCORES if score not in SLOW or clusters(labels) <= MOST_CLUSTERS]
        scores: dict[str, list[float]] = {score: [] for score in (*taken, *STATIC)}
        reached = []
        for reference in BACKBONES:
            shown, test, poolings = _features(reference, texts, asked)
            backbone = loading.load(reference)
            for layer in range(1, shown.shape[1]):
                for at in range(len(poolings)):
                    with one_blas_thread():
                        for score in taken:
                            scores[score].append(SCORES[score](shown[:, layer, at], labels))
                    for known in STATIC:
                        scores[known].append(float(getattr(backbone, known)))
                    with one_blas_thread():
                        head = fit_head(shown[:, layer, at], labels, int(labels.max()) + 1, c=C)
                    reached.append(float((head.logits(test[:, layer, at]).argmax(1) == truth).mean()))
        trusts = {score: _trust(values, reached) for score, values in scores.items()}
        found = {score: trust for score, trust in trusts.items() if trust is not None}
        rows.append({"task": name, "shots": shots, "combinations": len(reached), "best": max(reached), "scores": found})
        print(rows[-1], flush=True)
    return rows


def _sources() -> dict[str, Any]:
    """Backbone, layer and source: each score of the source against a probe on the source and the target's few rows."""
    train, test = data.sentiment("vader-amazon-reviews", 2 * SOURCE_SHOTS, TEST)
    texts, labels, asked, truth = _numbers(train, test)
    drawn = [(name, *_numbers(*data.sentiment(name, SOURCE_ROWS, 2))[:2]) for name in SOURCES]
    with_noise = [*drawn, ("random labels", drawn[0][1], np.random.default_rng(0).permutation(drawn[0][2]))]
    scores: dict[str, list[float]] = {score: [] for score in SOURCE_SCORES}
    reached = []
    for reference in BACKBONES:
        shown, read, _ = _features(reference, texts, asked)
        for name, rows, y in with_noise:
            x = _features(reference, rows, rows[:1])[0]
            for layer in np.linspace(1, shown.shape[1] - 1, SOURCE_LAYERS).round().astype(int):
                at = (x[:, layer, 0], y), (shown[:, layer, 0], labels)
                with one_blas_thread():
                    found = source_score(name, *at, same_labels=True)
                    both, counts = np.concatenate([at[0][0], at[1][0]]), np.array([1.0, len(y) / len(labels)])
                    weights = np.repeat(counts, [len(y), len(labels)])
                    head = fit_head(both, np.concatenate([y, labels]), 2, c=0.01, weights=weights)
                for score in SOURCE_SCORES:
                    sign = 1 if score in SOURCE_SCORES[:2] else -1
                    scores[score].append(sign * getattr(found, score))
                reached.append(float((head.logits(read[:, layer, 0]).argmax(1) == truth).mean()))
    found_all = {score: _trust(values, reached) for score, values in scores.items()}
    print(found_all, flush=True)
    return {"combinations": len(reached), "best": max(reached), "shots": SOURCE_SHOTS, "scores": found_all}


def _numbers(train: data.Rows, test: data.Rows) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    names = sorted(set(train[1]))
    asked = list(range(len(test[0])))[:: max(len(test[0]) // TEST, 1)]
    labels, truth = (np.array([names.index(x) for x in found]) for found in (train[1], [test[1][i] for i in asked]))
    return train[0], labels, [test[0][i] for i in asked], truth


def _features(reference: str, texts: list[str], asked: list[str]) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    backbone = loading.load(reference)
    precision = str(arithmetic.choose(backbone, texts[:16], 256)["precision"])
    layers = list(range(backbone.layers + 1))
    shown, test = (backbone.features(backbone.tokens(x, None, 256), layers, precision) for x in (texts, asked))
    return shown, test, backbone.poolings


def _trust(scores: Sequence[float], reached: Sequence[float]) -> dict[str, Any] | None:
    """Weighted Kendall correlation with an interval over the combinations, and what its first choice loses.

    None of a score that is the same for all combinations.
    """
    from scipy.stats import weightedtau

    if len(set(scores)) < 2:
        return None
    x, y = np.nan_to_num(np.asarray(scores), nan=-np.inf), np.asarray(reached)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(ROUNDS):
        chosen = generator.integers(0, len(x), len(x))
        drawn.append(float(weightedtau(x[chosen], y[chosen]).statistic))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    tau = float(weightedtau(x, y).statistic)
    return {"tau": tau, "low": float(low), "high": float(high), "regret": float(y.max() - y[int(np.argmax(x))])}
