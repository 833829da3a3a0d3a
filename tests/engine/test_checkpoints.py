"""A training that is killed goes on from its checkpoint, and ends with the very same weights."""

from __future__ import annotations

import functools
import time
import types

import pytest
import torch
import toy

from transfuse.data.examples import Examples
from transfuse.engine import training
from transfuse.engine.checkpoints import Checkpoint, Checkpoints, tree
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import TransferData
from transfuse.engine.trunk import Trunk
from transfuse.methods.catalogue import method
from transfuse.tasks.writing import Writing

LABELLED, SOURCE = toy.examples(24, 0), toy.examples(30, 5)
REPLIES = Examples(tuple(f"say {i}" for i in range(10)), tuple(f"it is {i % 3}" for i in range(10)))
WRITES = Writing("generate", max_new_tokens=6)
CASES = {
    "layers, averaged": ("finetune", "encoder", {"epochs": 4, "batch_size": 6, "average_from": 0.4}),
    "layers, in pairs, with dropout": (
        "finetune",
        "encoder",
        {"epochs": 4, "batch_size": 6, "contrastive": 0.5, "dropout": True},
    ),
    "layers, rates by their gradients": ("finetune", "decoder", {"epochs": 4, "batch_size": 6, "surgical": True}),
    "adapters with dropout": ("lora", "encoder", {"epochs": 4, "batch_size": 6, "dropout": 0.2}),
    "two domains, drawn beside": ("mmd", "encoder", {"epochs": 2, "batch_size": 6}),
    "answers": ("lora", "decoder", {"epochs": 4, "batch_size": 3}),
    "answers, stopped in time": ("finetune", "decoder", {"epochs": 6, "batch_size": 3, "patience": 2}),
}


class Killed(Exception):
    """The process ends here."""


def engine(kind, kept=None, tick=lambda share: None):
    return Engine(Trunk(toy.backbone(kind), "fp32", 64), 2, tick, kept=kept)


def plan(case):
    name, kind, settings = CASES[case]
    if case.startswith("answers"):
        return method(name, "generate").plan(WRITES, toy.backbone(kind), TransferData(REPLIES), 0, **settings)
    sources = {"s": SOURCE} if name == "mmd" else {}
    return method(name).plan(toy.TASK, toy.backbone(kind), TransferData(LABELLED, sources), 0, **settings)


def weights(path):
    return [p.detach().clone() for p in path.trained.parameters()]


