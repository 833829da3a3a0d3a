"""Corrections for splits and for several comparisons: hand calculations, and a simulation of a true null."""

import numpy as np
import pytest
from scipy import stats

from transfuse.errors import DataError
from transfuse.evaluation.corrected import corrected, holm


def test_by_hand():
    differences = [0.02, 0.05, -0.01, 0.04, 0.03]
    mean, variance = 0.026, np.var(differences, ddof=1)
    t = mean / np.sqrt(variance * (1 / 5 + 0.25))
    assert corrected(differences, 0.25) == pytest.approx(2 * stats.t.sf(t, 4))


def test_without_overlap_it_is_the_t_test():
    differences = np.random.default_rng(0).normal(0.1, 1, 12)
    assert corrected(differences, 0.0) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_equal_differences():
    """Nothing tells their spread; splits of 20 rows know each to half a row, which is a spread."""
    assert corrected([0.1, 0.1, 0.1], 0.25) == corrected([0.0, 0.0], 0.25) == 1.0
    t = 0.1 / (0.025 * np.sqrt(1 / 3 + 0.25))
    assert corrected([0.1, 0.1, 0.1], 0.25, floor=0.5 / 20) == pytest.approx(2 * stats.t.sf(t, 2))
    wide = [0.0, 0.3, 0.1]
    assert corrected(wide, 0.25, floor=0.025) == corrected(wide, 0.25)


def test_one_split_tells_nothing():
    with pytest.raises(DataError, match="1 differences"):
        corrected([0.1], 0.25)


def test_a_true_null_is_rejected_no_more_often_than_said():
    """Two equally good guesses, ten overlapping splits of one sample: the plain test rejects far more often."""
    generator, rejected, plain = np.random.default_rng(0), 0, 0
    for _ in range(400):
        difference = generator.normal(size=60)
        parts = [generator.permutation(60)[:12] for _ in range(10)]
        means = [difference[part].mean() for part in parts]
        rejected += corrected(means, 12 / 48) < 0.05
        plain += corrected(means, 0.0) < 0.05
    assert rejected / 400 <= 0.07
    assert plain > 2 * rejected


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
