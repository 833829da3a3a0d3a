"""Seeded splits: a test set held out, a few shots a class, folds of a cross-validation.

All are deterministic: the same examples and seed give the same positions on every platform.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from transfuse.data.examples import Examples
from transfuse.data.near import fold
from transfuse.errors import DataError


@dataclasses.dataclass(frozen=True)
class Fold:
    """Positions to train on and to validate on, int64 and sorted, with the repeat and the fold counted from 0."""

    repeat: int
    fold: int
    train: np.ndarray
    validation: np.ndarray


def hold_out(examples: Examples, rows: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a part that is held out, such as the test set.

    Without groups the part has the label shares of the whole (largest remainders), and of texts that are equal
    (case and white space aside) it draws one at most: the copies stay in the rest, for `hygiene.drop_copies` to drop.
    With groups, whole groups go to one side or the other, and the part has as near to ``rows`` rows as the drawn
    order of groups allows.

    Args:
        rows: how many (an int), or which share of all (a float between 0 and 1).
        seed: an int >= 0.

    Returns:
        (held, rest): sorted positions, int64.

    Raises:
        DataError: fewer than 2 rows would be left on a side, or ``rows`` makes no sense.
    """
    total = len(examples)
    wanted = round(rows * total) if isinstance(rows, float) and 0 < rows < 1 else int(rows)
    if wanted < 1 or (wanted != rows and not 0 < rows < 1):
        raise DataError(
            f"test: rows: {rows} cannot be held out",
            expected="a number of rows, or a share between 0 and 1 such as 0.2",
        )
    if wanted > total - 2:
        raise DataError(
            f"{examples.origin}: {total} rows, of which {wanted} should be held out",
            expected="rows left to train on",
            remedy="Hold out fewer rows: target: {test: {rows: N}}.",
        )
    rng = np.random.default_rng(seed)
    if examples.groups is not None:
        held = _whole_groups(examples.groups, wanted, rng)
    else:
        distinct = np.array(sorted({fold(text): i for i, text in reversed(list(enumerate(examples.texts)))}.values()))
        labels = np.asarray(examples.labels or ("",) * total)[distinct]
        _refuse_more_than_distinct(examples, wanted, len(distinct))
        held = distinct[_stratified(labels, wanted, rng)]
    rest = np.setdiff1d(np.arange(total), held)
    if not len(rest) or not len(held):
        raise DataError(
            f"{examples.origin}: its groups are too large to hold out {wanted} of {total} rows",
            expected="several groups",
            remedy="Choose another group column or another number of rows.",
        )
    return held, rest


def _refuse_more_than_distinct(examples: Examples, wanted: int, distinct: int) -> None:
    if wanted > distinct - 2:
        raise DataError(
            f"{examples.origin}: {wanted} rows should be held out, but only {distinct} texts are different",
            expected="different texts left to train on",
            remedy="Hold out fewer rows: target: {test: {rows: N}}.",
        )


