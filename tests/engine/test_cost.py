"""Prices of a job from its description: what is read is counted, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest

from transfuse.engine.cost import Prices, cost
from transfuse.engine.jobs import ChooseReadout, FitHead, Job, Rows

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
