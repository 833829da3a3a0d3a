"""Low-rank adapters: nothing at first, and the same when merged."""

import copy

import pytest
import tiny
import torch

from transfuse.backbones import adapters
from transfuse.backbones.tokens import States

SETTINGS = {"rank": 2, "alpha": 4, "dropout": 0.0}
TEXTS = ["the good, the bad", "x"]
FAMILIES = pytest.mark.parametrize("family", ["bert", "distilbert", "llama", "gemma3_text", "phi3", "gpt2"])


def adapted(family, seed=0):
    backbone = tiny.load(family)
    segment = backbone.segment(1, 3, own=True, states=True)
    tokens = backbone.tokens(TEXTS, None, 64)
    values, mask = States.of(backbone.states(tokens, 1), tokens).batch([0, 1])
    with torch.no_grad():
        plain = segment(values, mask)
    adapters.add(segment, SETTINGS, seed=seed)
    return segment, values, mask, plain


def shake(segment):
    """What training would do: the second factors leave 0."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for name, parameter in segment.model.named_parameters():
            if "lora_B" in name:
                parameter += 0.1 * torch.randn_like(parameter)


@FAMILIES
def test_an_adapter_changes_nothing_at_first_and_alone_trains(family):
    segment, values, mask, plain = adapted(family)
    with torch.no_grad():
        torch.testing.assert_close(segment(values, mask), plain, rtol=0, atol=0)
    trained = [name for name, p in segment.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert set(adapters.tensors(segment)) == {n.removeprefix("model.") for n in trained if n.startswith("model.")}


@FAMILIES
def test_every_linear_map_of_every_layer_has_one(family):
    segment, *_ = adapted(family)
    plain = tiny.load(family).segment(1, 3).layers
    linear = [n for n, m in plain.named_modules() if isinstance(m, torch.nn.Linear) or type(m).__name__ == "Conv1D"]
    assert sum("lora_A" in name for name in adapters.tensors(segment)) == len(linear) > 0


@FAMILIES
def test_merged_layers_equal_the_adapted_ones(family):
    segment, values, mask, plain = adapted(family)
    shake(segment)
    with torch.no_grad():
        moved = segment(values, mask)
        assert (moved - plain).abs().max() > 1e-2
        merged = tiny.load(family).segment(1, 3, own=True, states=True)
        names = {name for name, _ in merged.layers.named_modules()}
        for i, layer in enumerate(segment.layers):
            merged.layers[i] = adapters.merged(copy.deepcopy(layer))
        torch.testing.assert_close(merged(values, mask), moved, rtol=0, atol=1e-5)
    assert {name for name, _ in merged.layers.named_modules()} == names, "peft's wrappers are still there"
    assert any("lora_" in name for name, _ in segment.named_parameters()), "the adapted layers were changed"


def test_the_seed_decides_the_start():
    first, again, other = (adapters.tensors(adapted("llama", seed)[0]) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    state = torch.get_rng_state()
    adapted("llama", 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_its_own_dropout_is_on_where_the_layers_is_off():
    segment = tiny.load("bert").segment(1, 3, own=True, states=True)
    adapters.add(segment, {**SETTINGS, "dropout": 0.3}, seed=0)
    segment.train(False)
    adapters.train(segment)
    on = {name.rpartition(".")[2] for name, m in segment.named_modules() if m.training and "lora_dropout" not in name}
    assert on == set()
    assert all(m.training for name, m in segment.named_modules() if name.endswith("lora_dropout"))
    assert any(m.p == 0.3 for m in segment.modules() if isinstance(m, torch.nn.Dropout) and m.training)
