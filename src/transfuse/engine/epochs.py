"""Batches of an epoch: rows of similar length together, classes in pairs, or the nearest rows first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transfuse.engine.jobs import Schedule

WINDOW = 8
"""Batches whose rows are sorted by length together."""


def steps(rows: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return max(-(-rows // batch_size), 1)


def epochs(lengths: np.ndarray, labels: np.ndarray, schedule: Schedule, seed: int) -> Iterator[np.ndarray]:
    """Batches of positions, epoch after epoch.

    Rows of similar length share a batch (sorted within shuffled windows of eight batches), so that little is padding.
    With a contrastive term rows stay in pairs of one class, so that most batches hold positives.
    """
    generator = np.random.default_rng(seed)
    size = schedule.batch_size
    if schedule.pace < 1:
        yield from _paced(lengths, schedule, generator)
        return
    for _ in range(schedule.epochs):
        if schedule.contrastive:
            order, longest = _paired(lengths, labels, generator)
        else:
            order = generator.permutation(len(lengths))
            longest = lengths[order]
        found = []
        for start in range(0, len(order), WINDOW * size):
            part = slice(start, start + WINDOW * size)
            found += _cut(order[part], longest[part], size)
        generator.shuffle(found)
        yield from found


def _cut(rows: np.ndarray, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Rows of similar length in one batch."""
    window = rows[np.argsort(lengths, kind="stable")]
    return [window[i : i + size] for i in range(0, len(window), size)]


def _paced(lengths: np.ndarray, schedule: Schedule, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """As many steps as without a curriculum, drawn from the first rows, of which there are more and more.

    After a share t of the steps it is sqrt(t (1 - pace²) + pace²) of the rows (Platanios et al. 2019, equation 8).
    """
    size, total = schedule.batch_size, schedule.epochs * steps(len(lengths), schedule.batch_size)
    for start in range(0, total, WINDOW):
        share = np.sqrt(start / total * (1 - schedule.pace**2) + schedule.pace**2)
        first, wanted = max(int(np.ceil(share * len(lengths))), 1), min(WINDOW, total - start) * size
        drawn = generator.choice(first, wanted, replace=wanted > first)
        found = _cut(drawn, lengths[drawn], size)
        generator.shuffle(found)
        yield from found


def _paired(lengths: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows shuffled in pairs of one class, and for each the length of the longer one of its pair."""
    pairs = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        pairs += [rows[i : i + 2] for i in range(0, len(rows), 2)]
    pairs = [pairs[i] for i in generator.permutation(len(pairs))]
    longest = np.repeat([lengths[pair].max() for pair in pairs], [len(pair) for pair in pairs])
    return np.concatenate(pairs), longest
