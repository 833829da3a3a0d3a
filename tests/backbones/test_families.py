"""Every family that can be cut: what is read from it is what transformers itself gives, whole or in parts."""

import copy

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones.anatomy import ANATOMIES
from transfuse.backbones.huggingface import Backbone
from transfuse.backbones.tokens import States
from transfuse.errors import BackboneError

TEXTS = ["the good, the bad", "x", "a somewhat longer text about the good and the bad of it", "the", "bad good"]
FAMILIES = pytest.mark.parametrize("family", tiny.CONFIGS)
POOL = {"mean": lambda h: h.mean(0), "first": lambda h: h[0], "last": lambda h: h[-1]}
CLOSE = {"rtol": 0, "atol": 2e-5}


def own_states(backbone: Backbone, row: list[int]) -> list[torch.Tensor]:
    """What transformers gives for one text alone: the states after 0, 1, ... layers, the last one normed."""
    with torch.no_grad():
        output = backbone.base()(input_ids=torch.tensor([row]), output_hidden_states=True)
    return [*(state[0] for state in output.hidden_states[:-1]), output.last_hidden_state[0]]


def differ(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]


def test_every_family_that_can_be_cut_has_a_tiny_model():
    assert sorted(tiny.CONFIGS) == sorted(ANATOMIES)


@FAMILIES
def test_features_are_the_hidden_states_of_transformers(family):
    backbone = tiny.load(family)
    assert backbone.decoder == (family in tiny.DECODERS)
    assert (backbone.layers, backbone.width, backbone.max_tokens) == (tiny.LAYERS, tiny.WIDTH, tiny.POSITIONS)
    tokens = backbone.tokens(TEXTS, None, 64)
    found = backbone.features(tokens, range(tiny.LAYERS + 1))
    assert found.shape == (len(TEXTS), tiny.LAYERS + 1, len(backbone.poolings), tiny.WIDTH)
    assert found.dtype == np.float32
    for i, row in enumerate(tokens):
        states = own_states(backbone, row)
        normed = [*(backbone.normed(state) for state in states[:-1]), states[-1]]
        for layer, state in enumerate(normed):
            for p, pooling in enumerate(backbone.poolings):
                np.testing.assert_allclose(found[i, layer, p], POOL[pooling](state), **CLOSE)


@FAMILIES
def test_a_lower_layer_alone_is_the_same_as_from_the_pass_over_all(family):
    backbone = tiny.load(family)
    tokens = backbone.tokens(TEXTS, None, 64)
    every = backbone.features(tokens, range(tiny.LAYERS + 1))
    np.testing.assert_array_equal(backbone.features(tokens, [1])[:, 0], every[:, 1])
    np.testing.assert_array_equal(backbone.features(tokens, [2, 0]), every[:, [2, 0]])


@FAMILIES
def test_cached_states_at_every_cut_continue_to_the_whole_forward(family):
    backbone = tiny.load(family)
    tokens = backbone.tokens(TEXTS, None, 64)
    whole = [own_states(backbone, row) for row in tokens]
    for cut in range(tiny.LAYERS + 1):
        values, mask = States.of(backbone.states(tokens, cut), tokens).batch(range(len(TEXTS)))
        for stop in range(cut, tiny.LAYERS + 1):
            with torch.no_grad():
                hidden = backbone.segment(cut, stop, states=True)(values, mask)
            for i, row in enumerate(tokens):
                state = hidden[i, : len(row)]
                state = backbone.normed(state) if stop == tiny.LAYERS else state
                torch.testing.assert_close(state, whole[i][stop], **CLOSE)


@FAMILIES
def test_a_segment_from_token_ids_equals_the_whole_forward_at_every_layer(family):
    backbone = tiny.load(family)
    tokens = backbone.tokens(TEXTS, None, 64)
    ids, mask = States.of_ids(tokens).batch(range(len(TEXTS)))
    for stop in range(tiny.LAYERS + 1):
        with torch.no_grad():
            hidden = backbone.segment(0, stop)(ids, mask)
        for i, row in enumerate(tokens):
            state = hidden[i, : len(row)]
            state = backbone.normed(state) if stop == tiny.LAYERS else state
            torch.testing.assert_close(state, own_states(backbone, row)[stop], **CLOSE)


@pytest.mark.parametrize("family", ["roberta", "gpt2", "gemma3_text"])
def test_the_company_of_a_text_and_the_tokenizers_side_do_not_matter(family, monkeypatch):
    backbone = tiny.load(family)
    tokens = backbone.tokens(TEXTS, None, 64)
    together = backbone.features(tokens, [1, 3])
    alone = np.concatenate([backbone.features([row], [1, 3]) for row in tokens])
    np.testing.assert_allclose(together, alone, **CLOSE)
    monkeypatch.setattr(backbone.tokenizer, "padding_side", "left")
    again = backbone.tokens(TEXTS, None, 64)
    assert again == tokens
    np.testing.assert_array_equal(backbone.features(again, [1, 3]), together)


@FAMILIES
@pytest.mark.parametrize("start", [0, 1])
def test_training_a_segment_leaves_the_backbone_alone(family, start):
    backbone = tiny.load(family)
    before = copy.deepcopy(backbone.network().state_dict())
    tokens = backbone.tokens(TEXTS, None, 64)
    segment = backbone.segment(start, 3, own=True, states=True)
    values, mask = States.of(backbone.states(tokens, start), tokens).batch(range(len(TEXTS)))
    trained = [p for p in segment.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in segment.layers.parameters()}
    segment(values, mask).square().sum().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    assert differ(backbone.network(), before) == []
    assert not any(p.requires_grad or p.grad is not None for p in backbone.network().parameters())
    with torch.no_grad():
        moved = (segment(values, mask) - backbone.segment(start, 3, states=True)(values, mask)).abs().max()
    assert moved > 1e-3


@FAMILIES
def test_embeddings_train_too_where_a_segment_takes_token_ids(family):
    backbone = tiny.load(family)
    before = copy.deepcopy(backbone.network().state_dict())
    ids, mask = States.of_ids(backbone.tokens(TEXTS, None, 64)).batch(range(len(TEXTS)))
    segment = backbone.segment(0, 2, own=True, states=False)
    segment(ids, mask).square().sum().backward()
    used = [n for n, p in segment.model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert any("emb" in name or "wte" in name for name in used)
    torch.optim.SGD([p for p in segment.parameters() if p.requires_grad], lr=0.1).step()
    assert differ(backbone.network(), before) == []
    assert not any(f".{tiny.LAYERS - 1}." in name for name, _ in segment.model.named_parameters()), "an unused layer"


def test_bf16_is_a_copy_near_to_fp32():
    backbone = tiny.load("llama")
    tokens = backbone.tokens(TEXTS, None, 64)
    exact, rough = (backbone.features(tokens, [3], precision) for precision in ("fp32", "bf16"))
    assert backbone.states(tokens, 1, "bf16").dtype == torch.bfloat16
    assert backbone.states(tokens, 1).dtype == torch.float32
    assert 0 < np.abs(exact - rough).max() < 0.2 * np.abs(exact).max()
    assert {p.dtype for p in backbone.network("fp32").parameters()} == {torch.float32}


def test_a_family_whose_parts_are_unknown_cannot_be_cut(monkeypatch):
    backbone = copy.copy(tiny.load("bert"))
    backbone.family = "mamba"
    with pytest.raises(
        BackboneError, match="models of type 'mamba' cannot be cut into layers\nExpected: one of bert, "
    ):
        backbone.segment(0, 1)
