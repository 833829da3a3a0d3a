"""From examples to the rows of a stage: labels as numbers, and what each row counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from transfuse.data.examples import Examples
from transfuse.engine.jobs import Rows, TransferData
from transfuse.errors import DataError
from transfuse.methods.bounds import refuse
from transfuse.tasks.classify import Classify


def target_rows(task: Classify, examples: Examples, total: float | None = None) -> Rows:
    """The target's rows, weighted as the user weights them; rows of weight 0 are left out.

    Args:
        task: gives the labels their numbers.
        examples: labelled.
        total: what the weights add up to; by default their own sum.

    Raises:
        DataError: no row has a weight above 0.
    """
    rows = counted_rows(task, examples, target=True)
    if not len(rows):
        raise DataError(
            f"{examples.origin}: {len(examples)} rows, none of a weight above 0",
            expected="at least one training row that counts",
            remedy="Correct the column of weights, or leave task.weight out.",
        )
    if total is None:
        return rows
    return dataclasses.replace(rows, weights=rows.weights * (total / rows.weights.sum()))


def source_rows(task: Classify, sources: Mapping[str, Examples], most: int) -> Rows | None:
    """The first ``most`` rows of each source, in the order in which the study shuffled them; None where none counts.

    Raises:
        RecipeError: ``most``, which is a setting of the methods, is no number of rows.
    """
    refuse(source_limit=most)
    taken = (examples.take(range(min(most, len(examples)))) for examples in sources.values())
    parts = [rows for rows in (counted_rows(task, examples, target=False) for examples in taken) if len(rows)]
    return Rows.join(*parts) if parts else None


def evidence(rows: Rows, most: int = 2048) -> Rows:
    """At most about ``most`` rows, the first of each class in its share: enough to choose a layer by.

    All layers are read of these rows; of the others only the layer that was chosen.
    """
    if len(rows) <= most:
        return rows
    share = most / len(rows)
    kept = []
    for label in np.unique(rows.labels):
        own = np.flatnonzero(rows.labels == label)
        kept.append(own[: max(round(share * len(own)), 2)])
    chosen = np.sort(np.concatenate(kept))
    return Rows(
        tuple(rows.texts[i] for i in chosen),
        rows.labels[chosen],
        rows.weights[chosen],
        rows.target[chosen],
        rows.classes,
    )


def counted_rows(task: Classify, examples: Examples, *, target: bool) -> Rows:
    """All rows of a weight above 0: a row that counts nothing must not move a mean, a fold or a batch either."""
    kept = counting(examples)
    if len(kept) < len(examples):
        examples = examples.take(kept)
    weights = np.ones(len(examples)) if examples.weights is None else np.asarray(examples.weights, dtype=float)
    return Rows(examples.texts, task.encode(examples.labels or ()), weights, np.full(len(examples), target))


def counting(examples: Examples) -> np.ndarray:
    """Positions of the rows of a weight above 0."""
    return np.flatnonzero(np.ones(len(examples)) if examples.weights is None else np.asarray(examples.weights) > 0)


def near_texts(data: TransferData, most: int) -> tuple[str, ...]:
    """Texts that show where the target lies, each once: its rows of a weight above 0, then unlabelled ones.

    Args:
        data: what a method may learn from.
        most: unlabelled texts, the first of them.
    """
    labelled = (data.target.texts[i] for i in counting(data.target))
    return tuple(dict.fromkeys((*labelled, *(data.unlabelled.texts[:most] if data.unlabelled else ()))))


def without(sources: Mapping[str, Examples], most: int, weights: np.ndarray) -> dict[str, Examples]:
    """The sources without those of the rows of `source_rows` that are given a weight of 0, in their order.

    Args:
        sources: of which `source_rows` takes N rows.
        most: rows of each, as there.
        weights: float [N].
    """
    left, at = {}, 0
    for name, examples in sources.items():
        own = counting(examples.take(range(min(most, len(examples)))))
        left[name] = examples.take(own[weights[at : at + len(own)] > 0])
        at += len(own)
    return left


def label_names(task: Classify) -> Rows | None:
    """The words of the labels as rows of their own classes: a label's name is an example that costs nothing.

    None where names say nothing: labels that are numbers.
    """
    words = tuple(task.word(label) for label in task.labels)
    if any(not any(character.isalpha() for character in word) for word in words):
        return None
    count = len(words)
    return Rows(words, np.arange(count), np.ones(count), np.zeros(count, dtype=bool))
