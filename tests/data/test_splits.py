"""Splits: stratified, grouped, nested, seeded."""

import itertools
from collections import Counter

import numpy as np
import pytest

from transfuse.data import Examples, draw_shots, folds, hold_out
from transfuse.errors import DataError

LABELS = ("a",) * 60 + ("b",) * 30 + ("c",) * 10


def examples(**more: object) -> Examples:
    return Examples(tuple(f"text {i}" for i in range(100)), LABELS, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [20, 0.2])
def test_a_held_out_part_has_the_shares_of_the_labels(rows: float) -> None:
    held, rest = hold_out(examples(), rows, 0)
    assert sorted([*held, *rest]) == list(range(100))
    assert Counter(LABELS[i] for i in held) == {"a": 12, "b": 6, "c": 2}
    assert (held == hold_out(examples(), rows, 0)[0]).all()
    assert (held != hold_out(examples(), rows, 1)[0]).any()


def test_the_draw_is_the_same_on_every_platform() -> None:
    assert hold_out(examples(), 10, 0)[0].tolist() == [8, 16, 20, 27, 34, 42, 63, 67, 80, 92]
    assert draw_shots(LABELS, 2, 0).tolist() == [4, 24, 73, 77, 90, 91]


def test_whole_groups_are_held_out() -> None:
    groups = tuple(f"g{i // 7}" for i in range(100))
    held, rest = hold_out(examples(groups=groups), 30, 0)
    assert not {groups[i] for i in held} & {groups[i] for i in rest}
    assert 26 <= len(held) <= 34
    with pytest.raises(DataError, match="its groups are too large"):
        hold_out(examples(groups=("one",) * 100), 30, 0)


def test_equal_texts_are_held_out_once() -> None:
    doubled = Examples(tuple(f"Text {i % 50}" if i < 50 else f"text  {i % 50}" for i in range(100)))
    held, _ = hold_out(doubled, 40, 0)
    assert len({doubled.texts[i].casefold().replace("  ", " ") for i in held}) == 40
    with pytest.raises(DataError, match="only 50 texts are different"):
        hold_out(doubled, 60, 0)


@pytest.mark.parametrize("rows", [0, -1, 1.5, 99, 1000])
def test_impossible_parts_are_refused(rows: float) -> None:
    with pytest.raises(DataError):
        hold_out(examples(), rows, 0)


def test_shots_are_balanced_and_nested() -> None:
    draws = [draw_shots(LABELS, shots, 3) for shots in (1, 2, 4, 8)]
    for shots, draw in zip((1, 2, 4, 8), draws, strict=True):
        assert Counter(LABELS[i] for i in draw) == {"a": shots, "b": shots, "c": shots}
    for small, large in itertools.pairwise(draws):
        assert set(small) < set(large)


def test_too_few_rows_for_the_shots_name_the_label() -> None:
    with pytest.raises(DataError, match="label 'c': 10 rows, but 11 shots"):
        draw_shots(LABELS, 11, 0)


def test_folds_validate_each_row_once_a_repeat_and_keep_the_shares() -> None:
    made = folds(LABELS, None, 5, 2, 0)
    assert [(fold.repeat, fold.fold) for fold in made] == [(r, f) for r in range(2) for f in range(5)]
    for repeat in range(2):
        parts = [fold.validation for fold in made if fold.repeat == repeat]
        assert sorted(np.concatenate(parts)) == list(range(100))
        for part in parts:
            assert Counter(LABELS[i] for i in part) == {"a": 12, "b": 6, "c": 2}
    for fold in made:
        assert not set(fold.train) & set(fold.validation)
        assert len(fold.train) + len(fold.validation) == 100
    assert made[0].validation.tolist() != made[5].validation.tolist()


def test_folds_of_odd_sizes_differ_by_one_row() -> None:
    sizes = [len(fold.validation) for fold in folds(("a",) * 7 + ("b",) * 6, None, 5, 1, 0)]
    assert sorted(sizes) == [2, 2, 3, 3, 3]


def test_grouped_folds_keep_groups_whole_and_labels_even() -> None:
    rng = np.random.default_rng(0)
    groups = tuple(f"g{i}" for i in rng.integers(0, 25, size=100))
    made = folds(LABELS, groups, 5, 1, 0)
    assert sorted(np.concatenate([fold.validation for fold in made])) == list(range(100))
    for fold in made:
        assert not {groups[i] for i in fold.train} & {groups[i] for i in fold.validation}
        assert 8 <= Counter(LABELS[i] for i in fold.validation)["a"] <= 16


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(DataError, match="label 'b': it stands in 1 of the rows only"):
        folds(("a", "a", "a", "b"), None, 2)
    with pytest.raises(DataError, match="2 rows cannot be cut into 5 folds"):
        folds(("a", "b"), None, 5)
    with pytest.raises(DataError, match="2 groups cannot be cut into 3 folds"):
        folds(("a", "b") * 4, ("x",) * 4 + ("y",) * 4, 3)
