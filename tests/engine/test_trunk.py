"""The trunk's memory: one pass for everything, and figures that do not depend on what was asked first."""

import numpy as np
import pytest
import tiny
import torch
import toy

from transfuse.backbones.anatomy import Segment
from transfuse.backbones.tokens import States
from transfuse.engine import trunk as trunk_module
from transfuse.engine.store import Store
from transfuse.engine.trunk import Trunk

TEXTS = tuple(toy.examples(30, seed=0).texts)


def rows(states: States) -> list[torch.Tensor]:
    return [states.row(i) for i in range(len(states))]


def new(family: str = "bert") -> Trunk:
    return Trunk(tiny.load(family), "fp32", 64)


@pytest.fixture
def passes(monkeypatch) -> list[tuple[int, int, int]]:
    """(texts, first layer, layer after the last) of every pass through layers of a model."""
    seen: list[tuple[int, int, int]] = []
    forward = Segment.forward

    def counted(self: Segment, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((len(inputs), self.start, self.stop))
        return forward(self, inputs, mask)

    monkeypatch.setattr(Segment, "forward", counted)
    return seen


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_cached_features_are_those_of_the_backbone(family):
    backbone, trunk = tiny.load(family), new(family)
    found = trunk.features(TEXTS, "say {text}!")
    direct = backbone.features(backbone.tokens(TEXTS, "say {text}!", 64), range(backbone.layers + 1))
    np.testing.assert_array_equal(found, direct)
    np.testing.assert_array_equal(trunk.features(TEXTS, "say {text}!"), found)
    assert found.shape == (30, 4, len(backbone.poolings), 16)


def test_one_pass_for_all_layers_poolings_and_folds(passes):
    trunk = new()
    trunk.features(TEXTS, None)
    assert sum(texts for texts, _, _ in passes) == 30
    for layer in range(4):
        trunk.features(TEXTS[layer::3], None, [layer])
    trunk.features(TEXTS[::-1], None)
    assert sum(texts for texts, _, _ in passes) == 30
    trunk.features(TEXTS, "other {text}")
    assert sum(texts for texts, _, _ in passes) == 60


def test_all_layers_serve_single_ones():
    trunk, single = new(), new()
    whole = trunk.features(TEXTS, None)
    for layers in ([2], [3, 1], [0]):
        np.testing.assert_allclose(trunk.features(TEXTS, None, layers), single.features(TEXTS, None, layers), atol=1e-5)
        np.testing.assert_array_equal(trunk.features(TEXTS, None, layers), whole[:, layers])


def test_a_single_layer_costs_the_layers_below_it_alone(passes):
    new().features(TEXTS, None, [1])
    assert {(start, stop) for _, start, stop in passes} == {(0, 1)}


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_figures_do_not_depend_on_the_order_of_requests(family, monkeypatch):
    monkeypatch.setattr(trunk_module, "CHUNK", 8)
    a, b = new(family), new(family)
    for trunk in (a, b):
        trunk.register(TEXTS)
    a.features(TEXTS, None)
    for part in (TEXTS[20:], TEXTS[3:5], TEXTS[::-1]):
        np.testing.assert_array_equal(b.features(part, None), a.features(part, None))
    for part in (TEXTS[5:6], TEXTS[::-2]):
        assert all(map(torch.equal, rows(a.states(part, None, 2)), rows(b.states(part, None, 2))))


def test_chunks_are_encoded_whole_and_only_where_needed(passes, monkeypatch):
    monkeypatch.setattr(trunk_module, "CHUNK", 8)
    told: list[int] = []
    trunk = Trunk(tiny.load("bert"), "fp32", 64, note=told.append)
    trunk.register(TEXTS)
    trunk.features(TEXTS[9:10], None)
    assert sum(texts for texts, _, _ in passes) == 8
    assert told == [8]
    trunk.features(TEXTS[:16], None)
    assert told == [8, 8]


def test_texts_that_stand_twice_are_encoded_once(passes):
    trunk = new()
    found = trunk.features([TEXTS[0], TEXTS[1], TEXTS[0]], None)
    assert sum(texts for texts, _, _ in passes) == 2
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_no_texts_have_no_features():
    assert new().features([], None).shape == (0, 4, 2, 16)
    assert new().features([], None, [2]).shape == (0, 1, 2, 16)


def test_states_are_those_of_the_backbone_and_computed_once(passes):
    backbone, trunk = tiny.load("bert"), new()
    found = trunk.states(TEXTS, None, 2)
    direct = backbone.states(backbone.tokens(TEXTS, None, 64), 2)
    assert torch.equal(torch.cat(rows(found)), direct)
    passes.clear()
    part = trunk.states(TEXTS[7:9], None, 2)
    assert passes == []
    assert all(map(torch.equal, rows(part), rows(found)[7:9]))
    trunk.states(TEXTS, None, 1)
    assert {(start, stop) for _, start, stop in passes} == {(0, 1)}


def test_token_ids_need_no_pass(passes):
    backbone, trunk = tiny.load("bert"), new()
    found = trunk.states(TEXTS, None, 0, ids=True)
    assert passes == []
    assert [row.tolist() for row in rows(found)] == backbone.tokens(TEXTS, None, 64)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_on_disk_are_those_that_were_computed(tmp_path, passes, precision):
    """A second study on the same texts computes nothing, and finds every bit as it was."""
    backbone = tiny.load("llama")
    first, second = (Trunk(backbone, precision, 64, store=Store(tmp_path, 1 << 24)) for _ in range(2))
    features, states = first.features(TEXTS, None), first.states(TEXTS, "a {text}", 2)
    passes.clear()
    np.testing.assert_array_equal(second.features(TEXTS, None), features)
    found = second.states(TEXTS, "a {text}", 2)
    assert passes == []
    assert all(map(torch.equal, rows(found), rows(states)))
    assert found.row(0).dtype == states.row(0).dtype
    values, _ = found.batch([0, 1])
    values.zero_()
    assert all(map(torch.equal, rows(second.states(TEXTS, "a {text}", 2)), rows(states)))


@pytest.mark.parametrize(
    "change",
    [{"precision": "bf16"}, {"limit": 8}, {"backbone": "qwen2"}, {"template": "b {text}"}, {"cut": 1}, {"texts": 29}],
    ids=lambda change: next(iter(change)),
)
def test_an_entry_serves_nothing_but_what_it_was_computed_for(tmp_path, passes, change):
    def states(backbone="llama", precision="fp32", limit=64, template="a {text}", cut=2, texts=30):
        trunk = Trunk(tiny.load(backbone), precision, limit, store=Store(tmp_path, 1 << 24))
        return trunk.states(TEXTS[:texts], template, cut)

    states()
    passes.clear()
    states()
    assert passes == []
    states(**change)
    assert passes


def test_without_keeping_everything_is_computed_anew_and_equal(passes):
    kept, anew = new(), Trunk(tiny.load("bert"), "fp32", 64, keep=False)
    np.testing.assert_array_equal(kept.features(TEXTS, None), anew.features(TEXTS, None))
    passes.clear()
    np.testing.assert_array_equal(anew.features(TEXTS, None), kept.features(TEXTS, None))
    assert sum(texts for texts, _, _ in passes) == 30


def test_layers_over_cached_states_equal_the_whole_model():
    """The central idea: layers on the cached prefix give what the uncut model gives."""
    for family in ("bert", "llama"):
        backbone, trunk = tiny.load(family), new(family)
        values, mask = trunk.states(TEXTS, None, 1).batch(range(30))
        with torch.inference_mode():
            through = backbone.normed(backbone.segment(1, 3)(values, mask))
        whole = trunk.features(TEXTS, None, [3])[:, 0, backbone.poolings.index("mean")]
        pooled = (through * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        np.testing.assert_allclose(pooled.numpy(), whole, atol=2e-5)


def test_states_that_would_need_too_much_room_are_computed_for_each_batch(passes):
    """The same numbers; nothing is held, and what did not fit is told."""
    backbone = tiny.load("bert")
    rows = backbone.tokens(TEXTS, None, 64)
    size = sum(map(len, rows)) * backbone.width * 4
    held, passing = Trunk(backbone, "fp32", 64), Trunk(backbone, "fp32", 64, most=size - 1)
    one, other = held.states_of(rows, 2), passing.states_of(rows, 2)
    assert held.anew == []
    assert passing.anew == [(sum(map(len, rows)), size)]
    np.testing.assert_array_equal(one.lengths, other.lengths)
    for (a, mask), (b, other_mask) in zip((one.batch([2, 0, 1]),), (other.batch([2, 0, 1]),), strict=True):
        torch.testing.assert_close(a, b)
        assert torch.equal(mask, other_mask)


def test_of_several_sets_of_rows_the_oldest_goes_first():
    backbone = tiny.load("bert")
    rows = [backbone.tokens([text] * 3, None, 64) for text in ("a", "go", "the")]
    size = max(sum(map(len, some)) for some in rows) * backbone.width * 4
    trunk = Trunk(backbone, "fp32", 64, most=2 * size)
    for some in rows:
        trunk.states_of(some, 1)
    assert sum(a.nbytes for a in trunk._rows.values()) <= 2 * size
    assert len(trunk._rows) == 2
