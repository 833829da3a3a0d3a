"""Merging as a job: what comes out of the branches, and what it is without a source."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine import branch
from transfuse.engine.cost import Prices, cost
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Merge, Train, TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import METHODS, method
from transfuse.methods.merging.merge import held_back

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


CHOOSING = [name for name in MERGING if name not in ("soup", "ensemble")]


@pytest.mark.parametrize("name", CHOOSING)
def test_a_rule_chooses_by_rows_that_the_branch_on_trial_has_not_learnt(name):
    """A quarter of each class; the same rows for the same seed; what is merged in the end has learnt all."""
    made = job(name)
    merge = next(stage for stage in made.stages if isinstance(stage, Merge))
    held = {text for text, out in zip(merge.rows.texts, merge.held, strict=True) if out}
    judged = [label for label, out in zip(merge.rows.labels, merge.held, strict=True) if out]
    assert sorted(judged) == [0, 0, 1, 1]  # of 20, with 10 in each class; a half goes to the even number
    learnt = set().union(*(stage.rows.texts for stage in merge.trial))
    assert learnt & set(TARGET.texts) == set(TARGET.texts) - held
    trained = [stage for stage in made.stages[made.shared :] if isinstance(stage, Train)]
    assert all(set(TARGET.texts) <= set(stage.rows.texts) for stage in trained)
    np.testing.assert_array_equal(merge.held, held_back(TARGET, 0))
    assert not np.array_equal(merge.held, held_back(TARGET, 1))


def test_the_mean_chooses_nothing_and_has_no_trial():
    (merge,) = (stage for stage in job("soup").stages if isinstance(stage, Merge))
    assert (merge.trial, merge.held) == ((), None)


def test_copies_and_groups_stay_on_one_side_and_small_classes_hold_nothing_back():
    copies = Examples(TARGET.texts + tuple(f" {text.upper()}" for text in TARGET.texts), TARGET.labels * 2)
    for seed in range(5):
        held = held_back(copies, seed)
        assert 0 < held.sum() < len(held) / 2
        np.testing.assert_array_equal(held[:20], held[20:])
    groups = tuple(f"{label} {i % 4}" for i, label in enumerate(TARGET.labels))
    held = held_back(dataclasses.replace(TARGET, groups=groups), 0)
    assert {g for g, out in zip(groups, held, strict=True) if out}.isdisjoint(
        g for g, out in zip(groups, held, strict=True) if not out
    )
    two = [i for label in toy.TASK.labels for i in [k for k, own in enumerate(TARGET.labels) if own == label][:2]]
    assert held_back(TARGET.take(two), 0) is None
    light = dataclasses.replace(TARGET, weights=np.r_[np.zeros(5), np.ones(15)])
    assert len(held_back(light, 0)) == 15


def test_what_is_chosen_on_trial_is_done_with_the_branch_that_learnt_all_rows(monkeypatch):
    """A soup that takes the target's branch alone is that branch of all rows, not the one on trial."""
    made = job("greedy_soup", epochs=2, learning_rate=5e-3)
    monkeypatch.setattr(branch.merging, "greedy_soup", lambda models, score: (models[-1], [len(models) - 1]))
    at = next(i for i, stage in enumerate(made.stages) if isinstance(stage, Merge))
    alone = engine().fit(dataclasses.replace(made, stages=made.stages[:at])).trained
    merged = engine().fit(made).trained
    for one, other in zip(merged.layers.parameters(), alone.layers.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_an_estimate_counts_the_branch_on_trial():
    made, prices = job("greedy_soup"), Prices(1.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    at = next(i for i, stage in enumerate(made.stages) if isinstance(stage, Merge))
    plain = dataclasses.replace(made.stages[at], trial=(), held=None)
    without = dataclasses.replace(made, stages=(*made.stages[:at], plain, *made.stages[at + 1 :]))
    first, second = (cost(found, toy.backbone("encoder"), prices, validation=0).each for found in (made, without))
    assert first > 1.2 * second


@pytest.mark.parametrize("name", MERGING)
def test_adapters_are_merged_as_the_changes_that_they_make(name):
    """The branches are those of `lora`; what a rule says of layers it says of layers with the adapters' changes."""
    plain = method("lora").plan(toy.TASK, toy.backbone("encoder"), TransferData(TARGET), 0, rank=2)
    assert job(name, {}, rank=2).shared_key() == plain.shared_key()
    made = engine()
    path = made.fit(job(name, rank=2))
    names = [n for n, _ in path.trained.layers.named_parameters()]
    assert any("lora_A" in n for n in names) == (path.adapter is not None) == (name == "soup")
    assert np.isfinite(made.predict(path, list(TARGET.texts))).all()


def test_the_mean_of_adapters_is_that_of_their_layers():
    at, made = next((i, j) for j in [job("soup", rank=2)] for i, s in enumerate(j.stages) if isinstance(s, Merge))
    whole = engine().fit(made).trained
    as_layers = dataclasses.replace(made.stages[at], rule="task_arithmetic", scales=(1 / (1 + len(SOURCES)),))
    other = (
        engine().fit(dataclasses.replace(made, stages=(*made.stages[:at], as_layers, *made.stages[at + 1 :]))).trained
    )
    merged = branch._without_adapters(whole)
    for one, two in zip(merged.layers.parameters(), other.layers.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
