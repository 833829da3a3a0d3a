"""Soft losses: what equal distributions cost, hand calculations, the size of gradients."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from transfuse.engine.divergences import (
    distillation_loss,
    divergence,
    log_shares,
    mutual_losses,
    soft_cross_entropy,
    soft_loss,
)
from transfuse.engine.losses import cross_entropy

BETAS = pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
TEMPERATURES = pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])


def logits(seed: int, rows: int = 5, classes: int = 7, scale: float = 2.0, dtype=torch.float64) -> torch.Tensor:
    return scale * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@BETAS
@TEMPERATURES
@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
def test_a_student_equal_to_its_teacher_stays_put(beta, temperature, scale):
    teacher = logits(0, classes=1000, scale=scale, dtype=torch.float32)
    student = teacher.clone().requires_grad_()
    loss = soft_loss(student, teacher, torch.ones(5), temperature, beta)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.abs().max() < 1e-6


@TEMPERATURES
def test_kl_by_hand(temperature):
    p, q = ([math.exp(x / temperature) for x in row] for row in ([0.0, 1.0, -2.0], [1.0, 0.5, 0.0]))
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    forward = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    reverse = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    m = [(0.3 * a + 0.7 * b) for a, b in zip(p, q, strict=True)]
    js = sum(0.3 * a * math.log(a / c) + 0.7 * b * math.log(b / c) for a, b, c in zip(p, q, m, strict=True))
    student, teacher = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[0.0, 1.0, -2.0]])
    for beta, expected in ((0.0, forward), (1.0, reverse), (0.3, js)):
        found = soft_loss(student, teacher, torch.ones(1), temperature, beta)
        assert found.item() == pytest.approx(temperature**2 * expected, rel=1e-5)


def test_the_ends_of_jensen_shannon_are_its_limits():
    q, p = log_shares(logits(1)), log_shares(logits(2))
    small = 1e-6
    torch.testing.assert_close(divergence(q, p, small) / small, divergence(q, p, 0.0), rtol=1e-4, atol=0)
    torch.testing.assert_close(divergence(q, p, 1 - small) / small, divergence(q, p, 1.0), rtol=1e-4, atol=0)


def test_jensen_shannon_is_bounded_where_nothing_is_common():
    q, p = (log_shares(torch.tensor([row])) for row in ([1e3, 0.0], [0.0, 1e3]))
    assert divergence(q, p, 0.5).item() == pytest.approx(math.log(2))


@BETAS
def test_the_gradient_is_the_numeric_one(beta):
    student, teacher, weights = logits(3).requires_grad_(), logits(4), torch.tensor([1.0, 2.0, 0.0, 0.5, 1.0])
    assert torch.autograd.gradcheck(lambda z: soft_loss(z, teacher, weights.double(), 2.0, beta), student)


@BETAS
def test_the_teacher_gets_no_gradient(beta):
    student, teacher = logits(3).requires_grad_(), logits(4).requires_grad_()
    soft_loss(student, teacher, torch.ones(5), 2.0, beta).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-3


@BETAS
def test_the_square_of_the_temperature_keeps_the_size_of_the_gradient(beta):
    teacher, sizes = logits(0, scale=0.1), []
    for temperature in (1.0, 3.0, 10.0):
        student = logits(1, scale=0.1).requires_grad_()
        soft_loss(student, teacher, torch.ones(5), temperature, beta).backward()
        sizes.append(student.grad.norm().item())
    assert max(sizes) < 1.1 * min(sizes)


@TEMPERATURES
def test_cross_entropy_is_kl_and_the_entropy_of_the_teacher(temperature):
    student, teacher, weights = logits(5), logits(6), torch.ones(5, dtype=torch.float64)
    share = torch.softmax(teacher / temperature, 1)
    entropy = -(share * share.log()).sum(1).mean() * temperature**2
    soft = soft_cross_entropy(student, teacher, weights, temperature)
    torch.testing.assert_close(soft - soft_loss(student, teacher, weights, temperature), entropy)
    gradients = []
    for loss in (soft_loss, soft_cross_entropy):
        z = student.clone().requires_grad_()
        loss(z, teacher, weights, temperature).backward()
        gradients.append(z.grad)
    torch.testing.assert_close(*gradients)


def test_forward_kl_is_that_of_torch():
    student, teacher = logits(5), logits(6)
    expected = functional.kl_div(
        torch.log_softmax(student, 1), torch.log_softmax(teacher, 1), log_target=True, reduction="batchmean"
    )
    torch.testing.assert_close(soft_loss(student, teacher, torch.ones(5).double(), 1.0), expected)


def test_a_row_of_weight_0_does_not_count():
    student, teacher = logits(5), logits(6)
    weights = torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0]).double()
    torch.testing.assert_close(
        soft_loss(student, teacher, weights), soft_loss(student[:2], teacher[:2], torch.tensor([1.0, 2.0]).double())
    )


@BETAS
def test_a_class_that_is_forbidden_on_both_sides_is_no_nan(beta):
    student, teacher = logits(5), logits(6)
    student[:, 2] = teacher[:, 2] = -math.inf
    z = student.clone().requires_grad_()
    loss = soft_loss(z, teacher, torch.ones(5).double(), 2.0, beta)
    loss.backward()
    keep = [0, 1, 3, 4, 5, 6]
    torch.testing.assert_close(loss, soft_loss(student[:, keep], teacher[:, keep], torch.ones(5).double(), 2.0, beta))
    assert torch.isfinite(z.grad).all()
    assert z.grad[:, 2].abs().max() == 0


def test_a_blend_has_both_ends():
    student, teacher, labels, weights = logits(5), logits(6), torch.arange(5), torch.ones(5).double()
    hard, soft = cross_entropy(student, labels, weights), soft_loss(student, teacher, weights, 3.0, 1.0)
    for alpha in (0.0, 0.25, 1.0):
        found = distillation_loss(student, teacher, labels, weights, temperature=3.0, alpha=alpha, beta=1.0)
        torch.testing.assert_close(found, (1 - alpha) * hard + alpha * soft)


def test_peers_that_agree_have_nothing_to_learn_and_others_have_by_hand():
    one, two, three = logits(1), logits(2), logits(3)
    weights = torch.ones(5).double()
    assert [loss.item() for loss in mutual_losses([one, one, one], weights)] == [0, 0, 0]
    found = mutual_losses([one, two, three], weights, 2.0)
    for own, loss in zip(([one, two, three], [two, one, three], [three, one, two]), found, strict=True):
        expected = (soft_loss(own[0], own[1], weights, 2.0) + soft_loss(own[0], own[2], weights, 2.0)) / 2
        torch.testing.assert_close(loss, expected)


def test_a_peer_learns_from_its_own_loss_alone():
    peers = [logits(seed).requires_grad_() for seed in range(2)]
    losses = mutual_losses(peers, torch.ones(5).double())
    for k, other in itertools.permutations(range(2), 2):
        found = torch.autograd.grad(losses[k], peers, allow_unused=True, retain_graph=True)
        assert found[k] is not None
        assert found[other] is None
