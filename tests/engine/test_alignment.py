"""Groups of tokens that end at the same bytes: by hand, for real tokenizers, and what is learnt from them."""

import itertools
import math

import numpy as np
import pytest
import torch
from small_tokenizers import KINDS, TEXTS, small

from transfuse.backbones.byte_ends import INSIDE, byte_ends, token_bytes
from transfuse.engine.alignment import align, group_log_shares, group_loss, single_loss
from transfuse.engine.divergences import soft_loss
from transfuse.engine.vocabularies import common_tokens

BETAS = pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])


def spans(groups):
    return groups.student.tolist(), groups.teacher.tolist()


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ([3, 6], [3, 6], ([[0, 1], [1, 2]], [[0, 1], [1, 2]])),
        ([0, 3, 6, 7], [3, 6, 7], ([[1, 2], [2, 3], [3, 4]], [[0, 1], [1, 2], [2, 3]])),  # <s> on one side
        ([3, 5, 8], [2, 3, 8], ([[0, 1], [1, 3]], [[0, 2], [2, 3]])),
        ([4], [1, 2, 3, 4], ([[0, 1]], [[0, 4]])),
        ([0, INSIDE, INSIDE, 4, 5], [0, 1, 2, 4, 5], ([[1, 4], [4, 5]], [[1, 4], [4, 5]])),
        ([INSIDE, 3], [1, 3], ([[0, 2]], [[0, 2]])),
        ([3, 3, 6], [3, 6], ([[0, 1], [1, 3]], [[0, 1], [1, 2]])),  # a token of no bytes goes with what follows
        ([3, 5], [3, 4], ([[0, 1]], [[0, 1]])),  # cut off: the rest has no partner
        ([2], [1], ([], [])),
        ([], [1], ([], [])),
    ],
)
def test_groups_by_hand(student, teacher, expected):
    one, other = np.array(student, dtype=np.int64), np.array(teacher, dtype=np.int64)
    assert spans(align(one, other)) == expected
    assert spans(align(other, one)) == expected[::-1]


def both(first, second, text):
    ids = [small(kind)(text)["input_ids"] for kind in (first, second)]
    ends = [byte_ends(small(kind), text, row) for kind, row in zip((first, second), ids, strict=True)]
    return ids, align(*ends)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(KINDS, KINDS)))
@pytest.mark.parametrize("text", [*TEXTS, "我们去公园 😀🙃 x"])
def test_groups_of_real_tokenizers_hold_the_same_bytes(first, second, text):
    """Every token but <s> is in one group, and groups of tokenizers that keep all bytes have the same ones."""
    (ids, other), groups = both(first, second, text)
    for cut, row in ((groups.student, ids), (groups.teacher, other)):
        assert cut[0, 0] == 1
        assert cut[-1, 1] == len(row)  # </s> meets </s>
        assert (cut[1:, 0] == cut[:-1, 1]).all()
        assert (cut[:, 0] < cut[:, 1]).all()
    if {first, second} <= {"bytes", "sentencepiece"}:
        found = []
        for kind, cut, row in ((first, groups.student, ids), (second, groups.teacher, other)):
            pieces = [piece or b"" for piece in token_bytes(small(kind), row)]
            found.append([b"".join(pieces[a:b]) for a, b in cut])
        assert [one.lstrip() for one in found[0][:1]] == [one.lstrip() for one in found[1][:1]]
        assert found[0][1:] == found[1][1:]
    if first == second:
        text_bytes = token_bytes(small(first), ids)
        assert groups.single.mean() == 1 or first == "unigram" or text_bytes[1] == b" "


def test_a_pair_whose_groups_are_known():
    """``The| good| |🙃 in 3`` against ``▁|<0x54>|he|▁good|▁|🙃 in 4``."""
    (ids, other), groups = both("bytes", "sentencepiece", "The good 🙃")
    assert len(ids) == 8
    assert len(other) == 11
    assert spans(groups) == (
        [[1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7, 8]],
        [[1, 4], [4, 5], [5, 6], [6, 8], [8, 9], [9, 10], [10, 11]],
    )
    assert groups.single.tolist() == [False, True, True, False, True, True, True]


