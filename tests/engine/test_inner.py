"""Losses inside the model: what must not change them, hand calculations, padding, gradients; with taps of models."""

import math

import pytest
import tiny
import torch
from torch import nn

from transfuse.backbones.taps import tapped
from transfuse.engine.inner import attention_loss, hidden_loss, layer_map, relation_loss
from transfuse.errors import BackboneError

MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def vectors(seed: int, heads: int = 2, width: int = 4) -> torch.Tensor:
    return torch.randn(2, heads, 5, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def states(seed: int, width: int = 6) -> torch.Tensor:
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("student", "teacher", "way", "expected"),
    [
        (4, 12, "uniform", [3, 6, 9, 12]),
        (6, 12, "skip", [2, 4, 6, 8, 10, 12]),
        (6, 12, "last", [7, 8, 9, 10, 11, 12]),
        (3, 10, "uniform", [3, 7, 10]),
        (3, 10, "skip", [3, 6, 9]),
        (3, 10, "last", [8, 9, 10]),
        (5, 2, "uniform", [1, 1, 1, 2, 2]),
        *((4, 4, way, [1, 2, 3, 4]) for way in ("uniform", "skip", "last")),
    ],
)
def test_layer_maps(student, teacher, way, expected):
    assert layer_map(student, teacher, way) == list(zip(range(1, student + 1), expected, strict=True))


def test_a_deep_student_has_no_last_layers():
    with pytest.raises(BackboneError, match="a student of 5 layers and a teacher of 2") as error:
        layer_map(5, 2, "last")
    assert "'uniform'" in error.value.remedy


@pytest.mark.parametrize("cosine", [False, True])
def test_projected_states_that_meet_cost_nothing(cosine):
    student, weight = states(0).requires_grad_(), torch.randn(8, 6).double().requires_grad_()
    teacher = (student @ weight.T).detach()
    teacher[1, 3:] = 99.0  # padding
    loss = hidden_loss(student, teacher, MASK, weight, cosine=cosine)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-14)
    assert student.grad.abs().max() < 1e-12
    assert weight.grad.abs().max() < 1e-12


def test_states_by_hand():
    student, teacher = torch.tensor([[[1.0, 0.0], [7.0, 7.0]]]), torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])
    mask = torch.tensor([[1, 0]])
    assert hidden_loss(student, teacher, mask).item() == pytest.approx(2.5)
    assert hidden_loss(student, teacher, mask, cosine=True).item() == pytest.approx(1.0)
    swap = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert hidden_loss(student, teacher, mask, swap).item() == pytest.approx(0.0)


def test_cosine_leaves_the_length_free():
    student = states(0)
    assert hidden_loss(student, 3 * student, MASK, cosine=True).item() == pytest.approx(0, abs=1e-12)
    assert hidden_loss(student, 3 * student, MASK).item() > 1


@pytest.mark.parametrize("cosine", [False, True])
def test_gradients_of_states_reach_student_and_projection_alone(cosine):
    student, teacher = states(0).requires_grad_(), states(1, 3).requires_grad_()
    weight = torch.randn(3, 6, generator=torch.Generator().manual_seed(2)).double().requires_grad_()
    hidden_loss(student, teacher, MASK, weight, cosine=cosine).backward()
    assert teacher.grad is None
    assert student.grad[1, 3:].abs().max() == 0
    assert student.grad[0].abs().max() > 0
    assert torch.autograd.gradcheck(lambda s, w: hidden_loss(s, teacher, MASK, w, cosine=cosine), (student, weight))


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
def test_equal_relations_cost_nothing_whatever_is_padding(heads):
    teacher = vectors(0)
    student = teacher.clone()
    student[1, :, 3:] = 50.0
    student.requires_grad_()
    loss = relation_loss(student, teacher, MASK, heads)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-12
    assert relation_loss(vectors(1), teacher, MASK, heads) > 0.05


def test_relations_by_hand():
    """One head, two tokens of width 1 and 4, their scores over √d."""
    student, teacher = torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[2.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]])
    ours = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).softmax(1)
    theirs = (torch.tensor([[4.0, 2.0], [2.0, 2.0]]) / 2).softmax(1)
    expected = (theirs * (theirs / ours).log()).sum(1).mean()
    found = relation_loss(student, teacher, torch.ones(1, 2), 1)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_relations_need_neither_equal_heads_nor_widths_and_bear_a_turn():
    teacher = vectors(0, heads=4, width=6).requires_grad_()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    assert relation_loss(teacher @ turn, teacher, MASK, 4).item() == pytest.approx(0, abs=1e-12)
    student = vectors(1, heads=2, width=4).requires_grad_()
    loss = relation_loss(student, teacher, MASK, 8)
    loss.backward()
    assert teacher.grad is None
    assert math.isfinite(loss.item())
    assert student.grad[1, :, 3:].abs().max() == 0
    assert torch.autograd.gradcheck(lambda s: relation_loss(s, teacher, MASK, 4), student)


