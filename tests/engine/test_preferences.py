"""Which of two answers is better, as a loss and as training: properties, and a model that learns it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
import toy

from transfuse.backbones.decoding import Decoding
from transfuse.backbones.form import Form
from transfuse.backbones.head_loss import head_loss, token_log_probabilities
from transfuse.engine.answers import Ask, Pairs, Prefer
from transfuse.engine.fit import Engine
from transfuse.engine.jobs import Job, Schedule
from transfuse.engine.preferences import dpo
from transfuse.engine.trunk import Trunk

FORM = Form.plain(toy.TASK.shown())


def draws(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(count, dtype=torch.float64, generator=generator) for _ in range(4)]


def test_equal_policies_cost_log_two():
    policy, other, _, _ = draws()
    np.testing.assert_allclose(dpo(policy, other, policy, other, 0.3), math.log(2))


def test_against_a_hand_calculation():
    one, two, three, four = (torch.tensor([x]) for x in (-1.0, -3.0, -2.0, -2.5))
    expected = math.log1p(math.exp(-0.5 * ((-1 + 2) - (-3 + 2.5))))
    assert float(dpo(one, two, three, four, 0.5)) == pytest.approx(expected)


def test_its_gradient():
    inputs = [x.requires_grad_() for x in draws()]
    assert torch.autograd.gradcheck(lambda *x: dpo(*x, 0.7), inputs)


def test_its_direction():
    """The better answer becomes likelier and the worse one less so, the more the pair is still wrong."""
    better, worse, a, b = draws()
    better.requires_grad_(), worse.requires_grad_()
    dpo(better, worse, a, b, 0.5).sum().backward()
    assert (better.grad < 0).all()
    assert torch.allclose(better.grad, -worse.grad)
    advantage = (better - a) - (worse - b)
    order = advantage.detach().argsort()
    assert (better.grad[order].diff() > 0).all()


def test_token_log_probabilities_are_what_the_loss_of_answers_is_made_of():
    backbone = tiny.load("llama")
    hidden = torch.randn(7, tiny.WIDTH, requires_grad=True)
    targets = torch.arange(7) + 3
    weights = torch.ones(7)
    a = -token_log_probabilities(backbone, hidden, targets, False).mean()
    b = head_loss(backbone, hidden, targets, weights, False)
    torch.testing.assert_close(a, b)
    (of_a,), (of_b,) = torch.autograd.grad(a, [hidden]), torch.autograd.grad(b, [hidden])
    torch.testing.assert_close(of_a, of_b, atol=1e-6, rtol=1e-4)


def preferred(texts: tuple[str, ...], answers: list[str]) -> Pairs:
    return Pairs(texts, tuple(answers), np.ones(len(texts)), np.ones(len(texts), dtype=bool))


def test_decoders_come_to_prefer_what_each_is_told_to():
    """The taught decoder says warm or cold; one adapter learns to prefer warm, one beside it to prefer cold."""
    data = toy.examples(16, seed=3)
    schedule = Schedule(2e-2, 0.0, 1.0, 6, 8, 0.1, 0.0, 0.0, 0.0, 1.0)
    adapter = {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.0}
    ask = Ask(FORM, Decoding(2))
    warm, cold = (preferred(data.texts, [label] * 16) for label in ("warm", "cold"))
    stages = [Prefer(((a, b, FORM),), 8, 1, adapter, schedule, 0.5) for a, b in ((warm, cold), (cold, warm))]
    engine = Engine(Trunk(toy.backbone("taught"), "fp32", 64), 0)
    jobs = [Job((ask,), 0, 0), *(Job((stage, ask), 0, 0) for stage in stages)]
    before, warmer, colder = (
        path.bits(data.texts, cold.answers)[:, 0] - path.bits(data.texts, warm.answers)[:, 0]
        for path in engine.fit_all(jobs)
    )
    assert (warmer > before).all()
    assert (colder < before).all()
    assert (warmer.min(), -colder.max()) > (0, 0), "whatever the request is, the one is likelier than the other"
