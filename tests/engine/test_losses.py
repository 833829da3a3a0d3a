"""The losses against hand calculations, and where nothing counts."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from transfuse.engine.losses import (
    adversary_strength,
    anil,
    cross_entropy,
    domain_loss,
    mmd,
    prototypical,
    reverse,
    supervised_contrastive,
)


def ones(count: int) -> torch.Tensor:
    return torch.ones(count)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0]])
    found = cross_entropy(logits, torch.tensor([1, 1]), torch.tensor([1.0, 3.0]))
    assert found.item() == pytest.approx((math.log(4 / 3) + 3 * math.log(5)) / 4, rel=1e-6)


def test_cross_entropy_with_equal_weights_is_the_mean():
    logits, labels = torch.randn(7, 3), torch.arange(7) % 3
    assert torch.allclose(cross_entropy(logits, labels, 2.5 * ones(7)), functional.cross_entropy(logits, labels))


def test_cross_entropy_a_row_of_weight_0_does_not_count():
    logits, labels = torch.randn(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    weights = torch.tensor([1.0, 2.0, 1.0, 0.0])
    whole = cross_entropy(logits, labels, weights)
    assert torch.allclose(whole, cross_entropy(logits[:3], labels[:3], weights[:3]))
    whole.backward()
    assert logits.grad[3].abs().max() == 0
    assert logits.grad[0].abs().max() > 0


def contrastive_by_hand(features: np.ndarray, labels: list[int], weights: list[float], temperature: float) -> float:
    """Khosla et al. 2020, equation 2, one sum after the other."""
    z = features / np.linalg.norm(features, axis=1, keepdims=True)
    total = mass = 0.0
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and labels[p] == labels[i]]
        if not positives:
            continue
        below = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
        terms = [math.log(math.exp(z[i] @ z[p] / temperature) / below) for p in positives]
        total -= weights[i] * sum(terms) / len(positives)
        mass += weights[i]
    return total / mass


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_contrastive_by_hand(temperature):
    features = np.random.default_rng(0).normal(size=(7, 4))
    labels, weights = [0, 1, 0, 2, 1, 0, 3], [1.0, 2.0, 0.5, 1.0, 3.0, 0.0, 1.0]
    found = supervised_contrastive(
        torch.tensor(features), torch.tensor(labels), torch.tensor(weights, dtype=torch.float64), temperature
    )
    assert found.item() == pytest.approx(contrastive_by_hand(features, labels, weights, temperature), rel=1e-9)


def test_contrastive_ignores_length():
    features, labels = torch.randn(6, 4), torch.arange(6) % 2
    scaled = features * torch.tensor([[1.0], [2.0], [3.0], [0.1], [5.0], [9.0]])
    a, b = (supervised_contrastive(x, labels, ones(6)) for x in (features, scaled))
    assert torch.allclose(a, b, atol=1e-5)


def test_contrastive_of_equal_rows_of_one_class_is_the_log_of_the_others():
    found = supervised_contrastive(torch.ones(5, 3), torch.zeros(5, dtype=torch.long), ones(5))
    assert found.item() == pytest.approx(math.log(4), rel=1e-5)


def test_contrastive_a_step_downhill_brings_a_class_together():
    features, labels = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    features.requires_grad_(True)
    supervised_contrastive(features, labels, ones(8)).backward()
    moved = features.detach() - 0.05 * features.grad

    def closeness(x: torch.Tensor) -> float:
        z = functional.normalize(x, dim=1)
        same = labels[:, None] == labels[None, :]
        return float((z @ z.T)[same].mean() - (z @ z.T)[~same].mean())

    assert closeness(moved) > closeness(features.detach())


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        ([0, 1, 2], [1.0, 1.0, 1.0]),  # every row alone in its class
        ([0], [1.0]),  # one row
        ([0, 0, 1], [0.0, 0.0, 1.0]),  # the only pair counts nothing
    ],
)
def test_contrastive_is_0_where_no_row_counts(labels, weights):
    features = torch.randn(len(labels), 4, requires_grad=True)
    loss = supervised_contrastive(features, torch.tensor(labels), torch.tensor(weights))
    assert loss.item() == 0.0
    loss.backward()  # part of the graph, so that the loop needs no exception
    assert features.grad.abs().max() == 0


def test_mmd_by_hand():
    """Two points a side on a line, one kernel of width 1: every term of the sum written out."""
    source, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [3.0]])
    scale = 2 * (1 + 1 + 9 + 0 + 4 + 4) / 16

    def kernel(distance: float) -> float:
        return math.exp(-(distance**2) / scale)

    inside = (2 + 2 * kernel(1)) / 4 + (2 + 2 * kernel(2)) / 4
    across = (kernel(1) + kernel(3) + kernel(0) + kernel(2)) / 4
    assert mmd(source, target, (1.0,)).item() == pytest.approx(inside - 2 * across, rel=1e-5)


def test_mmd_of_a_set_with_itself_is_0_and_grows_with_the_shift():
    rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    assert mmd(rows, rows).item() == pytest.approx(0, abs=1e-6)
    assert mmd(rows, rows + 1) > mmd(rows, rows + 0.3) > 1e-4


def test_a_reversed_gradient_is_the_gradient_turned_round():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (reverse(x, 0.5) ** 2).sum().backward()
    assert x.grad.tolist() == [-1.0, -2.0]


def test_an_adversary_has_no_say_at_first():
    assert adversary_strength(0.0) == 0
    assert adversary_strength(1.0) == pytest.approx(2 / (1 + math.exp(-10)) - 1)


def test_both_domains_count_alike():
    found = domain_loss(torch.tensor([0.0, 0.0, 0.0, math.log(3)]), 3)
    assert found.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2, rel=1e-6)


def test_prototypes_by_hand():
    shown = torch.tensor([[[2.0, 0.0]], [[0.0, 5.0]]])
    asked = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert prototypical(shown, asked, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert prototypical(shown, asked.flip(0), 1.0).item() == pytest.approx(math.log(1 + math.exp(1)), rel=1e-6)


def test_anil_without_a_step_knows_nothing_and_learns_with_some():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 1, 8, generator=generator)
    shown, asked = (centres + 0.1 * torch.randn(4, 3, 8, generator=generator) for _ in range(2))
    assert anil(shown, asked, 0).item() == pytest.approx(math.log(4), rel=1e-6)
    assert anil(shown, asked, 5) < anil(shown, asked, 1) < math.log(4)


def test_the_gradient_of_anil_goes_through_its_steps():
    generator = torch.Generator().manual_seed(0)
    shown, asked = (torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    shown.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: anil(x, asked, 2, 1.0), (shown,))
