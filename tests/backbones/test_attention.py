"""Attention by plain products or torch's fused one, against the library's own."""

import pytest
import tiny
import torch
import transformers
from torch import nn

from transfuse.backbones import attention
from transfuse.backbones.tokens import pad

FAMILIES = pytest.mark.parametrize("family", tiny.CONFIGS)
ROUTES = pytest.mark.parametrize("longest", [0, 1000], ids=["fused", "plain"])
TEXTS = ["the good, the bad and the good again, which is longer than a window", "x", "the bad"]


def own(family):
    """The family's model as transformers gives it."""
    return transformers.AutoModel.from_pretrained(tiny.load(family).folder).eval()


@ROUTES
@FAMILIES
def test_states_and_gradients_are_those_of_transformers(family, longest, monkeypatch):
    monkeypatch.setattr(attention, "LONGEST", longest)
    backbone = tiny.load(family)
    ids, mask = pad(backbone.tokens(TEXTS, None, 64), 0)
    found = []
    for model in (backbone.base(), own(family)):
        embedded = model.get_input_embeddings()(ids).detach().requires_grad_()
        states = model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state
        (states * mask.unsqueeze(-1)).pow(3).sum().backward()
        found.append((states.detach()[mask.bool()], embedded.grad[mask.bool()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-3)


def test_it_is_used_where_the_fused_one_would_be():
    for family in tiny.CONFIGS:
        expected = attention.NAME if own(family).config._attn_implementation == "sdpa" else "eager"
        assert tiny.load(family).base().config._attn_implementation == expected, family
    assert tiny.load("llama").base().config._attn_implementation == attention.NAME


def reference(query, key, value, mask, scaling):
    """Softmax over the scores of each head, heads repeated."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = query @ key.transpose(2, 3) * scaling
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return (scores.softmax(-1) @ value).transpose(1, 2)


@ROUTES
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("kind", ["seen", "added", "causal", "all"])
@pytest.mark.parametrize("heads", [2, 6])
def test_by_hand(heads, kind, scaling, longest, monkeypatch):
    monkeypatch.setattr(attention, "LONGEST", longest)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, h, 5, 4, generator=generator) for h in (heads, 2, 2))
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    mask = {"seen": causal, "added": torch.randn(3, 1, 5, 5, generator=generator), "causal": causal}.get(kind)
    given = mask if kind in ("seen", "added") else None
    found, weights = attention.attend(
        nn.Module(), query, key, value, given, scaling=scaling, is_causal=kind == "causal"
    )
    assert weights is None
    everything = torch.ones(5, 5, dtype=torch.bool)
    expected = reference(query, key, value, everything if mask is None else mask, 0.5 if scaling is None else scaling)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_padded_row_that_sees_nothing_gives_numbers():
    x = torch.randn(1, 1, 2, 4)
    mask = torch.tensor([[[[True, False], [False, False]]]])
    assert torch.isfinite(attention.attend(nn.Module(), x, x, x, mask)[0]).all()


def test_in_training_in_bf16_longer_texts_take_plain_products(monkeypatch):
    taken = []
    monkeypatch.setattr(attention, "_plain", lambda query, *_: taken.append(query.shape[2]) or query)
    for count in (attention.LONGEST + 1, attention.LONGEST_TRAINED + 1):
        for dtype in (torch.bfloat16, torch.float32):
            x = torch.randn(1, 1, count, 4, dtype=dtype, requires_grad=True)
            attention.attend(nn.Module(), x, x, x, None)
    assert taken == [attention.LONGEST + 1]