def _stratified(array: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions of ``wanted`` rows in the shares of the labels [N]."""
    classes, counts = np.unique(array, return_counts=True)
    exact = counts * (wanted / len(array))
    take = np.floor(exact).astype(int)
    for i in np.argsort(-(exact - take), kind="stable")[: wanted - take.sum()]:
        take[i] += 1
    drawn = [rng.permutation(np.flatnonzero(array == label))[:n] for label, n in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(drawn))


def _whole_groups(groups: Sequence[str], wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions of groups in random order, each taken where it brings the sum nearer to ``wanted``."""
    names, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    taken: list[int] = []
    size = 0
    for group in rng.permutation(len(names)):
        if abs(size + counts[group] - wanted) < abs(size - wanted):
            taken.append(group)
            size += int(counts[group])
    return np.flatnonzero(np.isin(inverse, taken))


def draw_shots(labels: Sequence[str], shots: int, seed: int) -> np.ndarray:
    """Draw ``shots`` rows of every class; a smaller draw of the same seed is part of a larger one.

    Returns:
        Sorted positions, int64 [shots x classes].

    Raises:
        DataError: a class with fewer rows; the message names it.
    """
    array = np.asarray(labels)
    drawn = []
    for label in sorted(set(labels)):
        positions = np.flatnonzero(array == label)
        if len(positions) < shots or shots < 1:
            raise DataError(
                f"label '{label}': {len(positions)} rows, but {shots} shots a class are asked for",
                expected="at least 1 shot, and as many rows of every label",
                remedy=f"Lower target: shots to {len(positions)}, or add rows with the label '{label}'.",
            )
        rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
        drawn.append(rng.permutation(positions)[:shots])
    return np.sort(np.concatenate(drawn))


def folds(
    labels: Sequence[str], groups: Sequence[str] | None = None, n_folds: int = 5, repeats: int = 1, seed: int = 0
) -> list[Fold]:
    """Repeated cross-validation, stratified by label; rows of one group are always in one fold.

    Each row is validated once a repeat. Folds differ by at most one row of a label (with groups: as little as a
    greedy assignment, largest groups first, achieves).

    Args:
        labels: N labels.
        groups: N group keys, or None.

    Returns:
        repeats x n_folds folds, in that order.

    Raises:
        DataError: fewer rows or groups than folds, or a label with a single row (or group), which could not be
            trained on while it is validated.
    """
    array = np.asarray(labels)
    keys = np.arange(len(array)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    _refuse_too_few(array, keys, n_folds, "rows" if groups is None else "groups")
    result = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        assigned = _deal(array, n_folds, rng) if groups is None else _deal_groups(array, keys, n_folds, rng)
        result += [
            Fold(repeat, fold, np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold))
            for fold in range(n_folds)
        ]
    return result


def _refuse_too_few(labels: np.ndarray, keys: np.ndarray, n_folds: int, unit: str) -> None:
    if len(np.unique(keys)) < n_folds or n_folds < 2:
        raise DataError(
            f"{len(np.unique(keys))} {unit} cannot be cut into {n_folds} folds",
            expected=f"at least 2 folds, and as many {unit}",
            remedy="Add labelled data.",
        )
    for label in np.unique(labels):
        count = len(np.unique(keys[labels == label]))
        if count < 2:
            raise DataError(
                f"label '{label}': it stands in {count} of the {unit} only, so it cannot be both trained and validated",
                expected=f"every label in at least 2 {unit}",
                remedy=f"Add data with the label '{label}', drop it, or name validation data.",
            )


def _deal(labels: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each row: every class is shuffled and dealt round, each class going on where the last one ended."""
    assigned = np.empty(len(labels), dtype=np.int64)
    order = rng.permutation(n_folds)
    start = 0
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        assigned[positions] = order[(start + np.arange(len(positions))) % n_folds]
        start += len(positions)
    return assigned


def _deal_groups(labels: np.ndarray, keys: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each row: groups, largest first, each to the fold in which the label counts stay most even."""
    classes, codes = np.unique(labels, return_inverse=True)
    table = np.zeros((keys.max() + 1, len(classes)))  # [groups, classes]
    np.add.at(table, (keys, codes), 1)
    share = table / table.sum(axis=0)
    filled = np.zeros((n_folds, len(classes)))
    fold_of = np.empty(len(table), dtype=np.int64)
    order = rng.permutation(len(table))
    for group in order[np.argsort(-table[order].sum(axis=1), kind="stable")]:
        cost = [_spread(filled, fold, share[group]) for fold in range(n_folds)]
        best = np.flatnonzero(np.isclose(cost, min(cost)))
        fold = best[np.argmin(filled[best].sum(axis=1))]
        filled[fold] += share[group]
        fold_of[group] = fold
    assigned: np.ndarray = fold_of[keys]
    return assigned


def _spread(filled: np.ndarray, fold: int, share: np.ndarray) -> float:
    """How uneven the label shares [folds, classes] would be with ``share`` added to ``fold``."""
    trial = filled.copy()
    trial[fold] += share
    return float(trial.std(axis=0).mean())
