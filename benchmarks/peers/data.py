"""The rows that all sides of a work see."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.common import shared
from transfuse import data

INTENTS = 77

Rows = tuple[list[str], list[str]]
"""Texts and labels."""


def intents(shots: int) -> tuple[Rows, Rows]:
    """CLINC150: the first 77 intents by name, the first ``shots`` training rows of each, all their test rows."""
    train, test = _clinc("train.csv"), _clinc("test.csv")
    chosen = sorted({label for _, label in train})[:INTENTS]
    first = [pair for intent in chosen for pair in [row for row in train if row[1] == intent][:shots]]
    return _columns(first), _columns([row for row in test if row[1] in set(chosen)])


def short_texts(count: int) -> list[str]:
    """Training texts of CLINC150, in the order of the file."""
    return [text for text, _ in _clinc("train.csv")[:count]]


def sentiment(name: str, rows: int, test: int, seed: int = 0) -> tuple[Rows, Rows]:
    """Sentences of a VADER data set with their polarity: training and test rows drawn by a seed, half a class."""
    bins = {"negative": "< 0", "positive": "> 0"}
    found = data.read(f"catalog:{name}", columns=data.Columns("text", "rating", bins=bins), base=Path())
    assert found.labels is not None
    drawn = data.draw_shots(found.labels, (rows + test) // 2, seed)
    by_class = {label: [i for i in drawn if found.labels[i] == label] for label in bins}
    parts = []
    for start, stop in ((0, rows // 2), (rows // 2, (rows + test) // 2)):
        chosen = [i for own in by_class.values() for i in own[start:stop]]
        parts.append(([found.texts[i] for i in chosen], [found.labels[i] for i in chosen]))
    return parts[0], parts[1]


def _clinc(name: str) -> list[tuple[str, str]]:
    with shared("clinc150", name).open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["intent"]) for row in csv.DictReader(stream)]


def _columns(pairs: list[tuple[str, str]]) -> Rows:
    return [text for text, _ in pairs], [label for _, label in pairs]
