"""What is captured is what the attention is given, in every family; with adapters, gradients and cached states."""

import contextlib

import pytest
import tiny
import torch
from torch import nn
from transformers import AttentionInterface
from transformers.models.gemma2 import modeling_gemma2

from transfuse.backbones import adapters
from transfuse.backbones.attention import NAME, attend
from transfuse.backbones.taps import PROJECTIONS, passed, tapped
from transfuse.errors import BackboneError

FAMILIES = pytest.mark.parametrize("family", list(tiny.CONFIGS))
TURNED = set(tiny.DECODERS) - {"gpt2"}
"""Queries and keys are turned by their positions; at position 0 by nothing."""
NORMED = {"qwen3", "gemma3_text"}
"""Queries and keys are normed first."""

IDS = torch.arange(10, 30).view(2, 10)
MASK = torch.ones(2, 10, dtype=torch.long)
MASK[1, 7:] = 0


def hooks(segment):
    """How many there are in all layers; transformers leaves some of its own once it was asked for hidden states."""
    return sum(len(one._forward_hooks) for one in segment.modules())


@contextlib.contextmanager
def given(monkeypatch):
    """What the models' attention is given, layer by layer; they are loaded already."""
    seen = []

    def spying(usual):
        def spy(module, query, key, value, *args, **kwargs):
            seen.append((query, key, value))
            return usual(module, query, key, value, *args, **kwargs)

        return spy

    AttentionInterface.register(NAME, spying(attend))
    with monkeypatch.context() as patch:  # a soft cap keeps Gemma 2 from torch's fused attention
        patch.setattr(modeling_gemma2, "eager_attention_forward", spying(modeling_gemma2.eager_attention_forward))
        yield seen
    AttentionInterface.register(NAME, attend)


def test_every_family_has_its_projections():
    assert sorted(PROJECTIONS) == sorted(tiny.CONFIGS)


@FAMILIES
def test_a_tap_is_what_attention_is_given(family, monkeypatch):
    backbone = tiny.load(family)
    with given(monkeypatch) as seen, tapped(backbone.segment(0, 3), [1, 3]) as taps:
        assert taps == {}
        backbone.segment(0, 3)(IDS, MASK)  # layers are shared among segments
    assert sorted(taps) == [1, 3]
    assert len(seen) == 3
    for layer, (query, key, value) in ((1, seen[0]), (3, seen[2])):
        tap = taps[layer]
        torch.testing.assert_close(tap.value, value)
        assert tap.query.shape == query.shape
        assert tap.key.shape == key.shape
        places = slice(0, 1) if family in TURNED else slice(None)
        if family not in NORMED:
            torch.testing.assert_close(tap.query[:, :, places], query[:, :, places])
            torch.testing.assert_close(tap.key[:, :, places], key[:, :, places])


@FAMILIES
def test_hooks_are_gone_afterwards_and_the_last_pass_counts(family):
    backbone = tiny.load(family)
    segment = backbone.segment(0, 3)
    before = hooks(segment)
    with tapped(segment, [2]) as taps:
        assert hooks(segment) > before
        segment(IDS, MASK)
        first = taps[2].value
        segment(IDS.flip(1), MASK)
        last = taps[2].value
    segment(IDS, MASK)
    assert taps[2].value is last
    assert not torch.equal(first, last)
    assert hooks(segment) == before


@pytest.mark.parametrize("family", ["bert", "llama", "phi3", "gpt2", "gpt_neox"])
def test_layers_of_an_upper_segment_keep_their_numbers_and_learn(family):
    backbone = tiny.load(family)
    with torch.no_grad(), tapped(backbone.segment(0, 3), [3]) as whole:
        backbone.segment(0, 3)(IDS, MASK)
    states = torch.zeros(2, 10, backbone.width)
    rows = torch.split(backbone.states([IDS[0].tolist(), IDS[1, :7].tolist()], 2), [10, 7])
    states[0], states[1, :7] = rows[0], rows[1]
    segment = backbone.segment(2, 3, own=True)
    with tapped(segment, [3]) as taps:
        segment(states, MASK)
    torch.testing.assert_close(taps[3].value[:, :, :7], whole[3].value[:, :, :7], rtol=1e-4, atol=1e-4)
    (taps[3].query.sum() + taps[3].value.sum()).backward()
    assert any(one.grad is not None and one.grad.abs().max() > 0 for one in segment.parameters())


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2", "gpt_neox", "bert"])
def test_what_an_adapter_does_is_seen(family, monkeypatch):
    backbone = tiny.load(family)
    segment = backbone.segment(0, 3, own=True, shared=True)
    adapters.add(segment, {"rank": 2, "alpha": 4, "dropout": 0.0}, seed=0)
    for name, parameter in segment.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    with torch.no_grad(), tapped(backbone.segment(0, 3), [2]) as before:
        backbone.segment(0, 3)(IDS, MASK)
    with given(monkeypatch) as seen, tapped(segment.eval(), [2]) as taps:
        segment(IDS, MASK)
    torch.testing.assert_close(taps[2].value, seen[1][2])
    assert not torch.allclose(taps[2].value, before[2].value, atol=0.1)
    taps[2].value.sum().backward()
    assert any(one.grad is not None and one.grad.abs().max() > 0 for one in segment.parameters())


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_states_after_layers_are_those_of_the_pass(family):
    backbone = tiny.load(family)
    segment = backbone.segment(0, 3)
    before = hooks(segment)
    with torch.no_grad(), passed(segment, [1, 3]) as states:
        last = segment(IDS, MASK)
        torch.testing.assert_close(states[3], last)
    rows = [IDS[0].tolist(), IDS[1, :7].tolist()]
    first = torch.split(backbone.states(rows, 1), [10, 7])
    torch.testing.assert_close(states[1][0], first[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(states[1][1, :7], first[1], rtol=1e-4, atol=1e-4)
    assert hooks(segment) == before
    upper = backbone.segment(2, 3)
    with passed(upper, [3]) as states:
        torch.testing.assert_close(upper(last, MASK), states[3])


def test_an_unknown_family_is_refused():
    segment = tiny.load("llama").segment(0, 3)
    segment.model.config.model_type = "mamba"
    with (
        pytest.raises(BackboneError, match=r"models of type 'mamba'.*not known") as error,
        tapped(segment, [1]),
    ):
        pass
    assert "backbones/taps.py" in error.value.remedy


@pytest.mark.parametrize("layer", [0, 1, 4])
def test_a_layer_that_does_not_run_is_refused(layer):
    segment = tiny.load("llama").segment(1, 3)
    before = hooks(segment)
    with (
        pytest.raises(BackboneError, match=f"layer {layer} of a segment of layers 2 to 3"),
        tapped(segment, [2, layer]),
    ):
        pass
    assert hooks(segment) == before
