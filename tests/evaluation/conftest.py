"""Predictions of three classes, imperfect, with a fourth class that is only predicted and a fifth that never occurs."""

import numpy as np
import pytest


@pytest.fixture
def predictions():
    """labels int [200] of classes 0..2 and probabilities float [200, 5]; class 3 is only predicted, 4 never."""
    generator = np.random.default_rng(7)
    labels = generator.integers(0, 3, size=200)
    scores = generator.normal(size=(200, 5))
    scores[np.arange(200), labels] += 1.2
    scores[:, 3] -= 0.8
    scores[:, 4] -= 9
    probabilities = np.exp(scores)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)
