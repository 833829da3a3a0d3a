"""What the test says of written answers: examples side by side, quality by length, answers that went in circles."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.turns import unmarked
from transfuse.evaluation import metric_intervals, metric_of
from transfuse.evaluation.texts import signature

SHOWN = 5
"""Examples at each end."""
PARTS = 3
"""Parts of the test by the length of the request."""
KNOWN_SCRIPTS = {"CJK": "Han", "HIRAGANA": "Kana", "KATAKANA": "Kana"}
"""What Unicode's names of characters begin with, by the script's own name where it is another."""
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
                "input": unmarked(test.texts[i]),
                "reference": expected[i].answers[0],
                "no_transfer": str(others[i]),
                "chosen": str(answers[i]),
                "score": float(own[i]),
                "score_no_transfer": float(plain[i]),
            }
            for i in sorted(shown, key=lambda i: -sign * own[i])
        ],
        "signatures": {name: told for name in metrics if (told := signature(name))},
        "by_length": _by_length(expected, answers, test.groups, metric, seed),
        "by_script": _by_script(expected, answers, test.groups, metric, seed),
    }


def nearness(expected: np.ndarray, answers: np.ndarray, vectors: Callable[[list[str]], np.ndarray]) -> np.ndarray:
    """How near each answer is in meaning to the nearest that is accepted: float64 [N, 2], the cosine, and 1.

    Nothing is as near to nothing as can be, 1, and as far from anything else, 0.

    Args:
        expected: what was expected, object [N].
        answers: object [N].
        vectors: gives the vectors [M, D] of M texts.
    """
    texts = list(dict.fromkeys([str(a) for a in answers] + [text for one in expected for text in one.answers]))
    found = vectors([text or " " for text in texts]).astype(np.float64)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    place = dict(zip(texts, found, strict=True))

    def cosine(answer: str, accepted: str) -> float:
        if not answer.strip() or not accepted.strip():
            return float(answer.strip() == accepted.strip())
        return float(place[answer] @ place[accepted])

    best = [max(cosine(str(a), text) for text in one.answers) for a, one in zip(answers, expected, strict=True)]
    return np.stack([np.array(best), np.ones(len(best))], axis=1)


def each(expected: np.ndarray, answers: np.ndarray, metric: str) -> np.ndarray:
    """The metric of each example alone, float64 [N]."""
    function, _ = metric_of(metric)
    return np.asarray(function.combine(function.statistics(expected, answers)))


def script(text: str) -> str:
    """The script that most letters of a text are of, by their Unicode names; empty for a text without letters."""
    letters = [name for c in text if c.isalpha() and (name := unicodedata.name(c, ""))]
    names = Counter(name.split()[0] for name in letters)
    found = names.most_common(1)[0][0] if names else ""
    return KNOWN_SCRIPTS.get(found, found.capitalize())


def _of_part(
    part: np.ndarray,
    expected: np.ndarray,
    answers: np.ndarray,
    groups: Sequence[str] | None,
    metric: str,
    seed: int,
) -> dict[str, Any]:
    """Rows and figure of a part of the test, given by its positions."""
    own = None if groups is None else [groups[i] for i in part]
    figure = metric_intervals(expected[part], answers[part], seed=seed, names=[metric], groups=own)[metric]
    return {"n": len(part), "figure": figure.to_dict()}


def _by_script(
    expected: np.ndarray, answers: np.ndarray, groups: Sequence[str] | None, metric: str, seed: int
) -> list[dict[str, Any]]:
    """The metric by the script of the request, or of the reference where requests do not differ.

    It is what a text tells of its language; nothing where references do not differ either.
    """
    for texts in ([one.request for one in expected], [one.answers[0] for one in expected]):
        scripts = np.array([script(text) for text in texts])
        common = [name for name, n in Counter(scripts.tolist()).most_common() if n >= LEAST]
        if len(common) > 1:
            return [
                {"script": name, **_of_part(np.flatnonzero(scripts == name), expected, answers, groups, metric, seed)}
                for name in common
            ]
    return []


def _by_length(
    expected: np.ndarray, answers: np.ndarray, groups: Sequence[str] | None, metric: str, seed: int
) -> list[dict[str, Any]]:
    """The metric where requests are short, middling and long."""
    lengths = np.array([len(one.request) for one in expected])
    parts = [part for part in np.array_split(np.argsort(lengths, kind="stable"), PARTS) if len(part) >= LEAST]
    return [
        {
            "from": int(lengths[part].min()),
            "to": int(lengths[part].max()),
            **_of_part(part, expected, answers, groups, metric, seed),
        }
        for part in (parts if len(parts) == PARTS else [])
    ]
