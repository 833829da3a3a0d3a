"""Relations: what must not change them, hand calculations, gradients."""

import pytest
import torch
from torch.nn import functional

from transfuse.engine.relations import (
    angle_loss,
    category_relation,
    co_tuning_loss,
    distance_loss,
    similarity_loss,
)

LOSSES = pytest.mark.parametrize("loss", [distance_loss, angle_loss, similarity_loss])


def turned(x, scale=3.0):
    """Rotated and scaled."""
    generator = torch.Generator().manual_seed(1)
    rotation = torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], generator=generator, dtype=x.dtype))[0]
    return scale * x @ rotation


@LOSSES
def test_a_rotated_teacher_is_the_same_teacher(loss):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert loss(x, turned(x)).item() == pytest.approx(0, abs=1e-10)
    assert loss(x, torch.randn_like(x)).item() > 1e-3


@LOSSES
def test_the_student_learns_and_the_teacher_does_not(loss):
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(5, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert torch.isfinite(student.grad).all()
    assert student.grad.abs().max() > 0
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)


def test_distances_by_hand():
    student = torch.tensor([[0.0], [1.0], [3.0]])
    teacher = torch.tensor([[0.0], [2.0], [2.5]])
    ours = torch.tensor([1.0, 3.0, 2.0]) / 2
    theirs = torch.tensor([2.0, 2.5, 0.5]) / (5 / 3)
    expected = functional.smooth_l1_loss(ours, theirs, reduction="sum") * 2 / 9  # the diagonal counts as equal
    assert distance_loss(student, teacher).item() == pytest.approx(expected.item(), rel=1e-5)


def test_category_relation_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    found = category_relation(probabilities, torch.tensor([0, 0, 2]), 3, torch.ones(3))
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]]))
    logits = torch.log(probabilities)
    loss = co_tuning_loss(logits, torch.tensor([0, 0, 2]), found, torch.ones(3))
    expected = -(found[[0, 0, 2]] * logits).sum(1).mean()
    torch.testing.assert_close(loss, expected)


def test_rows_of_other_weights_count_as_such_in_the_relation_and_its_loss():
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    labels, weights = torch.tensor([0, 0, 1]), torch.tensor([3.0, 1.0, 0.0])
    found = category_relation(probabilities, labels, 2, weights)
    torch.testing.assert_close(found, torch.tensor([[0.85, 0.15], [0.5, 0.5]]))
    logits = torch.log(probabilities)
    expected = -(3 * (found[0] * logits[0]).sum() + (found[0] * logits[1]).sum()) / 4
    torch.testing.assert_close(co_tuning_loss(logits, labels, found, weights), expected)