def test_the_likelihood_of_a_group_is_the_product_of_its_tokens():
    each = torch.tensor([0.5, 0.25, 0.5, 0.1], dtype=torch.float64).log().requires_grad_()
    found = group_log_shares(each, np.array([[0, 1], [1, 4]]))
    torch.testing.assert_close(found.exp(), torch.tensor([0.5, 0.0125]).double())
    found.sum().backward()
    assert each.grad.tolist() == [1, 1, 1, 1]
    assert group_log_shares(each, np.empty((0, 2), dtype=np.int64)).shape == (0,)


def rows(kind, ids, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(ids), len(small(kind)), generator=generator, dtype=torch.float64)


def shared(first, second):
    one, other = small(first), small(second)
    return common_tokens(token_bytes(one), token_bytes(other), [(one.eos_token_id, other.eos_token_id)])


@BETAS
def test_single_tokens_by_hand(beta):
    (ids, other), groups = both("bytes", "sentencepiece", "The good 🙃")
    student, teacher = rows("bytes", ids, 0), rows("sentencepiece", other, 1)
    own, theirs = shared("bytes", "sentencepiece")
    found = single_loss(student, teacher, groups, (own, theirs), 2.0, beta)
    here, there = [2, 3, 5, 6, 7], [4, 5, 8, 9, 10]
    expected = soft_loss(student[here][:, own], teacher[there][:, theirs], torch.ones(5).double(), 2.0, beta)
    torch.testing.assert_close(found, expected)


@BETAS
@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_with_one_tokenizer_it_is_the_dense_loss_and_a_copy_stays_put(beta, temperature):
    ids, groups = both("bytes", "bytes", TEXTS[2])
    student, teacher = rows("bytes", ids[0], 0), rows("bytes", ids[0], 1)
    every = torch.arange(len(small("bytes")))
    ones = torch.ones(len(ids[0]) - 1).double()
    found = single_loss(student, teacher, groups, (every, every), temperature, beta)
    torch.testing.assert_close(found, soft_loss(student[1:], teacher[1:], ones, temperature, beta))
    z = teacher.clone().requires_grad_()
    loss = single_loss(z, teacher, groups, (every, every), temperature, beta)
    loss.backward()
    assert loss.item() == 0
    assert z.grad.abs().max() < 1e-12


def test_no_single_token_is_no_loss():
    groups = align(np.array([2]), np.array([1, 2]))
    student = torch.randn(1, 3, requires_grad=True)
    loss = single_loss(student, torch.randn(2, 3), groups, (torch.arange(3), torch.arange(3)))
    loss.backward()
    assert (loss.item(), student.grad.abs().max().item()) == (0, 0)


@BETAS
def test_groups_that_are_equally_likely_cost_nothing(beta):
    teacher = torch.tensor([0.9, 1e-9, 0.5, 1.0]).double().log()
    student = teacher.clone().requires_grad_()
    loss = group_loss(student, teacher, torch.ones(4).double(), beta=beta)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-9


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_likelihoods_of_groups_by_hand(temperature):
    p, q = 0.3 ** (1 / temperature), 0.6 ** (1 / temperature)
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    found = group_loss(torch.tensor([math.log(0.6)]), torch.tensor([math.log(0.3)]), torch.ones(1), temperature)
    assert found.item() == pytest.approx(expected, rel=1e-4)


@BETAS
def test_the_gradient_of_groups_is_the_numeric_one(beta):
    student = torch.tensor([0.2, 0.7, 0.99]).double().log().requires_grad_()
    teacher, weights = torch.tensor([0.5, 0.1, 0.999]).double().log(), torch.tensor([1.0, 2.0, 0.5]).double()
    assert torch.autograd.gradcheck(lambda x: group_loss(x, teacher, weights, 2.0, beta), student)


def test_a_group_of_likelihood_1_still_learns():
    student = torch.zeros(1, requires_grad=True)
    group_loss(student, torch.tensor([0.5]).log(), torch.ones(1)).backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad.item() > 1
