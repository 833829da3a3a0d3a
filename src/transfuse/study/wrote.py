"""What the test says of written answers: examples side by side, quality by length, answers that went in circles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.evaluation import metric_intervals, metric_of
from transfuse.evaluation.texts import signature

SHOWN = 5
"""Examples at each end."""
PARTS = 3
"""Parts of the test by the length of the request."""
LEAST = 10
"""Examples that a part must have."""


def details(
    expected: np.ndarray, answers: np.ndarray, others: np.ndarray, test: Examples, metrics: Sequence[str], seed: int
) -> dict[str, Any]:
    """What the report shows beside the figures.

    Args:
        expected: what was expected, object [N].
        answers, others: of the chosen candidate and of no transfer, object [N].
        test: the examples.
        metrics: that were measured, the deciding one first.
        seed: of the bootstrap.
    """
    metric = metrics[0]
    own, plain = (each(expected, found, metric) for found in (answers, others))
    sign = 1 if metric_of(metric)[1] else -1
    order = np.argsort(-sign * own, kind="stable")
    shown = np.unique(np.concatenate([order[:SHOWN], order[-SHOWN:]]))
    rows = np.asarray(test.rows)
    return {
        "examples": [
            {
                "row": int(rows[i]),
                "input": test.texts[i],
                "reference": expected[i].answers[0],
                "no_transfer": str(others[i]),
                "chosen": str(answers[i]),
                "score": float(own[i]),
                "score_no_transfer": float(plain[i]),
            }
            for i in sorted(shown, key=lambda i: -sign * own[i])
        ],
        "signatures": {name: told for name in metrics if (told := signature(name))},
        "by_length": _by_length(expected, answers, metric, seed),
    }


def each(expected: np.ndarray, answers: np.ndarray, metric: str) -> np.ndarray:
    """The metric of each example alone, float64 [N]."""
    function, _ = metric_of(metric)
    return np.asarray(function.combine(function.statistics(expected, answers)))


def _by_length(expected: np.ndarray, answers: np.ndarray, metric: str, seed: int) -> list[dict[str, Any]]:
    """The metric where requests are short, middling and long."""
    lengths = np.array([len(one.request) for one in expected])
    parts = [part for part in np.array_split(np.argsort(lengths, kind="stable"), PARTS) if len(part) >= LEAST]
    out = []
    for part in parts if len(parts) == PARTS else []:
        figure = metric_intervals(expected[part], answers[part], seed=seed, names=[metric])[metric]
        out.append(
            {
                "from": int(lengths[part].min()),
                "to": int(lengths[part].max()),
                "n": len(part),
                "figure": figure.to_dict(),
            }
        )
    return out
