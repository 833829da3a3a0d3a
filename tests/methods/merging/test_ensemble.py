"""The weights of a linear pool of fitted models."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from transfuse.errors import RecipeError
from transfuse.methods.merging.ensemble import Ensemble, stacking_weights


def said(shares: list[float], rows: int = 60, repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Members that are right in a share of the rows, and the labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, rows)
    out = np.full((len(shares), repeats, rows, 3), 0.1)
    for member, share in enumerate(shares):
        right = generator.random((repeats, rows)) < share
        guess = np.where(right, labels, (labels + 1) % 3)
        np.put_along_axis(out[member], guess[..., None], 0.8, axis=2)
    return np.log(out), labels


def test_no_other_weights_make_the_labels_likelier():
    """scipy maximises the same objective over a softmax of free numbers."""
    found, labels = said([0.9, 0.6, 0.75])
    own = np.exp(found[:, :, np.arange(len(labels)), labels])  # [K, R, N]

    def objective(free: np.ndarray) -> float:
        weights = np.exp(free - free.max())
        weights /= weights.sum()
        return float(-np.log(np.einsum("k,krn->rn", weights, own)).mean(0).sum() - np.log(weights).sum())

    best = np.exp(minimize(objective, np.zeros(3), tol=1e-10).x)
    assert stacking_weights(found, labels) == pytest.approx(best / best.sum(), abs=1e-4)


def test_the_better_member_counts_more_and_a_strong_prior_makes_all_alike():
    found, labels = said([0.95, 0.4])
    weights = stacking_weights(found, labels)
    assert weights[0] > 0.8
    assert weights.sum() == pytest.approx(1)
    assert stacking_weights(found, labels, prior=1e9) == pytest.approx([0.5, 0.5], abs=1e-3)


def test_members_that_say_the_same_weigh_the_same():
    found, labels = said([0.7])
    assert stacking_weights(np.concatenate([found] * 3), labels) == pytest.approx([1 / 3] * 3)


def test_a_row_that_no_member_thinks_possible_speaks_for_none():
    found, labels = said([0.9, 0.6])
    impossible = np.full((2, 2, 1, 3), np.log(0.5))
    impossible[..., 0] = -np.inf
    more = np.concatenate([found, impossible], axis=2)
    weights = stacking_weights(more, np.append(labels, 0))
    assert weights.sum() == pytest.approx(1)
    assert weights == pytest.approx(stacking_weights(found, labels, prior=1.5), abs=0.02)


def test_there_is_nothing_to_plan():
    with pytest.raises(RecipeError, match="made of other candidates"):
        Ensemble().plan(None, None, None, 0)  # type: ignore[arg-type]
