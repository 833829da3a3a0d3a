"""The curriculum: who comes first, how the pace grows, and what is left of it at a pace of 1."""

import dataclasses

import numpy as np
import pytest
import toy

from transfuse.data.examples import Examples
from transfuse.engine.epochs import epochs
from transfuse.engine.jobs import Train, TransferData
from transfuse.errors import RecipeError
from transfuse.methods.instance.curriculum import Curriculum
from transfuse.methods.parameter.finetune import Finetune


@pytest.fixture
def encoder(bench):
    return bench.backbone("encoder")


def schedule_of(job):
    return next(stage for stage in job.stages if isinstance(stage, Train))


def test_the_nearest_rows_come_first(encoder):
    target = Examples(("the soup was warm",), ("warm",))
    texts = ("stocks fell on monday", "a warm soup", "bonds fell", "the soup was cold")
    source = Examples(texts, ("cold", "warm", "cold", "cold"))
    data = TransferData(target, {"s": source})
    stage = schedule_of(Curriculum().plan(toy.TASK, encoder, data, 0))
    assert set(stage.rows.texts[:2]) == {"a warm soup", "the soup was cold"}
    assert dict(zip(stage.rows.texts, stage.rows.labels, strict=True)) == dict(
        zip(texts, toy.TASK.encode(source.labels), strict=True)
    )
    assert stage.schedule.pace == 0.3


def test_without_a_source_it_is_fine_tuning(encoder):
    data = TransferData(toy.examples(20, seed=0))
    assert Curriculum().plan(toy.TASK, encoder, data, 0).shared_key() == (
        Finetune().plan(toy.TASK, encoder, data, 0).shared_key()
    )
    with pytest.raises(RecipeError, match=r"pace: 0\.0"):
        Curriculum().plan(toy.TASK, encoder, data, 0, pace=0.0)


def test_batches_reach_further_and_further(encoder):
    data = TransferData(toy.examples(20, seed=0), {"s": toy.examples(20, seed=1)})
    schedule = dataclasses.replace(
        schedule_of(Curriculum().plan(toy.TASK, encoder, data, 0)).schedule, batch_size=8, epochs=4, pace=0.25
    )
    rows, lengths = 400, np.random.default_rng(0).integers(3, 30, 400)
    found = list(epochs(lengths, np.zeros(rows), schedule, 0))
    plain = list(epochs(lengths, np.zeros(rows), dataclasses.replace(schedule, pace=1.0), 0))
    assert len(found) == len(plain) == 200
    assert max(max(batch) for batch in found[:8]) < 100
    assert max(max(batch) for batch in found[80:88]) < 282  # sqrt(0.4 (1 - 1/16) + 1/16) of the rows
    assert max(max(batch) for batch in found[-8:]) > 300
    assert all(len(batch) == 8 for batch in found)
