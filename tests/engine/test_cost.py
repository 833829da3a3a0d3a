"""Prices of a job from its description: what is read is counted, and nothing else."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from transfuse.engine.cost import Prices, cost
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows, Schedule, Train
from transfuse.engine.selecting import Select

PRICES = Prices(forward=1.0, training=0.0, scoring=0.0, head=0.0, ridge=0.0, tokens=1.0)
BACKBONE = SimpleNamespace(layers=20, width=4, poolings=("mean",))


def rows(count: int) -> Rows:
    return Rows(("a",) * count, np.arange(count) % 2, np.ones(count), np.zeros(count, dtype=bool))


def test_all_layers_are_read_of_the_evidence_and_of_further_rows_up_to_the_usual_depth():
    job = Job((ChooseReadout(rows(10), (), ("mean",), (None,)), FitHead(rows(30), (0.1,))), 0, 0)
    found = cost(job, BACKBONE, PRICES, validation=0)
    assert found.depth == 15
    assert sum(found.trunk.values()) == pytest.approx(10 * 20 + 20 * 15)


def test_a_layer_that_is_named_is_the_depth():
    job = Job((ChooseReadout(rows(10), (7,), ("mean",), (None,)), FitHead(rows(10), (0.1,))), 0, 0)
    found = cost(job, BACKBONE, PRICES, validation=0)
    assert found.depth == 7
    assert sum(found.trunk.values()) == pytest.approx(10 * 7)


def test_a_choice_costs_its_warm_up_a_gradient_of_each_row_and_what_is_left():
    schedule = Schedule(1e-3, 1e-3, 1.0, 3, 10, 0.1, 0.0, 0.0, 0.0, 1.0)

    def learn(some: Rows) -> tuple[ChooseReadout, Train]:
        return ChooseReadout(some, (20,), ("mean",), (None,)), Train(some, 4, False, {"rank": 2}, schedule)

    stage = Select(
        rows(100),
        rows(10),
        learn(rows(10)),
        lambda a: (np.arange(len(a)) < 50) * 2.0,
        lambda w: learn(rows(int(w.sum() / 2))),
    )
    found = cost(Job((stage,), 0, 0), BACKBONE, dataclasses.replace(PRICES, training=1.0), validation=0)
    passes = 3 * 10 + (100 + 10) + 3 * 50
    assert found.each == pytest.approx(0.2 + 4 * passes)
    assert found.trunk["states", 4, "source"] == pytest.approx(100 * 16)
