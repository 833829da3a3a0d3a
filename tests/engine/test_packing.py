"""Several examples in one row: the loss, the gradients and the steps are those of each example in a row of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.form import Form
from transfuse.backbones.packing import packed, packs, places
from transfuse.backbones.tokens import Passing, States
from transfuse.engine import learners
from transfuse.engine.answers import Pairs, Write
from transfuse.engine.branch import Branch
from transfuse.engine.jobs import Schedule
from transfuse.engine.training import train
from transfuse.engine.trunk import Trunk
from transfuse.engine.write import Answers

TEXTS = ("go", "the bad dog", "a", "xyz and more", "the sun", "the good, the bad and the good again and again")
REPLIES = ("one", "two words", "", "three", "four\nlines", "longer than a window of eight")
FORM = Form.plain("Q: {text}\nA:")
SCHEDULE = Schedule(1e-3, 0.0, 1.0, 2, 4, 0.1, 0.0, 0.0, 0.0, 1.0)
LORA = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.0}
ROW = 64
EVERY = np.arange(len(TEXTS))
FAMILIES = pytest.mark.parametrize("family", tiny.DECODERS)


def pairs(texts=TEXTS, replies=REPLIES):
    weights = np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.0])[: len(texts)]
    return Pairs(tuple(texts), tuple(replies), weights, np.ones(len(texts), dtype=bool))


def pupil(backbone, pack, *, layers=2, adapter=None, own=None, schedule=SCHEDULE, trunk=None):
    """What the stage `Write` trains, as the engine makes it."""
    stage = Write(((own or pairs(), FORM),), 40, layers, adapter, schedule, pack=pack)
    branch = Branch()
    return learners.writing(stage, branch, trunk or Trunk(backbone, "fp32", 100), 0)


def learn(backbone, one, chosen=EVERY):
    """The loss of some examples, and the gradient of every parameter that trains."""
    values, mask = one.answers.laid(chosen, *one.states.batch(chosen))
    loss = one.answers.loss(backbone, one.segment(values.float(), mask), chosen, low=False)
    trained = [p for p in one.segment.parameters() if p.requires_grad]
    return loss.detach(), torch.autograd.grad(loss, trained)


def weights(one):
    return [p.detach().clone() for p in one.segment.parameters() if p.requires_grad]


def same(found, expected, *, atol=2e-6, rtol=1e-4):
    assert len(found) == len(expected) > 0
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=rtol)


@FAMILIES
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("adapter", [None, LORA], ids=["layers", "lora"])
def test_loss_and_gradients_are_those_of_rows_of_their_own(family, layers, adapter):
    backbone = tiny.load(family)
    plain, several = (pupil(backbone, pack, layers=layers, adapter=adapter) for pack in (0, ROW))
    rows, _ = places(several.states.lengths, ROW)
    assert several.answers.pack == ROW
    assert rows.max() + 1 < len(TEXTS) - 2
    (loss, slopes), (other, others) = (learn(backbone, one) for one in (plain, several))
    assert float(other) == pytest.approx(float(loss), rel=1e-5)
    same(others, slopes, atol=2e-5, rtol=1e-3)


@FAMILIES
def test_no_example_sees_another(family):
    """Of two examples in a row the first changes altogether; the states of the second, and its loss, stay."""
    backbone = tiny.load(family)
    states, losses, company = [], [], []
    for text, reply in (("the bad dog", "words"), ("quite another", "six!!")):
        one = pupil(backbone, 1000, own=pairs(("the sun", text), ("four", reply)))
        lengths, chosen = one.states.lengths, np.arange(2)
        values, mask = one.answers.laid(chosen, *one.states.batch(chosen))
        assert mask.shape == (1, lengths.sum())
        _, (begin, other) = places(lengths, 1000)
        assert begin > other == 0
        with torch.no_grad():
            hidden = one.segment(values, mask)
            alone = dataclasses.replace(one.answers, weights=np.array([1.0, 0.0]))
            losses.append(float(alone.loss(backbone, hidden, chosen, low=False)))
        states.append(hidden[0, begin:])
        company.append(hidden[0, : min(lengths[1], 12)])
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=1e-5)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert (company[0] - company[1]).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "mistral"])
def test_token_ids_share_a_row_too(family):
    backbone = tiny.load(family)
    tokens = backbone.tokens(list(TEXTS), None, 64)
    ids, mask = States.of_ids(tokens).batch(EVERY)
    segment = backbone.segment(0, backbone.layers)
    rows, begins = places(mask.sum(1).numpy(), ROW)
    with torch.no_grad():
        alone, together = segment(ids, mask), segment(*packed(ids, mask, rows, begins))
    for i, row in enumerate(tokens):
        at = slice(begins[i], begins[i] + len(row))
        torch.testing.assert_close(together[rows[i], at], alone[i, : len(row)], rtol=0, atol=2e-5)


def test_one_example_is_as_it_would_be_without_packing():
    backbone = tiny.load("gemma2")
    own = pairs(TEXTS[1:2], REPLIES[1:2])
    plain, single = (pupil(backbone, pack, own=own) for pack in (0, ROW))
    values, mask = single.states.batch([0])
    assert all(
        torch.equal(a, b) for a, b in zip(single.answers.laid(np.arange(1), values, mask), (values, mask), strict=True)
    )
    (loss, slopes), (other, others) = (learn(backbone, one, np.arange(1)) for one in (plain, single))
    assert torch.equal(loss, other)
    assert all(torch.equal(a, b) for a, b in zip(slopes, others, strict=True))


def test_rows_by_hand():
    """Of 9, 5, 4, 3 and 2 tokens in rows of 14: three rows of 9 have 4 empty places, two of 12 or more have 1."""
    rows, begins = places(np.array([3, 5, 2, 9, 4]), 14)
    assert rows.tolist() == [0, 1, 1, 0, 1]
    assert begins.tolist() == [9, 0, 9, 0, 5]
    rows, begins = places(np.array([3, 5, 2, 9, 4]), 9)
    assert rows.tolist() == [2, 1, 1, 0, 2]
    assert begins.tolist() == [4, 0, 5, 0, 0]
    assert places(np.array([3, 5, 2]), 0)[0].tolist() == [0, 1, 2]
    assert places(np.array([4, 4, 4, 4]), 16)[0].tolist() == [0, 1, 2, 3]  # nothing is padded as it is
    values, mask = States.of_ids([[1, 2], [3], [4, 5, 6]]).batch(range(3))
    laid, numbers = packed(values, mask, *places(np.array([2, 1, 3]), 3))
    assert laid.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert numbers.tolist() == [[1, 1, 1], [1, 1, 2]]


def test_an_example_that_is_too_long_stands_alone_in_its_row():
    lengths = np.array([4, 30, 5, 3])
    rows, begins = places(lengths, 12)
    assert (rows == rows[1]).tolist() == [False, True, False, False]
    assert begins[1] == 0
    assert len(set(rows[[0, 2, 3]])) == 1
    backbone = tiny.load("llama")
    plain, several = (pupil(backbone, pack) for pack in (0, 40))
    rows, _ = places(several.states.lengths, 40)
    assert several.states.lengths.max() > 40
    assert (rows == rows[several.states.lengths.argmax()]).sum() == 1
    assert len(set(rows)) < len(TEXTS)
    assert float(learn(backbone, several)[0]) == pytest.approx(float(learn(backbone, plain)[0]), rel=1e-5)


@pytest.mark.parametrize("adapter", [None, LORA], ids=["layers", "lora"])
def test_training_takes_the_same_steps(adapter, monkeypatch):
    """Whole, and with each step accumulated in parts of few tokens; what shares a row stays in one part."""
    backbone = tiny.load("gemma3_text")
    plain, whole, parted = (pupil(backbone, pack, adapter=adapter) for pack in (0, ROW, ROW))
    before = weights(plain)
    train(backbone, [plain], precision="fp32")
    train(backbone, [whole], precision="fp32")
    monkeypatch.setattr(Answers.parts, "__defaults__", (ROW,))
    parts = parted.answers.parts(EVERY)
    assert len(parts) > 1
    assert sorted(np.concatenate(parts)) == EVERY.tolist()
    together = places(parted.states.lengths, ROW)[0]
    assert all(set(together[part]).isdisjoint(together[np.setdiff1d(EVERY, part)]) for part in parts)
    assert any(places(parted.states.lengths[part], ROW)[0].max() + 1 < len(part) for part in parts)
    train(backbone, [parted], precision="fp32")
    for one in (whole, parted):
        same(weights(one), weights(plain), atol=5e-6)
    assert max(float((a - b).abs().max()) for a, b in zip(weights(plain), before, strict=True)) > 1e-3


def test_training_lays_examples_out_as_asked(monkeypatch):
    backbone = tiny.load("llama")
    seen = []
    one = pupil(backbone, ROW)
    one.segment.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    train(backbone, [one], precision="fp32")
    assert max(int(mask.max()) for mask in seen) > 1
    assert all(mask.shape[1] <= max(ROW, int(one.states.lengths.max())) for mask in seen)


def test_two_adapters_side_by_side_are_packed_each_for_itself():
    backbone = tiny.load("llama")
    turned = pairs(TEXTS[::-1], REPLIES[::-1])
    plain, several = (
        [pupil(backbone, pack, adapter=LORA), pupil(backbone, pack, adapter=LORA, own=turned)] for pack in (0, ROW)
    )
    train(backbone, plain, precision="fp32")
    train(backbone, several, precision="fp32")
    for a, b in zip(several, plain, strict=True):
        same(weights(a), weights(b), atol=5e-6)


def test_states_that_are_computed_batch_by_batch_are_packed_too():
    backbone = tiny.load("llama")
    plain, passing = pupil(backbone, 0), pupil(backbone, ROW, trunk=Trunk(backbone, "fp32", 100, most=1))
    assert isinstance(passing.states, Passing)
    same(learn(backbone, passing)[1], learn(backbone, plain)[1], atol=2e-5, rtol=1e-3)


def test_what_cannot_share_a_row_does_not_and_the_trunk_says_so():
    assert not packs(tiny.load("bert"), tiny.load("bert").segment(1, 3))
    crossing = tiny.load("t5")
    trunk = Trunk(crossing, "fp32", 100)
    assert pupil(crossing, ROW, trunk=trunk).answers.pack == 0
    assert trunk.unpacked
    backbone = tiny.load("llama")
    trunk = Trunk(backbone, "fp32", 100)
    assert pupil(backbone, ROW, layers=0, adapter={"kind": "soft", "tokens": 2}, trunk=trunk).answers.pack == 0
    assert trunk.unpacked
    trunk = Trunk(backbone, "fp32", 100)
    assert pupil(backbone, 0, trunk=trunk).answers.pack == 0
    assert not trunk.unpacked


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_parameters": {"rope_type": "dynamic"}},
        {"rope_parameters": {"full_attention": {"rope_type": "longrope"}}},
        {"use_bidirectional_attention": True},
        {"is_causal": False},
        {"_attn_implementation_internal": "flash_attention_2"},
    ],
    ids=str,
)
def test_attention_and_positions_that_depend_on_the_company_are_not_packed(changed):
    backbone = tiny.load("llama")
    segment = backbone.segment(1, 3, own=True)
    assert packs(backbone, segment)
    segment.model.config.__dict__.update(changed)
    assert not packs(backbone, segment)


def test_every_row_has_a_place_and_none_shares_a_token():
    generator = np.random.default_rng(0)
    for most in (1, 16, 64, 1000):
        lengths = generator.integers(1, 60, 200)
        rows, begins = places(lengths, most)
        taken = set()
        for row, begin, length in zip(rows, begins, lengths, strict=True):
            own = {(int(row), at) for at in range(int(begin), int(begin + length))}
            assert not own & taken
            taken |= own
        widths = np.bincount(rows, lengths)
        assert len(widths) * widths.max() <= len(lengths) * lengths.max()
        assert all(width <= most or (rows == r).sum() == 1 for r, width in enumerate(widths))
        assert len(taken) == lengths.sum()
