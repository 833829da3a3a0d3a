"""From examples to the rows of a stage: labels as numbers, and what each row counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transfuse.data.examples import Examples
from transfuse.engine.jobs import Rows
from transfuse.tasks.classify import Classify


def target_rows(task: Classify, examples: Examples, total: float | None = None) -> Rows:
    """The target's rows, weighted as the user weights them.

    Args:
        task: gives the labels their numbers.
        examples: labelled.
        total: what the weights add up to; by default their own sum.
    """
    weights = np.ones(len(examples)) if examples.weights is None else np.asarray(examples.weights, dtype=float)
    if total is not None and weights.sum() > 0:
        weights = weights * (total / weights.sum())
    labels = task.encode(examples.labels or ())
    return Rows(examples.texts, labels, weights, np.ones(len(examples), dtype=bool))


def source_rows(task: Classify, sources: Mapping[str, Examples], most: int) -> Rows | None:
    """The first ``most`` rows of each source, in the order in which the study shuffled them; None without sources."""
    parts = []
    for examples in sources.values():
        rows = target_rows(task, examples.take(range(min(most, len(examples)))))
        parts.append(Rows(rows.texts, rows.labels, rows.weights, np.zeros(len(rows), dtype=bool)))
    return Rows.join(*parts) if parts else None


def label_names(task: Classify) -> Rows | None:
    """The words of the labels as rows of their own classes: a label's name is an example that costs nothing.

    None where names say nothing: labels that are numbers.
    """
    words = tuple(task.word(label) for label in task.labels)
    if any(not any(character.isalpha() for character in word) for word in words):
        return None
    count = len(words)
    return Rows(words, np.arange(count), np.ones(count), np.zeros(count, dtype=bool))
