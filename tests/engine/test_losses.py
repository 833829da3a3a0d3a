"""The losses against hand calculations, and where nothing counts."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from transfuse.engine.losses import cross_entropy, supervised_contrastive


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
