"""Gradients of single rows by adapters, and how rows agree by them."""

import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional

from transfuse.backbones import adapters
from transfuse.backbones.pooling import pool
from transfuse.backbones.tokens import States
from transfuse.engine.branch import Branch
from transfuse.engine.gradients import BETA, adam_direction, agreement, of_branch, row_gradients
from transfuse.engine.live import LiveHead
from transfuse.fitted.head import Head

TEXTS = ("good", "a bad day", "the the the good", "", "fine and good and bad", "bad")
LABELS = np.array([0, 1, 0, 2, 0, 1])


def branch_of(backbone, cut=1):
    """Adapted layers whose adapters have left zero, so that both of their maps have gradients, and a head."""
    generator = torch.Generator().manual_seed(0)
    segment = backbone.segment(cut, backbone.layers, own=True, shared=True)
    adapters.add(segment, {"rank": 2, "alpha": 4, "dropout": 0.0}, seed=0)
    with torch.no_grad():
        for parameter in segment.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    width = backbone.width
    weight = torch.randn(3, width, generator=generator).numpy()
    head = Head(np.zeros(width, np.float32), np.ones(width, np.float32), weight, np.zeros(3, np.float32))
    return Branch(layer=backbone.layers, pooling=backbone.poolings[0], head=head, cut=cut, segment=segment)


def states_of(backbone, cut=1):
    tokens = backbone.tokens(TEXTS, None, 64)
    return States.of(backbone.states(tokens, cut, "fp32"), tokens)


@pytest.mark.parametrize("family", ["bert", "llama", "gemma2", "gpt2"])
def test_they_are_those_of_each_row_alone(family):
    backbone = tiny.load(family)
    branch, states = branch_of(backbone), states_of(backbone)
    head = LiveHead(branch.head, torch.device("cpu"))
    own = [p for p in branch.segment.parameters() if p.requires_grad]
    wanted = []
    for i, label in enumerate(LABELS):
        values, mask = states.batch([i])
        features = pool(backbone.normed(branch.segment(values.float(), mask)), mask, branch.pooling)
        loss = functional.cross_entropy(head(features), torch.tensor([label]))
        wanted.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, own)]))
    found = torch.zeros(len(TEXTS), sum(p.numel() for p in own))
    for chosen, rows in of_branch(branch, backbone, "fp32")(states, LABELS):
        found[chosen] = rows
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=1e-4)
    assert all(p.grad is None for p in own)
    assert found.abs().sum(1).min() > 0


def test_batches_hold_so_many_numbers(monkeypatch):
    backbone = tiny.load("bert")
    branch, states = branch_of(backbone), states_of(backbone)
    whole = torch.zeros(len(TEXTS), sum(p.numel() for p in branch.segment.parameters() if p.requires_grad))
    for chosen, rows in of_branch(branch, backbone, "fp32")(states, LABELS):
        whole[chosen] = rows
    monkeypatch.setattr("transfuse.engine.gradients.MOST_NUMBERS", 2 * whole.shape[1])
    parts = list(of_branch(branch, backbone, "fp32")(states, LABELS))
    assert max(len(chosen) for chosen, _ in parts) == 2
    for chosen, rows in parts:
        torch.testing.assert_close(rows, whole[chosen], atol=1e-5, rtol=1e-4)


def test_a_map_that_is_used_twice_or_not_at_all():
    maps = [torch.nn.Linear(3, 3, bias=False) for _ in range(2)]
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    found = row_gradients(maps, lambda: maps[0](maps[0](x)).square().sum((1, 2)))
    wanted = [torch.autograd.grad(maps[0](maps[0](row)).square().sum(), maps[0].weight)[0].flatten() for row in x]
    torch.testing.assert_close(found[:, :9], torch.stack(wanted), atol=1e-4, rtol=1e-4)
    assert not found[:, 9:].any()


def test_the_direction_is_that_of_adam():
    """A step of torch's own, from the same second moment, without a first one."""
    generator = torch.Generator().manual_seed(0)
    gradient, second = torch.randn(7, generator=generator), torch.rand(7, generator=generator)
    weight = torch.nn.Parameter(torch.zeros(7))
    optimizer = torch.optim.Adam([weight], lr=1.0, betas=(0.0, BETA))
    state = {"step": torch.tensor(1e6), "exp_avg": torch.zeros(7), "exp_avg_sq": second.clone()}
    optimizer.state[weight] = state
    weight.grad = gradient
    optimizer.step()
    torch.testing.assert_close(adam_direction(gradient[None], second)[0], -weight.detach())


def test_agreement_is_the_mean_over_classes_of_mean_cosines():
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(5, 9)), generator.normal(size=(4, 9))
    labels = np.array([2, 0, 2, 2])

    def gradients(rows, _labels):
        for chosen in (np.array([1, 3]), np.setdiff1d(np.arange(len(rows)), [1, 3])):
            yield chosen, torch.from_numpy(rows[chosen]).float()

    stepped = adam_direction(torch.from_numpy(source), torch.from_numpy((target**2).mean(0))).numpy()
    ours, theirs = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (stepped, target))
    cosines = ours @ theirs.T
    wanted = (cosines[:, labels == 0].mean(1) + cosines[:, labels == 2].mean(1)) / 2
    found = agreement(gradients, (source, np.zeros(5, dtype=int)), (target, labels))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