def test_relations_of_padded_texts_are_those_of_the_texts():
    student, teacher = vectors(0), vectors(1)
    whole = relation_loss(student, teacher, MASK, 2)
    first = relation_loss(student[:1], teacher[:1], MASK[:1], 2)
    second = relation_loss(student[1:, :, :3], teacher[1:, :, :3], MASK[1:, :3], 2)
    torch.testing.assert_close(whole, (5 * first + 3 * second) / 8)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(BackboneError, match="3 relation heads for vectors of width 8"):
        relation_loss(vectors(0), vectors(1), MASK, 3)


@pytest.mark.parametrize("causal", [False, True])
def test_equal_attention_costs_nothing_and_other_attention_by_hand(causal):
    query, key = vectors(0), vectors(1, heads=1)
    other = (vectors(2, width=3), vectors(3, width=3))
    assert attention_loss((query, key), (query, key), MASK, causal=causal).item() == 0
    total, count = 0.0, 0
    for text, length in enumerate((5, 3)):
        for head in range(2):
            for at in range(length):
                seen = slice(0, at + 1 if causal else length)
                ours = (key[text, 0, seen] @ query[text, head, at] / 2).softmax(0)
                theirs = (other[1][text, head, seen] @ other[0][text, head, at] / 3**0.5).softmax(0)
                total += (ours - theirs).square().sum().item()
                count += len(ours)
    found = attention_loss((query, key), other, MASK, causal=causal)
    assert found.item() == pytest.approx(total / count, rel=1e-6)


def test_attention_learns_and_does_not_see_padding():
    query, key = vectors(0).requires_grad_(), vectors(1).requires_grad_()
    teacher = (vectors(2).requires_grad_(), vectors(3).requires_grad_())
    attention_loss((query, key), teacher, MASK, causal=True).backward()
    assert teacher[0].grad is None
    assert teacher[1].grad is None
    for one in (query, key):
        assert one.grad[1, :, 3:].abs().max() == 0
        assert one.grad[0].abs().max() > 0


def test_attention_of_other_heads_is_refused():
    pair = (vectors(0, heads=4), vectors(1, heads=4))
    with pytest.raises(BackboneError, match="attention of 2 heads and a teacher's of 4") as error:
        attention_loss((vectors(0), vectors(1)), pair, MASK)
    assert "relation_loss" in error.value.remedy


IDS = torch.arange(10, 20).view(2, 5)


@pytest.mark.parametrize(
    "pair", [("bert", "electra"), ("distilbert", "roberta"), ("llama", "gpt2"), ("phi3", "gpt_neox")]
)
def test_a_student_learns_its_teachers_relations(pair):
    """A few steps bring the relations of a model's upper layer near a teacher's, of another family even."""
    student, teacher = (tiny.load(family) for family in pair)
    with torch.no_grad(), tapped(teacher.segment(0, 3), [3]) as said:
        teacher.segment(0, 3)(IDS, MASK)
    segment = student.segment(0, 3, own=True).train(False)
    optimizer = torch.optim.Adam([p for p in segment.parameters() if p.requires_grad], 3e-3)
    losses = []
    for _ in range(30):
        with tapped(segment, [3]) as taps:
            segment(IDS, MASK)
        parts = [
            relation_loss(getattr(taps[3], name), getattr(said[3], name), MASK, 4) for name in ("query", "key", "value")
        ]
        loss = torch.stack(parts).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_copy_of_its_teacher_stays_put():
    teacher = tiny.load("llama")
    segment = teacher.segment(0, 3, own=True)
    with torch.no_grad(), tapped(teacher.segment(0, 3), [1, 2, 3]) as said:
        states = teacher.segment(0, 3)(IDS, MASK)
    with tapped(segment, [1, 2, 3]) as taps:
        hidden = segment(IDS, MASK)
    loss = hidden_loss(hidden, states, MASK) + hidden_loss(hidden, states, MASK, cosine=True)
    for own, theirs in layer_map(3, 3):
        loss = loss + relation_loss(taps[own].value, said[theirs].value, MASK, 1)
        pairs = [(one.query, one.key) for one in (taps[own], said[theirs])]
        loss = loss + attention_loss(*pairs, MASK, causal=True)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    gradients = [p.grad for p in segment.parameters() if p.grad is not None]
    assert max(float(g.abs().max()) for g in gradients) < 1e-4


def test_a_projection_is_a_linear_map_without_bias():
    layer = nn.Linear(6, 8, bias=False).double()
    student, teacher = states(0), states(1, 8)
    found = hidden_loss(student, teacher, MASK, layer.weight)
    torch.testing.assert_close(found, hidden_loss(layer(student), teacher, MASK))
