"""How far to trust `transfuse rank`: each score against the test accuracy of a probe, over layers and backbones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.common import keep, spread
from benchmarks.peers import data
from transfuse.advice.rank import QUICK, SCORES
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


def run() -> None:
    """Score every readout on a few rows a class, fit a probe on the same rows, read the test."""
    started = time.perf_counter()
    tasks = []
    for shots in SHOTS:
        tasks.append(("77 intents", shots, *_numbers(*data.intents(shots))))
        tasks.append(("Amazon reviews", 4 * shots, *_numbers(*data.sentiment("vader-amazon-reviews", 8 * shots, TEST))))
    rows = []
    for name, shots, texts, labels, asked, truth in tasks:
        scores: dict[str, list[float]] = {score: [] for score in QUICK}
        reached = []
        for reference in BACKBONES:
            shown, test, poolings = _features(reference, texts, asked)
            for layer in range(1, shown.shape[1]):
                for at in range(len(poolings)):
                    with one_blas_thread():
                        for score in QUICK:
                            scores[score].append(SCORES[score](shown[:, layer, at], labels))
                        head = fit_head(shown[:, layer, at], labels, int(labels.max()) + 1, c=C)
                    reached.append(float((head.logits(test[:, layer, at]).argmax(1) == truth).mean()))
        found = {score: _trust(values, reached) for score, values in scores.items()}
        rows.append({"task": name, "shots": shots, "combinations": len(reached), "best": max(reached), "scores": found})
        print(rows[-1], flush=True)
    means = {s: spread([row["scores"][s]["tau"] for row in rows]) for s in QUICK}
    keep("ranking", "python -m benchmarks ranking", started, rows=rows, means=means)


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


def _trust(scores: Sequence[float], reached: Sequence[float]) -> dict[str, Any]:
    """Weighted Kendall correlation with an interval over the combinations, and what its first choice loses."""
    from scipy.stats import weightedtau

    x, y = np.nan_to_num(np.asarray(scores), nan=-np.inf), np.asarray(reached)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(ROUNDS):
        chosen = generator.integers(0, len(x), len(x))
        drawn.append(float(weightedtau(x[chosen], y[chosen]).statistic))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    tau = float(weightedtau(x, y).statistic)
    return {"tau": tau, "low": float(low), "high": float(high), "regret": float(y.max() - y[int(np.argmax(x))])}
