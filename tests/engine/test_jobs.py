"""Rows and the key by which jobs share their first stages."""

import dataclasses

import numpy as np
import pytest

from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, Schedule, Train

ROWS = Rows(("a", "b"), np.array([0, 1]), np.ones(2), np.array([True, False]))
SCHEDULE = Schedule(1e-3, 1e-3, 1.0, 2, 8, 0.1, 0.0, 0.0, 0.0, 1.0)
STAGES = (
    ChooseReadout(ROWS, (1, 2), ("mean",), (None,)),
    FitHead(ROWS, (0.1,)),
    Train(ROWS, 0, False, {"rank": 4}, SCHEDULE),
)


def job(*stages: object, shared: int = 3, seed: int = 0) -> Job:
    return Job((*stages, Train(ROWS, 1, False, None, SCHEDULE)), shared, seed)


def test_rows_join_in_order():
    other = Rows(("c",), np.array([5]), np.array([0.5]), np.array([False]))
    both = Rows.join(ROWS, other)
    assert both.texts == ("a", "b", "c")
    assert both.labels.tolist() == [0, 1, 5]
    assert both.weights.tolist() == [1.0, 1.0, 0.5]
    assert both.target.tolist() == [True, False, False]
    assert len(both) == 3


def test_equal_shared_stages_have_one_key_whatever_follows():
    copies = dataclasses.replace(ROWS, labels=ROWS.labels.copy())
    first = job(*STAGES)
    again = Job((dataclasses.replace(STAGES[0], rows=copies), *STAGES[1:], FitHead(ROWS, (9.0,))), 3, 0)
    assert first.shared_key() == again.shared_key()


@pytest.mark.parametrize(
    "other",
    [
        job(*STAGES, seed=1),
        job(*STAGES, shared=2),
        job(dataclasses.replace(STAGES[0], layers=(12,)), *STAGES[1:]),
        job(dataclasses.replace(STAGES[0], templates=("None",)), *STAGES[1:]),
        job(STAGES[0], dataclasses.replace(STAGES[1], normalise=True), STAGES[2]),
        job(*STAGES[:2], dataclasses.replace(STAGES[2], adapter={"rank": 8})),
        job(*STAGES[:2], dataclasses.replace(STAGES[2], schedule=dataclasses.replace(SCHEDULE, epochs=3))),
        job(*STAGES[:2], dataclasses.replace(STAGES[2], rows=dataclasses.replace(ROWS, texts=("ab", "")))),
        job(*STAGES[:2], dataclasses.replace(STAGES[2], rows=dataclasses.replace(ROWS, labels=np.array([1, 0])))),
        job(*STAGES[:2], dataclasses.replace(STAGES[2], rows=dataclasses.replace(ROWS, weights=np.array([1, 2.0])))),
    ],
)
def test_any_difference_makes_another_key(other):
    assert job(*STAGES).shared_key() != other.shared_key()
