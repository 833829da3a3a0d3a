"""Vocabularies that differ: padding within a family, shared tokens, and shapes alone."""

import pytest
import torch
from small_tokenizers import small

from transfuse.backbones.byte_ends import token_bytes
from transfuse.engine.divergences import soft_loss
from transfuse.engine.vocabularies import common_tokens, same_ids, trimmed, universal_loss
from transfuse.errors import BackboneError


def logits(seed: int, rows: int = 4, tokens: int = 7) -> torch.Tensor:
    return torch.randn(rows, tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_family_shares_all_but_padding_and_what_was_added():
    first = {f"t{i}": i for i in range(20)}
    assert same_ids(first, {**first, "<pad1>": 20, "<pad2>": 21}).tolist() == list(range(20))
    moved = {**first, "t3": 21, "new": 3}
    assert same_ids(first, moved).tolist() == [0, 1, 2, *range(4, 20)]


def test_strangers_are_no_family():
    with pytest.raises(BackboneError, match="give 1 of 3 tokens the same id") as error:
        same_ids({"a": 0, "b": 1, "c": 2}, {"a": 0, "c": 1, "b": 2})
    assert "alignment.py" in error.value.remedy


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4], [0, 2, 3, 6]])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_trimmed_distributions_sum_to_1_on_both_sides(ids, beta):
    """A student that agrees on the shared tokens owes nothing, whatever is on the padding."""
    teacher = logits(0)
    student = torch.cat([teacher, 9 * logits(1, tokens=3)], 1)
    keep = torch.tensor(ids)
    student[:, [i for i in range(7) if i not in ids]] += 5.0
    z = student.clone().requires_grad_()
    loss = soft_loss(trimmed(z, keep), trimmed(teacher, keep), torch.ones(4).double(), 2.0, beta)
    loss.backward()
    assert loss.item() == 0
    assert z.grad.abs().max() < 1e-12
    assert soft_loss(student[:, :7], teacher, torch.ones(4).double(), 2.0, beta) > 0.01


def test_common_tokens_by_hand():
    student = [None, b"a", b" b", b"ab", b"a"]
    teacher = [b" b", None, b"c", b"", b"a", None]
    own, theirs = common_tokens(student, teacher, [(0, 5)])
    assert sorted(zip(own.tolist(), theirs.tolist(), strict=True)) == [(0, 5), (2, 0), (4, 4)]


def test_common_tokens_of_strangers():
    own, theirs = common_tokens(token_bytes(small("bytes")), token_bytes(small("sentencepiece")))
    names = [small("bytes").convert_ids_to_tokens(own.tolist())]
    names += [small("sentencepiece").convert_ids_to_tokens(theirs.tolist())]
    pairs = dict(zip(*names, strict=True))
    assert pairs["Ġgood"] == "▁good"
    assert pairs["Ġ"] == "▁"
    assert pairs["ð"] == "<0xF0>"
    assert pairs["T"] == "<0x54>"
    assert len(pairs) >= 256
    assert common_tokens([None], [None])[0].shape == (0,)


def test_universal_loss_by_hand():
    student, teacher = torch.tensor([[0.5, 0.2, 0.3]]).log(), torch.tensor([[0.1, 0.9]]).log()
    assert universal_loss(student, teacher, torch.ones(1)).item() == pytest.approx(0.4 + 0.2 + 0.2, rel=1e-5)
    assert universal_loss(teacher, student, torch.ones(1)).item() == pytest.approx(0.8, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_universal_loss_does_not_know_names(temperature):
    teacher = logits(0)
    z = teacher[:, torch.randperm(7)].clone().requires_grad_()
    loss = universal_loss(z, teacher, torch.ones(4).double(), temperature)
    loss.backward()
    assert loss.item() < 1e-15
    assert universal_loss(logits(1), teacher, torch.ones(4).double(), temperature) > 0.05
    z = teacher.clone().requires_grad_()
    universal_loss(z, teacher, torch.ones(4).double(), temperature).backward()
    assert z.grad.abs().max() == 0


def test_universal_loss_learns_and_weighs_rows():
    student, teacher = logits(2).requires_grad_(), logits(0, tokens=5)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5]).double()
    assert torch.autograd.gradcheck(lambda z: universal_loss(z, teacher, weights), student)
    universal_loss(student, teacher, weights).backward()
    assert student.grad[1].abs().max() == 0
    assert student.grad[0].abs().max() > 0
