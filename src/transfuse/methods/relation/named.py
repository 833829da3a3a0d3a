"""Rows of sources with labels of any kind, over the union of these labels' words."""

from __future__ import annotations

import dataclasses

import numpy as np

from transfuse.engine.jobs import Rows, TransferData
from transfuse.methods.bounds import refuse
from transfuse.tasks.classify import Classify


def named_rows(task: Classify, data: TransferData, most: int) -> tuple[Rows, tuple[str, ...]] | None:
    """The rows of all sources over the union of their labels' words, and those words; None where there is no row.

    Labels with the same words are one class.
    """
    texts: list[str] = []
    refuse(source_limit=most)
    labels: list[str] = []
    weights: list[float] = []
    for examples in (*data.sources.values(), *data.related.values()):
        own = examples.take(range(min(most, len(examples))))
        counted = np.ones(len(own)) if own.weights is None else np.asarray(own.weights, dtype=float)
        for text, label, weight in zip(own.texts, own.labels or (), counted, strict=True):
            if weight > 0:
                texts.append(text)
                labels.append(word(task, label))
                weights.append(float(weight))
    if not texts:
        return None
    words = sorted(set(labels))
    if len(words) < 2:
        return None
    numbers = np.array([words.index(label) for label in labels], dtype=np.int64)
    none = np.zeros(len(texts), dtype=bool)
    return Rows(tuple(texts), numbers, np.array(weights), none, len(words)), tuple(words)


def word(task: Classify, label: str) -> str:
    """The word of a label of the task or of any other."""
    if label in task.labels:
        return task.word(label)
    return dataclasses.replace(task, labels=(label,), words={}).word(label)
