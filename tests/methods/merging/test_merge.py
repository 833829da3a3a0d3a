"""Merging as a job: what comes out of the branches, and what it is without a source."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Merge, TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import METHODS, method

MERGING = [name for name in METHODS if method(name).family == "merging"]
TARGET = toy.examples(20, seed=0)
SOURCES = {"one": toy.examples(24, seed=1), "two": toy.examples(24, seed=2)}


def job(name, sources=SOURCES, **settings):
    return method(name).plan(toy.TASK, toy.backbone("encoder"), TransferData(TARGET, sources), 0, **settings)


def engine():
    return Engine(Trunk(toy.backbone("encoder"), "fp32", 64), 2)


@pytest.mark.parametrize("name", MERGING)
def test_without_a_source_it_is_fine_tuning(name):
    plain = method("finetune").plan(toy.TASK, toy.backbone("encoder"), TransferData(TARGET), 0)
    assert job(name, {}).shared_key() == plain.shared_key()
    assert len(job(name, {}).stages) == len(plain.stages)


@pytest.mark.parametrize("name", MERGING)
def test_branches_of_sources_are_shared_and_the_targets_is_not(name):
    made = job(name)
    other = method(name).plan(toy.TASK, toy.backbone("encoder"), TransferData(toy.examples(20, seed=5), SOURCES), 0)
    assert made.shared == 1 + 3 * len(SOURCES)
    assert made.shared_key() == other.shared_key()


def test_the_average_lies_between_its_branches():
    made = job("soup")
    at = next(i for i, stage in enumerate(made.stages) if isinstance(stage, Merge))
    whole = engine().fit(made).trained
    alone = engine().fit(dataclasses.replace(made, stages=made.stages[:at])).trained
    sources = []
    for name, source in SOURCES.items():
        single = job("soup", {name: source}).stages[:3]
        path = engine().fit(dataclasses.replace(made, stages=(*single,), shared=0))
        sources.append(path.trained)
    for merged, *parts in zip(*(part.layers.parameters() for part in (whole, alone, *sources)), strict=True):
        torch.testing.assert_close(merged, torch.stack(parts).mean(0), rtol=1e-4, atol=1e-5)


def test_a_rule_chooses_by_the_rows_error():
    made = job("task_arithmetic")
    at = next(i for i, stage in enumerate(made.stages) if isinstance(stage, Merge))
    stages = list(made.stages)
    found = []
    for scales in ((0.3,), (1.0,), (0.3, 1.0)):
        stages[at] = dataclasses.replace(stages[at], scales=scales)
        path = engine().fit(dataclasses.replace(made, stages=tuple(stages)))
        found.append(np.concatenate([p.detach().numpy().ravel() for p in path.trained.layers.parameters()]))
    assert not np.allclose(found[0], found[1])
    assert any(np.allclose(found[2], one) for one in found[:2])