@pytest.mark.parametrize("case", CASES)
def test_it_ends_as_if_nothing_had_happened(case, tmp_path, monkeypatch):
    kind = CASES[case][1]
    whole = engine(kind).fit(plan(case))
    kept, seen = Checkpoints(tmp_path / "kept", every=0.0), []

    def kill(share):
        seen.append(share)
        if len(seen) == 5:
            raise Killed

    with pytest.raises(Killed):
        engine(kind, kept, kill).fit(plan(case))
    assert len(list((tmp_path / "kept").iterdir())) == 1
    later = []
    again = engine(kind, kept, later.append).fit(plan(case))
    assert later[0] > seen[-1], "it goes on, and does not begin anew"
    for one, other in zip(weights(again), weights(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not list((tmp_path / "kept").iterdir()), "what has ended is not kept"


def test_side_by_side(tmp_path):
    jobs = [
        method("lora").plan(toy.TASK, toy.backbone("encoder"), TransferData(LABELLED), seed, epochs=4, batch_size=6)
        for seed in (0, 1)
    ]
    whole = engine("encoder").fit_all(jobs)
    kept, count = Checkpoints(tmp_path, every=0.0), []

    def kill(share):
        count.append(share)
        if len(count) == 3:
            raise Killed

    with pytest.raises(Killed):
        engine("encoder", kept, kill).fit_all(jobs)
    for again, one in zip(engine("encoder", kept).fit_all(jobs), whole, strict=True):
        for a, b in zip(weights(again), weights(one), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_source_stage_that_has_ended_is_not_trained_again(tmp_path):
    """What all folds begin with lasts, until the study ends."""
    job = method("finetune").plan(
        toy.TASK, toy.backbone("encoder"), TransferData(LABELLED, {"s": SOURCE}), 0, batch_size=6
    )
    assert job.shared
    kept, first, second = Checkpoints(tmp_path, every=0.0), [], []
    whole = engine("encoder", kept, first.append).fit(job)
    assert len(list(tmp_path.iterdir())) == 1
    again = engine("encoder", kept, second.append).fit(job)
    assert 0 < len(second) < len(first)
    for one, other in zip(weights(again), weights(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_another_job_does_not_go_on_from_it(tmp_path):
    kept = Checkpoints(tmp_path, every=0.0)
    stop = functools.partial(_kill_at, [], 5)
    with pytest.raises(Killed):
        engine("encoder", kept, stop).fit(plan("layers, averaged"))
    other = method("finetune").plan(
        toy.TASK, toy.backbone("encoder"), TransferData(LABELLED), 0, epochs=4, batch_size=6, average_from=0.5
    )
    shares = []
    engine("encoder", kept, shares.append).fit(other)
    assert shares[0] == pytest.approx(1 / len(shares))


def _kill_at(seen, step, share):
    seen.append(share)
    if len(seen) == step:
        raise Killed


def test_a_broken_file_is_no_checkpoint(tmp_path):
    kept = Checkpoints(tmp_path, every=0.0)
    with pytest.raises(Killed):
        engine("encoder", kept, functools.partial(_kill_at, [], 5)).fit(plan("layers, averaged"))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    shares = []
    engine("encoder", kept, shares.append).fit(plan("layers, averaged"))
    assert shares[0] == pytest.approx(1 / len(shares))


def test_a_disk_that_refuses_costs_no_training(tmp_path):
    (tmp_path / "file").write_text("no folder")
    kept = Checkpoints(tmp_path / "file" / "below", every=0.0)
    assert engine("encoder", kept).fit(plan("layers, averaged")) is not None


def test_short_trainings_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(training.Learner, "kept", lambda self: pytest.fail("written"))
    began = time.monotonic()
    engine("encoder", Checkpoints(tmp_path)).fit(plan("layers, averaged"))
    assert time.monotonic() - began < 120


def stand_in(*places):
    """A learner with nothing but parameters that say where they lie."""
    parameters = [types.SimpleNamespace(device=torch.device(place)) for place in places]
    return types.SimpleNamespace(parameters=parameters, kept=lambda: ({}, {}), restore=lambda *_: None)


@pytest.fixture
def gpus(monkeypatch):
    """States of the generators of GPUs that are not there, by device."""
    states = {}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[str(device)])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({str(device): state}))
    return states


def test_the_generators_of_gpus_go_on_as_well(gpus, tmp_path):
    learners, file = [stand_in("cuda:0", "cuda:1"), stand_in("cuda:0")], tmp_path / "kept"
    gpus.update({f"cuda:{i}": torch.full((16,), i, dtype=torch.uint8) for i in range(3)})
    with torch.random.fork_rng(devices=[]):
        Checkpoint(file, 0.0, False).keep(learners, 7)
        drawn = torch.rand(3)
        gpus.update({f"cuda:{i}": torch.zeros(16, dtype=torch.uint8) for i in range(3)})
        assert Checkpoint(file, 0.0, False).resume(learners) == 7
        assert torch.equal(torch.rand(3), drawn)
    assert [int(gpus[f"cuda:{i}"][0]) for i in range(3)] == [0, 1, 0], "the third GPU trains nothing"


def test_a_checkpoint_without_the_generator_of_its_gpu_is_none(gpus, tmp_path):
    file = tmp_path / "kept"
    Checkpoint(file, 0.0, False).keep([stand_in("cpu")], 7)
    before = torch.get_rng_state()
    assert Checkpoint(file, 0.0, False).resume([stand_in("cuda:0")]) == 0
    assert torch.equal(torch.get_rng_state(), before)
    assert not gpus


def test_names_become_a_tree():
    one, two = torch.zeros(1), torch.ones(1)
    named = tree({"best.10": one, "best.2": two, "optimizer.0.step": one})
    assert list(named["best"]) == ["2", "10"]
    assert named["optimizer"] == {"0": {"step": one}}
