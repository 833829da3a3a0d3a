"""Who trains and who validates: cross-validation inside few rows, one split of many, or a part of the user's own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from transfuse.data import Examples, Finding, drop_copies, folds, hold_out
from transfuse.data.near import fold
from transfuse.errors import DataError
from transfuse.study.recipe import Recipe, Task
from transfuse.tasks.classify import Classify
from transfuse.tasks.writing import KINDS, Writing

MOST_CROSS_VALIDATED = 4000
"""More labelled rows than this are split once instead of cross-validated."""
REPEATED_BELOW = 200
"""Fewer labelled rows than this are cross-validated twice: which rows share a fold moves a mean over few of them."""
HELD_OUT = 0.2
MOST_HELD_OUT = 2000
MOST_CROSS_WRITTEN, MOST_WRITTEN = 60, 200
"""The same two where answers are written, each of which takes as long as the training of several rows."""

TESTED, VALIDATED, LABELLED = "dropped-copies", "dropped-validation-copies", "dropped-labelled-copies"
"""Findings of rows that are left out as copies of test rows, of validation rows, or of any labelled row."""


@dataclasses.dataclass(frozen=True)
class Splits:
    """Positions in the target's training rows: what each fit trains on and what it predicts.

    Args:
        kind: ``cross-validation`` or ``split``.
        fits: (repeat, train, validation) of each fit.
        folds, repeats: of the cross-validation; 1 and 1 for a split.
    """

    kind: str
    fits: tuple[tuple[int, np.ndarray, np.ndarray], ...]
    folds: int
    repeats: int


def writes(task: Task) -> bool:
    """Whether the answer is text."""
    return task.kind in KINDS


def held_out(task: Task, examples: Examples, rows: int | float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`hold_out` in the shares of the labels, of which written answers have none."""
    return hold_out(dataclasses.replace(examples, labels=None) if writes(task) else examples, rows, seed)


def apart(examples: Examples, name: str, known: Mapping[str, Examples | None], dropped: list[Finding]) -> Examples:
    """The rows whose text stands in no part of the target that judges what learns from them.

    Args:
        examples: the rows.
        name: theirs, for findings.
        known: kind of a finding -> the part, or None.
        dropped: gets a finding for each part with copies.
    """
    for kind, part in known.items():
        if part is not None:
            examples, found = drop_copies(examples, part, name, kind)
            dropped += [found] if found else []
    return examples


def strata(task: Classify | Writing, examples: Examples) -> tuple[str, ...]:
    """By what rows are drawn and dealt: the labels, where answers are labels."""
    return ("",) * len(examples) if isinstance(task, Writing) else examples.labels or ()


def splits_of(
    recipe: Recipe, task: Classify | Writing, train: Examples, validation: Examples | None, dropped: list[Finding]
) -> tuple[Splits, Examples]:
    """Who trains and who validates; a validation part of its own is appended to the training rows.

    Copies of validation rows that are drawn here are left out of the training rows, and told in ``dropped``.
    """
    count = len(train)
    if validation is not None:
        both = dataclasses.replace(
            train,
            texts=train.texts + validation.texts,
            labels=(train.labels or ()) + (validation.labels or ()),
            further=_joined(train, validation, "further", ()),
            checks=_joined(train, validation, "checks", ""),
            weights=_both(train.weights, validation.weights),
            groups=train.groups + validation.groups if train.groups and validation.groups else None,
            rows=np.concatenate([np.asarray(train.rows), np.asarray(validation.rows)]),
        )
        return Splits("split", ((0, np.arange(count), np.arange(count, len(both))),), 1, 1), both
    writing = isinstance(task, Writing)
    if recipe.validation is None and count > (MOST_CROSS_WRITTEN if writing else MOST_CROSS_VALIDATED):
        most = MOST_WRITTEN if writing else MOST_HELD_OUT
        held, rest = held_out(recipe.task, train, min(round(HELD_OUT * count), most), recipe.seed)
        learnt = apart(train.take(rest), "train", {VALIDATED: train.take(held)}, dropped)
        rest = rest[np.isin(np.asarray(train.rows)[rest], np.asarray(learnt.rows))]
        kept = np.union1d(rest, held)
        fit = (0, np.searchsorted(kept, rest), np.searchsorted(kept, held))
        return Splits("split", (fit,), 1, 1), train.take(kept)
    wanted = recipe.validation.folds if recipe.validation else 5
    stratum = strata(task, train)
    joined = _copies_together(train, stratum)
    n_folds = max(min(wanted, _smallest_class(joined, stratum)), 2)
    repeats = (recipe.validation and recipe.validation.repeats) or (2 if count < REPEATED_BELOW and not writing else 1)
    with naming(train):
        dealt = folds(stratum, joined.groups, n_folds, repeats, recipe.seed)
    return Splits("cross-validation", tuple((f.repeat, f.train, f.validation) for f in dealt), n_folds, repeats), train


@contextlib.contextmanager
def naming(examples: Examples) -> Iterator[None]:
    """Put the name of the data before what is wrong with their labels."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{examples.origin}: {error.found}", expected=error.expected, remedy=error.remedy) from None


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _joined(first: Examples, second: Examples, field: str, none: Any) -> tuple[Any, ...] | None:
    """A field of two parts, with ``none`` for each row of a part that lacks it; None where both lack it."""
    one, other = getattr(first, field), getattr(second, field)
    if one is None and other is None:
        return None
    return tuple(one or (none,) * len(first)) + tuple(other or (none,) * len(second))


def _copies_together(train: Examples, stratum: tuple[str, ...]) -> Examples:
    """The rows with copies of a text in one group, so that none is validated by what it was trained on.

    Where some label would stand in a single group then, they stay as they are.
    """
    folded = [fold(text) for text in train.texts]
    if len(set(folded)) == len(folded):
        return train
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    texts, groups = (np.unique(np.asarray(keys), return_inverse=True)[1] for keys in (folded, train.groups or folded))
    edges = (np.ones(len(train)), (texts, texts.max() + 1 + groups))  # a text and its group are linked
    nodes = texts.max() + groups.max() + 2
    _, parts = connected_components(coo_matrix(edges, shape=(nodes, nodes)), directed=False)
    joined = dataclasses.replace(train, groups=tuple(map(str, parts[texts])))
    return joined if _smallest_class(joined, stratum) > 1 else train


def _smallest_class(train: Examples, stratum: tuple[str, ...]) -> int:
    """In how many rows, or groups, the rarest label stands."""
    units: tuple[object, ...] = train.groups or tuple(range(len(train)))
    pairs = set(zip(stratum, units, strict=True))
    return min(sum(label == own for own, _ in pairs) for label in set(stratum))
