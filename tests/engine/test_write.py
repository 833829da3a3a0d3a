"""Training on answers: the loss of transformers, over a cached prefix, in parts, side by side, stopped in time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones import adapters
from transfuse.backbones.form import Form
from transfuse.engine import write
from transfuse.engine.answers import Pairs
from transfuse.engine.jobs import Rows, Schedule
from transfuse.engine.training import Pupil, train
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import Answers, Held

TEXTS = ("go", "the bad dog", "a", "xyz and more", "the sun")
REPLIES = ("one", "two words", "", "three", "four\nlines")
FORM = Form.plain("Q: {text}\nA:")
SCHEDULE = Schedule(1e-3, 0.0, 1.0, 2, 2, 0.1, 0.0, 0.0, 0.0, 1.0)


def pairs(weights=None):
    count = len(TEXTS)
    return Pairs(TEXTS, REPLIES, np.ones(count) if weights is None else np.array(weights), np.ones(count, dtype=bool))


def pupil(backbone, cut, *, adapter=None, seed=0, schedule=SCHEDULE, own=None, held=None):
    trunk = Trunk(backbone, "fp32", 64)
    answers = Answers.of(((own or pairs(), FORM),), backbone, 64, 20)
    segment = backbone.segment(cut, backbone.layers, own=True, shared=bool(adapter), states=True)
    if adapter:
        adapters.add(segment, adapter, seed=seed)
    count = len(answers.starts)
    rows = Rows(("",) * count, np.zeros(count, dtype=np.int64), np.asarray(answers.weights), np.ones(count, bool), 1)
    states = trunk.states_of(answers.tokens, cut)
    return Pupil(segment, None, "", states, rows, schedule, seed, answers=answers, held=held)


def weights(one):
    return [p.detach().clone() for p in one.segment.parameters() if p.requires_grad]


@pytest.mark.parametrize("family", tiny.DECODERS)
@pytest.mark.parametrize("cut", [0, 2])
def test_the_loss_is_that_of_transformers_on_the_answers_alone(family, cut):
    backbone = tiny.load(family)
    counted = [1.0, 2.0, 1.0, 0.5, 1.0]
    answers = Answers.of(((pairs(counted), FORM),), backbone, 64, 20)
    states = Trunk(backbone, "fp32", 64).states_of(answers.tokens, cut)
    chosen = np.arange(len(TEXTS))
    values, mask = states.batch(chosen)
    segment = backbone.segment(cut, backbone.layers, states=True)
    own = answers.loss(backbone, segment(values.float(), mask), chosen, low=False)
    total = weight = 0.0
    for row, start, each in zip(answers.tokens, answers.starts, counted, strict=True):
        ids = torch.tensor([row])
        labels = ids.clone()
        labels[0, :start] = -100
        with torch.no_grad():
            loss = backbone.network()(input_ids=ids, labels=labels).loss
        tokens = len(row) - start
        total, weight = total + float(loss) * tokens * each, weight + tokens * each
    assert own.item() == pytest.approx(total / weight, abs=2e-5)


def test_a_batch_in_parts_gives_the_same_weights(monkeypatch):
    whole, parted = (pupil(tiny.load("llama"), 1) for _ in range(2))
    train(tiny.load("llama"), [whole], precision="fp32")
    monkeypatch.setattr(Answers.parts, "__defaults__", (24,))
    train(tiny.load("llama"), [parted], precision="fp32")
    for a, b in zip(weights(whole), weights(parted), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-4)


def test_two_adapters_side_by_side_are_as_each_alone():
    backbone, adapter = tiny.load("llama"), {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.0}
    together = [pupil(backbone, 1, adapter=adapter, seed=seed) for seed in (1, 2)]
    alone = [pupil(backbone, 1, adapter=adapter, seed=seed) for seed in (1, 2)]
    train(backbone, together, precision="fp32")
    for one in alone:
        train(backbone, [one], precision="fp32")
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(weights(a), weights(b), strict=True):
            torch.testing.assert_close(x, y, atol=2e-6, rtol=1e-4)


def test_what_is_frozen_stays_and_the_loss_falls():
    backbone = tiny.load("llama")
    before = [p.detach().clone() for p in backbone.network().parameters()]
    one = pupil(backbone, 1, schedule=dataclasses.replace(SCHEDULE, learning_rate=3e-3, epochs=12))
    chosen = np.arange(len(TEXTS))

    def loss():
        values, mask = one.states.batch(chosen)
        with torch.no_grad():
            return float(one.answers.loss(backbone, one.segment(values.float(), mask), chosen, low=False))

    first = loss()
    assert train(backbone, [one], precision="fp32") == [None]
    assert loss() < 0.8 * first
    for a, b in zip(before, backbone.network().parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_stops_by_what_is_held_back_and_keeps_the_best(monkeypatch):
    backbone = tiny.load("llama")
    apart = Pairs(("the bad dog",), ("never seen",), np.ones(1), np.ones(1, dtype=bool))
    answers = Answers.of(((apart, FORM),), backbone, 64, 20)
    held = Held(answers, Trunk(backbone, "fp32", 64).states_of(answers.tokens, 1), patience=1)
    seen = []
    plain = Answers.loss

    def noted(self, *given, **named):
        found = plain(self, *given, **named)
        if self is answers:
            seen.append(float(found))
        return found

    monkeypatch.setattr(Answers, "loss", noted)
    schedule = dataclasses.replace(SCHEDULE, learning_rate=0.3, epochs=30)
    one = pupil(backbone, 1, schedule=schedule, held=held)
    train(backbone, [one], precision="fp32")
    assert len(seen) == seen.index(min(seen)) + 3 < 30  # two epochs without a lower loss are one too many
    values, mask = held.states.batch([0])
    with torch.no_grad():
        kept = float(plain(answers, backbone, one.segment(values.float(), mask), np.array([0]), low=False))
    assert kept == pytest.approx(min(seen), rel=1e-5)


def test_long_requests_and_answers_are_cut_to_the_context():
    backbone = tiny.load("llama")
    long = Pairs(("b" * 400,), ("c" * 400,), np.ones(1), np.ones(1, dtype=bool))
    answers = Answers.of(((long, FORM),), backbone, 1000, 1000)
    assert len(answers.tokens[0]) <= backbone.max_tokens
    assert answers.counted[0] == backbone.max_tokens // 2


def test_states_of_rows_are_computed_once():
    told = []
    trunk = Trunk(tiny.load("llama"), "fp32", 64, note=told.append)
    answers = Answers.of(((pairs(), FORM),), trunk.backbone, 64, 20)
    first, second = (trunk.states_of(answers.tokens, 2) for _ in range(2))
    assert told == [len(TEXTS)]
    assert torch.equal(first.row(1), second.row(1))
    assert write.MICRO_TOKENS > 0
